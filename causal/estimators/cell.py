"""The ``cell`` estimator: the contrast of two cells' answer distributions, with small-cell intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from causal.estimators.newcombe import Difference, Freedom, Mean, difference, student_stretch
from causal.estimators.result import Estimates
from causal.estimators.wald import Shares, wald
from causal.linearisation import quadratic

PSEUDO_COUNT = 1.0
"""Respondents added, spread evenly over the options, when a cell's variance ratio is estimated."""


@dataclass(frozen=True)
class CellDesign:
    """What strata and PSUs do to cells.

    Attributes
    ----------
    covariance : ndarray, shape (toggles, K, K)
        Covariance of the shares.
    df : ndarray, shape (toggles,)
        Degrees of freedom of the covariance.
    df_limit : ndarray, shape (toggles,)
        Degrees of freedom of the country's whole design, which no contrast exceeds.
    """

    covariance: np.ndarray
    df: np.ndarray
    df_limit: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Aligned arrays of cells: ``p`` and ``v`` of shape (toggles, K), ``n`` and ``n_eff`` of shape (toggles,)."""

    p: np.ndarray
    v: np.ndarray
    n: np.ndarray
    n_eff: np.ndarray
    design: CellDesign | None = None

    @property
    def covariance(self) -> np.ndarray:
        """Linearised covariance of the shares, shape (toggles, K, K)."""
        if self.design is not None:
            return self.design.covariance
        p, v, total = self.p, self.v, self.v.sum(axis=-1)[:, None, None]
        outer = v[:, :, None] * p[:, None, :]
        own = v[:, :, None] * np.eye(p.shape[-1])
        return own - outer - outer.swapaxes(1, 2) + total * p[:, :, None] * p[:, None, :]

    @property
    def freedom(self) -> Freedom | None:
        """Degrees of freedom under the design, None without one."""
        if self.design is None:
            return None
        return Freedom(self.design.df, np.maximum(self.n_eff - 1, 1), self.design.df_limit)


def contrast(
    reference: Cells,
    treated: Cells,
    score: np.ndarray,
    options: np.ndarray,
    confidence: float,
    crossed: np.ndarray | None = None,
) -> Estimates:
    """Estimate effect, CDF shift and shift between two sets of cells, and test whether any share changes.

    The standard error is the Taylor-linearised one of two domain means. The interval joins one Wilson score
    interval per cell by the method of variance estimates recovery (Newcombe 1998, Statistics in Medicine 17, 873;
    with a correlation, Zou and Donner 2008, ibid. 27, 1693). Wilson's interval is for a proportion, as a share or
    a cumulative share of a cell is; an ordered answer's mean score m has variance r * m * (1 - m) with r <= 1, so its
    interval is Wilson's at n_eff / r, r taken from the distribution smoothed by one pseudo-respondent and scaled by
    n / (n - 1). Where the linearised variance exceeds what n_eff says, n_eff is divided by their ratio, and clusters
    widen the normal quantile to Student's (after Korn and Graubard 1998, Survey Methodology 24, 193), for all of a
    toggle's intervals as much as for its shift's. The p-value is
    one minus the largest confidence at which the shift's interval leaves out 0. See `causal.estimators.wald` for
    the joint test.

    Parameters
    ----------
    reference, treated : Cells
        The two ends of each toggle.
    score : ndarray, broadcastable to ``p``
        Score (k-1)/(K-1) of each option.
    options : ndarray, shape (toggles,)
        Number of options K.
    confidence : float
        Level of the intervals.
    crossed : ndarray, shape (toggles, K, K), optional
        Covariance C of the two cells' shares, as (C + C') / 2, where they share PSUs or strata.

    Returns
    -------
    Estimates
        NaN where one of the two cells is empty.
    """
    found = _compared(reference, treated, score, options, confidence, crossed)
    ends, z = found.ends, found.z
    low, high = found.difference.interval(z)
    effect, cdf = (_proportions(ends, crossed, options, z, found.stretch, cumulated) for cumulated in (False, True))
    test = wald(ends[0].shares, ends[1].shares, 0.0 if crossed is None else crossed)
    return Estimates(
        p_reference=reference.p,
        p_treated=treated.p,
        shift=found.shift,
        std_error=found.std_error,
        conf_low=low,
        conf_high=high,
        p_value=found.difference.p_value(z),
        effect_low=effect[0],
        effect_high=effect[1],
        cdf_low=cdf[0],
        cdf_high=cdf[1],
        wald_statistic=test.statistic,
        wald_df=test.df,
        wald_p_value=test.p_value,
    )


@dataclass(frozen=True)
class Shifts:
    """Shifts alone, with standard errors and intervals, each of shape (toggles,)."""

    shift: np.ndarray
    std_error: np.ndarray
    low: np.ndarray
    high: np.ndarray


def shifts(
    reference: Cells,
    treated: Cells,
    score: np.ndarray,
    options: np.ndarray,
    confidence: float,
    crossed: np.ndarray | None = None,
) -> Shifts:
    """Return the shifts of `contrast`, without all that takes longer; parameters are the same."""
    found = _compared(reference, treated, score, options, confidence, crossed)
    return Shifts(found.shift, found.std_error, *found.difference.interval(found.z))


@dataclass(frozen=True)
class _Compared:
    """The two ends of toggles, and the difference of their mean scores."""

    ends: tuple[_End, _End]
    z: float
    stretch: np.ndarray | float
    difference: Difference
    shift: np.ndarray
    std_error: np.ndarray


def _compared(
    reference: Cells,
    treated: Cells,
    score: np.ndarray,
    options: np.ndarray,
    confidence: float,
    crossed: np.ndarray | None,
) -> _Compared:
    ends = _End(reference, reference.covariance), _End(treated, treated.covariance)
    tail = (1 + confidence) / 2
    a, b = (_scored(end, score, options) for end in ends)
    covariance = 0.0 if crossed is None else quadratic(crossed, score)
    stretch = _stretch(ends, (a, b), tail)
    error = np.sqrt(np.maximum(a.variance + b.variance - 2 * covariance, 0))
    return _Compared(
        ends, float(norm.ppf(tail)), stretch, difference(a, b, covariance, stretch), b.mean - a.mean, error
    )


@dataclass(frozen=True)
class _End:
    """One end of the toggles, with its covariance worked out once."""

    cells: Cells
    covariance: np.ndarray

    @property
    def n(self) -> np.ndarray:
        return np.where(self.cells.n_eff > 0, self.cells.n_eff, np.nan)

    @property
    def unit(self) -> np.ndarray:
        return self.cells.v.sum(axis=-1)

    @property
    def shares(self) -> Shares:
        return Shares(self.cells.p, self.covariance, self.unit, self.n, self.cells.freedom)


def _scored(end: _End, score: np.ndarray, options: np.ndarray) -> Mean:
    p, n = end.cells.p, end.n
    mean = (p * score).sum(axis=-1)
    plain = (p * (score - mean[:, None]) ** 2).sum(axis=-1) * end.unit
    inside = np.arange(score.shape[-1]) < options[:, None]
    smoothed = (p * n[:, None] + np.where(inside, PSEUDO_COUNT / options[:, None], 0)) / (n[:, None] + PSEUDO_COUNT)
    centre = (smoothed * score).sum(axis=-1)
    spread = (smoothed * (score - centre[:, None]) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = spread / (centre * (1 - centre)) * np.where(n > 1, n / (n - 1), np.inf)
    return Mean(mean, np.maximum(quadratic(end.covariance, score), 0), plain, n / np.minimum(ratio, 1.0))


def _stretch(ends: tuple[_End, ...], means: tuple[Mean, Mean], tail: float) -> np.ndarray | float:
    a, b = (end.cells.freedom for end in ends)
    return 1.0 if a is None or b is None else student_stretch(*means, a, b, tail)


def _proportions(
    ends: tuple[_End, ...],
    crossed: np.ndarray | None,
    options: np.ndarray,
    z: float,
    stretch: np.ndarray | float,
    cumulated: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of all options' effects, or of all cumulative shifts; 0 from the last of those on."""
    a, b = (_shares(end, cumulated) for end in ends)
    covariance = 0.0 if crossed is None else _variances(crossed, cumulated)
    bounds = difference(a, b, covariance, np.reshape(stretch, (-1, 1))).interval(z)
    inside = np.arange(a.mean.shape[1]) < options[:, None] - cumulated
    low, high = (np.where(inside | np.isnan(bound), bound, 0.0) for bound in bounds)
    return low, high


def _shares(end: _End, cumulated: bool) -> Mean:
    p = np.clip(end.cells.p.cumsum(axis=1), 0, 1) if cumulated else end.cells.p
    variance = np.maximum(_variances(end.covariance, cumulated), 0)
    return Mean(p, variance, p * (1 - p) * end.unit[:, None], end.n[:, None])


def _variances(covariance: np.ndarray, cumulated: bool) -> np.ndarray:
    """Return the diagonal of a covariance of shares, or of cumulative shares."""
    matrix = covariance.cumsum(axis=1).cumsum(axis=2) if cumulated else covariance
    return np.diagonal(matrix, axis1=1, axis2=2)
