from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from causal.errors import InputError
from causal.study import Study
from causal.survey import Survey, read_survey

NUMBERS = {
    "nation": {"NA": 10, "NO": 20},
    "sex": {"M": 1, "F": 2},
    "edu": {"uni": 1, "phd": 2, "school": 3, "none": 4},
    "residence": {"city": 0, "village": 1},
    "trust": {"never": 1, "rarely": 2, "often": 3, "always": 4, "dk": -1},
    "v": {"no": 0, "yes": 1},
}


def coded(raw: dict[str, Any], respondents: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the small study and its respondents with numbers for codes, as survey files have them."""
    raw["survey"]["missing"] = [-1]
    for name, attribute in raw["attributes"].items():
        for level in attribute["levels"].values():
            level["codes"] = [NUMBERS[attribute.get("column", name)][code] for code in level["codes"]]
    for name, question in raw["questions"].items():
        codes = NUMBERS[question.get("column", name)]
        question["options"] = {codes[code]: label for code, label in question["options"].items()}
    frame = respondents.copy()
    for name, codes in NUMBERS.items():
        frame[name] = frame[name].map(codes).astype(float)
    return raw, frame


def write(frame: pd.DataFrame, path: Path) -> None:
    suffix = path.suffix
    if suffix in (".csv", ".tsv"):
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".dta":
        pyreadstat.write_dta(frame, path)
    else:
        pyreadstat.write_sav(frame, path, compress=suffix == ".zsav")


def read(raw: dict[str, Any], path: Path, **survey: Any) -> Survey:
    return read_survey(Study.from_dict(raw | {"survey": raw["survey"] | {"source": str(path)} | survey}))


def assert_same(a: Survey, b: Survey) -> None:
    assert a.countries == b.countries
    for name in ("country", "levels", "answers", "weight"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.data_hash == b.data_hash


FORMATS = [".csv", ".tsv", ".parquet", ".sav", ".zsav", ".dta"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("numbers", [True, False])
def test_every_format_gives_the_survey_of_the_data_frame(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str, numbers: bool
) -> None:
    raw, frame = coded(raw, respondents) if numbers else (raw, respondents)
    frame["unused"] = range(len(frame))
    path = tmp_path / f"s{suffix}"
    write(frame, path)
    assert_same(read(raw, path), read_survey(Study.from_dict(raw), frame))


@pytest.mark.parametrize("suffix", FORMATS)
def test_absent_column_is_named_with_its_neighbour(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"s{suffix}"
    write(respondents.rename(columns={"residence": "residense"}), path)
    with pytest.raises(InputError, match=r"residence \(did you mean 'residense'\?\)"):
        read(raw, path)


@pytest.mark.parametrize(
    ("suffix", "keep"),
    [
        *((suffix, keep) for suffix in FORMATS for keep in (0.0, 0.001)),  # for text: within the header
        *((suffix, keep) for suffix in (".sav", ".zsav", ".dta", ".parquet") for keep in (0.2, 0.6)),
    ],
)
def test_empty_and_truncated_files_are_input_errors(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str, keep: float
) -> None:
    path = tmp_path / f"s{suffix}"
    write(respondents, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"empty \(0 bytes\)|no readable|no column"):
        read(raw, path)


@pytest.mark.parametrize("suffix", [".sav", ".zsav", ".dta", ".parquet"])
def test_a_csv_under_another_name_is_an_input_error(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"s{suffix}"
    respondents.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"no readable (SPSS|Stata|Parquet) file"):
        read(raw, path)


@pytest.mark.parametrize(
    ("written", "named", "message"),
    [
        (".sav", ".csv", r"is an SPSS file, not what \.csv says; name it s\.sav"),
        (".zsav", ".dta", r"is a compressed SPSS file, not what \.dta says; name it s\.zsav"),
        (".dta", ".sav", r"is a Stata file, not what \.sav says; name it s\.dta"),
        (".parquet", ".tsv", r"is a Parquet file, not what \.tsv says; name it s\.parquet"),
    ],
)
def test_a_binary_file_under_another_name_is_recognised(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, written: str, named: str, message: str
) -> None:
    write(respondents, tmp_path / f"first{written}")
    path = (tmp_path / f"first{written}").rename(tmp_path / f"s{named}")
    with pytest.raises(InputError, match=message):
        read(raw, path)


def test_a_spreadsheet_named_csv_is_recognised(raw: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match=r"spreadsheet or zip archive.*export the table as CSV"):
        read(raw, path)


@pytest.mark.parametrize("codec", ["latin-1", "cp1252", "utf-16", "utf-8", "utf-8-sig"])
def test_encoding_of_a_text_file(raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, codec: str) -> None:
    raw["attributes"]["residence"]["levels"]["urban"]["codes"] = ["Zürich"]
    frame = respondents.assign(residence=respondents["residence"].replace("city", "Zürich"))
    path = tmp_path / "s.csv"
    frame.to_csv(path, index=False, encoding=codec)
    assert_same(read(raw, path, encoding=codec), read_survey(Study.from_dict(raw), frame))


def test_undecodable_text_says_which_key_to_set(raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    respondents.assign(residence="café").to_csv(path, index=False, encoding="cp1252")
    with pytest.raises(InputError, match=r"is not UTF-8 text; say what it is under survey\.encoding"):
        read(raw, path)
    with pytest.raises(InputError, match=r"is no text in utf-16; correct survey\.encoding"):
        read(raw, path, encoding="utf-16")


def test_unknown_encoding_is_an_error_of_the_study(raw: dict[str, Any]) -> None:
    raw["survey"]["encoding"] = "utf-9"
    with pytest.raises(InputError, match="unknown encoding 'utf-9'"):
        Study.from_dict(raw)


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ("nation;sex;edu;residence;trust;v;w\nNO;M;uni;city;never;no;1,5\n", ".csv", "semicolons"),
        ("nation\tsex\tedu\nNO\tM\tuni\n", ".csv", "tabs"),
        ("nation,sex,edu\nNO,M,uni\n", ".tsv", "commas"),
    ],
)
def test_another_separator_is_named(raw: dict[str, Any], tmp_path: Path, text: str, suffix: str, words: str) -> None:
    path = tmp_path / f"s{suffix}"
    path.write_text(text)
    with pytest.raises(InputError, match=f"one column only, .*separated by {words}"):
        read(raw, path)


@pytest.mark.parametrize("header", ["nation,sex,edu,sex,residence", "nation, sex,sex,edu,residence"])
def test_columns_of_one_name_are_refused(raw: dict[str, Any], tmp_path: Path, header: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(f"{header},trust,v,w\nNO,M,F,uni,city,never,no,1\n")
    with pytest.raises(InputError, match="more than one column named sex"):
        read(raw, path)


def test_row_names_and_empty_columns_may_have_no_name(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "s.csv"
    respondents.assign(**{"Unnamed: 8": None}).to_csv(path)
    path.write_text(path.read_text().replace("Unnamed: 8", "", 1))
    assert_same(read(raw, path), read_survey(Study.from_dict(raw), respondents))


def test_a_column_of_lists_is_refused(raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    respondents.assign(trust=[["never", "often"]] * len(respondents)).to_parquet(path)
    with pytest.raises(InputError, match="column trust holds lists"):
        read(raw, path)


def test_parquet_columns_of_one_name_are_refused(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(respondents)
    pq.write_table(table.append_column("sex", table["sex"]), tmp_path / "s.parquet")
    with pytest.raises(InputError, match="more than one column named sex"):
        read(raw, tmp_path / "s.parquet")
