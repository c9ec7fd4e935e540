"""The effects table against an independent computation on the respondents, in plain pandas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.distributions import distributions_table
from causal.effects import model_effects, survey_effects
from causal.grid import grid_from_counts, grid_from_table, subsets
from causal.study import Study
from causal.survey import read_survey
from causal.tables import effects_schema, validate_effects

LEVELS = {
    "gender": ("sex", {"male": ["M"], "female": ["F"]}),
    "education": ("edu", {"high": ["uni", "phd"], "middle": ["school"], "low": ["none"]}),
    "residence": ("residence", {"urban": ["city"], "rural": ["village"]}),
}
BOUNDS = ["effect_low", "effect_high", "cdf_low", "cdf_high"]
TESTS = ["wald_statistic", "wald_df", "wald_p_value", "family_q_value"]
QUESTIONS = {"trust": ("trust", ["never", "rarely", "often", "always"]), "vote": ("v", ["no", "yes"])}


def effects_of(study: Study, people: pd.DataFrame) -> pd.DataFrame:
    survey = read_survey(study, people)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    return survey_effects(grids, study, survey.countries)


@pytest.fixture
def table(study: Study, respondents: pd.DataFrame) -> pd.DataFrame:
    return effects_of(study, respondents)


def independent(people: pd.DataFrame, adjacent: bool = False) -> Iterator[dict[str, Any]]:
    """Every toggle of the small study, straight from the respondents."""
    for nation, (question, (column, options)) in product(["NA", "NO"], QUESTIONS.items()):
        answered = people[(people["nation"] == nation) & people[column].isin(options)]
        for size in (1, 2, 3):
            for names in combinations(LEVELS, size):
                for attribute in names:
                    held = [name for name in names if name != attribute]
                    first, *others = LEVELS[attribute][1]
                    before = dict(zip(others, [first, *others], strict=False))
                    for treated, context in product(others, product(*(LEVELS[name][1] for name in held))):
                        reference = before[treated] if adjacent else first
                        row: dict[str, Any] = dict.fromkeys(LEVELS)
                        row |= {"country": nation, "question": question, "attribute": attribute}
                        row |= {"reference": reference, "treated": treated, "granularity": size}
                        row |= dict(zip(held, context, strict=True))
                        for end, level in (("reference", reference), ("treated", treated)):
                            cell = answered
                            for name, value in [*zip(held, context, strict=True), (attribute, level)]:
                                source, codes = LEVELS[name]
                                cell = cell[cell[source].isin(codes[value])]
                            total = cell["w"].sum()
                            row[f"n_{end}"] = len(cell)
                            row[f"n_eff_{end}"] = total**2 / (cell["w"] ** 2).sum() if len(cell) else 0.0
                            row[f"p_{end}"] = (
                                [cell.loc[cell[column] == o, "w"].sum() / total for o in options] if len(cell) else None
                            )
                        yield row


KEY = ["country", "question", "attribute", "reference", "treated", *LEVELS]


def keyed(rows: pd.DataFrame) -> dict[tuple[Any, ...], pd.Series]:
    return {tuple(None if pd.isna(row[k]) else row[k] for k in KEY): row for _, row in rows.iterrows()}


@pytest.mark.parametrize("adjacent", [False, True])
def test_every_toggle_equals_an_independent_computation(
    raw: dict[str, Any], respondents: pd.DataFrame, adjacent: bool
) -> None:
    if adjacent:
        raw["attributes"]["education"]["contrasts"] = "adjacent"
    table = effects_of(Study.from_dict(raw), respondents)
    expected = list(independent(respondents, adjacent))
    found = keyed(table)
    assert len(found) == len(table) == len(expected)
    for row in expected:
        here = found[tuple(row[k] for k in KEY)]
        assert here["granularity"] == row["granularity"]
        for name in ("n_reference", "n_treated", "n_eff_reference", "n_eff_treated"):
            assert here[name] == pytest.approx(row[name], abs=1e-9), name
        sizes = [row[f"n_{kind}{end}"] for kind in ("", "eff_") for end in ("reference", "treated")]
        assert here["supported"] == (min(sizes) >= 10)
        if row["p_reference"] is None or row["p_treated"] is None:
            assert np.isnan(here["shift"])
            continue
        np.testing.assert_allclose(here["p_reference"], row["p_reference"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(here["p_treated"], row["p_treated"], rtol=0, atol=1e-12)
        scale = np.arange(len(row["p_treated"]))
        shift = (np.dot(scale, row["p_treated"]) - np.dot(scale, row["p_reference"])) / (len(scale) - 1)
        assert here["shift"] == pytest.approx(shift, abs=1e-12)


def test_table_follows_the_contract(study: Study, table: pd.DataFrame) -> None:
    assert list(table.columns) == effects_schema(list(study.attributes)).names
    validate_effects(table, list(study.attributes))
    assert set(table["estimator"]) == {"cell"}


def test_toggles_per_granularity(table: pd.DataFrame) -> None:
    # contrasts x contexts, for 2 countries x 2 questions. Attributes have 2, 3, 2 levels, so 1, 2, 1 contrasts.
    # G=1: 1 + 2 + 1. G=2: pairs (2,3): 1*3 + 2*2; (2,2): 1*2 + 1*2; (3,2): 2*2 + 1*3. G=3: 1*6 + 2*4 + 1*6.
    assert table["granularity"].value_counts().to_dict() == {1: 4 * 4, 2: 4 * 18, 3: 4 * 20}


@pytest.mark.parametrize(("asked", "held"), [("full", {3}), ([1], {1}), ([0, 2], {2}), ("all", {1, 2, 3})])
def test_only_the_granularities_asked_for_are_there(
    raw: dict[str, Any], respondents: pd.DataFrame, asked: Any, held: set[int]
) -> None:
    raw["effects"]["granularity"] = asked
    assert set(effects_of(Study.from_dict(raw), respondents)["granularity"]) == held


def test_toggled_attribute_is_null_and_the_others_are_held(table: pd.DataFrame) -> None:
    toggled = table.apply(lambda row: row[row["attribute"]], axis=1)
    assert toggled.isna().all()
    assert (table[list(LEVELS)].notna().sum(axis=1) + 1 == table["granularity"]).all()


def test_unsupported_toggles_stay_marked_and_untested(table: pd.DataFrame) -> None:
    assert 0 < table["supported"].sum() < len(table)
    assert table.loc[~table["supported"], "q_value"].isna().all()
    assert table.loc[table["supported"], "q_value"].notna().all()


def test_empty_cells_are_kept_without_numbers(study: Study, respondents: pd.DataFrame) -> None:
    people = respondents[~((respondents["edu"] == "none") & (respondents["nation"] == "NO"))]
    table = effects_of(study, people)
    empty = table[(table["country"] == "NO") & (table["treated"] == "low")]
    assert len(empty) == 2 * (1 + 2 + 2 + 4)  # questions x (G=1, holding gender, holding residence, holding both)
    assert (empty["n_treated"] == 0).all()
    assert (empty["n_eff_treated"] == 0).all()
    assert not empty["supported"].any()
    assert empty["p_treated"].isna().all()
    assert empty["p_reference"].notna().any()
    assert empty[["shift", "std_error", "conf_low", "conf_high", "p_value", "q_value"]].isna().all(axis=None)
    assert empty[[*BOUNDS, *TESTS]].isna().all(axis=None)
    validate_effects(table, list(study.attributes))


def test_q_values_run_over_the_families_of_question_and_attribute(table: pd.DataFrame) -> None:
    from statsmodels.stats import multitest

    tested = table[table["supported"]]
    families = tested.groupby(["question", "attribute"])
    assert len(families) == 6
    simes = families["p_value"].agg(lambda p: multitest.multipletests(p, method="fdr_bh")[1].min())
    expected = pd.Series(multitest.multipletests(simes, method="fdr_bh")[1], simes.index)
    for key, rows in families:
        np.testing.assert_allclose(rows["family_q_value"], expected[key], atol=1e-12)
        assert rows["q_value"].min() == pytest.approx(expected[key])


def test_every_estimated_toggle_has_intervals_of_its_options_and_a_joint_test(table: pd.DataFrame) -> None:
    known = table[table["shift"].notna()]
    assert known[["effect_low", "effect_high", "cdf_low", "cdf_high"]].notna().all(axis=None)
    assert (known["effect_low"].map(len) == known["p_reference"].map(len)).all()
    assert known["wald_p_value"].between(0, 1).all()
    two = known[known["question"] == "vote"]  # the shift is the effect of the second of two options
    np.testing.assert_allclose([low[1] for low in two["effect_low"]], two["conf_low"], atol=1e-12)
    np.testing.assert_allclose([high[0] for high in two["cdf_high"]], -two["conf_low"], atol=1e-12)
    assert set(two["wald_df"]) <= {0, 1}


def test_q_values_by_hand(one_question: Any) -> None:
    # p-values p1 < p2 of two questions: q1 = min(2 * p1, p2), q2 = p2
    plain = one_question(("a",), options=2).model_dump(exclude_none=True)
    study = Study.from_dict(plain | {"questions": {"q": plain["questions"]["q"], "r": plain["questions"]["q"]}})
    people = pd.DataFrame({"a": [0] * 20 + [1] * 20, "q": [1] * 18 + [2] * 2 + [1] * 5 + [2] * 15})
    people["r"] = [1] * 12 + [2] * 8 + [1] * 8 + [2] * 12
    table = effects_of(study, people).set_index("question")
    p, q = table["p_value"], table["q_value"]
    assert p["q"] < 0.001 < p["r"]
    assert q["q"] == pytest.approx(2 * p["q"])
    assert q["r"] == pytest.approx(p["r"])


@pytest.mark.parametrize("weight", [0.1, 1 / 3, 7.7])
def test_equal_weights_support_a_cell_of_exactly_ten(one_question: Any, weight: float) -> None:
    study = one_question(("a",), survey={"weight": "w"})
    people = pd.DataFrame({"a": [0] * 10 + [1] * 10, "q": [1, 2] * 10, "w": weight})
    assert effects_of(study, people)["supported"].tolist() == [True]
    assert effects_of(study, people.iloc[1:])["supported"].tolist() == [False]


def test_uneven_weights_count_less_for_support(one_question: Any) -> None:
    study = one_question(("a",), survey={"weight": "w"})
    people = pd.DataFrame({"a": [0] * 12 + [1] * 12, "q": [1, 2] * 12, "w": [10.0] + [1.0] * 23})
    row = effects_of(study, people).iloc[0]
    assert row["n_reference"] == 12
    assert row["n_eff_reference"] == pytest.approx(21**2 / 111)
    assert not row["supported"]


def test_estimand_follows_the_declared_graph(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["graph"] = {"edges": [["gender", "education"]]}
    table = effects_of(Study.from_dict(raw), respondents)
    gender, education = table[table["attribute"] == "gender"], table[table["attribute"] == "education"]
    held = gender["education"].notna()
    assert set(gender.loc[held, "estimand"]) == {"controlled_direct"}
    assert set(gender.loc[~held, "estimand"]) == {"total"}
    held = education["gender"].notna()
    assert set(education.loc[held, "estimand"]) == {"total"}
    assert set(education.loc[~held, "estimand"]) == {"not_identified"}


def test_known_truth_is_found_at_scale(one_question: Any) -> None:
    rng = np.random.default_rng(1)
    truth = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    a = rng.integers(0, 2, 40_000)
    answers = 1 + (rng.random(40_000)[:, None] > truth[a].cumsum(axis=1)[:, :2]).sum(axis=1)
    row = effects_of(one_question(("a",)), pd.DataFrame({"a": a, "q": answers})).iloc[0]
    assert row["shift"] == pytest.approx(0.3, abs=4 * row["std_error"])
    assert row["std_error"] == pytest.approx(np.sqrt(2 * (0.61 / 4) / 20_000), rel=0.03)  # var of 0, .5, 1 is .1525
    assert row["conf_low"] < 0.3 < row["conf_high"]


def test_adjacent_steps_add_up_to_the_contrast_with_the_reference(
    raw: dict[str, Any], respondents: pd.DataFrame
) -> None:
    against_first = effects_of(Study.from_dict(raw), respondents)
    raw["attributes"]["education"]["contrasts"] = "adjacent"
    steps = effects_of(Study.from_dict(raw), respondents)
    assert set(zip(steps["reference"], steps["treated"], strict=True)) == {
        *(("male", "female"), ("urban", "rural")),
        *(("high", "middle"), ("middle", "low")),
    }
    chosen = [table[table["attribute"] == "education"].set_index(KEY) for table in (against_first, steps)]
    whole, parts = (
        found["shift"].groupby([n for n in KEY if n not in ("reference", "treated")], dropna=False) for found in chosen
    )
    np.testing.assert_allclose(parts.sum(min_count=2), whole.last().where(whole.count() == 2), atol=1e-12)


def test_a_model_has_the_surveys_rows_under_adjacent_contrasts(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["attributes"]["education"]["contrasts"] = "adjacent"
    study = Study.from_dict(raw)
    survey = effects_of(study, respondents)
    counts = count(read_survey(study, respondents))
    cells = distributions_table(
        [grid_from_counts(counts, study, ("NA", "NO"), subset) for subset in subsets(study)], study, ("NA", "NO")
    )
    grids = [grid_from_table(cells, study, ("NA", "NO"), subset) for subset in subsets(study)]
    model = model_effects(grids, study, ("NA", "NO"))
    pd.testing.assert_frame_equal(model[KEY], survey[KEY])
    np.testing.assert_allclose(model["shift"], survey["shift"], atol=1e-12)


def test_model_effects_are_exact_and_always_identified(raw: dict[str, Any]) -> None:
    raw["graph"] = {"edges": [["gender", "education"]]}
    raw["effects"]["granularity"] = [1]
    study = Study.from_dict(raw)
    p = {"male": [0.1, 0.2, 0.3, 0.4], "female": [0.4, 0.3, 0.2, 0.1]}
    rows = [
        {"country": "NO", "question": "trust", "gender": level, "education": None, "residence": None}
        | {"granularity": 1, "option": k + 1, "p": share, "std_error": 0.0, "n": None, "n_eff": np.nan}
        for level, shares in p.items()
        for k, share in enumerate(shares)
    ]
    grid = grid_from_table(pd.DataFrame(rows), study, ("NO",), ("gender",))
    table = model_effects([grid], study, ("NO",)).set_index("question")
    row = table.loc["trust"]
    assert row["shift"] == pytest.approx((1.0 - 2.0) / 3)
    assert (row["conf_low"], row["conf_high"], row["std_error"]) == (row["shift"], row["shift"], 0)
    assert (row["estimator"], row["estimand"]) == ("model", "total")
    assert row["supported"]
    assert pd.isna(row[["n_reference", "n_treated", "p_value", "q_value", *BOUNDS, *TESTS]]).all()
    assert row["p_treated"].tolist() == p["female"]
    assert not table.loc["vote", "supported"]  # the model was not asked
    # the survey's education contrast is confounded by gender; editing the persona's education is not
    edited = model_effects([grid_from_table(pd.DataFrame(rows), study, ("NO",), ("education",))], study, ("NO",))
    assert set(edited["estimand"]) == {"total"}
    validate_effects(table.reset_index(), list(study.attributes))
