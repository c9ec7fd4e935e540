from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from causal.estimators.learners import Sample, Scores, averaged, fit, two_ends

LEARNERS = ("econml.LinearDML", "econml.CausalForestDML", "econml.DRLearner")


def draw(n: int, confounding: float, seed: int = 0, weights: tuple[int, ...] = (1,)) -> tuple[Sample, np.ndarray]:
    """Return a sample of two contexts with a confounder, and each person's true effects.

    Shares of three options are .2, .3, .5 plus .1 z for the last; at the treated level .1 (context 0) or .25 (context
    1) goes from the first option to the last. z is -1 or 1, and so is what z adds to the log odds of treatment.
    """
    rng = np.random.default_rng(seed)
    context, z = rng.integers(0, 2, n), rng.choice([-1.0, 1.0], n)
    arm = (rng.random(n) < 1 / (1 + np.exp(-confounding * z))).astype(int)
    effect = np.where(context == 1, 0.25, 0.1)[:, None] * np.array([-1.0, 0, 1])
    p = np.array([0.3, 0.3, 0.4]) + 0.1 * z[:, None] * np.array([0, -1, 1]) + arm[:, None] * effect
    option = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    features = np.column_stack([(context - context.mean()) / context.std(), z])
    fold = rng.permutation(n) % 5
    weight = rng.choice(weights, n).astype(float)
    return Sample(np.eye(3)[option], arm, weight, context, context, features, fold), effect


def rows(sample: Sample, which: np.ndarray) -> Sample:
    return Sample(**{name: values[which] for name, values in vars(sample).items()})


def outcome(learner: str, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the contexts' effects and standard errors."""
    scores = fit(learner, sample)
    effect, influence = averaged(scores, sample.weight, sample.context, 2)
    squares = np.array([(influence[sample.context == c] ** 2).sum(axis=0) for c in (0, 1)])
    return effect, np.sqrt(squares)


def test_linear_dml_is_least_squares_where_treatment_is_random_and_contexts_have_their_own_effects():
    sample, _ = draw(4000, 0.0, weights=(1, 2, 3))
    effect, error = outcome("econml.LinearDML", sample)
    for c in (0, 1):
        own = rows(sample, sample.context == c)
        design = sm.add_constant(np.column_stack([own.arm, own.features[:, 1]]))
        for k in range(3):
            plain = sm.WLS(own.y[:, k], design, weights=own.weight).fit(cov_type="HC0")
            assert effect[c, k] == pytest.approx(plain.params[1], abs=plain.bse[1] / 10)
            assert error[c, k] == pytest.approx(plain.bse[1], rel=0.03)


@pytest.mark.parametrize("learner", LEARNERS)
def test_confounding_is_adjusted_for(learner):
    sample, truth = draw(4000, 1.0, seed=1)
    effect, error = outcome(learner, sample)
    for c in (0, 1):
        own = rows(sample, sample.context == c)
        naive = own.y[own.arm == 1].mean(axis=0) - own.y[own.arm == 0].mean(axis=0)
        expected = truth[sample.context == c][0]
        assert naive[2] - expected[2] > 3 * error[c, 2]
        assert np.all(np.abs(effect[c] - expected) < 3.3 * error[c])
        assert error[c] == pytest.approx(np.full(3, 0.022), rel=0.25)
    assert effect.sum(axis=1) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("learner", ["econml.LinearDML", "econml.DRLearner"])
def test_integer_weights_are_copies_of_people(learner):
    sample, _ = draw(600, 0.8, weights=(1, 2, 3))
    copies = rows(sample, np.repeat(np.arange(600), sample.weight.astype(int)))
    weighted, _ = outcome(learner, sample)
    copied, _ = outcome(learner, replace(copies, weight=np.ones(len(copies.arm))))
    ignored, _ = outcome(learner, replace(sample, weight=np.ones(600)))
    assert weighted == pytest.approx(copied, abs=1e-5)
    assert np.abs(ignored - copied).max() > 0.005


def test_a_forest_counts_weights():
    """People with z = 1 answer otherwise, and more so when treated: weights decide how much that counts."""
    rng = np.random.default_rng(2)
    sample, _ = draw(3000, 0.0, seed=3)
    z = sample.features[:, 1]
    moved = (z == 1) & (sample.arm == 1) & (rng.random(3000) < 0.4)
    y = np.where(moved[:, None], np.eye(3)[0], sample.y)
    effects = [
        outcome("econml.CausalForestDML", replace(sample, y=y, weight=np.where(z == 1, heavy, 1.0)))[0][:, 0].mean()
        for heavy in (1.0, 9.0)
    ]
    # .4 of those with z = 1 go to the first option, of whom half of 1 and nine tenths of 10 count
    base = -0.175
    of_one = 0.4 * (1 - (0.3 + base))
    assert effects[0] == pytest.approx(base + 0.5 * of_one, abs=0.05)
    assert effects[1] == pytest.approx(base + 0.9 * of_one, abs=0.05)
    unseen = replace(sample, y=y, weight=np.where(z == 1, 9.0, 1.0), features=sample.features[:, :1])
    assert fit("econml.CausalForestDML", unseen).effect[:, 0].mean() == pytest.approx(base + 0.9 * of_one, abs=0.05)


@pytest.mark.parametrize("learner", ["econml.LinearDML", "econml.DRLearner"])
def test_the_reported_effect_is_the_weighted_average_of_econmls_own(learner):
    sample, _ = draw(500, 0.8, weights=(1, 4))
    scores = fit(learner, sample)
    effect, _ = averaged(scores, sample.weight, sample.context, 2)
    for c in (0, 1):
        own = sample.context == c
        assert effect[c] == pytest.approx(np.average(scores.effect[own], axis=0, weights=sample.weight[own]), abs=1e-9)


def test_a_forests_plain_average_is_drawn_together_and_the_corrected_one_is_not():
    sample, truth = draw(800, 0.0, seed=11)
    scores = fit("econml.CausalForestDML", sample)
    effect, _ = averaged(scores, sample.weight, sample.context, 2)
    plain, _ = averaged(replace(scores, residual=0 * scores.residual), sample.weight, sample.context, 2)
    expected = np.array([truth[sample.context == c][0] for c in (0, 1)])
    assert np.abs(effect - plain).max() > 1e-4
    assert np.ptp(expected[:, 2]) == pytest.approx(0.15)
    assert np.all(np.abs(effect - expected) < 0.12)


def test_averages_by_hand():
    """Context 0: effects .2 and .4 with weights 1 and 3, residuals .1 and -.3, units 1 and 2. Context 2 is empty."""
    scores = Scores(np.array([[0.2], [0.4], [0.7]]), np.array([[0.1], [-0.3], [0.0]]), np.array([1.0, 2.0, 1.0]))
    effect, influence = averaged(scores, np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), 3)
    left = (0.1 - 0.9) / (1 + 6)
    assert effect[:2, 0] == pytest.approx([0.35 + left, 0.7])
    assert np.isnan(effect[2, 0])
    assert influence[:, 0] == pytest.approx(
        [(0.2 - 0.35) / 4 + (0.1 - left) / 7, 3 * ((0.4 - 0.35) / 4 + (-0.3 - 2 * left) / 7), 0]
    )


