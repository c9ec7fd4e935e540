"""Intervals and tests for two adjusted distributions, of which the covariance of their difference is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

from causal.estimators.newcombe import Difference, Freedom
from causal.estimators.result import Estimates
from causal.estimators.wald import Shares, Wald, wald

PRIOR = 20.0
"""Respondents that count for adjustment leaving the variance as it is, when it makes an interval narrower."""
PSEUDO_COUNT = 1.0
"""Respondents added, spread evenly over the options, when the variance of an ordered answer is estimated."""
_NOTHING = 1e-12


@dataclass(frozen=True)
class Moments:
    """What is known of a set of toggles before any interval.

    Attributes
    ----------
    p : ndarray, shape (2, toggles, options)
        Distributions at the reference and at the treated level.
    covariance : ndarray, shape (toggles, options, options)
        Covariance of their difference.
    n_eff : ndarray, shape (2, toggles)
        Effective respondents that each rests on.
    freedom : Freedom, optional
        Degrees of freedom of the covariance, where the survey has PSUs.
    """

    p: np.ndarray
    covariance: np.ndarray
    n_eff: np.ndarray
    freedom: Freedom | None


def joined(parts: Sequence[Moments]) -> Moments:
    """Put sets of toggles one after another."""
    freedoms = [part.freedom for part in parts if part.freedom is not None]
    return Moments(
        np.concatenate([part.p for part in parts], axis=1),
        np.concatenate([part.covariance for part in parts]),
        np.concatenate([part.n_eff for part in parts], axis=1),
        Freedom(*(np.concatenate([getattr(one, item.name) for one in freedoms]) for item in fields(Freedom)))
        if freedoms
        else None,
    )


def infer(moments: Moments, score: np.ndarray, options: np.ndarray, confidence: float) -> Estimates:
    """Give each toggle its intervals and tests.

    They are those of two independent cells (`causal.estimators.newcombe`), made so large that their difference has
    the variance that was found. A variance *below* that of two cells of ``n_eff`` respondents is believed in part, the
    more the more respondents there are; the more so as few PSUs leave it uncertain.

    Parameters
    ----------
    moments : Moments
        Distributions and their covariance.
    score : ndarray, shape (toggles, options)
        Score (k-1)/(K-1) of each option.
    options : ndarray of int, shape (toggles,)
        Number of options K.
    confidence : float
        Level of the intervals.
    """
    p, tail = moments.p, (1 + confidence) / 2
    z, stretch = float(norm.ppf(tail)), _stretch(moments.freedom, tail)
    variance = np.einsum("tk,tkj,tj->t", score, moments.covariance, score)
    mean = (p * score).sum(axis=-1)
    spread = (p * score**2).sum(axis=-1) - mean**2
    shift = _difference(
        mean, spread, moments.n_eff / _spread_ratio(moments, score, options), variance, moments, stretch
    )
    low, high = shift.interval(z)
    effect, cdf = (_proportions(moments, options, cumulated, stretch, z) for cumulated in (False, True))
    test = _test(moments)
    return Estimates(
        p_reference=p[0],
        p_treated=p[1],
        shift=mean[1] - mean[0],
        std_error=np.sqrt(np.maximum(variance, 0)),
        conf_low=low,
        conf_high=high,
        p_value=shift.p_value(z),
        effect_low=effect[0],
        effect_high=effect[1],
        cdf_low=cdf[0],
        cdf_high=cdf[1],
        wald_statistic=test.statistic,
        wald_df=test.df,
        wald_p_value=test.p_value,
    )


def _stretch(freedom: Freedom | None, tail: float) -> np.ndarray | float:
    """Return how much wider Student's quantile is with the clusters' degrees of freedom than without clusters."""
    if freedom is None:
        return 1.0
    clustered = np.minimum(freedom.clustered, freedom.limit)
    return np.maximum(stdtrit(clustered, tail) / stdtrit(freedom.plain, tail), 1.0)


def _spread_ratio(moments: Moments, score: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the variance of an ordered answer over that of a proportion with the same mean, at most 1."""
    n = moments.n_eff[..., None]
    inside = np.arange(score.shape[1]) < options[:, None]
    smoothed = (moments.p * n + np.where(inside, PSEUDO_COUNT / options[:, None], 0)) / (n + PSEUDO_COUNT)
    centre = (smoothed * score).sum(axis=-1)
    spread = (smoothed * score**2).sum(axis=-1) - centre**2
    n = moments.n_eff
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(spread / (centre * (1 - centre)) * np.where(n > 1, n / (n - 1), np.inf), 1.0)


def _difference(
    mean: np.ndarray,
    spread: np.ndarray,
    size: np.ndarray,
    variance: np.ndarray,
    moments: Moments,
    stretch: np.ndarray | float,
) -> Difference:
    """Scale the sizes of two cells to the variance of their difference."""
    n = moments.n_eff.reshape(*moments.n_eff.shape, *(1,) * (mean.ndim - 2))
    plain, total = (spread / n).sum(axis=0), n.sum(axis=0)
    ratio = np.divide(variance, plain, out=np.ones_like(plain), where=plain > _NOTHING)
    ratio = np.where(ratio < 1, (total * ratio + PRIOR) / (total + PRIOR), ratio)
    size = size / (ratio * np.square(stretch))
    return Difference(mean[0], mean[1], size[0], size[1], 0.0)


def _proportions(
    moments: Moments, options: np.ndarray, cumulated: bool, stretch: np.ndarray | float, z: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of all options' effects, or of all cumulative shifts; 0 from the last of those on."""
    covariance = moments.covariance.cumsum(axis=1).cumsum(axis=2) if cumulated else moments.covariance
    share = np.clip(moments.p.cumsum(axis=-1), 0, 1) if cumulated else moments.p
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    stretch = np.reshape(stretch, (-1, 1))
    found = _difference(share, share * (1 - share), moments.n_eff[..., None], variance, moments, stretch)
    inside = np.arange(share.shape[-1]) < options[:, None] - cumulated
    low, high = (np.where(inside, bound, 0.0) for bound in found.interval(z))
    return low, high


def _test(moments: Moments) -> Wald:
    """Test that no share changes; what the covariance holds beyond two independent cells is laid half on each."""
    independent = [
        (p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]) / n[:, None, None]
        for p, n in zip(moments.p, moments.n_eff, strict=True)
    ]
    excess = (moments.covariance - independent[0] - independent[1]) / 2
    low, high = (
        Shares(p, own + excess, 1 / n, n, moments.freedom)
        for p, own, n in zip(moments.p, independent, moments.n_eff, strict=True)
    )
    return wald(low, high)
