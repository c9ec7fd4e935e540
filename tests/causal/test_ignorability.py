from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.ignorability import (
    Check,
    attribute_check,
    checks,
    design_check,
    design_effects,
    nonresponse_check,
    read_checks,
    support_check,
    write_checks,
)
from causal.study import Study
from causal.survey import read_survey


def effects(supported: list[bool], estimand: str = "total", granularity: int = 1) -> pd.DataFrame:
    n = pd.array([20] * len(supported), dtype="Int64")
    table = pd.DataFrame(
        {
            "attribute": "a",
            "granularity": granularity,
            "estimator": "cell",
            "estimand": estimand,
            "supported": supported,
        }
    )
    shares = [[[0.5, 0.5]] * len(supported), [[0.2, 0.8]] * len(supported)]
    return table.assign(n_reference=n, n_treated=n + 5, std_error=0.2, p_reference=shares[0], p_treated=shares[1])


@pytest.mark.parametrize(("unsupported", "verdict"), [(0, "pass"), (1, "warn"), (2, "warn"), (3, "fail"), (10, "fail")])
def test_support_passes_whole_and_fails_below_four_fifths(study: Study, unsupported: int, verdict: str) -> None:
    check = support_check(effects([False] * unsupported + [True] * (10 - unsupported)), study)
    assert check.verdict == verdict
    assert check.statistic == pytest.approx(1 - unsupported / 10)
    assert f"{10 - unsupported} of 10 toggles" in check.meaning


def test_support_reports_the_smaller_cell_at_the_finest_granularity(study: Study) -> None:
    coarse, fine = effects([True] * 3), effects([True] * 3, granularity=2)
    fine["n_reference"] = pd.array([3, 30, 11], dtype="Int64")
    fine["n_treated"] = pd.array([50, 7, 40], dtype="Int64")
    assert "smaller cell of a toggle has 7 (median)" in support_check(pd.concat([coarse, fine]), study).meaning


@pytest.mark.parametrize(("silent", "verdict"), [(0, "pass"), (2, "pass"), (3, "warn")])
def test_nonresponse_warns_above_a_fifth(one_question: Any, silent: int, verdict: str) -> None:
    people = pd.DataFrame({"a": [0, 1] * 5, "q": [None] * silent + [1] * (10 - silent)})
    check = nonresponse_check(read_survey(one_question(), people))
    assert (check.verdict, check.statistic) == (verdict, silent / 10)
    assert "Question q" in check.meaning


@pytest.mark.parametrize(("unknown", "verdict"), [(0, "pass"), (2, "pass"), (3, "warn")])
def test_attribute_check_names_the_worst_attribute(one_question: Any, unknown: int, verdict: str) -> None:
    people = pd.DataFrame({"a": [0, 1] * 5, "b": [None] * unknown + [1] * (10 - unknown), "q": 1})
    check = attribute_check(read_survey(one_question(("a", "b")), people))
    assert (check.verdict, check.statistic) == (verdict, unknown / 10)
    assert unknown == 0 or "Attribute b" in check.meaning


def test_attribute_check_counts_those_without_a_country(study: Study, respondents: pd.DataFrame) -> None:
    respondents.loc[:6, "nation"] = None
    assert "7 respondents without a country" in attribute_check(read_survey(study, respondents)).meaning


def test_design_effects_by_hand() -> None:
    # two options: p(1-p)/n at either end, .25/20 + .16/25, under a standard error of .2
    table = effects([True, False])
    np.testing.assert_allclose(design_effects(table), 0.04 / (0.25 / 20 + 0.16 / 25))
    ordered = table.assign(p_reference=[[0, 0.5, 0.5], [1.0, 0, 0]], p_treated=[[1.0, 0, 0], [1.0, 0, 0]])
    np.testing.assert_allclose(design_effects(ordered), 0.04 / (0.5**2 * 0.25 / 20))  # nothing varies in the second
    assert len(design_effects(table.assign(p_reference=None))) == 0


def test_design_check_without_a_design_says_what_is_missing(one_question: Any) -> None:
    check = design_check(read_survey(one_question(), pd.DataFrame({"a": [0, 1] * 5, "q": 1})), effects([True]))
    assert (check.verdict, check.statistic) == ("pass", 0)
    assert "as if drawn one by one" in check.meaning
    assert "survey.psu" in check.advice


def test_design_check_reports_design_effects_and_counts(one_question: Any) -> None:
    study = one_question(survey={"weight": "w", "strata": "s", "psu": "c"})
    people = pd.DataFrame({"a": [0, 1] * 5, "q": 1, "w": 1, "c": [1, 1, 2, 2, 1, 1, 2, 2, 3, 3]}).assign(
        s=[1] * 4 + [2] * 6
    )
    check = design_check(read_survey(study, people), effects([True, True, False]))
    assert (check.verdict, check.statistic) == ("pass", 0)
    assert "5 PSUs in 2 strata, of which 0 have one PSU" in check.meaning
    assert "median 2.12, largest 2.12" in check.meaning  # .04 / .0189
    assert "survey.weight, survey.strata, survey.psu" in check.meaning


def test_design_check_warns_of_lonely_psus(one_question: Any) -> None:
    study = one_question(survey={"strata": "s", "psu": "c"})
    people = pd.DataFrame({"a": [0, 1] * 5, "q": 1, "c": [1] * 4 + [2] * 3 + [3] * 3, "s": [1] * 4 + [2] * 6})
    check = design_check(read_survey(study, people), effects([False]))
    assert (check.verdict, check.statistic) == ("warn", 1)
    assert "3 PSUs in 2 strata, of which 1 have one PSU" in check.meaning
    assert "Design effect" not in check.meaning
    assert "merge it" in check.advice


def test_every_check_is_run_and_survives_the_file(study: Study, respondents: pd.DataFrame, tmp_path: Path) -> None:
    import json

    held = {"gender": None, "education": None, "residence": None}
    found = checks(read_survey(study, respondents), effects([True]).assign(attribute="gender", **held))
    assert [check.name for check in found] == [
        "support",
        "identification",
        "item nonresponse",
        "attribute nonresponse",
        "design",
    ]
    write_checks(found, tmp_path / "checks.json")
    assert read_checks(json.loads((tmp_path / "checks.json").read_text())) == found
    assert all(isinstance(check, Check) and check.advice for check in found)
