"""Pooled shifts against statsmodels, matrix algebra and hand-worked shrinkage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from causal.estimators.pooled import (
    UNIT_RESPONDENTS,
    Components,
    components,
    noise_variance,
    posterior,
    tilted,
)
from causal.estimators.robust import critical_value


def known(question: float, context: float, question_kurtosis: float = 3.0, context_kurtosis: float = 3.0) -> Components:
    """Components without uncertainty."""
    return Components(question, context, np.array([question]), np.array([context]), question_kurtosis, context_kurtosis)


def test_context_variance_is_paule_and_mandels() -> None:
    from statsmodels.stats import meta_analysis as meta

    rng = np.random.default_rng(0)
    noise = rng.uniform(0.002, 0.02, 30)
    shift = rng.normal(0.1, np.sqrt(noise + 0.01))
    expected = meta.combine_effects(shift, noise, method_re="iterated", atol=1e-12).tau2
    found = components(shift, noise, np.zeros(30, dtype=int))
    assert expected > 0.001
    assert found.context == pytest.approx(expected, rel=1e-6)


def test_draws_are_quantiles_of_the_posterior() -> None:
    # Equal noise v, one question: density of t = sd is (v + t**2)**(-(n - 1) / 2) exp(-S / (2 (v + t**2))) on [0, 1].
    shift = np.array([-0.3, -0.1, 0.05, 0.2, 0.4])
    found = components(shift, np.full(5, 0.01), np.zeros(5, dtype=int))
    squares = ((shift - shift.mean()) ** 2).sum()

    def density(t: float) -> float:
        return (0.01 + t**2) ** -2 * np.exp(-squares / (2 * (0.01 + t**2)))

    whole = quad(density, 0, 1)[0]
    for j in (0, 5, 12, 20, 24):
        below = quad(density, 0, np.sqrt(found.context_draws[j]))[0] / whole
        assert below == pytest.approx((j + 0.5) / 25, abs=2e-3)
    assert found.context == pytest.approx(squares / 4 - 0.01)


def test_question_draws_are_quantiles_of_the_posterior() -> None:
    # One toggle per question, mean 0 known: density (v + t**2)**(-n / 2) exp(-sum(y**2) / (2 (v + t**2))).
    shift = np.array([-0.3, -0.1, 0.05, 0.2, 0.4])
    found = components(shift, np.full(5, 0.01), np.arange(5))

    def density(t: float) -> float:
        return (0.01 + t**2) ** -2.5 * np.exp(-(shift**2).sum() / (2 * (0.01 + t**2)))

    whole = quad(density, 0, 1)[0]
    below = [quad(density, 0, t)[0] / whole for t in np.sqrt(np.sort(found.question_draws))]
    np.testing.assert_allclose(below, (np.arange(25) + 0.5) / 25, atol=2e-3)


def test_nothing_seen_is_not_nothing_there() -> None:
    # All shifts 0: the estimates are 0, yet the intervals are not empty.
    noise, group = np.full(12, 0.01), np.repeat(np.arange(3), 4)
    found = components(np.zeros(12), noise, group)
    assert (found.question, found.context) == (0, 0)
    pooled = posterior(np.zeros(12), noise, group, found, 0.95)
    assert (pooled.conf_high - pooled.conf_low > 0.05).all()


def test_question_variance_by_hand() -> None:
    # One toggle per question: no context variance can be seen, and mean(y**2) = noise + variance.
    shift = np.array([0.3, -0.1, 0.2, -0.4])
    found = components(shift, np.full(4, 0.01), np.arange(4))
    assert found.context == 0
    assert not found.context_draws.any()
    assert found.question == pytest.approx((0.09 + 0.01 + 0.04 + 0.16) / 4 - 0.01)


def test_components_of_a_large_simulation() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(600), 12)
    noise = rng.uniform(0.001, 0.01, len(group))
    truth = rng.normal(0, 0.08, 600)[group] + rng.normal(0, 0.04, len(group))
    found = components(rng.normal(truth, np.sqrt(noise)), noise, group)
    assert found.question**0.5 == pytest.approx(0.08, rel=0.12)
    assert found.context**0.5 == pytest.approx(0.04, rel=0.08)
    assert found.question_kurtosis == pytest.approx(3, abs=0.8)
    assert found.context_kurtosis == pytest.approx(3, abs=0.8)
    assert np.mean(found.context_draws) == pytest.approx(found.context, rel=0.05)


def test_kurtosis_of_few_large_effects() -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(1500), 10)
    context = np.where(rng.random(len(group)) < 0.1, rng.choice([-0.2, 0.2], len(group)), 0)  # kurtosis 1 / .1
    noise = np.full(len(group), 0.002)
    found = components(rng.normal(context, np.sqrt(noise)), noise, group)
    assert found.context_kurtosis == pytest.approx(10, rel=0.15)


def test_shrinkage_by_hand() -> None:
    # Noise .01, context .01, question .01: each shift keeps half; the mean .2 of the two has variance .01, so it is
    # halved to .1 with variance .005. .5 * .1 + .5 * .1 = .1 and .5 * .3 + .5 * .1 = .2; variance .005 + .25 * .005.
    found = posterior(np.array([0.1, 0.3]), np.full(2, 0.01), np.zeros(2, dtype=int), known(0.01, 0.01), 0.95)
    np.testing.assert_allclose(found.shift, [0.1, 0.2])
    np.testing.assert_allclose(found.std_error, np.sqrt(0.00625))


def test_posterior_equals_the_normal_model_in_matrices() -> None:
    rng = np.random.default_rng(3)
    group = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    noise, shift = rng.uniform(0.002, 0.02, 9), rng.normal(0, 0.2, 9)
    question, context = 0.012, 0.004
    effects = context * np.eye(9) + question * (group[:, None] == group)
    keep = effects @ np.linalg.inv(effects + np.diag(noise))
    rest = keep - np.eye(9)
    noisy, left = np.diag(keep @ np.diag(noise) @ keep.T), np.diag(rest @ effects @ rest.T)
    by_question = np.stack([rest[:, group == g].sum(axis=1) for g in range(3)], axis=1)
    fourth = 4 * context**2 * (rest**4).sum(axis=1) + 7 * question**2 * (by_question**4).sum(axis=1)
    found = posterior(shift, noise, group, known(question, context, 10.0, 7.0), 0.95)
    np.testing.assert_allclose(found.shift, keep @ shift)
    np.testing.assert_allclose(found.std_error**2, np.diag(effects - keep @ effects))
    half = critical_value(left / noisy, 3 + fourth / left**2, 0.95) * np.sqrt(noisy)
    np.testing.assert_allclose(found.conf_high - found.shift, half, rtol=1e-9)
    np.testing.assert_allclose(found.shift - found.conf_low, half, rtol=1e-9)


def test_uncertain_components_add_their_share() -> None:
    # Two draws of the context variance, 0 and so large that nothing is shrunk: estimates 0 and the shift itself.
    shift, noise = np.array([0.2]), np.array([0.01])
    draws = Components(0.0, 0.0, np.array([0.0, 0.0]), np.array([0.0, 1e9]), 3.0, 3.0)
    found = posterior(shift, noise, np.zeros(1, dtype=int), draws, 0.95)
    assert found.shift[0] == pytest.approx(0.1)
    assert found.std_error[0] ** 2 == pytest.approx(0.01 / 2 + 0.1**2)  # mean variance, and variance of the two


def test_no_noise_no_shrinkage() -> None:
    shift = np.array([0.1, -0.2, 0.3])
    found = posterior(shift, np.full(3, 1e-12), np.zeros(3, dtype=int), known(0.01, 0.01), 0.95)
    np.testing.assert_allclose(found.shift, shift, atol=1e-8)


def test_noise_of_a_unanimous_cell_is_borrowed_by_hand() -> None:
    # Two toggles of 10 against 10: variance .02 and 0. Per respondent .02 * 5 * 10/9 = 1/9 and 0, on average 1/18.
    found = noise_variance(np.array([np.sqrt(0.02), 0.0]), np.full((2, 2), 10.0), np.zeros(2, dtype=int))
    own, prior = 18 / (18 + UNIT_RESPONDENTS), UNIT_RESPONDENTS / (18 + UNIT_RESPONDENTS)
    np.testing.assert_allclose(found, [(own / 9 + prior / 18) / 5, prior / 18 / 5])


def test_noise_is_the_squared_standard_error_in_large_cells() -> None:
    error = np.array([0.01, 0.02, 0.015])
    found = noise_variance(error, np.full((3, 2), 1e5), np.arange(3))
    np.testing.assert_allclose(found, error**2, rtol=1e-4)


def test_noise_is_never_zero() -> None:
    assert (noise_variance(np.zeros(4), np.full((4, 2), 10.0), np.array([0, 0, 1, 1])) > 0).all()


def test_noise_is_unbiased_at_ten_respondents() -> None:
    rng = np.random.default_rng(4)
    p, n = 0.3, 10
    share = rng.binomial(n, p, (40_000, 2)) / n
    error = np.sqrt((share * (1 - share) / n).sum(axis=1))
    found = noise_variance(error, np.full((40_000, 2), float(n)), np.zeros(40_000, dtype=int))
    assert found.mean() == pytest.approx(2 * p * (1 - p) / n, rel=0.01)


def test_tilted_distributions_have_the_shift_and_move_the_smaller_cell_more() -> None:
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    q = np.array([[0.4, 0.4, 0.2], [1.0, 0.0, 0.0]])
    sizes = np.array([[10.0, 1000.0], [10.0, 12.0]])
    score, target = np.array([0, 0.5, 1]), np.array([-0.1, 0.2])
    a, b = tilted(p, q, sizes, score, target)
    np.testing.assert_allclose((b - a) @ score, target, atol=1e-9)
    np.testing.assert_allclose([a.sum(axis=1), b.sum(axis=1)], 1)
    assert np.abs(a[0] - p[0]).sum() > 20 * np.abs(b[0] - q[0]).sum()
    # exponential in the score: after smoothing, the log ratio to the raw distribution is linear
    smooth = (p[0] * 10 + 1 / 3) / 11
    assert np.diff(np.log(a[0] / smooth), 2) == pytest.approx([0], abs=1e-9)


def test_tilted_by_nothing_is_only_smoothed() -> None:
    p, q = np.array([[0.3, 0.7]]), np.array([[0.6, 0.4]])
    sizes = np.array([[9.0, 9.0]])
    a, b = tilted(p, q, sizes, np.array([0.0, 1.0]), np.array([(0.4 - 0.7) * 0.9]))
    np.testing.assert_allclose(a, [[0.32, 0.68]])  # (9 * .3 + .5) / 10
    np.testing.assert_allclose(b, [[0.59, 0.41]])


def test_cells_of_one_respondent_have_a_finite_variance() -> None:
    """With effects.support 1: nothing is known of any variance, and that is no reason to fail."""
    found = noise_variance(np.zeros(2), np.ones((2, 2)), np.zeros(2, dtype=int))
    assert np.isfinite(found).all()
    assert (found > 0).all()
