from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.distributions import distributions_table
from causal.grid import grid_from_counts, grid_from_table, subsets
from causal.study import Study
from causal.survey import read_survey
from causal.tables import distributions_schema, validate_distributions


def table_of(study: Study, people: pd.DataFrame) -> pd.DataFrame:
    survey = read_survey(study, people)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    return distributions_table(grids, study, survey.countries)


def test_weighted_proportion_and_standard_error_by_hand(one_question: Any) -> None:
    study = one_question(("a",), survey={"weight": "w"})
    people = pd.DataFrame([(0, 1, 1.0), (0, 1, 3.0), (0, 2, 2.0), (0, 3, 2.0)], columns=["a", "q", "w"])
    table = table_of(study, people)
    assert table["option"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["p"], [0.5, 0.25, 0.25])
    # sum of (w / W)**2 * (1{option} - p)**2 over the four respondents, times N/(N-1)
    first = (1 + 9) / 64 * 0.5**2 + (4 + 4) / 64 * 0.5**2
    second = (1 + 9 + 4) / 64 * 0.25**2 + 4 / 64 * 0.75**2
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.array([first, second, second]) * 4 / 3))
    assert table["n"].tolist() == [4, 4, 4]
    np.testing.assert_allclose(table["n_eff"], 64 / 18)


def test_unweighted_standard_error_is_the_binomial_one_of_the_whole_sample(one_question: Any) -> None:
    table = table_of(one_question(("a",)), pd.DataFrame({"a": [1] * 10, "q": [1] * 3 + [2] * 7}))
    # N/(N-1) with the country's 10 respondents, as in R's survey package: sqrt(.3 * .7 / 9)
    np.testing.assert_allclose(table["std_error"], [np.sqrt(0.21 / 9), np.sqrt(0.21 / 9), 0], atol=1e-15)
    np.testing.assert_allclose(table["n_eff"], 10)


def test_cells_without_answers_have_no_rows_and_unspecified_attributes_are_null(one_question: Any) -> None:
    study = one_question(("a", "b"), effects={"granularity": "all"})
    people = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 1, None], "q": [1, 2, 3, 3]})
    table = table_of(study, people)
    cells = table.groupby(["granularity", "a", "b"], dropna=False)["n"].first()
    seen = {tuple(None if pd.isna(x) else x for x in key): n for key, n in cells.items()}
    assert seen == {
        (0, None, None): 4,
        (1, "l0", None): 2,
        (1, "l1", None): 2,
        (1, None, "l0"): 1,
        (1, None, "l1"): 2,
        (2, "l0", "l0"): 1,
        (2, "l0", "l1"): 1,
        (2, "l1", "l1"): 1,
    }


def test_table_is_valid_and_each_question_has_its_own_options(study: Study, respondents: pd.DataFrame) -> None:
    table = table_of(study, respondents)
    assert list(table.columns) == distributions_schema(list(study.attributes)).names
    validate_distributions(table, list(study.attributes))
    assert table.groupby("question")["option"].max().to_dict() == {"trust": 4, "vote": 2}


def test_full_cells_equal_a_plain_groupby(study: Study, respondents: pd.DataFrame) -> None:
    table = table_of(study, respondents)
    full = table[(table["granularity"] == 3) & (table["question"] == "vote") & (table["option"] == 2)]
    known = respondents.dropna(subset=["sex", "v"]).replace({"edu": {"phd": "uni"}})
    for (nation, sex, edu, place), rows in known.groupby(["nation", "sex", "edu", "residence"]):
        levels = {"M": "male", "F": "female", "uni": "high", "school": "middle", "none": "low"}
        levels |= {"city": "urban", "village": "rural"}
        here = full[
            (full["country"] == nation)
            & (full["gender"] == levels[sex])
            & (full["education"] == levels[edu])
            & (full["residence"] == levels[place])
        ].iloc[0]
        yes = rows.loc[rows["v"] == "yes", "w"].sum() / rows["w"].sum()
        assert here["p"] == pytest.approx(yes, abs=1e-12)
        assert here["n"] == len(rows)
    assert len(full) == len(known.groupby(["nation", "sex", "edu", "residence"]))


def test_design_effect_by_hand(one_question: Any) -> None:
    study = one_question(("a",), options=2, survey={"weight": "w"})
    people = pd.DataFrame([(0, 1, 1.0), (0, 1, 3.0), (0, 2, 2.0), (0, 2, 2.0)], columns=["a", "q", "w"])
    table = table_of(study, people.assign(a=0))
    # p = .5; variance 4/3 * (1 + 9 + 4 + 4) / 64 * .25; of four drawn one by one: .25 / 3
    np.testing.assert_allclose(table["deff"], 4 / 3 * 18 / 64 * 3)


def test_cells_whose_answers_do_not_vary_have_no_design_effect(one_question: Any) -> None:
    people = pd.DataFrame({"a": [0, 0, 0, 1], "q": [1, 1, 1, 3]})
    table = table_of(one_question(("a",)), people)
    assert table["deff"].isna().all()
    table = table_of(one_question(("a",)), people.assign(q=[1, 2, 1, 3]))
    assert table.groupby("a")["deff"].apply(lambda values: values.notna().all()).to_dict() == {"l0": True, "l1": False}


def test_a_models_cells_have_no_design_effect(one_question: Any) -> None:
    study = one_question(("a",))
    people = pd.DataFrame({"a": [0] * 6 + [1] * 6, "q": [1, 2, 3] * 4})
    model = table_of(study, people).assign(std_error=0.0, n=pd.array([None] * 6, dtype="Int64"), n_eff=np.nan)
    table = distributions_table([grid_from_table(model, study, ("X",), ("a",))], study, ("X",))
    assert table["p"].notna().all()
    assert table["deff"].isna().all()
