from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from causal.audit import main
from causal.study import Study

Official = Callable[..., Path]


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, Path]:
    """Return what --inspect prints, and the study file that a user who pipes it into one has."""
    assert main(["--inspect", str(path)]) == 0
    text = capsys.readouterr().out
    study = path.with_name("study.yaml")
    study.write_text(text, encoding="utf-8")
    return text, study


def test_wave_7_is_recognised_with_countries_levels_and_topics(
    official: Official, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[pd.DataFrame] = []
    path = official("wvs7", "wave 7.sav", change=lambda frame: kept.append(frame) or frame)  # type: ignore[func-returns-value]
    text, study = inspected(path, capsys)
    people = kept[0]
    assert "SPSS, 900 rows; recognised as World Values Survey, wave 7\n" in text
    for code, rows in people["B_COUNTRY_ALPHA"].value_counts().items():
        assert f"{code} {rows}" in text
    men, women = (people["Q260"] == 1).sum(), (people["Q260"] == 2).sum()
    assert f"# gender (Q260): male {men}, female {women}\n" in text
    college, none = (people["Q275"] >= 6).sum(), people["Q275"].between(0, 5).sum()
    assert f"# education (Q275): college {college}, no_college {none}\n" in text
    assert "# 8 questions: social_values 1, wellbeing 2, social_capital_and_trust 1, economic_values 1," in text
    assert "# left out, no labels or no order seen in them: Q152, Q223\n" in text
    assert text.count("\n") < 20
    loaded = Study.load(study)
    assert (loaded.name, len(loaded.questions)) == ("wave_7", 8)


def test_questions_that_nobody_answered_are_taken_away(official: Official, capsys: pytest.CaptureFixture[str]) -> None:
    path = official("wvs7", "kenya.sav", change=lambda f: f.assign(Q1=-4.0, Q94=-1.0))
    text, study = inspected(path, capsys)
    assert "questions: {Q1: null, Q94: null}  # nobody answered" in text
    assert "# 6 questions: " in text
    assert list(Study.load(study).questions) == ["Q49", "Q56", "Q111", "Q221", "Q242", "Q254"]
    assert main([str(study), "--dry-run"]) == 0


def test_an_issp_module_is_named(official: Official, capsys: pytest.CaptureFixture[str]) -> None:
    text, study = inspected(official("issp", "m.dta"), capsys)
    assert "recognised as International Social Survey Programme, module citizenship\n" in text
    assert "# 3 questions: citizenship 3\n" in text
    assert len(Study.load(study).questions) == 3


def test_an_unknown_module_is_left_to_fill_in(official: Official, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = inspected(official("issp", "m.dta", change=lambda f: f.drop(columns="studyno")), capsys)
    assert "preset: issp/FILL-IN\n" in text
    assert "# FILL-IN: the module, one of citizenship, environment," in text


def test_codes_that_are_no_level_are_shown(official: Official, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = inspected(official("wvs7", "w.sav", change=lambda f: f.assign(Q260=f["Q260"].replace(2, 3))), capsys)
    assert "female 0; codes that are no level: 3\n" in text


def test_a_csv_gets_the_advice_and_a_study_as_any_file_does(
    official: Official, capsys: pytest.CaptureFixture[str]
) -> None:
    text, study = inspected(official("wvs7", "w.csv"), capsys)
    assert text.startswith("# This looks like World Values Survey, wave 7. CSV holds no wording and no labels")
    assert "preset: wvs7\n" not in text
    assert Study.load(study).questions


def test_other_surveys_are_inspected_as_before(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = inspected(study_folder / "survey.csv", capsys)
    assert "preset" not in text
