from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from causal.errors import InputError
from causal.ignorability import declared_missing_check
from causal.labelled import first_value, read_codebook, read_labelled
from causal.study import Study
from causal.survey import Survey, read_survey

LABELS = {"q": {1: "no", 2: "perhaps", 3: "yes", -1: "Don't know", 99: "Refused"}, "a": {0: "off", 1: "on", 9: "n/a"}}
WORDING = {"q": "Is it so?"}


@pytest.fixture
def sav(tmp_path: Path) -> Path:
    """Write q with user-missing -5 to -1 and 99, and a with user-missing 9; one of each is system-missing."""
    frame = pd.DataFrame({"a": [0.0, 1, 1, 0, 9, np.nan], "q": [1.0, -1, -2, 99, 3, np.nan], "other": range(6)})
    path = tmp_path / "s.sav"
    pyreadstat.write_sav(
        frame,
        path,
        column_labels=WORDING,
        variable_value_labels=LABELS,
        missing_ranges={"q": [{"lo": -5, "hi": -1}, 99], "a": [9]},
    )
    return path


@pytest.fixture
def dta(tmp_path: Path) -> Path:
    """Write q with .a (labelled) and .z."""
    frame = pd.DataFrame({"a": [0.0, 1, 1, 0], "q": [1, "a", "z", 3]})
    path = tmp_path / "s.dta"
    pyreadstat.write_dta(
        frame,
        path,
        column_labels=WORDING,
        variable_value_labels={"q": {1: "no", 2: "perhaps", 3: "yes", "a": "Don't know"}},
        missing_user_values={"q": ["a", "z"]},
    )
    return path


def read(one_question: Any, path: Path, options: dict[Any, str] | None = None, **survey: Any) -> Survey:
    study = one_question(survey={"source": str(path)} | survey)
    if options:
        raw = study.model_dump(mode="json", exclude_none=True)
        raw["questions"]["q"]["options"] = options
        study = Study.from_dict(raw)
    return read_survey(study)


def test_user_missing_codes_are_missing_and_counted(one_question: Any, sav: Path) -> None:
    survey = read(one_question, sav)
    assert survey.answers.ravel().tolist() == [0, -1, -1, -1, 2, -1]
    assert survey.levels.ravel().tolist() == [0, 1, 1, 0, -1, -1]
    assert survey.declared_missing == {"q": {"-1": 1, "-2": 1, "99": 1}, "a": {"9": 1}}
    assert survey.missing_answers == {"q": {"-1": 1, "-2": 1, "99": 1, "": 1}}


def test_a_user_missing_code_that_the_study_lists_is_an_answer(one_question: Any, sav: Path) -> None:
    survey = read(one_question, sav, {1: "no", 3: "yes", -1: "Don't know"})
    assert survey.answers.ravel().tolist() == [0, 2, -1, -1, 1, -1]
    assert survey.declared_missing == {"q": {"-2": 1, "99": 1}, "a": {"9": 1}}
    assert survey.missing_answers == {"q": {"-2": 1, "99": 1, "": 1}}


def test_the_checks_say_how_many_the_file_declared_missing(one_question: Any, sav: Path) -> None:
    (check,) = declared_missing_check(read(one_question, sav))
    assert (check.statistic, check.verdict) == (4, "pass")
    assert "q (-1: 1, -2: 1, 99: 1); a (9: 1)" in check.meaning


def test_stata_extended_missing_values_are_missing_and_counted(one_question: Any, dta: Path) -> None:
    survey = read(one_question, dta)
    assert survey.answers.ravel().tolist() == [0, -1, -1, 2]
    assert survey.declared_missing == {"q": {".a": 1, ".z": 1}}


def test_a_stata_missing_value_can_be_an_option(one_question: Any, dta: Path) -> None:
    survey = read(one_question, dta, {1: "no", 3: "yes", ".a": "Don't know"})
    assert survey.answers.ravel().tolist() == [0, 2, -1, 1]


def test_text_columns_may_have_missing_codes_too(tmp_path: Path) -> None:
    path = tmp_path / "s.sav"
    frame = pd.DataFrame({"t": ["x", "REF", "", "y"]})
    pyreadstat.write_sav(frame, path, missing_ranges={"t": ["REF"]})
    held = read_labelled(path, None)
    assert held.declared("t").tolist() == [False, True, False, False]
    assert held.masked({}).frame["t"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("name", ["sav", "dta"])
def test_labels_and_wording_come_from_the_file(name: str, request: pytest.FixtureRequest) -> None:
    held = read_labelled(request.getfixturevalue(name), None)
    assert held.wording == WORDING
    assert {held.labels["q"][code] for code in (1, 2, 3)} == {"no", "perhaps", "yes"}
    assert held.labels["q"][-1 if name == "sav" else ".a"] == "Don't know"


def test_only_the_columns_asked_for_are_read(sav: Path) -> None:
    assert list(read_labelled(sav, ["q"]).frame.columns) == ["q"]


def test_encoding_of_an_spss_file_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "s.sav"
    pyreadstat.write_sav(pd.DataFrame({"t": ["caf\u00e9"]}), path)
    # Two Latin-1 letters stand where UTF-8 has one of two bytes; and the file no longer says that it is UTF-8.
    content = path.read_bytes()
    assert content.count(b"UTF-8") == 1
    path.write_bytes(content.replace(b"caf\xc3\xa9", b"caf\xe9 ").replace(b"UTF-8", b"ASCII"))
    assert read_labelled(path, None, "latin-1").frame["t"].tolist() == ["caf\u00e9"]


def test_the_codebook_has_what_the_whole_file_has_but_rows(sav: Path) -> None:
    book, whole = read_codebook(sav), read_labelled(sav, None)
    assert list(book.frame.columns) == list(whole.frame.columns)
    assert len(book.frame) == 0
    assert (book.wording, book.labels, book.ranges) == (whole.wording, whole.labels, whole.ranges)
    assert [book.declares_missing("q", code) for code in (-3.0, 99.0, 3.0)] == [True, True, False]


def test_statas_codebook_knows_the_missing_codes_that_have_a_label(dta: Path) -> None:
    book = read_codebook(dta)
    assert book.labels["q"][".a"] == "Don't know"
    assert book.declares_missing("q", ".a")
    assert not book.declares_missing("q", 1)


def test_the_first_value_of_a_column_is_read_alone(sav: Path, dta: Path) -> None:
    assert first_value(sav, "q") == 1
    assert first_value(dta, "a") == 0


def test_a_codebook_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.sav"
    path.write_bytes(b"$FL2 cut off")
    with pytest.raises(InputError, match="no readable SPSS file"):
        read_codebook(path)
