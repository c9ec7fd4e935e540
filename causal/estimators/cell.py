"""The ``cell`` estimator: the contrast of two cells' answer distributions, with small-cell intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

PSEUDO_COUNT = 1.0
"""Respondents added, spread evenly over the options, when a cell's variance ratio is estimated."""


@dataclass(frozen=True)
class CellDesign:
    """What strata and PSUs do to cells.

    Attributes
    ----------
    variance, df : ndarray, shape (...)
        Variance of the mean score, and its degrees of freedom.
    df_limit : ndarray, shape (...)
        Degrees of freedom of the country's whole design, which no contrast exceeds.
    """

    variance: np.ndarray
    df: np.ndarray
    df_limit: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Aligned arrays of cells: ``p`` and ``v`` of shape (..., K), ``n`` and ``n_eff`` of shape (...)."""

    p: np.ndarray
    v: np.ndarray
    n: np.ndarray
    n_eff: np.ndarray
    design: CellDesign | None = None


@dataclass(frozen=True)
class Contrast:
    """Shift of each toggle with its uncertainty; every array has the cells' leading shape."""

    shift: np.ndarray
    std_error: np.ndarray
    conf_low: np.ndarray
    conf_high: np.ndarray
    p_value: np.ndarray


def contrast(
    reference: Cells,
    treated: Cells,
    score: np.ndarray,
    options: np.ndarray,
    confidence: float,
    covariance: np.ndarray | float = 0.0,
) -> Contrast:
    """Estimate the shift between two sets of cells.

    The standard error is the Taylor-linearised one of two domain means. The interval joins one Wilson score
    interval per cell by the method of variance estimates recovery (Newcombe 1998, Statistics in Medicine 17, 873;
    with a correlation, Zou and Donner 2008, ibid. 27, 1693). Wilson's interval is for a proportion; an ordered
    answer's mean score m has variance r * m * (1 - m) with r <= 1, so its interval is Wilson's at n_eff / r,
    r taken from the distribution smoothed by one pseudo-respondent and scaled by n / (n - 1). Where the
    linearised variance exceeds what n_eff says, n_eff is divided by their ratio, and clusters widen the normal
    quantile to Student's (after Korn and Graubard 1998, Survey Methodology 24, 193). The p-value is one minus
    the largest confidence at which the interval leaves out 0.

    Parameters
    ----------
    reference, treated : Cells
        The two ends of each toggle.
    score : ndarray, broadcastable to ``p``
        Score (k-1)/(K-1) of each option.
    options : ndarray, broadcastable to ``n``
        Number of options K.
    confidence : float
        Level of the interval.
    covariance : ndarray or float
        Covariance of the two mean scores, where the cells share PSUs or strata.

    Returns
    -------
    Contrast
        NaN where one of the two cells is empty.
    """
    a, b = _mean(reference, score, options), _mean(treated, score, options)
    if reference.design is not None and treated.design is not None:
        stretch = _stretch(reference, treated, a.widened, b.widened, (1 + confidence) / 2)
        a, b = (replace(cell, wilson_n=cell.wilson_n / stretch**2) for cell in (a, b))
    shift = b.mean - a.mean
    variance = np.maximum(a.variance + b.variance - 2 * covariance, 0)
    rho = _correlation(covariance, a, b)
    z = float(norm.ppf((1 + confidence) / 2))
    low, high = _interval(a, b, rho, z)
    return Contrast(shift, np.sqrt(variance), low, high, _p_value(a, b, rho, z))


@dataclass(frozen=True)
class _Mean:
    mean: np.ndarray
    variance: np.ndarray
    plain: np.ndarray  # what the variance would be if the answers were independent, by n_eff
    widened: np.ndarray  # the larger of the two
    wilson_n: np.ndarray


