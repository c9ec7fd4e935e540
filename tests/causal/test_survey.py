from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.errors import InputError
from causal.study import Study
from causal.survey import Survey, read_survey


def with_source(raw: dict[str, Any], path: Path | str) -> Study:
    return Study.from_dict(raw | {"survey": raw["survey"] | {"source": str(path)}})


def assert_same(a: Survey, b: Survey) -> None:
    assert a.countries == b.countries
    for name in ("country", "levels", "answers", "weight"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.data_hash == b.data_hash


def read_csv_text(raw: dict[str, Any], tmp_path: Path, text: str | bytes, name: str = "s.csv") -> Survey:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_survey(with_source(raw, path))


HEADER = "nation,sex,edu,residence,trust,v,w\n"
ROW = "NO,M,uni,city,never,no,1\n"


def test_codes_are_encoded_in_the_order_of_the_study(raw: dict[str, Any], tmp_path: Path) -> None:
    text = HEADER + "NO,F,phd,village,always,yes,2\nNA,M,none,city,dk,,0.5\nNO,,school,,rarely,no,1\n"
    survey = read_csv_text(raw, tmp_path, text)
    assert survey.countries == ("NA", "NO")
    assert survey.country.tolist() == [1, 0, 1]
    assert survey.levels.tolist() == [[1, 0, 1], [0, 2, 0], [-1, 1, -1]]
    assert survey.answers.tolist() == [[3, 1], [-1, -1], [1, 0]]
    assert survey.weight is not None
    assert survey.weight.tolist() == [2, 0.5, 1]
    assert (survey.respondents, survey.without_country) == (3, 0)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_survey_of_the_data_frame(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"s{suffix}"
    if suffix == ".parquet":
        respondents.to_parquet(path)
    else:
        respondents.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    assert_same(read_survey(with_source(raw, path)), read_survey(Study.from_dict(raw), respondents))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_with_gaps_become_floats_on_disk_and_still_match_their_codes(
    one_question: Any, tmp_path: Path, suffix: str
) -> None:
    frame = pd.DataFrame({"a": [0, 1, np.nan, 1], "q": [1, np.nan, 2, 3]})  # to_csv writes 1.0
    path = tmp_path / f"s{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    survey = read_survey(one_question(survey={"source": str(path)}))
    assert survey.levels.ravel().tolist() == [0, 1, -1, 1]
    assert survey.answers.ravel().tolist() == [0, -1, 1, 2]
    assert_same_but_weight = read_survey(one_question(), frame)
    np.testing.assert_array_equal(survey.answers, assert_same_but_weight.answers)


def test_codes_with_leading_zeros_are_other_codes(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["questions"]["vote"]["options"] = {"1": "No", "01": "Yes"}
    survey = read_csv_text(raw, tmp_path, HEADER + "NO,M,uni,city,never,1.0,1\nNO,M,uni,city,never,01,1\n")
    assert survey.answers[:, 1].tolist() == [0, 1]


@pytest.mark.parametrize("written", ["true", "True", "TRUE"])
def test_booleans_match_however_a_program_writes_them(raw: dict[str, Any], tmp_path: Path, written: str) -> None:
    raw["questions"]["vote"]["options"] = {False: "No", True: "Yes"}
    survey = read_csv_text(raw, tmp_path, HEADER + f"NO,M,uni,city,never,{written},1\n")
    assert survey.answers[:, 1].tolist() == [1]


def test_na_is_namibia_and_an_empty_field_is_missing(raw: dict[str, Any], tmp_path: Path) -> None:
    survey = read_csv_text(raw, tmp_path, HEADER + "NA,M,uni,city,never,no,1\n,F,uni,city,never,no,1\n" + ROW)
    assert survey.countries == ("NA", "NO")
    assert survey.without_country == 1
    assert survey.respondents == 2
    assert survey.levels[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A"])
def test_words_that_pandas_takes_for_missing_can_be_answers(raw: dict[str, Any], tmp_path: Path, word: str) -> None:
    raw["questions"]["vote"]["options"] = {word: "No", "yes": "Yes"}
    survey = read_csv_text(raw, tmp_path, HEADER + f"NO,M,uni,city,never,{word},1\n")
    assert survey.answers[:, 1].tolist() == [0]


def test_byte_order_mark_and_blanks_after_separators_are_ignored(raw: dict[str, Any], tmp_path: Path) -> None:
    text = (HEADER + ROW).replace(",", ", ").encode("utf-8-sig")
    assert read_csv_text(raw, tmp_path, text).answers.tolist() == [[0, 0]]


def test_missing_codes_work_everywhere_and_per_question(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["questions"]["vote"]["missing"] = ["refused"]
    raw["attributes"]["gender"]["missing"] = ["X"]
    text = HEADER + ROW + "dk,M,uni,city,dk,refused,1\nNO,X,dk,city,never,dk,1\n"
    survey = read_csv_text(raw, tmp_path, text)
    assert survey.without_country == 1
    assert survey.levels.tolist() == [[0, 0, 0], [-1, -1, 0]]
    assert survey.answers.tolist() == [[0, 0], [0, -1]]


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"", "s.csv", "is empty \\(0 bytes\\)"),
        (b"\n\n", "s.csv", "is no readable table"),
        (HEADER.encode() + "NO,M,uni,city,caf\xe9,no,1\n".encode("latin-1"), "s.csv", "not UTF-8"),
        ((HEADER + ROW).encode("utf-16"), "s.csv", "not UTF-8"),
        (b"not parquet", "s.parquet", "no readable Parquet"),
        (HEADER.encode(), "s.xlsx", "cannot read .xlsx; readable are .csv .tsv .parquet"),
        ((HEADER + ROW.replace("\n", ",9\n")).encode(), "s.csv", "more fields than its header"),
        ((HEADER + ROW + ROW.replace("\n", ",9\n")).encode(), "s.csv", "is no readable table"),
        (HEADER.encode(), "s.csv", "no respondent has an answer"),
    ],
)
def test_unreadable_file_is_an_input_error(
    raw: dict[str, Any], tmp_path: Path, content: bytes, name: str, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        read_csv_text(raw, tmp_path, content, name)


def test_separator_at_the_end_of_every_row_shifts_no_column(raw: dict[str, Any], tmp_path: Path) -> None:
    survey = read_csv_text(raw, tmp_path, HEADER + ROW.replace("\n", ",\n"))
    assert (survey.countries, survey.answers.tolist()) == (("NO",), [[0, 0]])


def test_missing_file_names_the_examples(study: Study) -> None:
    with pytest.raises(InputError, match=r"survey\.csv does not exist.*examples/gss2018"):
        read_survey(study)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_missing_columns_come_at_once_with_suggestions(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"s{suffix}"
    renamed = respondents.rename(columns={"residence": "residense", "v": "unlike"})
    renamed.to_parquet(path) if suffix == ".parquet" else renamed.to_csv(path, index=False)
    with pytest.raises(InputError) as caught:
        read_survey(with_source(raw, path))
    assert "no column for 2 of the study's names" in str(caught.value)
    assert "residence (did you mean 'residense'?)" in str(caught.value)
    assert "\n  v\n" in str(caught.value)


def test_column_named_twice_is_refused(study: Study, respondents: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="more than one column named sex"):
        read_survey(study, pd.concat([respondents, respondents[["sex"]]], axis=1))


def test_unknown_codes_are_counted_and_all_problems_come_in_one_message(
    study: Study, respondents: pd.DataFrame
) -> None:
    respondents["sex"] = ["D"] * 3 + ["E"] + ["M"] * 396
    respondents["trust"] = ["maybe"] * 2 + ["often"] * 398
    respondents["v"] = None
    respondents.loc[:1, "w"] = [0, np.nan]
    with pytest.raises(InputError) as caught:
        read_survey(study, respondents)
    message = str(caught.value)
    assert "attribute gender (column sex): 2 code(s) in the data are neither a level nor missing" in message
    assert "D (3 rows), E (1 rows)" in message
    assert "question trust (column trust): 1 code(s)" in message
    assert "maybe (2 rows); known are never, rarely, often, always" in message
    assert "question vote (column v): no respondent has an answer" in message
    assert "weight (column w): 2 of 400 rows" in message


@pytest.mark.parametrize("weight", [0, -1, np.nan, np.inf, "heavy", "", 1e308, 1e-200])
def test_weight_that_is_no_positive_number_is_refused(study: Study, respondents: pd.DataFrame, weight: object) -> None:
    respondents["w"] = [weight, *[1] * 399]
    with pytest.raises(InputError, match=r"weight \(column w\): 1 of 400 rows \(the first is row 1\)"):
        read_survey(study, respondents)


@pytest.mark.parametrize("key", ["strata", "psu"])
@pytest.mark.parametrize("value", [None, "", "dk"])
def test_respondent_without_stratum_or_psu_is_refused(
    raw: dict[str, Any], respondents: pd.DataFrame, key: str, value: object
) -> None:
    raw["survey"][key] = "ids"
    respondents["ids"] = [value, value, *[str(i % 40) for i in range(398)]]
    with pytest.raises(InputError, match=rf"survey\.{key} \(column ids\): 2 of 400 rows are empty or hold a code"):
        read_survey(Study.from_dict(raw), respondents)


def test_one_psu_in_a_country_is_refused(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"] |= {"psu": "ids"}
    respondents["ids"] = np.where(respondents["nation"] == "NO", 7, np.arange(400) % 9)
    with pytest.raises(InputError, match=r"survey\.psu: only one PSU in NO; a variance needs two or more"):
        read_survey(Study.from_dict(raw), respondents)


@pytest.mark.parametrize("key", ["strata", "psu"])
def test_absent_design_column_is_named(raw: dict[str, Any], respondents: pd.DataFrame, key: str) -> None:
    raw["survey"][key] = "residance"
    with pytest.raises(InputError, match=r"residance \(did you mean 'residence'\?\)"):
        read_survey(Study.from_dict(raw), respondents)


def test_without_strata_and_psu_there_is_no_design(study: Study, respondents: pd.DataFrame) -> None:
    assert read_survey(study, respondents).design is None


def test_design_follows_the_respondents_who_are_kept(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"] |= {"psu": "ids"}
    respondents["ids"] = np.arange(400) // 2
    respondents.loc[:9, "nation"] = None  # five PSUs gone
    design = read_survey(Study.from_dict(raw), respondents).design
    assert design is not None
    assert len(design.psu) == 390
    nested = respondents.iloc[10:].groupby(["nation", "ids"]).ngroups
    assert (len(design.stratum), len(design.country), design.psu.max() + 1) == (nested, nested, nested)


def test_nobody_with_a_country_is_refused(study: Study, respondents: pd.DataFrame) -> None:
    respondents["nation"] = None
    with pytest.raises(InputError, match="no respondent has a country"):
        read_survey(study, respondents)


def test_constant_country_needs_no_column(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"]["country"] = {"constant": "NO"}
    survey = read_survey(Study.from_dict(raw), respondents.drop(columns="nation"))
    assert survey.countries == ("NO",)
    assert survey.respondents == 400


def test_the_callers_frame_is_not_changed(study: Study, respondents: pd.DataFrame) -> None:
    before = respondents.copy(deep=True)
    read_survey(study, respondents)
    pd.testing.assert_frame_equal(respondents, before)


def test_data_hash_follows_the_columns_in_use(study: Study, respondents: pd.DataFrame) -> None:
    first = read_survey(study, respondents).data_hash
    assert read_survey(study, respondents.assign(unused=1)).data_hash == first
    changed = respondents.copy()
    changed.loc[0, "w"] += 1e-9
    assert read_survey(study, changed).data_hash != first


def test_a_country_that_the_study_does_not_name_is_refused(study: Study, respondents: pd.DataFrame) -> None:
    country = respondents["nation"].iloc[0]
    named = study.model_copy(update={"survey": study.survey.model_copy(update={"countries": {country: "Somewhere"}})})
    with pytest.raises(InputError, match=rf"countries names {country}, but the data also hold"):
        read_survey(named, respondents)


def test_leading_zeros_get_a_hint(study: Study, respondents: pd.DataFrame) -> None:
    raw = study.model_dump(mode="json", exclude_none=True)
    raw["attributes"]["gender"]["levels"]["male"]["codes"] = [1]
    frame = respondents.assign(sex=respondents["sex"].replace("M", "01"))
    with pytest.raises(InputError, match="put codes with leading zeros in quotes"):
        read_survey(Study.from_dict(raw), frame)


def test_an_option_is_kept_though_its_code_is_missing_everywhere(raw: dict[str, Any], tmp_path: Path) -> None:
    """The design's example study has -1 both as an option and under survey.missing."""
    raw["survey"]["missing"] = [-1, -2, "M"]
    raw["questions"]["vote"]["options"] = {-1: "too much", 0: "about right", 1: "too little"}
    text = HEADER + "".join(f"NO,M,uni,city,{code},{code},1\n" for code in (-1, 0, 1, -2))
    raw["questions"]["trust"] = {"column": "v", "text": "again", "options": {0: "about right", 1: "too little"}}
    survey = read_csv_text(raw, tmp_path, text)
    assert survey.answers.tolist() == [[-1, 0], [0, 1], [1, 2], [-1, -1]]
    assert survey.levels[:, 0].tolist() == [0, 0, 0, 0]
    assert survey.missing_answers == {"trust": {"-1": 1, "-2": 1}, "vote": {"-2": 1}}


def test_missing_answers_are_counted_by_question_and_code(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["questions"]["vote"]["missing"] = ["refused"]
    rows = ["NO,M,uni,city,dk,refused,1", "NO,M,uni,city,dk,no,1", "NO,M,uni,city,,no,1", "dk,M,uni,city,dk,no,1"]
    survey = read_csv_text(raw, tmp_path, HEADER + ROW + "\n".join(rows) + "\n")
    assert survey.missing_answers == {"trust": {"dk": 2, "": 1}, "vote": {"refused": 1}}  # the last has no country


def test_ids_that_stand_twice_in_a_country_are_refused(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"]["id"] = "person"
    respondents["nation"] = ["NA"] * 200 + ["NO"] * 200
    respondents["person"] = [*range(200)] * 2  # one in each country
    assert read_survey(Study.from_dict(raw), respondents).respondents == 400
    respondents["person"] = [7, "7", 7.0, *range(100, 297), *[1, 1], *range(2, 200)]
    with pytest.raises(InputError) as caught:
        read_survey(Study.from_dict(raw), respondents)
    message = str(caught.value)
    assert "survey.id (column person): 2 ids stand more than once in a country: 7 (3 rows), 1 (2 rows);" in message


@pytest.mark.parametrize("nothing", [None, "", np.nan])
def test_respondents_without_an_id_are_refused(raw: dict[str, Any], respondents: pd.DataFrame, nothing: object) -> None:
    raw["survey"] |= {"id": "person", "missing": ["dk", 3]}
    respondents["nation"] = "NO"
    respondents["person"] = [0, nothing, *range(2, 400)]  # 3 is an id all the same
    with pytest.raises(InputError, match=r"1 of 400 respondents have no id \(the first is row 2\)"):
        read_survey(Study.from_dict(raw), respondents)
    respondents.loc[1, "nation"] = None
    assert read_survey(Study.from_dict(raw), respondents).without_country == 1


def test_many_double_ids_are_counted_and_the_first_named(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"] |= {"id": "person", "country": {"constant": "X"}}
    respondents["person"] = np.arange(400) // 2
    with pytest.raises(InputError, match=r"200 ids stand more than once.*: 0 \(2 rows\), .*4 \(2 rows\) \.\.\.;"):
        read_survey(Study.from_dict(raw), respondents)
