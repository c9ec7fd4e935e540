"""Nonresponse by cell and toggle, counted by hand and by plain pandas."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from causal.counts import count
from causal.counttable import counter, read_count_table
from causal.effects import survey_effects
from causal.gaps import gap_checks
from causal.grid import Grid, grid_from_counts, subsets
from causal.ignorability import Check, nonresponse_check
from causal.study import Study
from causal.survey import Survey, read_survey


def grids_of(survey: Any) -> list[Grid]:
    counts_for, study = counter(survey), survey.study
    return [grid_from_counts(counts_for(subset), study, survey.countries, subset) for subset in subsets(study)]


def checks_of(study: Study, people: pd.DataFrame) -> dict[str, Check]:
    survey = read_survey(study, people)
    return {check.name: check for check in gap_checks(survey, grids_of(survey))}


def people_of(silent: dict[tuple[int, int], int], n: int = 50) -> pd.DataFrame:
    """``n`` people for each of the levels of a and b, of whom the given number do not answer."""
    rows = [(a, b, None if i < k else 1 + i % 3) for (a, b), k in silent.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["a", "b", "q"])


def test_cells_and_toggles_by_hand(one_question: Any) -> None:
    people = people_of({(0, 0): 2, (0, 1): 3, (1, 0): 5, (1, 1): 30})
    found = checks_of(one_question(("a", "b")), people)
    cell, toggle = found["cell nonresponse"], found["toggle nonresponse"]
    assert (cell.verdict, cell.statistic) == ("warn", 0.25)  # one of four
    assert "Of 4 cells" in cell.meaning
    assert "1 have more than 20% without an answer, 1 of them by more than chance" in cell.meaning
    assert "Highest: X, q, l1, l1 (60% of 50); X, q, l1, l0 (10% of 50); X, q, l0, l1 (6% of 50)" in cell.meaning
    assert (toggle.verdict, toggle.statistic) == ("warn", pytest.approx(0.54))  # b=1: 6% to 60%
    assert "Of 4 supported toggles" in toggle.meaning
    assert "2 have ends that differ in nonresponse by more than chance" in toggle.meaning
    assert "2 of them by more than 10%" in toggle.meaning
    assert (
        "Largest: X, q, l1, l1 (60% of 50) against l0 (6% of 50); X, q, l1, l1 (60% of 50) against l0 (10% of 50)"
        in (toggle.meaning)
    )


def test_what_chance_alone_would_do_is_no_warning(one_question: Any) -> None:
    found = checks_of(one_question(("a", "b")), people_of({(0, 0): 1, (0, 1): 3, (1, 0): 3, (1, 1): 1}, n=12))
    assert found["cell nonresponse"].verdict == "pass"
    assert "2 have more than 20% without an answer, 0 of them by more than chance" in found["cell nonresponse"].meaning
    assert (found["toggle nonresponse"].verdict, found["toggle nonresponse"].statistic) == ("pass", 0)


@pytest.mark.parametrize(("silent", "verdict"), [(8, "pass"), (9, "warn")])
def test_more_than_chance_in_a_cell_by_hand(one_question: Any, silent: int, verdict: str) -> None:
    # binomial(20, .2): P(8 or more) = .032 and P(9 or more) = .010; times two cells, .064 and .020 against .05
    people = people_of({(0, 0): 0, (1, 0): silent}, n=20)
    cell = checks_of(one_question(), people)["cell nonresponse"]
    assert (cell.verdict, cell.statistic) == (verdict, 0.5 if verdict == "warn" else 0)


def test_cells_with_few_people_and_unsupported_toggles_are_left_out(one_question: Any) -> None:
    people = pd.concat([people_of({(0, 0): 0, (1, 0): 0}), people_of({(0, 1): 9, (1, 1): 0}, n=9)])
    found = checks_of(one_question(("a", "b")), people)
    assert "Of 2 cells" in found["cell nonresponse"].meaning
    assert "Of 1 supported toggles" in found["toggle nonresponse"].meaning


def test_only_the_finest_granularity_is_looked_at(one_question: Any) -> None:
    people = people_of({(0, 0): 0, (0, 1): 0, (1, 0): 0, (1, 1): 0})
    found = checks_of(one_question(("a", "b"), effects={"granularity": "all"}), people)
    assert "Of 4 cells" in found["cell nonresponse"].meaning
    found = checks_of(one_question(("a", "b"), effects={"granularity": [1]}), people)
    assert "Of 4 cells" in found["cell nonresponse"].meaning  # two of a and two of b


def test_adjacent_contrasts_compare_neighbours(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["effects"] = {"granularity": [1]}
    raw["attributes"] = {"education": raw["attributes"]["education"]}
    silent = {"uni": 0.0, "phd": 0.0, "school": 0.35, "none": 0.75}
    people = pd.concat([respondents] * 5, ignore_index=True)
    drawn = np.random.default_rng(0).random(len(people))
    people["trust"] = people["trust"].where(drawn > people["edu"].map(silent))
    far = checks_of(Study.from_dict(raw), people)["toggle nonresponse"]
    raw["attributes"]["education"]["contrasts"] = "adjacent"
    near = checks_of(Study.from_dict(raw), people)["toggle nonresponse"]
    assert far.statistic > 0.6
    assert near.statistic < 0.5
    assert "low" in far.meaning.split("Largest: ")[1].split(";")[0]


def test_cell_shares_equal_a_plain_groupby(study: Study, respondents: pd.DataFrame) -> None:
    cell = checks_of(study, respondents)["cell nonresponse"]
    shares, tails = [], []
    for name, options in (("trust", ["never", "rarely", "often", "always"]), ("v", ["no", "yes"])):
        named = respondents.assign(edu=respondents["edu"].replace("phd", "uni")).dropna(subset="sex")
        for _, rows in named.groupby(["nation", "sex", "edu", "residence"]):
            if len(rows) >= 10:
                silent = int((~rows[name].isin(options)).sum())
                shares.append(silent / len(rows))
                tails.append(binomtest(silent, len(rows), 0.2, "greater").pvalue)
    assert f"Of {len(shares)} cells" in cell.meaning
    assert f" {sum(share > 0.2 for share in shares)} have more than 20%" in cell.meaning
    assert f"({max(shares):.0%} of " in cell.meaning.split("Highest: ")[1].split(";")[0]
    assert (min(tails) * len(tails) < 0.05) <= (cell.verdict == "warn")  # Bonferroni's is never bolder


def test_a_question_not_asked_in_a_country_is_named_and_left_out(
    raw: dict[str, Any], respondents: pd.DataFrame
) -> None:
    respondents.loc[respondents["nation"] == "NO", "v"] = None
    found = checks_of(Study.from_dict(raw), respondents)
    check = found["questions without answers"]
    assert (check.verdict, check.statistic) == ("warn", 1)
    assert "Nobody answered: vote in NO." in check.meaning
    assert "NO, vote" not in found["cell nonresponse"].meaning
    assert "questions without answers" not in checks_of(
        Study.from_dict(raw), respondents[respondents["nation"] == "NA"]
    )


def test_levels_that_nobody_has_are_named(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    people = respondents[(respondents["nation"] == "NA") | (respondents["residence"] == "city")]
    check = checks_of(Study.from_dict(raw), people)["levels"]
    assert (check.verdict, check.statistic) == ("warn", 1)
    assert "Nobody in the data has: residence rural in NO." in check.meaning
    check = checks_of(Study.from_dict(raw), respondents[respondents["residence"] == "city"])["levels"]
    assert (check.verdict, check.statistic) == ("fail", 2)
    assert "No toggle of residence is possible" in check.meaning
    assert checks_of(Study.from_dict(raw), respondents)["levels"].verdict == "pass"


@pytest.mark.parametrize(
    ("odd", "verdict", "said"),
    [
        ([], "pass", "young 18 to 34; age old 35 to 89."),
        ([998], "warn", "These look like missing codes: 998 in age old."),
        ([-1, 9999], "warn", "These look like missing codes: -1 in age young; 9999 in age old."),
        ([99, 0], "pass", "young 0 to 34; age old 35 to 99."),
    ],
)
def test_open_ranges_that_take_in_missing_codes_are_told(
    raw: dict[str, Any], respondents: pd.DataFrame, odd: list[int], verdict: str, said: str
) -> None:
    young, old = {"range": [None, 35], "persona": "young"}, {"range": [35, None], "persona": "old"}
    raw["attributes"] = {"age": {"levels": {"young": young, "old": old}}}
    respondents["age"] = [*odd, 34, *np.resize(np.arange(18, 90), 399 - len(odd))]
    check = checks_of(Study.from_dict(raw), respondents)["ranges"]
    assert (check.verdict, check.statistic) == (verdict, len(odd) if verdict == "warn" else 0)
    assert said in check.meaning
    raw["attributes"]["age"]["missing"] = odd
    if 99 not in odd:
        assert checks_of(Study.from_dict(raw), respondents)["ranges"].verdict == "pass"


def test_missing_codes_are_named_for_the_worst_questions(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    respondents["trust"] = ["dk"] * 30 + [None] * 20 + ["never"] * 350
    respondents["v"] = [None] * 8 + ["no"] * 392
    check = nonresponse_check(read_survey(Study.from_dict(raw), respondents))
    assert check.statistic == 0.125
    assert "trust 12.5% (dk: 30, empty: 20); vote 2.0% (empty: 8)." in check.meaning


def test_a_count_table_with_missing_codes_tells_the_same(one_question: Any) -> None:
    people = people_of({(0, 0): 2, (0, 1): 3, (1, 0): 5, (1, 1): 30})
    table = people.fillna({"q": 9}).groupby(["a", "b", "q"]).size().rename("k").reset_index().assign(item="q")
    counts = {"question": "item", "option": "q", "count": "k"}
    study = one_question(("a", "b"), survey={"counts": counts, "missing": [9]})
    read = read_count_table(study, table)
    found = {check.name: check for check in gap_checks(read, grids_of(read))}
    assert found == checks_of(one_question(("a", "b")), people)
    read = read_count_table(study, table[table["q"] != 9])
    assert [check.name for check in gap_checks(read, grids_of(read))] == ["levels"]


def test_a_count_table_of_coarse_personas_is_no_attribute_without_levels(one_question: Any) -> None:
    table = pd.DataFrame({"a": [0, 0, 1, 1], "b": None, "q": [1, 2] * 2, "k": 20, "item": "q"})
    counts = {"question": "item", "option": "q", "count": "k"}
    study = one_question(("a", "b"), survey={"counts": counts}, effects={"granularity": [1]})
    read = read_count_table(study, table)
    assert [check.verdict for check in gap_checks(read, grids_of(read))] == ["pass"]


def test_fourteen_countries_and_240_questions_take_seconds() -> None:
    level = {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in (0, 1)}}
    raw = {
        "name": "large",
        "survey": {"source": "n.csv", "country": "c"},
        "attributes": dict.fromkeys("abcd", level),
        "questions": {f"q{i}": {"text": "?", "options": {0: "a", 1: "b"}} for i in range(240)},
    }
    rng = np.random.default_rng(0)
    n = 5000
    levels, answers = rng.integers(0, 2, (n, 4)), rng.integers(-1, 2, (n, 240))
    country = rng.integers(0, 14, n)
    names = tuple(map(str, range(14)))
    survey = Survey(Study.from_dict(raw), names, country, levels, answers, None, "", 0)
    grid = grid_from_counts(count(survey), survey.study, names, tuple("abcd"))
    begin = time.perf_counter()
    found = {check.name: check for check in gap_checks(survey, [grid])}
    assert time.perf_counter() - begin < 3
    assert "Of 53760 cells" in found["cell nonresponse"].meaning
    supported = survey_effects([grid], survey.study, names)["supported"].sum()
    assert f"Of {supported} supported toggles" in found["toggle nonresponse"].meaning
    assert found["toggle nonresponse"].verdict == "pass"  # a third is silent everywhere: no difference but chance
    assert found["cell nonresponse"].verdict == "warn"
