"""Critical values of empirical Bayes intervals that cover on average whatever the effects' distribution.

Armstrong, Kolesar and Plagborg-Moller (2022), Robust empirical Bayes confidence intervals, Econometrica 90, 2567.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import norm

_LENGTHS = np.concatenate([np.linspace(1.0, 6.0, 101), np.geomspace(6.2, 150.0, 50)])
_MOMENTS = np.geomspace(1e-4, 100.0, 61)
_KURTOSES = np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 25.0, 50.0, 150.0, 500.0, 1e9])


def critical_value(moment: np.ndarray, kurtosis: np.ndarray, confidence: float) -> np.ndarray:
    """Return the half-length, in noise standard deviations, that covers on average over any effects.

    An estimate is off by noise, standard normal after scaling, plus a shrinkage bias b whose distribution over
    the toggles is unknown but for E[b**2] and the kurtosis. The value is the smallest c with
    P(abs(b + Z) > c) <= 1 - confidence for every such distribution (cva in the paper's equation 6), read off a
    table linear in log E[b**2] and 1 / kurtosis.

    Parameters
    ----------
    moment : ndarray
        E[b**2], the ratio of squared bias to noise variance; 100 at most, scaled beyond that.
    kurtosis : ndarray, broadcastable
        E[b**4] / E[b**2]**2, at least 1; may be infinite.
    confidence : float
        Average coverage to hold.
    """
    moment, kurtosis = np.broadcast_arrays(np.asarray(moment, float), np.maximum(kurtosis, 1.0))
    x = np.interp(np.log(np.clip(moment, _MOMENTS[0], _MOMENTS[-1])), np.log(_MOMENTS), np.arange(len(_MOMENTS)))
    y = np.interp(-1 / kurtosis, -1 / _KURTOSES, np.arange(len(_KURTOSES)))
    i, j = np.minimum(x.astype(int), len(_MOMENTS) - 2), np.minimum(y.astype(int), len(_KURTOSES) - 2)
    s, t, table = x - i, y - j, _table(confidence)
    low = (1 - t) * table[i, j] + t * table[i, j + 1]
    high = (1 - t) * table[i + 1, j] + t * table[i + 1, j + 1]
    return ((1 - s) * low + s * high) * np.sqrt(np.maximum(moment / _MOMENTS[-1], 1.0))


@lru_cache(maxsize=8)
def _table(confidence: float) -> np.ndarray:
    """Critical values by moment and kurtosis, from the largest non-coverage at each length."""
    worst = np.stack([_worst_non_coverage(c) for c in _LENGTHS])
    worst = np.minimum.accumulate(worst, axis=0)
    table = np.empty(worst.shape[1:])
    for place in np.ndindex(table.shape):
        column = np.log(worst[(slice(None), *place)])
        table[place] = np.exp(np.interp(-np.log(1 - confidence), -column, np.log(_LENGTHS)))
    return np.maximum.accumulate(table, axis=1)


def _worst_non_coverage(length: float) -> np.ndarray:
    """Bound the non-coverage over all bias distributions with given moments, shape (moments, kurtoses).

    A parabola in b**2 that touches the non-coverage at one point and lies above it everywhere bounds its mean;
    the bound is the least over the points of contact (the dual of the linear programme over distributions).
    """
    at = _grid(length, 120, 161)
    value, slope = _non_coverage(at, length)
    t = np.concatenate([[0.0], _grid(length, 240, 321)])
    gap = t - at[:, None]
    excess = _non_coverage(t, length)[0] - value[:, None] - gap * slope[:, None]
    excess[excess < 1e-12] = 0.0  # rounding, which a large kurtosis would blow up
    near = np.abs(gap) < 1e-3 * at[:, None] + 1e-9
    curve = np.maximum(np.where(near, -np.inf, excess / np.where(near, 1.0, gap**2)).max(axis=1), 0.0)
    off = _MOMENTS[:, None] - at
    fixed = value + off * slope + off**2 * curve
    spread = (_KURTOSES - 1)[None, :, None] * (_MOMENTS**2)[:, None, None] * curve
    # Straight lines with the same slopes, lifted until they lie above: they use no kurtosis.
    lifted = (_non_coverage(t, length)[0] - slope[:, None] * t).max(axis=1) + _MOMENTS[:, None] * slope
    bound = np.minimum((fixed[:, None] + spread).min(axis=-1), lifted.min(axis=1)[:, None])
    return np.clip(bound, 1e-300, 1.0)


def _grid(length: float, coarse: int, fine: int) -> np.ndarray:
    """Values of b**2, closest together where b is about the length and non-coverage rises from 0 to 1."""
    near = np.maximum(length + np.linspace(-6, 6, fine), 1e-3)
    return np.unique(np.concatenate([np.geomspace(1e-5, (3 * length + 10) ** 2, coarse), near**2]))


def _non_coverage(t: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """P(abs(Z + sqrt(t)) > length) and its derivative in t."""
    b = np.sqrt(t)
    value = norm.cdf(-length - b) + norm.cdf(b - length)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (norm.pdf(b - length) - norm.pdf(b + length)) / (2 * b)
    return value, slope
