"""Small-cell intervals for the difference of two means in [0, 1]: Wilson's for each, joined (Newcombe's method)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

FARTHEST = 40.0
"""Largest z that is looked at; its tail is smaller than any number that doubles hold."""


@dataclass(frozen=True)
class Mean:
    """Means of answers scored in [0, 1], one or several for each toggle; arrays that broadcast to one shape.

    Attributes
    ----------
    mean, variance : ndarray
        Mean and its linearised variance.
    plain : ndarray
        What the variance would be if the answers were independent, by n_eff.
    n : ndarray
        Respondents of a proportion as well known as this mean would be if the answers were independent.
    """

    mean: np.ndarray
    variance: np.ndarray
    plain: np.ndarray
    n: np.ndarray

    @property
    def widened(self) -> np.ndarray:
        """The larger of the two variances: a ratio below 1 is more often luck than stratification."""
        return np.maximum(self.variance, self.plain)

    @property
    def wilson_n(self) -> np.ndarray:
        """Respondents that Wilson's interval is taken at."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.n / np.where(self.plain > 0, np.maximum(self.variance / self.plain, 1.0), 1.0)


@dataclass(frozen=True)
class Difference:
    """The difference of two means, with what its interval needs.

    Attributes
    ----------
    a, b : ndarray
        The two means; the difference is ``b - a``.
    n_a, n_b : ndarray
        Respondents that Wilson's intervals are taken at.
    rho : ndarray or float
        Correlation of the two means.
    """

    a: np.ndarray
    b: np.ndarray
    n_a: np.ndarray
    n_b: np.ndarray
    rho: np.ndarray | float

    def interval(self, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Join the two Wilson intervals by the method of variance estimates recovery."""
        low_a, high_a = wilson(self.a, self.n_a, z)
        low_b, high_b = wilson(self.b, self.n_b, z)
        shift = self.b - self.a
        low = shift - _joined(self.b - low_b, high_a - self.a, self.rho)
        high = shift + _joined(high_b - self.b, self.a - low_a, self.rho)
        return low, high

    def p_value(self, declared: float) -> np.ndarray:
        """Find the z at which the interval just reaches 0; its two-sided tail is the p-value.

        It is never on the other side of the declared z than the declared interval's verdict on 0.
        """
        from scipy.optimize.elementwise import find_root

        shift = self.b - self.a
        low, high = self.interval(declared)
        excluded = (low > 0) | (high < 0)
        fixed = np.broadcast_arrays(self.a, self.b, self.n_a, self.n_b, self.rho)
        ends = np.zeros_like(shift), np.full_like(shift, FARTHEST)
        found = find_root(_distance, ends, args=tuple(fixed), tolerances={"xatol": 1e-9, "xrtol": 1e-9})
        z = np.where(found.success, found.x, np.where(shift == 0, 0.0, FARTHEST))
        z = np.where(excluded, np.maximum(z, declared), np.minimum(z, declared))
        return np.where(np.isnan(shift), np.nan, 2 * norm.sf(z))


def _distance(z: np.ndarray, *fixed: np.ndarray) -> np.ndarray:
    """Return how far the interval's nearer end is from 0, negative once it is beyond; one toggle per element."""
    found = Difference(*fixed)
    low, high = found.interval(z)
    return np.where(found.b >= found.a, low, -high)


def difference(a: Mean, b: Mean, covariance: np.ndarray | float, stretch: np.ndarray | float) -> Difference:
    """Return the difference ``b - a`` of two means with a covariance, each interval ``stretch`` times as wide."""
    squared = np.square(stretch)
    return Difference(a.mean, b.mean, a.wilson_n / squared, b.wilson_n / squared, _correlation(covariance, a, b))


@dataclass(frozen=True)
class Freedom:
    """Degrees of freedom of a mean's variance: with its clusters, without them, and those that no contrast exceeds."""

    clustered: np.ndarray
    plain: np.ndarray
    limit: np.ndarray

    def at(self, there: np.ndarray) -> Freedom:
        """Return those of some of the means."""
        return Freedom(self.clustered[there], self.plain[there], self.limit[there])


def joint_freedom(variance_a: np.ndarray, variance_b: np.ndarray, a: Freedom, b: Freedom) -> tuple[np.ndarray, ...]:
    """Return the degrees of freedom of a difference (Welch and Satterthwaite), with clusters and without."""
    clustered = np.minimum(welch(variance_a, variance_b, a.clustered, b.clustered), a.limit)
    return clustered, welch(variance_a, variance_b, a.plain, b.plain)


def student_stretch(a: Mean, b: Mean, freedom_a: Freedom, freedom_b: Freedom, tail: float) -> np.ndarray:
    """Return how much wider Student's quantile is with the design's degrees of freedom than without clusters."""
    clustered, plain = joint_freedom(a.widened, b.widened, freedom_a, freedom_b)
    return np.maximum(stdtrit(clustered, tail) / stdtrit(plain, tail), 1.0)


def welch(variance_a: np.ndarray, variance_b: np.ndarray, df_a: np.ndarray, df_b: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of a sum of two variances (Satterthwaite)."""
    total = variance_a + variance_b
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = total**2 / (variance_a**2 / df_a + variance_b**2 / df_b)
    return np.where(total > 0, joint, np.minimum(df_a, df_b))


def _correlation(covariance: np.ndarray | float, a: Mean, b: Mean) -> np.ndarray | float:
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


def wilson(mean: np.ndarray, n: np.ndarray, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    share = np.square(z) / n
    centre = (mean + share / 2) / (1 + share)
    half = np.sqrt(share) * np.sqrt(np.maximum(mean * (1 - mean), 0) + share / 4) / (1 + share)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _joined(one: np.ndarray, other: np.ndarray, rho: np.ndarray | float) -> np.ndarray:
    """Return the square root of ``one**2 + other**2 - 2 * rho * one * other``."""
    return np.sqrt(np.square(one - rho * other) + (1 - np.square(rho)) * np.square(other))
