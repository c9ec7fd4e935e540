"""One pure function per loss, on the option probabilities at both ends of each toggle.

Every loss is a weighted mean over toggles. The first option is the low end of the scale, K is any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cdf_shift(effect: Tensor) -> Tensor:
    """Return the cumulative sums of effects p(A=1) - p(A=0) over options (paper eq. 9 and 10), shape (..., K)."""
    return effect.cumsum(dim=-1)


def effect(reference: Tensor, treated: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return L_CE: the mean over toggles of d_CDF (paper eq. 11 and 12).

    d_CDF is the mean over the K levels of the absolute difference of the model's and the survey's CDF shifts.

    Parameters
    ----------
    reference, treated : Tensor, shape (toggles, K)
        The model's distributions at the two ends.
    target : Tensor, shape (toggles, K)
        The survey's effects, p(A=1) - p(A=0).
    weight : Tensor, shape (toggles,)
        Of each toggle in the mean.

    Returns
    -------
    Tensor, scalar
    """
    apart = cdf_shift(treated - reference) - cdf_shift(target)
    return _mean(apart.abs().mean(dim=-1), weight)


def anchor(
    log_reference: Tensor, log_treated: Tensor, p_reference: Tensor, p_treated: Tensor, weight: Tensor
) -> Tensor:
    """Return the anchor: minus the log-probability of the survey's modal option (paper eq. 13).

    The log-probabilities are renormalised over the K options. Summed over the two ends of a toggle, averaged
    over toggles. Of several modal options the first counts.

    Parameters
    ----------
    log_reference, log_treated : Tensor, shape (toggles, K)
        The model's renormalised log-probabilities at the two ends.
    p_reference, p_treated : Tensor, shape (toggles, K)
        The survey's distributions.
    weight : Tensor, shape (toggles,)
        Of each toggle in the mean.

    Returns
    -------
    Tensor, scalar
    """

    def missed(logp: Tensor, p: Tensor) -> Tensor:
        return -logp.gather(-1, p.argmax(dim=-1, keepdim=True)).squeeze(-1)

    return _mean(missed(log_reference, p_reference) + missed(log_treated, p_treated), weight)


def level_kl(
    log_reference: Tensor, log_treated: Tensor, p_reference: Tensor, p_treated: Tensor, weight: Tensor
) -> Tensor:
    """Return the forward Kullback-Leibler divergence, from survey to model.

    sum_k p_k log(p_k / q_k) with p the survey's and q the model's distribution, in nats; options that nobody
    chose add nothing. The mean of a toggle's two ends, averaged over toggles. The objective of SubPOP (Suh et al.
    2025, arXiv 2502.16761).

    Parameters
    ----------
    log_reference, log_treated, p_reference, p_treated, weight : Tensor
        As for `anchor`.

    Returns
    -------
    Tensor, scalar
    """

    def divergence(logq: Tensor, p: Tensor) -> Tensor:
        return (p.xlogy(p) - p * logq).sum(dim=-1)

    return _mean((divergence(log_reference, p_reference) + divergence(log_treated, p_treated)) / 2, weight)


def level_w1(
    log_reference: Tensor, log_treated: Tensor, p_reference: Tensor, p_treated: Tensor, weight: Tensor
) -> Tensor:
    """Return the Wasserstein-1 distance over ordered options, divided by K - 1: 1 - S/100 (paper eq. 15).

    The mean of a toggle's two ends, averaged over toggles.

    Parameters
    ----------
    log_reference, log_treated, p_reference, p_treated, weight : Tensor
        As for `anchor`.

    Returns
    -------
    Tensor, scalar, in [0, 1]
    """
    ends = wasserstein(log_reference.exp(), p_reference) + wasserstein(log_treated.exp(), p_treated)
    return _mean(ends / 2, weight)


def wasserstein(p: Tensor, target: Tensor) -> Tensor:
    """Return W1 / (K - 1) of each pair of distributions, shape (...): the sum of absolute differences of CDFs."""
    return (p - target).cumsum(dim=-1)[..., :-1].abs().sum(dim=-1) / (p.shape[-1] - 1)


def alignment_score(p: Tensor, target: Tensor) -> Tensor:
    """Return S = 100 (1 - W1 / (K - 1)) of each distribution (paper eq. 15), shape (...)."""
    return 100 * (1 - wasserstein(p, target))


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (weight * values).sum() / weight.sum()
