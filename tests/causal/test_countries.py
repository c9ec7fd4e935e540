from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causal.countries import read_countries
from causal.counttable import read_count_table
from causal.errors import InputError
from causal.ignorability import left_out_check
from causal.sections import SurveySource
from causal.study import Study
from causal.survey import read_survey

FRAME = pd.DataFrame(
    {"c": ["SE", "NO", None, "FI", "SE", "dk"], "a": [0, 1, 1, 0, 1, 1], "q": [1, 2, 2, 1, 2, 1], "count": [3] * 6}
)


def source(**more: Any) -> SurveySource:
    return SurveySource.model_validate({"source": "x.csv", "country": "c"} | more)


def study(**survey: Any) -> Study:
    level = {"off": {"codes": [0], "persona": "off"}, "on": {"codes": [1], "persona": "on"}}
    return Study.from_dict(
        {
            "name": "s",
            "survey": {"source": "x.csv", "country": "c", "missing": ["dk"]} | survey,
            "attributes": {"a": {"levels": level}},
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
        }
    )


def test_without_keep_all_countries_stay() -> None:
    found = read_countries(source(), FRAME, {"dk"})
    assert (found.names, found.index.tolist(), found.left_out) == (("FI", "NO", "SE"), [2, 1, -1, 0, 2, -1], {})


def test_keep_leaves_the_others_out_and_counts_them() -> None:
    found = read_countries(source(keep=["SE"]), FRAME, {"dk"})
    assert (found.names, found.index.tolist()) == (("SE",), [0, -1, -1, -1, 0, -1])
    assert found.out.tolist() == [False, True, False, True, False, False]
    assert found.left_out == {"NO": 1, "FI": 1}


def test_keep_of_a_country_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"asks for SEE \(did you mean 'SE'\?\).*there: FI, NO, SE"):
        read_countries(source(keep=["SEE"]), FRAME, {"dk"})


def test_respondents_of_other_countries_are_left_out_with_a_line() -> None:
    survey = read_survey(study(keep=["SE", "NO"], countries={"SE": "Sweden", "NO": "Norway"}), FRAME)
    assert survey.countries == ("NO", "SE")
    assert (survey.respondents, survey.without_country, survey.left_out) == (3, 2, {"FI": 1})
    (check,) = left_out_check(survey)
    assert (check.statistic, check.verdict) == (1.0, "pass")
    assert "keeps NO, SE; 1 rows of 1 other countries are left out: FI (1)" in check.meaning


def test_no_line_where_all_are_kept() -> None:
    assert left_out_check(read_survey(study(), FRAME)) == []


def test_one_country_kept_gives_the_effects_it_has_alone(tmp_path: Path) -> None:
    from causal.counts import count
    from causal.effects import survey_effects
    from causal.grid import grid_from_counts, subsets

    frame = pd.DataFrame({"c": ["SE", "NO"] * 60, "a": [0, 0, 1, 1] * 30, "q": [1, 2, 2, 1, 1, 1, 2, 2] * 15})

    def effects(study: Study, data: pd.DataFrame) -> pd.DataFrame:
        survey = read_survey(study, data)
        grids = [grid_from_counts(count(survey), study, survey.countries, subset) for subset in subsets(study)]
        return survey_effects(grids, study, survey.countries)

    alone = effects(study(), frame[frame["c"] == "SE"])
    pd.testing.assert_frame_equal(effects(study(keep="SE"), frame), alone)


def test_count_tables_leave_countries_out_too() -> None:
    counts = {"question": "item", "option": "q", "count": "count"}
    table = read_count_table(study(counts=counts, keep=["SE"]), FRAME.dropna().assign(item="q").query("c != 'dk'"))
    assert table.countries == ("SE",)
    assert table.left_out == {"NO": 1, "FI": 1}
    assert table.respondents == 6


@pytest.mark.parametrize(
    ("survey", "expected"),
    [
        ({"countries": {"SE": "Sweden"}, "keep": ["SE", "SEE"]}, "survey.keep: country 'SEE' is not among"),
        ({"countries": {"SE": "Sweden"}, "tiers": {"SV": "high"}}, "survey.tiers: country 'SV' is not among"),
        ({"country": {"constant": "SE"}, "keep": ["SE"]}, "survey.keep: the survey has one country for all rows"),
    ],
)
def test_names_must_agree(survey: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        study(**survey)


def test_tiers_are_any_countries_words() -> None:
    assert study(tiers={"SE": "high", "NG": 3}).survey.tiers == {"SE": "high", "NG": "3"}


def test_only_those_kept_need_a_weight() -> None:
    frame = FRAME.assign(w=[1, 1, 1, None, 1, 1])  # the Finn has none
    assert read_survey(study(weight="w", keep=["SE", "NO"]), frame).respondents == 3
    with pytest.raises(InputError, match="1 of 6 rows"):
        read_survey(study(weight="w"), frame)


def test_only_those_kept_need_a_psu_and_a_stratum() -> None:
    frame = FRAME.assign(p=["a", "b", "c", None, "d", "e"], s=["x", "x", "x", None, "x", "x"])  # the Finn has none
    assert read_survey(study(psu="p", keep=["SE"]), frame).respondents == 2
    assert read_survey(study(psu="p", strata="s", keep=["SE"]), frame).respondents == 2
    with pytest.raises(InputError, match=r"survey.psu \(column p\): 1 of 6 rows"):
        read_survey(study(psu="p"), frame)


NUMBERED = pd.DataFrame({"c": [7, 8, 8, 9, 98], "a": [0, 1, 0, 1, 0], "q": [1, 2, 8, 1, 2]})


@pytest.mark.parametrize(
    ("survey", "there"),
    [
        ({"countries": {7: "Albania", 8: "Hungary", 9: "Italy"}}, ("7", "8", "9")),
        ({"keep": [8]}, ("8",)),
        ({}, ("7",)),
    ],
)
def test_a_country_that_is_named_is_not_missing(survey: dict[str, Any], there: tuple[str, ...]) -> None:
    """Codes 8 and 9 are missing answers, and countries too."""
    found = read_survey(study(missing=[8, 9, 98], **survey), NUMBERED)
    assert found.countries == there
    assert (found.answers < 0).sum() == (1 if "8" in there else 0)


def test_names_and_tiers_go_by_code_however_it_is_written() -> None:
    named = study(countries={"7.0": "Albania", 8: "Hungary", 9: "Italy", 98: "Malta"}, tiers={"7.0": "low"})
    assert read_survey(named, NUMBERED.assign(q=1)).countries == ("7", "8", "9", "98")
    assert named.country_name("7") == "Albania"
    assert named.survey.tiers == {"7": "low"}
    with pytest.raises(InputError, match="two of these codes are the same one"):
        study(countries={"7.0": "Albania", "7": "Algeria"})


def test_count_tables_name_all_countries_too() -> None:
    counts = {"question": "item", "option": "q", "count": "count"}
    with pytest.raises(InputError, match="names NO, SE, but the data also hold FI"):
        read_count_table(
            study(counts=counts, countries={"SE": "Sweden", "NO": "Norway"}),
            FRAME.dropna().assign(item="q").query("c != 'dk'"),
        )
