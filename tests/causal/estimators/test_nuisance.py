"""Folds, propensities and outcome models against scikit-learn's own regressions and saturated rates."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from causal.estimators.nuisance import BOUND, RIDGE, folds, levelled, outcomes, propensities


def test_folds_hold_both_arms_in_like_shares() -> None:
    arm = np.repeat([0, 1], [200, 50])
    fold = folds(arm, None)
    assert fold is not None
    np.testing.assert_array_equal(np.bincount(fold), 50)
    np.testing.assert_array_equal(np.bincount(fold, arm), 10)
    np.testing.assert_array_equal(fold, folds(arm, None))  # seeded


def test_folds_keep_psus_whole() -> None:
    rng = np.random.default_rng(0)
    psu, arm = rng.integers(0, 20, 400), rng.integers(0, 2, 400)
    fold = folds(arm, psu)
    assert fold is not None
    assert len(np.unique(psu * 10 + fold)) == 20
    assert np.bincount(fold).min() > 40


@pytest.mark.parametrize(
    ("arm", "psu"),
    [
        ([0] * 20 + [1], None),  # one person
        ([0] * 20, None),
        ([0] * 10 + [1] * 10, [0] * 10 + [1] * 10),  # each level in one PSU
    ],
)
def test_no_folds_where_one_level_has_too_few(arm: list[int], psu: list[int] | None) -> None:
    assert folds(np.array(arm), None if psu is None else np.array(psu)) is None


def test_two_people_at_a_level_make_two_folds() -> None:
    fold = folds(np.array([0] * 20 + [1, 1]), None)
    assert fold is not None
    assert fold.max() == 1
    assert fold[-1] != fold[-2]


def test_propensities_are_the_weighted_rates_of_the_other_folds() -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    x, w, fold = rng.integers(0, 2, n), rng.uniform(0.5, 2, n), rng.integers(0, 4, n)
    arm = (rng.random(n) < np.where(x == 1, 0.7, 0.2)).astype(int)
    found = propensities((x[:, None] - x.mean()) / x.std(), arm, w, fold)
    for i in range(4):
        for value in (0, 1):
            rest, own = (fold != i) & (x == value), (fold == i) & (x == value)
            rate = np.average(arm[rest], weights=w[rest])
            np.testing.assert_allclose(found.value[own], rate, atol=5e-4)  # the ridge counts for ten people
    assert not found.bounded.any()


def test_propensities_without_features_and_at_the_bound() -> None:
    arm, fold = np.array([0, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    weight = np.array([1.0, 2, 1, 1, 1, 1])
    np.testing.assert_allclose(propensities(np.empty((6, 0)), arm, weight, fold).value, [2 / 3] * 3 + [3 / 4] * 3)
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, (2000, 1))
    arm = (rng.random(2000) < 1 / (1 + np.exp(-3 * x[:, 0]))).astype(int)
    found = propensities(x, arm, np.ones(2000), rng.integers(0, 3, 2000))
    assert found.value.min() == BOUND
    assert found.value.max() == 1 - BOUND
    assert 0 < found.bounded.mean() < 0.5
    np.testing.assert_array_equal(found.bounded, (found.value == BOUND) | (found.value == 1 - BOUND))


def test_levelled_propensities_have_the_shares_of_their_folds() -> None:
    """Fold 0 has 8 of 10 at the level and was predicted by fold 1, where 1 of 10 is."""
    arm, fold = np.array([1] * 8 + [0] * 2 + [1] + [0] * 9), np.repeat([0, 1], 10)
    raw = np.where(fold == 0, 0.1, 0.8)
    found = levelled(raw, arm, np.ones(20), fold)
    np.testing.assert_allclose(found, np.where(fold == 0, (8 + 0.45) / 11, (1 + 0.45) / 11))
    rng = np.random.default_rng(6)
    raw, weight = rng.uniform(0.05, 0.95, 20), rng.uniform(0.5, 2, 20)
    found, overall = levelled(raw, arm, weight, fold), np.average(arm, weights=weight)
    for i in (0, 1):
        own = fold == i
        goal = (weight[own] @ arm[own] + overall) / (weight[own].sum() + 1)
        assert np.average(found[own], weights=weight[own]) == pytest.approx(goal)
        ratio = found[own] / (1 - found[own]) / (raw[own] / (1 - raw[own]))
        np.testing.assert_allclose(ratio, ratio[0])  # the odds of a fold change by one factor


def test_a_fold_without_the_level_is_levelled_and_predicted() -> None:
    arm, fold = np.array([1, 1, 0, 0, 0, 0]), np.repeat([0, 1], 3)
    raw = np.array([0.4, 0.3, 0.2, 0.4, 0.3, 0.2])
    assert levelled(raw, arm, np.ones(6), fold)[3:].mean() == pytest.approx((1 / 3) / 4)
    y = np.array([[0.2, 0.4, 0.9, 0.1, 0.5, 0.6]])[:, :, None]
    found = outcomes(np.empty((6, 0)), y, np.ones((6, 1)), arm, fold)
    np.testing.assert_allclose(found[1, 0, 3:, 0], 0.3)  # those at the level, all in the other fold


def test_outcomes_are_scikit_learns_ridge_of_each_level_fold_and_question() -> None:
    rng = np.random.default_rng(3)
    n, questions, options = 240, 3, 4
    x, y = rng.normal(0, 1, (n, 5)), rng.random((options, n, questions))
    weight = rng.uniform(0.5, 2, (n, questions)) * (rng.random((n, questions)) < 0.8)
    arm, fold = rng.integers(0, 2, n), rng.integers(0, 3, n)
    found = outcomes(x, y, weight, arm, fold)
    for a in (0, 1):
        for i in range(3):
            train, out = (arm == a) & (fold != i), fold == i
            for q in range(questions):
                model = Ridge(alpha=RIDGE).fit(x[train], y[:, train, q].T, weight[train, q])
                np.testing.assert_allclose(found[a][:, out, q].T, model.predict(x[out]), atol=1e-6)


def test_predicted_shares_sum_to_the_answers_sum() -> None:
    rng = np.random.default_rng(4)
    answers = rng.integers(0, 3, (60, 2))
    y = (answers == np.arange(3)[:, None, None]) - 1 / 3
    found = outcomes(rng.normal(0, 1, (60, 4)), y, np.ones((60, 2)), rng.integers(0, 2, 60), rng.integers(0, 2, 60))
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-9)


def test_nothing_is_predicted_where_nobody_else_answered() -> None:
    fold, arm = np.repeat([0, 1], 10), np.tile([0, 1], 10)
    weight = np.where((fold == 0) & (arm == 1), 0.0, 1.0)[:, None]
    found = outcomes(np.random.default_rng(5).normal(0, 1, (20, 2)), np.ones((1, 20, 1)), weight, arm, fold)
    np.testing.assert_allclose(found[1, 0, fold == 1], 0, atol=1e-9)
    np.testing.assert_allclose(found[0], 1, atol=1e-6)
