from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from causal.labelled import read_codebook
from causal.presetfile import coded_otherwise, find_column, is_scale, module_of, preset_attributes, recognise
from causal.presets.issp import ISSP
from causal.presets.wvs7 import WVS7

Official = Callable[..., Path]
ISSP_COLUMNS = ["c_alphan", "SEX", "DEGREE", "URBRURAL", "MARITAL", "WEIGHT", "v5"]


def test_a_column_is_found_in_the_files_own_case_and_the_preferred_one_first() -> None:
    assert find_column(("c_alphan", "country"), ["COUNTRY", "C_ALPHAN"]) == "C_ALPHAN"
    assert find_column(("c_alphan", "country"), ["COUNTRY"]) == "COUNTRY"
    assert find_column(("c_alphan", "country"), ["nation"]) == "c_alphan"
    assert find_column(("a", "b"), None) == "a"


def test_of_two_ways_to_hold_an_attribute_the_files_is_taken() -> None:
    way, entry = preset_attributes(ISSP, ["EDULEVEL"])["education"]
    assert (way.column, entry["levels"]["college"]["codes"]) == ("EDULEVEL", [6, 7, 8])
    way, entry = preset_attributes(ISSP, ["degree", "EDULEVEL"])["education"]
    assert (way.column, entry["missing"]) == ("degree", [8, 9])


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (["B_COUNTRY_ALPHA", "W_WEIGHT", "Q260", "Q275", "H_URBRURAL", "Q273", "Q1"], "wvs7"),
        (ISSP_COLUMNS, "issp"),
        ([name.upper() for name in ISSP_COLUMNS], "issp"),
        (["country", *ISSP_COLUMNS[1:]], "issp"),
        ([name if name != "DEGREE" else "EDULEVEL" for name in ISSP_COLUMNS], "issp"),
        (ISSP_COLUMNS[:-1], None),
        (ISSP_COLUMNS[1:], None),
        (["B_COUNTRY_ALPHA", "W_WEIGHT", "Q260", "Q275", "H_URBRURAL", "Q1"], None),
        (["cntry", "gndr", "pspwght"], None),
    ],
)
def test_a_file_is_recognised_by_its_columns(columns: list[str], name: str | None) -> None:
    found = recognise(columns)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("file", "number", "topic"),
    [
        ("x.sav", 6670.0, "citizenship"),
        ("x.dta", 7600.0, "social_inequality"),
        ("ZA5900_v4-0-0.sav", 7650.0, "environment"),  # what the file holds goes before its name
        ("ZA5900_v4-0-0.sav", 3.0, "family"),
        ("za10000_v2-0-0.dta", 3.0, "family"),
        ("ZA9999.sav", 3.0, None),
    ],
)
def test_a_module_is_known_by_its_archive_number(
    official: Official, file: str, number: float, topic: str | None
) -> None:
    path = official("issp", file, n=40, change=lambda frame: frame.assign(studyno=number))
    assert module_of(ISSP, path, list(read_codebook(path).frame.columns)) == topic


def test_what_the_presets_take_as_questions(official: Official) -> None:
    wvs7 = read_codebook(official("wvs7", "a.sav", n=40))
    taken = [name for name in wvs7.frame.columns if is_scale(WVS7, wvs7, name)]
    assert taken == ["Q1", "Q49", "Q56", "Q94", "Q111", "Q221", "Q242", "Q254"]
    issp = read_codebook(official("issp", "b.sav", n=40))
    assert [name for name in issp.frame.columns if is_scale(ISSP, issp, name)] == ["v5", "v6", "v8"]


@pytest.mark.parametrize(
    ("labels", "otherwise"),
    [
        ({code: f"place {code}" for code in range(1, 6)}, False),
        ({1: "urban", 5: "farm", 7: "other", 9: "No answer"}, False),
        ({code: f"place {code}" for code in range(1, 7)}, True),  # a code too many
        ({1: "urban", 2: "between", 3: "rural"}, True),  # nobody would be rural
    ],
)
def test_another_coding_is_seen(official: Official, labels: dict[int, str], otherwise: bool) -> None:
    book = read_codebook(official("issp", "a.dta", n=40, relabel={"URBRURAL": labels}))
    assert bool(coded_otherwise(book, ISSP.attributes["residence"][0])) is otherwise


def test_a_column_without_labels_is_taken_at_its_word(official: Official) -> None:
    book = read_codebook(official("issp", "a.dta", n=40, relabel={"URBRURAL": {}}))
    assert coded_otherwise(book, ISSP.attributes["residence"][0]) == {}


def test_codes_that_the_file_labels_as_no_answer_are_missing_in_attributes_too(official: Official) -> None:
    sex = {0: "Not available", 1: "man", 2: "woman", 9: "No answer", -4: "Not asked"}
    book = read_codebook(official("issp", "a.dta", n=40, relabel={"SEX": sex}))
    columns = list(book.frame.columns)
    assert preset_attributes(ISSP, columns, book)["gender"][1]["missing"] == [0, 9]
    assert preset_attributes(ISSP, columns)["gender"][1]["missing"] == [9]
