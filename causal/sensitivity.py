"""How strong an unmeasured confounder would have to be to explain an effect away."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import t as student

PER_STANDARD_DEVIATION = 0.91
"""Log risk ratio that stands for one standard deviation of the answer (VanderWeele & Ding 2017)."""
MOST_TIMES = 100.0
"""Multiples of a benchmark beyond which nothing more is said than that they are many."""


def e_value(risk_ratio: ArrayLike) -> np.ndarray:
    """Return the E-value of a risk ratio.

    The smallest risk ratio that a confounder must have with both the attribute and the answer, beyond what is adjusted
    for, to explain the association away: ``RR + sqrt(RR * (RR - 1))`` for RR >= 1, that of 1/RR below
    (VanderWeele & Ding 2017, Annals of Internal Medicine 167, 268).

    Parameters
    ----------
    risk_ratio : array_like
        Positive.
    """
    above = np.asarray(risk_ratio, dtype=float)
    above = np.maximum(above, 1 / above)
    return above + np.sqrt(above * (above - 1))


def risk_ratio(shift: ArrayLike, deviation: ArrayLike) -> np.ndarray:
    """Return the risk ratio that a shift stands for, ``exp(0.91 * shift / deviation)`` (ibid.).

    Parameters
    ----------
    shift : array_like
        Shift of the mean score.
    deviation : array_like
        Standard deviation of the score.
    """
    return np.exp(PER_STANDARD_DEVIATION * np.asarray(shift, dtype=float) / np.asarray(deviation, dtype=float))


def partial_r2(t: ArrayLike, dof: ArrayLike) -> np.ndarray:
    """Return the partial R2 of a regressor with t statistic ``t`` and residual degrees of freedom ``dof``."""
    square = np.square(np.asarray(t, dtype=float))
    return square / (square + np.asarray(dof, dtype=float))


def robustness_value(t: ArrayLike, dof: ArrayLike, alpha: float | None = None) -> np.ndarray:
    """Return the robustness value of a regression coefficient.

    The share of the residual variance of both the attribute and the answer that a confounder must explain to bring the
    estimate to 0, or with ``alpha`` its interval of level 1 - alpha to hold 0 (Cinelli & Hazlett 2020, JRSS B 82, 39,
    equations 16 and 18).

    Parameters
    ----------
    t, dof : array_like
        t statistic of the attribute and residual degrees of freedom.
    alpha : float, optional
        Two-sided level of the test.
    """
    dof = np.asarray(dof, dtype=float)
    f = np.abs(np.asarray(t, dtype=float)) / np.sqrt(dof)
    if alpha is None:
        return _robustness(f)
    critical = student.ppf(1 - alpha / 2, dof - 1) / np.sqrt(dof - 1)
    inner = _robustness(np.maximum(f - critical, 0))
    outer = (f**2 - critical**2) / (1 + f**2)
    return np.where(f * critical > 1, np.maximum(outer, inner), inner)


def _robustness(f: np.ndarray) -> np.ndarray:
    return (np.sqrt(f**4 + 4 * f**2) - f**2) / 2


def times_as_strong(attribute_r2: float, answer_r2: float, f: float) -> float:
    """Return how many times as strong as a benchmark covariate a confounder must be to bring an estimate to 0.

    Strength is the variance explained of the attribute and of the answer, each relative to the benchmark (Cinelli &
    Hazlett 2020, section 4.4, with equal multiples for both).

    Parameters
    ----------
    attribute_r2 : float
        Partial R2 of the benchmark with the attribute, given the other covariates.
    answer_r2 : float
        Partial R2 of the benchmark with the answer, given the attribute and the other covariates.
    f : float
        Cohen's partial f of the attribute with the answer, ``abs(t) / sqrt(dof)``.

    Returns
    -------
    float
        Infinite if no multiple up to `MOST_TIMES`, or that the benchmark's own strength allows, is enough.
    """
    if attribute_r2 <= 0 or answer_r2 <= 0:
        return np.inf
    limit = min(MOST_TIMES, (1 - attribute_r2) / attribute_r2 * (1 - 1e-9))
    if _bias(limit, attribute_r2, answer_r2) < f:
        return np.inf
    return float(brentq(lambda k: _bias(k, attribute_r2, answer_r2) - f, 1e-12, limit))


def _bias(k: float, attribute_r2: float, answer_r2: float) -> float:
    """Bias over the standard error times sqrt(dof), for a confounder k times as strong as the benchmark."""
    with_attribute = k * attribute_r2 / (1 - attribute_r2)
    with_benchmark = min(k * attribute_r2**2 / ((1 - k * attribute_r2) * (1 - attribute_r2)), 1 - 1e-12)
    eta = (np.sqrt(k) + np.sqrt(with_benchmark)) / np.sqrt(1 - with_benchmark)
    with_answer = min(eta**2 * answer_r2 / (1 - answer_r2), 1.0)
    return float(np.sqrt(with_answer * with_attribute / (1 - with_attribute)))
