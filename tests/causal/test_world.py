from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from causal.counts import count
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts, subsets
from causal.study import Study
from causal.survey import read_survey
from causal.tables import validate_distributions, validate_effects
from causal.world import simulate_world, world_study, write_world
from causal.worlditems import ATTRIBUTES, COUNTRIES, ITEMS, TIERS, Item

NAMES = list(ATTRIBUTES)
SMALL = {name: ITEMS[name] for name in ("trust_strangers", "trust_careful", "science_better", "faith_service")}
STILL = {"effect_sd": 0.0, "question_sd": 0.0, "country_sd": 0.0}


def base_table(p: dict[str, list[float]]) -> pd.DataFrame:
    """A base model's distributions: reversed in every other country, uniform for women, who play no part."""
    rows = [
        (country, question, gender, None, None, None, int(gender is not None), k, share)
        for i, country in enumerate(COUNTRIES)
        for question, shares in p.items()
        for gender, own in ((None, shares[:: -1 if i % 2 else 1]), ("female", [1 / len(shares)] * len(shares)))
        for k, share in enumerate(own, start=1)
    ]
    return pd.DataFrame(rows, columns=["country", "question", *NAMES, "granularity", "option", "p"])


def levels(table: pd.DataFrame, question: str) -> pd.DataFrame:
    """Options of one question as columns, by country, nobody specified."""
    rows = table[(table["granularity"] == 0) & (table["question"] == question)]
    return rows.set_index(["country", "option"])["p"].unstack()  # noqa: PD010


def finest(table: pd.DataFrame, question: str) -> np.ndarray:
    """True distributions of every full persona, shape (countries, 2, 2, 2, 2, K)."""
    rows = table[(table["granularity"] == 4) & (table["question"] == question)]
    return rows["p"].to_numpy().reshape(len(COUNTRIES), 2, 2, 2, 2, -1)


def test_level_is_the_base_moved_by_the_tiers_distance_by_hand() -> None:
    # Two options, base (3/4, 1/4), so odds of the second 1/3. Moved by log 3 in tier 2: odds 1 or 1/9; by log 9 in
    # tier 3: odds 3 or 1/27. Every other country has it the other way round.
    item = {"q": Item("t", "?", ("no", "yes"))}
    made = simulate_world(
        item, base_table({"q": [0.75, 0.25]}), distances=(0, np.log(3), np.log(9)), flat=0.0, respondents=5, **STILL
    )
    expected = {"tier 1": {1 / 4}, "tier 2": {1 / 2, 1 / 10}, "tier 3": {3 / 4, 1 / 28}}
    found: dict[str, set[float]] = {tier: set() for tier in TIERS}
    for i, (country, p) in enumerate(levels(made.distributions, "q")[2].items()):
        found[COUNTRIES[str(country)][1]].add(round(1 - p if i % 2 else p, 12))
    assert found == {tier: {round(p, 12) for p in values} for tier, values in expected.items()}
    # half of it uniform: (5/8, 3/8)
    half = simulate_world(item, base_table({"q": [0.75, 0.25]}), distances=(0, 0, 0), respondents=5, **STILL)
    np.testing.assert_allclose(levels(half.distributions, "q"), [[5 / 8, 3 / 8], [3 / 8, 5 / 8]] * 7)
    assert half.effects["shift"].abs().max() < 1e-12


def test_without_a_base_levels_leave_the_uniform_by_tier() -> None:
    made = simulate_world(SMALL, respondents=5, **STILL)
    off = levels(made.distributions, "trust_strangers").sub(0.25).abs().sum(axis=1)
    tier = off.index.map(lambda country: COUNTRIES[country][1])
    assert off.groupby(tier).max()["tier 1"] < off.groupby(tier).min()["tier 2"]
    assert off.groupby(tier).max()["tier 2"] < off.groupby(tier).min()["tier 3"]
    # cuts at logit(1/4, 1/2, 3/4) moved by 1/4 up or down
    cuts = logit(levels(made.distributions, "trust_strangers").loc["USA"].cumsum().iloc[:3])
    np.testing.assert_allclose(np.abs(cuts - logit([0.25, 0.5, 0.75])), 0.25)


