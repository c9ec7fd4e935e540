"""The joint test of a toggle: does any option's share change?

The statistic is the Wald statistic ``d' C^- d`` of the effect d, whose covariance has a row sum of 0. C is the
covariance that d has if both cells answer alike, inflated by the mean generalised design effect. An estimated
covariance would not do: a cell of ten leaves options empty, and few PSUs leave directions without variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, gammaincc

from causal.estimators.newcombe import Freedom, joint_freedom

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Shares:
    """The shares of one end of each toggle.

    Attributes
    ----------
    p : ndarray, shape (toggles, options)
        Share of each option; NaN where nobody answered.
    covariance : ndarray, shape (toggles, options, options)
        Linearised covariance of the shares.
    unit : ndarray, shape (toggles,)
        What ``p * (1 - p)`` is multiplied with for a share's variance if answers are independent.
    n : ndarray, shape (toggles,)
        Effective respondents.
    freedom : Freedom, optional
        Degrees of freedom of the covariance under a design.
    """

    p: np.ndarray
    covariance: np.ndarray
    unit: np.ndarray
    n: np.ndarray
    freedom: Freedom | None


@dataclass(frozen=True)
class Wald:
    """Statistic, degrees of freedom and p-value of each toggle, each of shape (toggles,)."""

    statistic: np.ndarray
    df: np.ndarray
    p_value: np.ndarray


def wald(a: Shares, b: Shares, crossed: np.ndarray | float = 0.0) -> Wald:
    """Test whether two cells answer alike.

    With p the pooled shares of N effective respondents, d has the covariance ``c * (diag(p) - p p')``,
    ``c = N / (N - 1) * (1/n_a + 1/n_b)``, over all ways to deal the answers to the two cells. Without weights or design
    the statistic is therefore Pearson's times (N - 1)/N. Sparse options spread it more than chi-squared does, so its
    exact variance over these deals (Dawson 1954, Biometrika 41, 280) sets the shape of a gamma distribution.

    Under a design the eigenvalues of the covariance in these units, the generalised design effects, are no longer 1.
    Their mean, not below 1, divides the statistic, their spread takes degrees of freedom away (Rao and Scott 1984,
    Annals of Statistics 12, 46, second order), and the degrees of freedom lost to clusters make it an F (Thomas and
    Rao 1987, JASA 82, 630).

    Parameters
    ----------
    a, b : Shares
        The two ends of each toggle.
    crossed : ndarray, shape (toggles, options, options), or float
        Covariance C of the ends' shares, as (C + C') / 2.

    Returns
    -------
    Wald
        ``df`` is the rank: the options that anybody chose, less one. Where that is 0 the statistic is 0 and the
        p-value 1. NaN where a cell is empty.
    """
    total = a.n + b.n
    p = (a.p * a.n[:, None] + b.p * b.n[:, None]) / total[:, None]
    chosen = p > 0
    rank = np.where(np.isnan(p).any(axis=1), np.nan, chosen.sum(axis=1) - 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = (1 / a.n + 1 / b.n) * total / (total - 1)
        inverse = np.where(chosen, 1 / p, 0.0)
        pearson = ((b.p - a.p) ** 2 * inverse).sum(axis=1) / unit
        effects = _design_effects(a, b, crossed, inverse, unit, rank)
        shape = _shape(a.n, b.n, rank, np.where(chosen, np.maximum(p * total[:, None], 1.0), np.inf))
        shape = shape / effects.spread
        tail = _tail(pearson / effects.mean / rank, 2 * shape, 2 * shape * effects.df)
    settled = (rank == 0) | np.isinf(shape)
    return Wald(
        np.where(rank == 0, 0.0, pearson / effects.mean), rank, np.where(settled, 1.0, np.where(rank > 0, tail, np.nan))
    )


@dataclass(frozen=True)
class _Effects:
    """Generalised design effects: their mean, 1 plus their squared coefficient of variation, and what knows them."""

    mean: np.ndarray
    spread: np.ndarray
    df: np.ndarray


def _design_effects(
    a: Shares, b: Shares, crossed: np.ndarray | float, inverse: np.ndarray, unit: np.ndarray, rank: np.ndarray
) -> _Effects:
    """Return what weights, strata and PSUs do, beyond n_eff, to the covariance of the effect.

    Eigenvalues are 1 plus those of the excess over independent answers, each cell's at its own shares: with the
    excess at the pooled shares, a cell of ten whose answers happen to agree would seem to have little variance.
    """
    roots = np.sqrt(inverse)
    scale = roots[:, :, None] * roots[:, None, :] / unit[:, None, None]
    excess = (a.covariance + b.covariance - 2 * crossed - _independent(a) - _independent(b)) * scale
    trace = np.trace(excess, axis1=1, axis2=2)
    mean = np.maximum(1 + trace / rank, 1.0)
    squares = 1 + (2 * trace + (excess**2).sum(axis=(1, 2))) / rank
    spread = np.clip(squares / mean**2, 1.0, rank)
    if a.freedom is None or b.freedom is None:
        return _Effects(mean, spread, np.full(len(rank), np.inf))
    one, other = (np.maximum(_weighed(x.covariance, inverse), _weighed(_independent(x), inverse)) for x in (a, b))
    clustered, plain = joint_freedom(one, other, a.freedom, b.freedom)
    lost = 1 / clustered - 1 / plain
    return _Effects(mean, spread, np.where(lost > _ROUNDING, 1 / lost, np.inf))


def _independent(cell: Shares) -> np.ndarray:
    """Return the covariance of shares if the answers are independent."""
    return cell.unit[:, None, None] * (
        cell.p[:, :, None] * np.eye(cell.p.shape[1]) - cell.p[:, :, None] * cell.p[:, None, :]
    )


def _weighed(covariance: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    return (np.diagonal(covariance, axis1=1, axis2=2) * inverse).sum(axis=1)


def _shape(a: np.ndarray, b: np.ndarray, rank: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the gamma shape, squared mean over variance of Pearson's statistic in a table with these margins.

    ``counts`` are those of the options in both cells, infinite for options that nobody chose. The shape is infinite
    where the margins leave one value only.
    """
    total, options = a + b, rank + 1
    less = np.maximum(total - 2, 1.0)
    cells_free, options_free = (total - 2) / (total - 1), rank * (total - options) / (total - 1)
    cells_sparse = np.maximum(total / a + total / b - 4, 0) / less
    options_sparse = np.maximum((total[:, None] / counts).sum(axis=1) - options**2, 0) / less
    variance = 2 * total / np.maximum(total - 3, 1.0) * (cells_free - cells_sparse) * (options_free - options_sparse)
    variance = np.maximum(variance, 0) + total**2 / (total - 1) * cells_sparse * options_sparse
    mean = total / (total - 1) * rank
    return np.where(variance > _ROUNDING, mean**2 / variance, np.inf)


def _tail(ratio: np.ndarray, df: np.ndarray, df_below: np.ndarray) -> np.ndarray:
    """Return the upper tail of Fisher's F; where ``df_below`` is infinite, of chi-squared over its df."""
    finite = np.where(np.isfinite(df_below), df_below, 1.0)
    fisher = betainc(finite / 2, df / 2, finite / (finite + df * ratio))
    return np.where(np.isfinite(df_below), fisher, gammaincc(df / 2, ratio * df / 2))
