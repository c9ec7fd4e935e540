"""Simulated surveys: hand-worked populations, and estimates that converge to the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import norm

from causal.counts import count
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts, subsets
from causal.population import Population, make_study
from causal.simulate import Simulated, observe, simulate, true_distributions, true_effects
from causal.study import Study
from causal.survey import read_survey
from causal.tables import validate_distributions, validate_effects

LOG3 = np.log(3)
TOGETHER = np.array([[0.4, 0.1], [0.1, 0.4]])


def population(joint: Any, predictor: Any, options: Sequence[int] = (2,), thresholds: Any = ((0.0,),), **more: Any):
    """One country; ``joint`` and ``predictor`` over attributes, confounder and engagement."""
    joint, predictor = np.asarray(joint, float)[None, ..., None], np.asarray(predictor, float)[None, None, ..., None]
    study = make_study(joint.ndim - 4, options, "all", False, False)
    return Population(study, ("X",), joint, np.ones_like(joint), predictor, np.array(thresholds), **more)


def with_hidden(values: np.ndarray, u: Sequence[float] = (1, 1)) -> np.ndarray:
    """Add a confounder axis and an engagement axis that change nothing."""
    return values[..., None, None] * np.reshape(u, (2, 1)) * np.ones((1, 2))


def estimated(made: Simulated, study: Study | None = None) -> pd.DataFrame:
    study = study or made.study
    survey = read_survey(study, made.data)
    counts = count(survey)
    return survey_effects(
        [grid_from_counts(counts, study, survey.countries, names) for names in subsets(study)], study, survey.countries
    )


def test_conditional_and_interventional_shift_by_hand() -> None:
    # P(Y=2) = logistic(log 3 (gender - education)): 1/2, 1/4, 3/4, 1/2 in the cells (0,0), (0,1), (1,0), (1,1).
    # Given gender alone: (.4 * 1/2 + .1 * 1/4) / .5 = .45 against (.1 * 3/4 + .4 * 1/2) / .5 = .55. If gender is set,
    # half the people are at each education: (1/2 + 1/4) / 2 = .375 against (3/4 + 1/2) / 2 = .625.
    gender, education = np.indices((2, 2))
    made = population(with_hidden(TOGETHER) / 4, with_hidden(LOG3 * (gender - education)))
    table = true_effects(made).query("attribute == 'gender'").set_index("granularity")
    assert table.loc[1, "shift"] == pytest.approx(0.10)
    assert table.loc[1, "shift_do"] == pytest.approx(0.25)
    assert table.loc[1, "p_reference"] == pytest.approx([0.55, 0.45])
    np.testing.assert_allclose(table.loc[2, "shift"], [0.25, 0.25])
    np.testing.assert_allclose(table.loc[2, "shift_do"], [0.25, 0.25])
    assert set(table["estimator"]) == {"truth"}


def test_unobserved_confounder_biases_the_finest_shift_by_hand() -> None:
    # The same numbers with the confounder in education's place: now no granularity shows the causal .25.
    gender, confounder = np.indices((2, 2))
    joint = TOGETHER[..., None] * np.ones(2) / 2
    made = population(joint, LOG3 * (gender - confounder)[..., None] * np.ones(2))
    row = true_effects(made).iloc[0]
    assert row["shift"] == pytest.approx(0.10)
    assert row["shift_do"] == pytest.approx(0.25)


def test_age_is_an_observed_confounder_by_hand() -> None:
    # The same numbers with age in education's place: two ages, of which only the study's covariate tells.
    gender, age = np.indices((2, 2))
    joint = (TOGETHER[:, None, None, :] * np.ones((1, 2, 2, 1)) / 4)[None]
    predictor = (LOG3 * (gender - age)[:, None, None, :] * np.ones((1, 2, 2, 1)))[None, None]
    study = make_study(1, (2,), "all", False, False, True)
    ages = np.array([20.0, 80.0])
    made = observe(
        Population(study, ("X",), joint, np.ones_like(joint), predictor, np.zeros((1, 1)), ages=ages),
        5000,
        np.random.default_rng(0),
    )
    assert made.effects["shift"].tolist() == pytest.approx([0.10])
    assert made.effects["shift_do"].tolist() == pytest.approx([0.25])
    shares = pd.crosstab(made.data["gender"], made.data["age"], normalize=True)
    np.testing.assert_allclose(shares, TOGETHER, atol=0.03)
    assert shares.columns.tolist() == [20, 80]


def test_age_goes_with_the_first_attribute_as_asked() -> None:
    made = simulate(10, countries=1, attributes=2, correlation=0.0, age=0.7, seed=2)
    by_age = made.population.joint[0].sum(axis=(1, 2, 3))
    slope = np.diff(np.log(by_age[1] / by_age[0]))
    np.testing.assert_allclose(slope, 0.7 / made.population.ages.std())
    assert made.study.covariates.keys() == {"age"}
    assert made.data["age"].between(18, 89).all()
    assert "age" not in simulate(10).data


def test_thresholds_give_the_answer_distribution() -> None:
    even = np.full((2, 2, 2), 1 / 8)
    cuts = [[logit(0.2), logit(0.7)]]
    table = true_distributions(population(even, np.zeros((2, 2, 2)), (3,), cuts))
    assert table["p"].tolist() == pytest.approx([0.2, 0.5, 0.3] * 3)  # nobody specified, reference, treated


def test_cluster_effects_are_integrated_out() -> None:
    even = np.full((2, 2, 2), 1 / 8)
    table = true_distributions(population(even, np.full((2, 2, 2), 1.0), cluster_sd=0.8))
    expected = quad(lambda b: norm.pdf(b) * expit(1 + 0.8 * b), -12, 12, epsabs=1e-12)[0]
    assert table.loc[table["option"] == 2, "p"].tolist() == pytest.approx([expected] * 3, abs=1e-9)


def test_same_seed_same_survey_and_the_population_ignores_the_sample_size() -> None:
    a, b, c = simulate(50, seed=3), simulate(50, seed=3), simulate(80, seed=3)
    pd.testing.assert_frame_equal(a.data, b.data)
    pd.testing.assert_frame_equal(a.effects, c.effects)
    assert not a.data.equals(simulate(50, seed=4).data)


@pytest.mark.parametrize("options", [{}, {"selection": 0.6, "confounding": 0.8, "cluster_sd": 0.4}])
def test_truth_follows_the_contract_row_for_row(options: dict[str, Any]) -> None:
    made = simulate(400, attributes=3, questions=3, options=[2, 5, 4], seed=1, **options)
    names = list(made.study.attributes)
    validate_effects(made.effects, names)
    validate_distributions(made.distributions, names)
    key = ["country", "question", "attribute", "treated", "granularity"]
    pd.testing.assert_frame_equal(estimated(made)[[*key, *names]], made.effects[[*key, *names]], check_dtype=False)
    assert set(made.distributions["granularity"]) == {0, 1, 2, 3}


def test_attributes_are_correlated_as_asked() -> None:
    joint = simulate(10, attributes=2, correlation=0.7).population.joint.sum(axis=(-3, -2, -1))
    ratio = np.log(joint[:, 1, 1] * joint[:, 0, 0] / (joint[:, 1, 0] * joint[:, 0, 1]))
    np.testing.assert_allclose(ratio, 0.7)


def test_estimates_converge_to_the_truth() -> None:
    made = simulate(60_000, questions=4, options=[2, 3, 5, 10], confounding=1.0, seed=5)
    table = estimated(made)
    z = ((table["shift"] - made.effects["shift"]) / table["std_error"]).to_numpy()
    assert np.abs(z).max() < 4.5
    finest = z[(table["granularity"] == 4).to_numpy()]
    assert len(finest) == 256
    assert np.mean(finest**2) == pytest.approx(1, abs=4 * np.sqrt(2 / 256))
    # and not to the interventional shift, which the confounder keeps from view
    gender = (table["attribute"] == "gender") & (table["granularity"] == 4)
    off = ((table["shift"] - made.effects["shift_do"]) / table["std_error"])[gender]
    assert off.mean() > 6 / np.sqrt(len(off))
    assert (made.effects["shift"] > made.effects["shift_do"])[gender].all()


def test_weights_correct_the_selection() -> None:
    made = simulate(40_000, questions=3, selection=0.8, granularity=[1], seed=6)
    truth = made.effects["shift"]
    assert made.study.survey.weight == "weight"
    table = estimated(made)
    assert (((table["shift"] - truth) / table["std_error"]).abs() < 4.5).all()
    plain = made.study.model_copy(update={"survey": made.study.survey.model_copy(update={"weight": None})})
    unweighted = estimated(made, plain)
    gender = unweighted["attribute"] == "gender"
    assert (((unweighted["shift"] - truth) / unweighted["std_error"])[gender] > 10).all()


def test_clusters_make_neighbours_alike() -> None:
    def spread(cluster_sd: float) -> float:
        made = simulate(8000, countries=1, questions=1, options=2, cluster_sd=cluster_sd, clusters=20, seed=7)
        return made.data.groupby("psu")["q01"].mean().std()

    assert spread(1.0) > 4 * spread(0.0)


def test_few_large_effects() -> None:
    made = simulate(10, countries=1, attributes=1, questions=400, family="few", country_sd=0, context_sd=0, seed=8)
    moved = made.effects["shift"].abs() > 1e-12
    assert moved.sum() == pytest.approx(20, abs=4 * np.sqrt(400 * 0.05 * 0.95))


def test_design_declares_the_clusters() -> None:
    made = simulate(20, design=True)
    assert made.study.survey.psu == "psu"
    assert made.data.groupby("psu")["country"].nunique().max() == 1


def test_a_population_can_be_sampled_again() -> None:
    made = simulate(30, seed=9)
    again = observe(made.population, 60, np.random.default_rng(1))
    assert len(again.data) == 120
    pd.testing.assert_frame_equal(again.effects, made.effects)


def test_unknown_granularity_is_refused() -> None:
    with pytest.raises(InputError, match="granularity"):
        simulate(10, granularity=["none"])