def test_questions_of_a_topic_move_together() -> None:
    made = simulate_world(SMALL, respondents=5, question_sd=0, country_sd=0, seed=4)
    first = logit(finest(made.distributions, "trust_strangers")[..., 0])
    same = logit(finest(made.distributions, "trust_careful")[..., 0])
    other = logit(finest(made.distributions, "science_better")[..., 0])
    effects = [values - values[:, :1, :1, :1, :1] for values in (first, same, other)]
    np.testing.assert_allclose(effects[0], effects[1], atol=1e-9)
    assert np.abs(effects[0] - effects[2]).max() > 0.2
    assert np.ptp(effects[0], axis=0).max() < 1e-9, "and in all countries"
    apart = simulate_world(SMALL, respondents=5, question_sd=0.3, country_sd=0, seed=4)
    moved = [logit(finest(apart.distributions, name)[..., 0]) for name in ("trust_strangers", "trust_careful")]
    assert np.abs(np.diff([values - values[:, :1, :1, :1, :1] for values in moved], axis=0)).max() > 0.1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_interactions_have_the_share_of_variance_that_was_asked_for(share: float) -> None:
    made = simulate_world(SMALL, respondents=5, interaction=share, seed=1)
    latent = -logit(finest(made.distributions, "science_better")[..., 0])
    for country in latent:
        sides = np.indices((2, 2, 2, 2)).reshape(4, 16).T
        design = np.column_stack([np.ones(16), sides])
        residual = country.ravel() - design @ np.linalg.lstsq(design, country.ravel(), rcond=None)[0]
        assert residual.var() / country.var() == pytest.approx(share, abs=1e-9)


def test_coarser_truth_is_averaged_over_who_lives_there() -> None:
    made = simulate_world(SMALL, respondents=5, seed=2)
    joint = made.population.joint[..., 0, 0, 0]
    np.testing.assert_allclose(joint.sum(axis=(1, 2, 3, 4)), 1)
    p = finest(made.distributions, "faith_service")
    country = list(made.population.countries).index("KEN")
    women = (joint[country, 1][..., None] * p[country, 1]).sum(axis=(0, 1, 2)) / joint[country, 1].sum()
    rows = made.distributions.query("country == 'KEN' and question == 'faith_service' and granularity == 1")
    np.testing.assert_allclose(rows[rows["gender"] == "female"]["p"], women)
    everybody = (joint[country][..., None] * p[country]).sum(axis=(0, 1, 2, 3))
    np.testing.assert_allclose(levels(made.distributions, "faith_service").loc["KEN"], everybody)


def test_the_declared_graph_says_where_a_shift_is_causal() -> None:
    made = simulate_world(SMALL, respondents=5, seed=5)
    graph = made.study.causal_graph
    apart = (made.effects["shift"] - made.effects["shift_do"]).abs().groupby(made.effects["granularity"]).max()
    assert graph.estimand("gender", NAMES[1:]) == "total"
    assert apart[4] < 1e-12
    for held in ([], ["education"], ["education", "marital"]):
        assert graph.estimand("gender", held) == "not_identified"
        assert apart[1 + len(held)] > 1e-3


def test_truth_follows_the_contract_and_does_not_depend_on_the_sample() -> None:
    made, again = simulate_world(SMALL, seed=3), simulate_world(SMALL, seed=3, respondents=30, weighted=True)
    validate_distributions(made.distributions, NAMES)
    validate_effects(made.effects, NAMES)
    assert set(made.distributions["granularity"]) == {0, 1, 2, 3, 4}
    pd.testing.assert_frame_equal(made.effects, again.effects)
    pd.testing.assert_frame_equal(made.data, simulate_world(SMALL, seed=3).data)
    assert not made.effects["shift"].equals(simulate_world(SMALL, seed=4, respondents=5).effects["shift"])


def test_cells_have_realistic_sizes() -> None:
    item = {"trust_strangers": ITEMS["trust_strangers"]}
    everywhere = pd.MultiIndex.from_product([COUNTRIES, *[[0, 1]] * 4])
    sizes = []
    for seed in range(5):
        data = simulate_world(item, seed=seed).data
        assert (data.groupby("country").size() == 1200).all()
        sizes.append(data.groupby(["country", *NAMES]).size().reindex(everywhere, fill_value=0).to_numpy())
    n = np.array(sizes)
    assert ((n >= 10) & (n <= 300)).mean() > 0.75
    assert 40 < np.median(n) < 70
    assert ((n == 0).sum(axis=1) > 0).any()
    assert (data["education"] == 1).mean() > 0.6, "most people have no college"
    reached = simulate_world(item, seed=4, weighted=True).data
    assert (reached["education"] == 1).mean() < (data["education"] == 1).mean() - 0.1


