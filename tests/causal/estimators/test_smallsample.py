"""Intervals of adjusted distributions against Newcombe's published ones and ``cell``'s."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from causal.estimators.newcombe import Freedom
from causal.estimators.smallsample import PRIOR, Moments, infer, joined


def independent(p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Covariance of the difference of two independent multinomial shares; p (2, toggles, K), n (2, toggles)."""
    own = (p[..., None] * np.eye(p.shape[-1]) - p[..., None] * p[..., None, :]) / n[..., None, None]
    return own.sum(axis=0)


def two(p: list[list[float]], n: tuple[float, float], times: float = 1.0, freedom: Freedom | None = None) -> Moments:
    """One toggle whose covariance is that of independent cells, times a factor."""
    shares, sizes = np.array(p)[:, None], np.array(n)[:, None]
    return Moments(shares, times * independent(shares, sizes), sizes, freedom)


SCORE = np.array([[0.0, 1.0]])


def test_two_options_are_newcombes_published_interval() -> None:
    # Newcombe (1998), example a, method 10: 56/70 against 48/80 gives .0524 to .3339.
    found = infer(two([[0.4, 0.6], [0.2, 0.8]], (80, 70)), SCORE, np.array([2]), 0.95)
    np.testing.assert_allclose([found.conf_low[0], found.conf_high[0]], [0.0524, 0.3339], atol=5e-5)
    np.testing.assert_allclose([found.effect_low[0, 1], found.effect_high[0, 1]], [0.0524, 0.3339], atol=5e-5)
    np.testing.assert_allclose([found.cdf_low[0, 0], found.cdf_high[0, 0]], [-0.3339, -0.0524], atol=5e-5)
    np.testing.assert_allclose([found.effect_low[0, 0], found.effect_high[0, 0]], [-0.3339, -0.0524], atol=5e-5)
    assert found.cdf_low[0, 1] == found.cdf_high[0, 1] == 0
    assert found.shift[0] == pytest.approx(0.2)
    assert found.std_error[0] == pytest.approx(np.sqrt(0.24 / 80 + 0.16 / 70))
    assert found.p_value[0] < 0.05


def test_a_larger_variance_is_fewer_respondents() -> None:
    p = [[0.4, 0.6], [0.2, 0.8]]
    wide = infer(two(p, (80, 70), times=2.0), SCORE, np.array([2]), 0.95)
    half = infer(two(p, (40, 35)), SCORE, np.array([2]), 0.95)
    np.testing.assert_allclose(
        [wide.conf_low, wide.conf_high, wide.std_error], [half.conf_low, half.conf_high, half.std_error]
    )


def test_a_smaller_variance_is_believed_in_part() -> None:
    p = [[0.4, 0.6], [0.2, 0.8]]
    believed = (150 * 0.5 + PRIOR) / (150 + PRIOR)
    narrow = infer(two(p, (80, 70), times=0.5), SCORE, np.array([2]), 0.95)
    scaled = infer(two(p, (80 / believed, 70 / believed)), SCORE, np.array([2]), 0.95)
    np.testing.assert_allclose([narrow.conf_low, narrow.conf_high], [scaled.conf_low, scaled.conf_high])
    assert narrow.std_error[0] == pytest.approx(np.sqrt(0.5 * (0.24 / 80 + 0.16 / 70)))


def test_few_psus_stretch_the_interval_to_students() -> None:
    p, freedom = [[0.4, 0.6], [0.4, 0.6]], Freedom(np.array([5.0]), np.array([98.0]), np.array([30.0]))
    plain = infer(two(p, (5000, 5000)), SCORE, np.array([2]), 0.95)
    few = infer(two(p, (5000, 5000), freedom=freedom), SCORE, np.array([2]), 0.95)
    assert few.conf_high[0] / plain.conf_high[0] == pytest.approx(t.ppf(0.975, 5) / t.ppf(0.975, 98), rel=1e-3)
    capped = infer(
        two(p, (5000, 5000), freedom=Freedom(np.array([50.0]), np.array([98.0]), np.array([5.0]))),
        SCORE,
        np.array([2]),
        0.95,
    )
    assert capped.conf_high[0] == pytest.approx(few.conf_high[0])
    assert few.wald_p_value[0] == pytest.approx(1)


def test_unanimous_cells_have_an_interval() -> None:
    found = infer(two([[0.0, 1.0], [0.0, 1.0]], (10, 10)), SCORE, np.array([2]), 0.95)
    assert found.conf_low[0] < -0.2
    assert found.conf_high[0] > 0.2
    assert found.std_error[0] == 0


@pytest.mark.parametrize("n", [12, 40, 300])
def test_joint_test_holds_its_level(n: int) -> None:
    rng = np.random.default_rng(n)
    truth, toggles = np.array([0.1, 0.2, 0.4, 0.3]), 4000
    p = rng.multinomial(n, truth, (2, toggles)) / n
    sizes = np.full((2, toggles), float(n))
    score = np.broadcast_to(np.linspace(0, 1, 4), (toggles, 4))
    found = infer(Moments(p, independent(p, sizes), sizes, None), score, np.full(toggles, 4), 0.95)
    assert 0.03 < (found.wald_p_value < 0.05).mean() < 0.062
    assert 0.93 < ((found.conf_low <= 0) & (found.conf_high >= 0)).mean() < 0.97
    rates = ((found.cdf_low <= 0) & (found.cdf_high >= 0))[:, :-1].mean(axis=0)
    assert (rates > 0.93).all()


def test_joined_sets_are_one_after_another() -> None:
    one, other = two([[0.4, 0.6], [0.2, 0.8]], (80, 70)), two([[0.1, 0.9], [0.5, 0.5]], (20, 30))
    both = infer(joined([one, other]), np.repeat(SCORE, 2, axis=0), np.array([2, 2]), 0.95)
    alone = [infer(part, SCORE, np.array([2]), 0.95) for part in (one, other)]
    np.testing.assert_allclose(both.conf_low, np.concatenate([part.conf_low for part in alone]))
    np.testing.assert_allclose(both.wald_statistic, np.concatenate([part.wald_statistic for part in alone]))