def _mean(cells: Cells, score: np.ndarray, options: np.ndarray) -> _Mean:
    mean = (cells.p * score).sum(axis=-1)
    deviation = (score - mean[..., None]) ** 2
    design = cells.design
    variance = (cells.v * deviation).sum(axis=-1) if design is None else design.variance
    plain = (cells.p * deviation).sum(axis=-1) * cells.v.sum(axis=-1)
    n = np.where(cells.n_eff > 0, cells.n_eff, np.nan)
    inside = np.arange(score.shape[-1]) < options[..., None]
    smoothed = (cells.p * n[..., None] + np.where(inside, PSEUDO_COUNT / options[..., None], 0)) / (
        n[..., None] + PSEUDO_COUNT
    )
    centre = (smoothed * score).sum(axis=-1)
    spread = (smoothed * (score - centre[..., None]) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = spread / (centre * (1 - centre)) * np.where(n > 1, n / (n - 1), np.inf)
        excess = np.where(plain > 0, np.maximum(variance / plain, 1.0), 1.0)
    wilson_n = n / np.minimum(ratio, 1.0) / excess
    return _Mean(mean, variance, plain, np.maximum(variance, plain), wilson_n)


def _stretch(a: Cells, b: Cells, variance_a: np.ndarray, variance_b: np.ndarray, tail: float) -> np.ndarray:
    """Return how much wider Student's quantile is with the design's degrees of freedom than without clusters."""
    assert a.design is not None
    assert b.design is not None
    clustered = _joint_df(variance_a, variance_b, a.design.df, b.design.df)
    plain = _joint_df(variance_a, variance_b, np.maximum(a.n - 1, 1), np.maximum(b.n - 1, 1))
    return np.maximum(stdtrit(np.minimum(clustered, a.design.df_limit), tail) / stdtrit(plain, tail), 1.0)


def _joint_df(variance_a: np.ndarray, variance_b: np.ndarray, df_a: np.ndarray, df_b: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of a difference (Welch and Satterthwaite)."""
    total = variance_a + variance_b
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = total**2 / (variance_a**2 / df_a + variance_b**2 / df_b)
    return np.where(total > 0, joint, np.minimum(df_a, df_b))


def _correlation(covariance: np.ndarray | float, a: _Mean, b: _Mean) -> np.ndarray | float:
    """Return the correlation of two means.

    What two cells share may take back what clusters added to their variances, and no more: with few PSUs a
    correlation near 1 is often luck, and the interval would shrink to nothing.
    """
    if np.ndim(covariance) == 0 and not covariance:
        return 0.0
    added = (a.widened - a.plain + b.widened - b.plain) / 2
    product = a.widened * b.widened
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(product > 0, np.clip(np.minimum(covariance, added) / np.sqrt(product), -1, 1), 0.0)


def _wilson(cell: _Mean, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    share = np.square(z) / cell.wilson_n
    centre = (cell.mean + share / 2) / (1 + share)
    half = np.sqrt(share) * np.sqrt(np.maximum(cell.mean * (1 - cell.mean), 0) + share / 4) / (1 + share)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _interval(a: _Mean, b: _Mean, rho: np.ndarray | float, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    (low_a, high_a), (low_b, high_b) = _wilson(a, z), _wilson(b, z)
    shift = b.mean - a.mean
    low = shift - _joined(b.mean - low_b, high_a - a.mean, rho)
    high = shift + _joined(high_b - b.mean, a.mean - low_a, rho)
    return low, high


def _joined(one: np.ndarray, other: np.ndarray, rho: np.ndarray | float) -> np.ndarray:
    """Return the square root of ``one**2 + other**2 - 2 * rho * one * other``."""
    return np.sqrt(np.square(one - rho * other) + (1 - np.square(rho)) * np.square(other))


def _p_value(a: _Mean, b: _Mean, rho: np.ndarray | float, declared: float) -> np.ndarray:
    """Find by bisection the z at which the interval just reaches 0; its two-sided tail is the p-value.

    The search starts from the declared z, so that both always agree on whether 0 is left out.
    """
    shift = b.mean - a.mean
    inner, outer = np.zeros_like(shift), np.full_like(shift, 40.0)
    z = np.full_like(shift, declared)
    for _ in range(50):
        low, high = _interval(a, b, rho, z)
        excluded = (low > 0) | (high < 0)
        inner, outer = np.where(excluded, z, inner), np.where(excluded, outer, z)
        z = (inner + outer) / 2
    return np.where(np.isnan(shift), np.nan, 2 * norm.sf(inner))
