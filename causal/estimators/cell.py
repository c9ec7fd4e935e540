"""The ``cell`` estimator: the contrast of two cells' answer distributions, with small-cell intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

PSEUDO_COUNT = 1.0
"""Respondents added, spread evenly over the options, when a cell's variance ratio is estimated."""


@dataclass(frozen=True)
class Cells:
    """Aligned arrays of cells: ``p`` and ``v`` of shape (..., K), ``n`` and ``n_eff`` of shape (...)."""

    p: np.ndarray
    v: np.ndarray
    n: np.ndarray
    n_eff: np.ndarray


@dataclass(frozen=True)
class Contrast:
    """Shift of each toggle with its uncertainty; every array has the cells' leading shape."""

    shift: np.ndarray
    std_error: np.ndarray
    conf_low: np.ndarray
    conf_high: np.ndarray
    p_value: np.ndarray


def contrast(reference: Cells, treated: Cells, score: np.ndarray, options: np.ndarray, confidence: float) -> Contrast:
    """Estimate the shift between two sets of cells.

    The standard error is the Taylor-linearised one of two independent domain means. The interval joins one
    Wilson score interval per cell by the method of variance estimates recovery (Newcombe 1998, Statistics in
    Medicine 17, 873; Zou and Donner 2008, ibid. 27, 1693). Wilson's interval is for a proportion; an ordered
    answer's mean score m has variance r * m * (1 - m) with r <= 1, so its interval is Wilson's at n_eff / r,
    r taken from the distribution smoothed by one pseudo-respondent and scaled by n / (n - 1). The p-value is
    one minus the largest confidence at which the interval leaves out 0.

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

    Returns
    -------
    Contrast
        NaN where one of the two cells is empty.
    """
    a, b = _mean(reference, score, options), _mean(treated, score, options)
    shift = b.mean - a.mean
    low, high = _interval(a, b, norm.ppf((1 + confidence) / 2))
    return Contrast(shift, np.sqrt(a.variance + b.variance), low, high, _p_value(a, b))


@dataclass(frozen=True)
class _Mean:
    mean: np.ndarray
    variance: np.ndarray
    wilson_n: np.ndarray


def _mean(cells: Cells, score: np.ndarray, options: np.ndarray) -> _Mean:
    mean = (cells.p * score).sum(axis=-1)
    variance = (cells.v * (score - mean[..., None]) ** 2).sum(axis=-1)
    n = np.where(cells.n_eff > 0, cells.n_eff, np.nan)
    inside = np.arange(score.shape[-1]) < options[..., None]
    smoothed = (cells.p * n[..., None] + np.where(inside, PSEUDO_COUNT / options[..., None], 0)) / (
        n[..., None] + PSEUDO_COUNT
    )
    centre = (smoothed * score).sum(axis=-1)
    spread = (smoothed * (score - centre[..., None]) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = spread / (centre * (1 - centre)) * np.where(n > 1, n / (n - 1), np.inf)
    return _Mean(mean, variance, n / np.minimum(ratio, 1.0))


def _wilson(cell: _Mean, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    share = np.square(z) / cell.wilson_n
    centre = (cell.mean + share / 2) / (1 + share)
    half = np.sqrt(share) * np.sqrt(np.maximum(cell.mean * (1 - cell.mean), 0) + share / 4) / (1 + share)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _interval(a: _Mean, b: _Mean, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    (low_a, high_a), (low_b, high_b) = _wilson(a, z), _wilson(b, z)
    shift = b.mean - a.mean
    low = shift - np.hypot(b.mean - low_b, high_a - a.mean)
    high = shift + np.hypot(high_b - b.mean, a.mean - low_a)
    return low, high


def _p_value(a: _Mean, b: _Mean) -> np.ndarray:
    """Find by bisection the z at which the interval just reaches 0; its two-sided tail is the p-value."""
    shift = b.mean - a.mean
    inner, outer = np.zeros_like(shift), np.full_like(shift, 40.0)
    for _ in range(50):
        z = (inner + outer) / 2
        low, high = _interval(a, b, z)
        excluded = (low > 0) | (high < 0)
        inner, outer = np.where(excluded, z, inner), np.where(excluded, outer, z)
    return np.where(np.isnan(shift), np.nan, 2 * norm.sf(inner))
