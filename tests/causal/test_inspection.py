from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from causal.errors import InputError
from causal.inspection import describe, inspect_file


def people() -> pd.DataFrame:
    return pd.DataFrame({"sex": [1.0, 2, 2, np.nan], "q": [1.0, -1, 2, 9], "w": [0.5, 1.5, 1.25, 2.5]})


@pytest.mark.parametrize("suffix", [".sav", ".zsav", ".dta", ".csv", ".tsv", ".parquet"])
def test_columns_are_counted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    if suffix == ".parquet":
        people().to_parquet(path)
    elif suffix == ".dta":
        pyreadstat.write_dta(people(), path)
    elif suffix in (".sav", ".zsav"):
        pyreadstat.write_sav(people(), path, compress=suffix == ".zsav")
    else:
        people().to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    found = inspect_file(str(path))
    assert (found.rows, [column.name for column in found.columns]) == (4, ["sex", "q", "w"])
    assert [(column.distinct, column.missing) for column in found.columns] == [(2, 1), (4, 0), (4, 0)]
    assert found.columns[0].rows == {"1": 1, "2": 2}


def test_labels_wording_and_missing_codes_of_the_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "s.sav"
    pyreadstat.write_sav(
        people(),
        path,
        column_labels={"q": "Is it\nso?"},
        variable_value_labels={"q": {1: "no", 2: "yes", -1: "Don't know", -2: "Refused"}},
        missing_ranges={"q": [{"lo": -5, "hi": -1}]},
    )
    found = inspect_file(str(path))
    q = found.columns[1]
    assert (q.missing, q.declared, q.wording) == (1, ("-1", "-2"), "Is it\nso?")
    assert q.labels == {"1": "no", "2": "yes", "-1": "Don't know", "-2": "Refused"}
    lines = describe(found)
    assert lines[0] == f"{path}: SPSS, 4 rows, 3 columns"
    assert lines[2].startswith("q: 4 distinct, 1 missing; labels ")
    assert lines[2].endswith("missing by the file's own word: -1, -2; wording: Is it so?")


@pytest.mark.parametrize(("codec", "guess"), [("cp1252", "cp1252"), ("utf-16", "utf-16"), ("utf-8-sig", None)])
def test_encoding_is_guessed_and_said_so(tmp_path: Path, codec: str, guess: str | None) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes("city\nZürich\nKöln\n".encode(codec))
    found = inspect_file(str(path))
    assert found.encoding == guess
    assert list(found.columns[0].rows) == ["Zürich", "Köln"]
    assert any("is a guess" in line for line in describe(found)) == (guess is not None)


def test_json_items_are_questions_and_demographics(tmp_path: Path) -> None:
    item = {
        "question_id": "v1",
        "question_text": "Is it so?",
        "options": {"1": "no", "2": "yes"},
        "demographics": {"gender": "Male", "country": "X"},
        "p_real": [0.5, 0.5],
        "sample_count": 8,
    }
    (tmp_path / "f.json").write_text(json.dumps([item, item | {"demographics": {"gender": "Female", "country": "X"}}]))
    found = inspect_file(str(tmp_path / "f.json"))
    assert (found.rows, [column.name for column in found.columns]) == (2, ["gender", "country"])
    (question,) = found.questions
    assert (question.name, question.wording, question.labels) == ("v1", "Is it so?", {"1": "no", "2": "yes"})


def test_a_column_of_lists_or_of_many_values_is_told_and_left(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pd.DataFrame({"lists": [[1, 2]] * 400, "id": range(400)}).to_parquet(path)
    lists, many = inspect_file(str(path)).columns
    assert (lists.rows, many.rows, many.distinct) == ({}, {}, 400)


def test_unreadable_files_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "s.sav").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InputError, match="no readable SPSS file"):
        inspect_file(str(tmp_path / "s.sav"))
    with pytest.raises(InputError, match="does not exist"):
        inspect_file(str(tmp_path / "none.sav"))