@pytest.mark.parametrize("weighted", [False, True])
def test_large_samples_converge_to_the_truth(weighted: bool) -> None:
    two = {name: SMALL[name] for name in ("trust_careful", "faith_service")}
    base = base_table({name: np.linspace(3, 1, len(one.options)).tolist() for name, one in two.items()})
    base["p"] /= base.groupby(["country", "question", "granularity"])["p"].transform("sum")
    made = simulate_world(two, base, respondents=15_000, weighted=weighted, seed=6)
    survey = read_survey(made.study, made.data)
    assert (survey.weight is not None) == weighted
    counts = count(survey)
    grids = [grid_from_counts(counts, made.study, survey.countries, names) for names in subsets(made.study)]
    table = survey_effects(grids, made.study, survey.countries)
    pd.testing.assert_frame_equal(table[["country", *NAMES]], made.effects[["country", *NAMES]])
    known = (table["n_reference"] >= 50) & (table["n_treated"] >= 50)
    z = ((table["shift"] - made.effects["shift"]) / table["std_error"])[known].to_numpy()
    assert np.abs(z).max() < 5
    alone = (table["granularity"] == 4)[known].to_numpy()
    assert np.mean(z[alone] ** 2) == pytest.approx(1, abs=0.2)
    if weighted:
        assert survey.weight is not None
        assert survey.weight.std() > 0.2


def test_a_world_is_read_back_by_every_command(tmp_path: Path) -> None:
    made = simulate_world(SMALL, respondents=40, seed=7)
    study = Study.load(write_world(made, tmp_path))
    survey = read_survey(study)
    assert survey.respondents == 14 * 40
    assert survey.countries == tuple(COUNTRIES)
    assert study.fingerprint("attributes", "questions") == world_study(SMALL).fingerprint("attributes", "questions")
    assert study.survey.tiers["NGA"] == "tier 3"
    np.testing.assert_array_equal(survey.levels, made.data[NAMES])


def test_items_are_ordered_scales_of_four_to_ten_options_in_topics() -> None:
    assert {len(item.options) for item in ITEMS.values()} == {4, 5, 6, 7, 10}
    assert all(len(set(item.options)) == len(item.options) for item in ITEMS.values())
    topics = pd.Series([item.topic for item in ITEMS.values()]).value_counts()
    assert topics.to_dict() == dict.fromkeys(("trust", "religion", "work", "family", "politics", "science"), 4)
    assert len(COUNTRIES) == 14
    assert list(COUNTRIES) == sorted(COUNTRIES)


def test_a_base_of_other_questions_is_refused() -> None:
    item = {"q": Item("t", "?", ("no", "yes"))}
    with pytest.raises(InputError, match="base has 3 options of q in AUS at granularity 0, and the question has 2"):
        simulate_world(item, base_table({"q": [0.5, 0.25, 0.25]}))
    with pytest.raises(InputError, match="base has 0 options of q"):
        simulate_world(item, base_table({"other": [0.5, 0.5]}))
    with pytest.raises(InputError, match="takes 3 distances"):
        simulate_world(item, distances=(1, 2))


def test_a_certain_base_is_moved_all_the_same() -> None:
    item = {"q": Item("t", "?", ("a", "b", "c"))}
    made = simulate_world(item, base_table({"q": [1.0, 0.0, 0.0]}), distances=(0, 0, 1), respondents=5, **STILL)
    # half uniform: cuts at logit(2/3) and logit(5/6), or reversed 1/6 and 1/3, moved by 1 in tier 3
    cuts = logit(levels(made.distributions, "q").cumsum(axis=1)[[1, 2]])
    np.testing.assert_allclose(expit(cuts.loc["AUS"]), [2 / 3, 5 / 6])
    np.testing.assert_allclose(expit(cuts.loc["CAN"]), [1 / 6, 1 / 3])
    np.testing.assert_allclose(np.abs(cuts.loc["BGD"] - logit([1 / 6, 1 / 3])), 1)
