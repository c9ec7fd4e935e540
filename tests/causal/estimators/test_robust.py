"""Robust critical values against a linear programme over all bias distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, linprog
from scipy.stats import norm

from causal.estimators.robust import critical_value


def non_coverage(b: np.ndarray, length: float) -> np.ndarray:
    return norm.cdf(-length - b) + norm.cdf(b - length)


def worst(length: float, moment: float, kurtosis: float) -> float:
    """Largest mean non-coverage over distributions on a fine grid of |b|."""
    b = np.linspace(0, 6 + 3 * length + 3 * np.sqrt(moment * kurtosis), 3000)
    found = linprog(
        -non_coverage(b, length),
        A_ub=[b**4 / moment**2],
        b_ub=[kurtosis * (1 + 1e-4)],
        A_eq=[np.ones_like(b), b**2 / moment],
        b_eq=[1, 1],
        method="highs",
    )
    return -found.fun


@pytest.mark.parametrize("moment", [0.03, 0.4, 1.0, 3.0, 12.0, 60.0])
@pytest.mark.parametrize("kurtosis", [3.0, 4.4, 9.0, 30.0])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_worst_distribution_is_covered_as_often_as_said(moment: float, kurtosis: float, confidence: float) -> None:
    length = float(critical_value(np.array(moment), np.array(kurtosis), confidence))
    missed = worst(length, moment, kurtosis)
    assert missed <= (1 - confidence) * 1.03
    assert missed >= (1 - confidence) * 0.9


@pytest.mark.parametrize("moment", [0.1, 1.0, 9.0])
def test_without_a_bound_on_kurtosis_two_points_are_worst(moment: float) -> None:
    # Armstrong et al., proposition 3.1: mass at 0 and at one other point t = b**2, with mean E[b**2].
    def missed(length: float) -> float:
        t = np.geomspace(moment, 3000, 200_000)
        return float(np.max((1 - moment / t) * 2 * norm.sf(length) + moment / t * non_coverage(np.sqrt(t), length)))

    expected = brentq(lambda length: missed(length) - 0.05, 1.9, 40)
    found = critical_value(np.array(moment), np.array(np.inf), 0.95)
    assert 0.998 * expected <= found <= 1.04 * expected


def test_without_bias_it_is_the_normal_quantile() -> None:
    assert critical_value(np.array(0.0), np.array(3.0), 0.95) == pytest.approx(norm.ppf(0.975), abs=1e-3)
    assert critical_value(np.array(0.0), np.array(3.0), 0.8) == pytest.approx(norm.ppf(0.9), abs=1e-3)


def test_it_grows_with_bias_and_kurtosis_and_exceeds_the_normal_answer() -> None:
    moment = np.geomspace(1e-3, 300, 40)
    values = np.stack([critical_value(moment, np.array(k), 0.95) for k in (3, 5, 20, 1e6)])
    assert (np.diff(values, axis=1) > 0).all()
    assert (np.diff(values, axis=0) > -1e-9).all()
    assert (values[0] >= norm.ppf(0.975) * np.sqrt(1 + moment) - 2e-3).all()