def test_influence_is_the_derivative_by_the_weight():
    rng = np.random.default_rng(4)
    scores = Scores(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), rng.uniform(0.1, 1, 20))
    weight, context = rng.uniform(0.5, 2, 20), np.arange(20) % 3
    _, influence = averaged(scores, weight, context, 3)
    for i in (0, 7, 19):
        step = np.where(np.arange(20) == i, 1e-6, 0)
        up, down = (averaged(scores, weight + sign * step, context, 3)[0][context[i]] for sign in (1, -1))
        assert weight[i] * (up - down) / 2e-6 == pytest.approx(influence[i], rel=1e-5, abs=1e-8)


def test_two_ends_mix_to_what_is_seen():
    effect, marginal = np.array([[-0.2, 0.05, 0.15]]), np.array([[0.5, 0.3, 0.2]])
    low, high = two_ends(effect, marginal, np.array([0.25]))
    assert low[0] == pytest.approx([0.55, 0.2875, 0.1625])
    assert 0.75 * low + 0.25 * high == pytest.approx(marginal)


def test_two_ends_keep_the_effect_where_a_share_would_be_negative():
    """Nobody chose the second option and all are treated: the reference would be (1.5, -.5)."""
    low, high = two_ends(np.array([[-0.5, 0.5]]), np.array([[1.0, 0.0]]), np.array([1.0]))
    assert low[0] == pytest.approx([1, 0])
    assert high[0] == pytest.approx([0.5, 0.5])


def test_an_effect_that_moves_more_than_everybody_has_no_ends():
    assert np.isnan(two_ends(np.array([[-1.2, 1.2]]), np.array([[0.5, 0.5]]), np.array([0.5]))).all()
    assert np.isnan(two_ends(np.array([[np.nan, np.nan]]), np.array([[0.5, 0.5]]), np.array([0.5]))).all()


@given(arrays(float, (6, 4), elements=st.floats(0, 1)), arrays(float, 6, elements=st.floats(0, 1)), st.data())
def test_two_ends_are_distributions_that_differ_by_the_effect(raw, share, data):
    marginal, one, other = (
        (values + 1e-3) / (values + 1e-3).sum(axis=1, keepdims=True)
        for values in (raw, *(data.draw(arrays(float, (6, 4), elements=st.floats(0, 1))) for _ in range(2)))
    )
    low, high = two_ends(other - one, marginal, share)
    for p in (low, high):
        assert p.sum(axis=1) == pytest.approx(1)
        assert p.min() > -1e-12
    assert high - low == pytest.approx(other - one)
