"""Against published figures and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest

from causal.sensitivity import e_value, partial_r2, risk_ratio, robustness_value, times_as_strong

DARFUR = (4.18445, 783)  # t statistic and degrees of freedom of direct harm (Cinelli & Hazlett 2020, table 1)


@pytest.mark.parametrize(("ratio", "published"), [(3.9, 7.263), (1.8, 3.0), (1.0, 1.0), (1 / 3.9, 7.263)])
def test_e_value_as_published(ratio: float, published: float) -> None:
    assert e_value(ratio) == pytest.approx(published, abs=5e-4)


def test_risk_ratio_of_one_standard_deviation() -> None:
    assert risk_ratio([0.0, 0.2, -0.2], 0.2) == pytest.approx([1, np.exp(0.91), np.exp(-0.91)])


def test_darfur_as_published() -> None:
    assert partial_r2(*DARFUR) == pytest.approx(0.0219, abs=5e-5)
    assert robustness_value(*DARFUR) == pytest.approx(0.1388, abs=5e-5)
    assert robustness_value(*DARFUR, alpha=0.05) == pytest.approx(0.0763, abs=5e-5)


def test_an_insignificant_estimate_needs_no_confounder() -> None:
    assert robustness_value(1.5, 500, alpha=0.05) == 0
    assert robustness_value(1.5, 500) > 0


def test_robustness_value_is_where_the_bias_equals_the_estimate() -> None:
    # A confounder that explains RV of both moves the estimate by se * sqrt(dof * RV * RV / (1 - RV)).
    t, dof = np.array([0.5, 2.0, 9.0]), np.array([50, 300, 2000])
    value = robustness_value(t, dof)
    assert np.sqrt(dof * value**2 / (1 - value)) == pytest.approx(t)


def test_a_confounder_as_strong_as_the_one_left_out_explains_the_whole_estimate() -> None:
    """Simulate an answer that the attribute does not move: what confounds it is x and, exactly as strong, z."""
    rng = np.random.default_rng(8)
    n = 400_000
    x, z = rng.normal(size=(2, n))
    a = 0.5 * x + 0.5 * z + rng.normal(size=n)
    y = 0.4 * x + 0.4 * z + rng.normal(size=n)
    design = np.column_stack([np.ones(n), a, x])
    estimate = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ estimate
    inverse = np.linalg.inv(design.T @ design)
    t = estimate / np.sqrt(residual.var() * np.diag(inverse))
    with_attribute = np.corrcoef(a, x)[0, 1] ** 2
    times = times_as_strong(with_attribute, float(partial_r2(t[2], n - 3)), abs(t[1]) / np.sqrt(n - 3))
    assert times == pytest.approx(1.0, abs=0.05)


def test_a_benchmark_that_explains_nothing_bounds_nothing() -> None:
    assert times_as_strong(0.0, 0.1, 0.2) == np.inf
    assert times_as_strong(1e-9, 1e-9, 5.0) == np.inf


def test_three_times_as_strong_as_female_in_darfur_as_published() -> None:
    # Cinelli & Hazlett 2020, table 1 and figure 2: a confounder three times as strong as female (.0091 of direct harm,
    # .1090 of the attitude) leaves .0304 of the estimate .0973 with standard error .0233.
    taken = (0.0973 - 0.0304) / (0.0233 * np.sqrt(783))
    assert times_as_strong(0.00908, 0.1090, taken) == pytest.approx(3, abs=0.02)
