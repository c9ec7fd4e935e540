"""One pure function per loss, on option probabilities of both ends of each toggle."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cdf_shift(reference: Tensor, treated: Tensor) -> Tensor:
    """Return the cumulative sums of the effect, F(A=1) - F(A=0) (paper eq. 5-10).

    Parameters
    ----------
    reference, treated : Tensor, shape (..., K)
        Distributions over the ordered options.
    """
    return (treated - reference).cumsum(dim=-1)


def effect(reference: Tensor, treated: Tensor, target_reference: Tensor, target_treated: Tensor) -> Tensor:
    """Return L_CE: the mean over toggles of d_CDF (paper eq. 11 and 12).

    d_CDF is the mean over the K levels of the absolute difference of the model's and the survey's CDF shifts.

    Parameters
    ----------
    reference, treated : Tensor, shape (toggles, K)
        The model's distributions at the two ends.
    target_reference, target_treated : Tensor, shape (toggles, K)
        The survey's.

    Returns
    -------
    Tensor, scalar
    """
    apart = cdf_shift(reference, treated) - cdf_shift(target_reference, target_treated)
    return apart.abs().mean(dim=-1).mean()


def anchor(log_reference: Tensor, log_treated: Tensor, target_reference: Tensor, target_treated: Tensor) -> Tensor:
    """Return the anchor: minus the log-probability of the survey's modal option (paper eq. 13).

    The log-probabilities are renormalised over the K options. Summed over the two ends of a toggle, averaged
    over toggles.

    Parameters
    ----------
    log_reference, log_treated : Tensor, shape (toggles, K)
        The model's renormalised log-probabilities at the two ends.
    target_reference, target_treated : Tensor, shape (toggles, K)
        The survey's distributions.

    Returns
    -------
    Tensor, scalar
    """
    total = log_reference.new_zeros(len(log_reference))
    for logp, target in ((log_reference, target_reference), (log_treated, target_treated)):
        modal = target.argmax(dim=-1, keepdim=True)
        total = total - logp.gather(-1, modal).squeeze(-1)
    return total.mean()


def ace(
    log_reference: Tensor,
    log_treated: Tensor,
    target_reference: Tensor,
    target_treated: Tensor,
    alpha: float,
    beta: float,
) -> Tensor:
    """Return alpha times the anchor plus beta times the effect (paper eq. 14)."""
    total = log_reference.new_zeros(())
    if alpha:
        total = total + alpha * anchor(log_reference, log_treated, target_reference, target_treated)
    if beta:
        total = total + beta * effect(log_reference.exp(), log_treated.exp(), target_reference, target_treated)
    return total


def alignment_score(p: Tensor, target: Tensor) -> Tensor:
    """Return S = 100 (1 - W1 / (K - 1)) of each distribution (paper eq. 15), shape (...)."""
    distance = (p - target).cumsum(dim=-1)[..., :-1].abs().sum(dim=-1)
    return 100 * (1 - distance / (p.shape[-1] - 1))
