from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.audit import main
from causal.errors import InputError
from causal.study import Study
from causal.tables import read_effects
from causal.yamlfile import write_yaml

Official = Callable[..., Path]


def written(path: Path, preset: str = "wvs7", more: str = "", survey: str = "") -> Path:
    """Write the study of three lines beside a survey file."""
    study = path.with_name("study.yaml")
    study.write_text(f"name: mine\npreset: {preset}\nsurvey:\n  source: {path.name}\n{survey}{more}", encoding="utf-8")
    return study


def complaint(study: Path) -> str:
    with pytest.raises(InputError) as error:
        Study.load(study)
    return str(error.value)


def test_three_lines_are_a_whole_study(official: Official) -> None:
    study = Study.load(written(official("wvs7", "official.sav")))
    assert study.preset is None
    assert (study.survey.country, study.survey.weight) == ("B_COUNTRY_ALPHA", "W_WEIGHT")
    assert study.survey.missing == (-1, -2, -3, -4, -5)
    assert study.survey.tiers["NGA"] == "lower_income"
    assert study.country_name("NGA") == "Nigeria"
    assert {name: item.column for name, item in study.attributes.items()} == {
        "gender": "Q260",
        "education": "Q275",
        "residence": "H_URBRURAL",
        "marital_status": "Q273",
    }
    assert list(study.questions) == ["Q1", "Q49", "Q56", "Q94", "Q111", "Q221", "Q242", "Q254"]
    q49 = study.questions["Q49"]
    assert (q49.text, q49.topic) == ("Made-up wording of Q49", "wellbeing")
    assert list(q49.options.items())[:2] == [(1, "made-up low end"), (2, "2")]
    assert list(q49.options.items())[-1] == (10, "made-up high end")
    codes = {name: list(question.options) for name, question in study.questions.items()}
    assert codes["Q1"] == [1, 2, 3, 4]
    assert codes["Q56"] == [1, 3, 2]
    assert codes["Q94"] == [0, 1, 2]
    assert codes["Q242"] == list(range(1, 11))
    missing = {name: question.missing for name, question in study.questions.items() if question.missing}
    assert missing == {"Q111": (3,), "Q221": (4,), "Q242": (0,), "Q254": (5,)}


def test_spss_and_stata_give_the_same_study(official: Official) -> None:
    sav = Study.load(written(official("wvs7", "official.sav"))).model_dump()
    dta = Study.load(written(official("wvs7", "official.dta"))).model_dump()
    assert dta["survey"].pop("source") != sav["survey"].pop("source")
    assert dta == sav


def test_a_frame_needs_no_study_file(official: Official) -> None:
    path = official("wvs7", "official.sav")
    study = Study.from_dict({"name": "n", "preset": "wvs7", "survey": {"source": str(path)}, "questions": ("Q1",)})
    assert list(study.questions) == ["Q1"]


# ---- what the user writes wins


def test_one_attribute_changes_field_by_field_and_the_others_stay(official: Official) -> None:
    more = """attributes:
  education: {column: Q275R, levels: {high: {codes: 3, persona: high}, low: {codes: [1, 2], persona: low}}}
  residence: null
  age: {column: Q262, levels: {young: {codes: 20, persona: young}, old: {codes: [40, 60], persona: old}}}
"""
    study = Study.load(written(official("wvs7", "official.sav"), more=more))
    assert list(study.attributes) == ["gender", "education", "marital_status", "age"]
    assert study.attributes["education"].column == "Q275R"
    assert list(study.attributes["education"].levels) == ["high", "low"]
    other_words = "attributes: {gender: {levels: {m: {codes: 1, persona: male}, f: {codes: 2, persona: female}}}}\n"
    study = Study.load(written(official("wvs7", "official.sav"), more=other_words))
    assert study.attributes["gender"].column == "Q260"


def test_a_list_of_attributes_keeps_these(official: Official) -> None:
    path = official("wvs7", "official.sav", change=lambda f: f.drop(columns="H_URBRURAL"))
    study = Study.load(written(path, more="attributes: [marital_status, gender]\n"))
    assert list(study.attributes) == ["gender", "marital_status"]
    message = complaint(written(path, more="attributes: [sex, gendr]\n"))
    assert "line 5: attributes: unknown attribute 'sex'; the preset has gender, education," in message


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("attributes: {residenc: null}", "attributes: there is no residenc to take away; did you mean 'residence'?"),
        ("questions: {Q1x: null}", "questions: there is no Q1x to take away; did you mean 'Q1'?"),
        ("attributes: 7", "line 5: attributes: "),
        ("questions: 7", "line 5: questions: "),
        ("attributes: {gender: male}", "line 5: attributes.gender: "),
        ("survey2: 1", "line 5: survey2: unknown key"),
    ],
)
def test_what_is_no_override_is_an_error(official: Official, more: str, expected: str) -> None:
    assert expected in complaint(written(official("wvs7", "official.sav"), more=more + "\n"))


def test_an_unknown_encoding_is_the_validations_to_refuse(official: Official) -> None:
    path = written(official("wvs7", "official.sav"), survey="  encoding: utf-88\n")
    assert "line 5: survey.encoding: unknown encoding 'utf-88'" in complaint(path)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("Q56", ["Q56"]),
        ("[Q56, Q1]", ["Q1", "Q56"]),
        ("[wellbeing, Q1]", ["Q1", "Q49", "Q56"]),
        ("{Q1: null, Q49: null, Q56: null, Q94: null, Q111: null}", ["Q221", "Q242", "Q254"]),
    ],
)
def test_questions_by_name_by_topic_and_without_some(official: Official, asked: str, expected: list[str]) -> None:
    study = Study.load(written(official("wvs7", "official.sav"), more=f"questions: {asked}\n"))
    assert list(study.questions) == expected


def test_a_question_changes_field_by_field_and_others_can_be_added(official: Official) -> None:
    more = """questions:
  Q1: {topic: family, options: {1: one, 2: two, 3: three, 4: four}}
  goals: {column: Q152, topic: goals}
  years: {column: Q262, text: How old?, options: {20: young, 40: middle, 60: old}}
"""
    questions = Study.load(written(official("wvs7", "official.sav"), more=more)).questions
    assert (questions["Q1"].text, questions["Q1"].topic) == ("Made-up wording of Q1", "family")
    assert list(questions["Q1"].options.values()) == ["one", "two", "three", "four"]
    assert (questions["goals"].column, list(questions["goals"].options)) == ("Q152", [1, 2, 3, 4])
    assert (questions["goals"].text, questions["goals"].topic) == ("Made-up wording of Q152", "goals")
    assert questions["years"].text == "How old?"
    assert questions["Q49"].topic == "wellbeing"


def test_survey_keys_win_countries_are_added_to_and_null_takes_away(official: Official) -> None:
    survey = "  keep: [NGA, USA]\n  weight: null\n  countries: {NGA: Naija, XKX: Kosovo}\n  tiers: {NGA: b, USA: a}\n"
    source = Study.load(written(official("wvs7", "official.sav"), survey=survey)).survey
    assert (source.keep, source.weight) == (("NGA", "USA"), None)
    assert (source.countries["NGA"], source.countries["XKX"], source.countries["KEN"]) == ("Naija", "Kosovo", "Kenya")
    assert source.tiers == {"NGA": "b", "USA": "a"}


def test_another_country_column_has_its_own_codes(official: Official) -> None:
    path = official("wvs7", "official.sav", change=lambda f: f.assign(B_COUNTRY=566.0))
    source = Study.load(written(path, survey="  country: B_COUNTRY\n")).survey
    assert (source.country, source.countries, source.tiers) == ("B_COUNTRY", {}, {})


def test_set_overrides_reach_into_the_preset(official: Official) -> None:
    path = written(official("wvs7", "official.sav"))
    study = Study.load(path, ["attributes.marital_status=null", "questions=[Q1]", "survey.keep=USA"])
    assert list(study.attributes) == ["gender", "education", "residence"]
    assert (list(study.questions), study.survey.keep) == (["Q1"], ("USA",))


# ---- what goes wrong says where


def test_errors_point_at_the_users_lines(official: Official) -> None:
    more = "attributes:\n  gender: {colum: x}\nquestions: {Q1: {topic: ''}}\neffects: {support: 0}\n"
    message = complaint(written(official("wvs7", "official.sav"), more=more))
    assert "line 6: attributes.gender.colum: unknown key; did you mean 'column'?" in message
    assert "line 7: questions.Q1.topic: " in message
    assert "line 8: effects.support: " in message
    assert "3 problems" in message


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("wsv7", "line 2: preset: unknown preset 'wsv7'; did you mean 'wvs7'?; known are wvs7, issp"),
        ("gallup", "line 2: preset: unknown preset 'gallup'; known are wvs7, issp"),
        ("wvs7/health", "line 2: preset: 'wvs7/health': write wvs7 alone"),
        ("issp/helth", "give issp/ with one of citizenship, environment, family, health,"),
    ],
)
def test_an_unknown_preset_names_the_known(official: Official, preset: str, expected: str) -> None:
    assert expected in complaint(written(official("wvs7", "official.sav"), preset))


def test_a_misspelt_preset_key_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: n\npresett: wvs7\nsurvey: {source: x.sav}\n")
    assert "presett: unknown key; did you mean 'preset'?" in complaint(tmp_path / "study.yaml")


def test_a_study_without_its_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: n\npreset: wvs7\nsurvey: {sorce: x.sav}\n")
    assert "line 3: survey.source: this key is required and missing" in complaint(tmp_path / "study.yaml")
    assert "absent.sav does not exist" in complaint(written(tmp_path / "absent.sav"))


def test_the_wrong_file_is_refused_with_what_it_lacks_and_the_nearest(official: Official) -> None:
    path = official("issp", "other.sav", change=lambda f: f.assign(Q26=1.0))
    message = complaint(written(path))
    assert message.startswith(f"{path.with_name('study.yaml')}: 1 problem\n  line 2: preset: other.sav does not look")
    assert "World Values Survey, wave 7" in message
    for column in ("country: B_COUNTRY_ALPHA", "weight: W_WEIGHT", "gender: Q260 (nearest: Q26)", "education: Q275"):
        assert column in message
    assert "Made-up" not in message


def test_one_absent_column_can_be_replaced_or_taken_away(official: Official) -> None:
    path = official("wvs7", "official.sav", change=lambda f: f.rename(columns={"H_URBRURAL": "H_URBAN"}))
    assert "it lacks residence: H_URBRURAL (nearest: H_URBAN)" in complaint(written(path))
    assert "residence" not in Study.load(written(path, more="attributes: {residence: null}\n")).attributes
    study = Study.load(written(path, more="attributes: {residence: {column: H_URBAN}}\n"))
    assert study.attributes["residence"].column == "H_URBAN"


def test_a_file_without_labels_is_refused_with_both_remedies(official: Official) -> None:
    message = complaint(written(official("wvs7", "official.csv")))
    assert "line 2: preset: official.csv holds no wording and no labels" in message
    assert "(.sav)" in message
    assert "write questions out, each with text and options" in message


def test_a_file_without_labels_and_questions_written_out_is_a_study(official: Official) -> None:
    more = "questions: {Q1: {text: How?, options: {1: a, 2: b, 3: c, 4: d}}}\n"
    study = Study.load(written(official("wvs7", "official.csv"), more=more))
    assert (list(study.questions), study.questions["Q1"].topic) == (["Q1"], "social_values")
    assert study.attributes["gender"].column == "Q260"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("[Q1, Q2222]", "line 5: questions: unknown question or topic 'Q2222'; did you mean 'Q2"),
        ("[corupt, economic_value]", "unknown question or topic 'corupt'"),
        ("[Q152]", "preset wvs7 leaves Q152 out: it has no labels, or its answers no order"),
    ],
)
def test_questions_that_are_not_there(official: Official, asked: str, expected: str) -> None:
    assert expected in complaint(written(official("wvs7", "official.sav"), more=f"questions: {asked}\n"))


def test_a_file_whose_questions_have_no_labels_is_refused(official: Official) -> None:
    unlabelled: dict[str, dict[Any, str]] = {f"Q{i}": {} for i in (1, 49, 56, 94, 111, 221, 242, 254)}
    path = official("wvs7", "bare.sav", relabel=unlabelled, declared=False)
    assert "bare.sav labels none of the questions of World Values Survey, wave 7" in complaint(written(path))


def test_another_surveys_file_is_told_its_columns_before_its_module(official: Official) -> None:
    path = official("issp", "x.sav", change=lambda f: f.drop(columns=["SEX", "studyno"]))
    assert "it lacks gender: SEX" in complaint(written(path, "issp"))


# ---- ISSP


def test_an_issp_module_is_recognised_and_its_own_missing_codes_are_kept_apart(official: Official) -> None:
    study = Study.load(written(official("issp", "module.sav"), "issp"))
    assert (study.survey.country, study.survey.weight) == ("c_alphan", "WEIGHT")
    assert {name: list(item.options) for name, item in study.questions.items()} == {
        "v5": [1, 2, 3],
        "v6": [1, 2],
        "v8": list(range(11)),
    }
    assert {item.topic for item in study.questions.values()} == {"citizenship"}
    assert study.questions["v8"].missing == (98, 99)
    assert study.attributes["education"].levels["college"].codes == (5, 6)


def test_labels_of_no_answer_do_where_the_file_declares_nothing(official: Official) -> None:
    declared = Study.load(written(official("issp", "module.sav"), "issp")).questions
    assert Study.load(written(official("issp", "module.sav", declared=False), "issp")).questions == declared
    assert Study.load(written(official("issp", "module.dta"), "issp")).questions == declared


def test_columns_in_lower_case_are_found(official: Official) -> None:
    path = official("issp", "module.dta", change=lambda f: f.rename(columns={"SEX": "sex", "WEIGHT": "weight"}))
    study = Study.load(written(path, "issp"))
    assert (study.attributes["gender"].column, study.survey.weight) == ("sex", "weight")


def test_newer_files_have_edulevel_and_negative_codes(official: Official) -> None:
    levels = {code: f"made-up level {code}" for code in range(9)} | {-9: "No answer"}
    path = official(
        "issp",
        "new.sav",
        change=lambda f: f.drop(columns="DEGREE").assign(EDULEVEL=np.resize([0.0, 5, 6, 8, -9], len(f))),
        relabel={"EDULEVEL": levels},
    )
    education = Study.load(written(path, "issp")).attributes["education"]
    assert education.column == "EDULEVEL"
    assert education.levels["college"].codes == (6, 7, 8)


def test_an_unknown_module_is_asked_for_and_can_be_named(official: Official) -> None:
    path = official("issp", "module.sav", change=lambda f: f.drop(columns="studyno"))
    assert "write preset: issp/ with one of citizenship," in complaint(written(path, "issp"))
    study = Study.load(written(path, "issp/health"))
    assert {item.topic for item in study.questions.values()} == {"health"}


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ("DEGREE", {code: f"older coding {code}" for code in range(1, 8)}),
        ("URBRURAL", {1: "urban", 2: "between", 3: "rural"}),
    ],
)
def test_another_coding_of_an_attribute_is_refused_not_misread(
    official: Official, column: str, labels: dict[Any, str]
) -> None:
    path = official("issp", "old.dta", relabel={column: labels})
    message = complaint(written(path, "issp"))
    assert f"column {column} of this file has other codes than preset issp knows" in message
    if column == "URBRURAL":
        own = "attributes: {residence: {levels: {u: {codes: [1, 2], persona: u}, r: {codes: 3, persona: r}}}}\n"
        assert Study.load(written(path, "issp", more=own)).attributes["residence"].levels["r"].codes == (3,)


# ---- the whole way


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))


@pytest.mark.parametrize(
    ("preset", "name"), [("wvs7", "s.sav"), ("wvs7", "s.dta"), ("issp", "s.sav"), ("issp", "s.dta")]
)
def test_audit_end_to_end_and_again_from_the_saved_study(
    official: Official, tmp_path: Path, no_report: None, preset: str, name: str
) -> None:
    path = official(preset, name)
    run = tmp_path / "run"
    assert main([str(written(path, preset)), "--out", str(run), "--set", "effects.granularity=[1]"]) == 0
    table = read_effects(run / "survey_effects.parquet")
    assert set(table["attribute"]) == {"gender", "education", "residence", "marital_status"}
    assert table["supported"].all()

    saved = (run / "study.yaml").read_text(encoding="utf-8")
    sections = ("attributes", "questions", "survey")
    expanded = Study.load(written(path, preset))
    assert Study.load(run / "study.yaml").fingerprint(*sections) == expanded.fingerprint(*sections)
    assert "preset" not in saved
    again = tmp_path / "again"
    again.mkdir()
    (again / "study.yaml").write_text(saved, encoding="utf-8")
    assert Study.load(again / "study.yaml").attributes, "the survey's file is not needed to load it"
    assert main([str(again / "study.yaml"), "--out", str(tmp_path / "two"), "--set", f"survey.source={path}"]) == 0
    pd.testing.assert_frame_equal(read_effects(tmp_path / "two" / "survey_effects.parquet"), table)


def test_a_shift_is_that_of_the_weighted_means_worked_with_pandas(
    official: Official, tmp_path: Path, no_report: None
) -> None:
    kept: list[pd.DataFrame] = []
    path = official("wvs7", "s.sav", change=lambda frame: kept.append(frame) or frame)  # type: ignore[func-returns-value]
    run = tmp_path / "run"
    assert main([str(written(path)), "--out", str(run), "--set", "effects.granularity=[1]"]) == 0
    table = read_effects(run / "survey_effects.parquet").set_index(["country", "question", "attribute"])["shift"]
    people = kept[0][lambda frame: frame["B_COUNTRY_ALPHA"] == "NGA"]

    def mean(rows: pd.DataFrame, answer: pd.Series) -> float:
        known = answer.loc[rows.index].notna()
        return float(np.average(answer.loc[rows.index][known], weights=rows["W_WEIGHT"][known]))

    standard = people["Q56"].map({1: 0.0, 3: 0.5, 2: 1.0})
    college, none = people[people["Q275"] >= 6], people[people["Q275"].between(0, 5)]
    assert table["NGA", "Q56", "education"] == pytest.approx(mean(none, standard) - mean(college, standard))
    essential = people["Q242"].where(people["Q242"] >= 1).sub(1).div(9)
    married, single = people[people["Q273"] == 1], people[people["Q273"] >= 2]
    assert table["NGA", "Q242", "marital_status"] == pytest.approx(mean(single, essential) - mean(married, essential))


def test_keep_audits_one_country_though_a_question_was_not_asked_there(
    official: Official, tmp_path: Path, no_report: None
) -> None:
    path = official("wvs7", "s.sav", change=lambda f: f.assign(Q1=f["Q1"].mask(f["B_COUNTRY_ALPHA"] == "NGA", -4.0)))
    run = tmp_path / "run"
    more = "effects: {granularity: [0, 1], estimator: [cell, pooled]}\n"
    assert main([str(written(path, survey="  keep: NGA\n", more=more)), "--out", str(run)]) == 0
    table = read_effects(run / "survey_effects.parquet")
    assert set(table["country"]) == {"NGA"}
    assert not table.loc[table["question"] == "Q1", "supported"].any()
    lines = {check["name"]: check["meaning"] for check in json.loads((run / "checks.json").read_text())}
    assert "of 2 other countries are left out: " in lines["countries left out"]


def test_a_bad_preset_is_exit_2_and_one_message(official: Official, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(official("wvs7", "official.csv")))]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_study_without_a_preset_loads_no_reader_of_labels(tmp_path: Path) -> None:
    level = {"a": {"codes": [0], "persona": "a"}, "b": {"codes": [1], "persona": "b"}}
    write_yaml(
        {
            "name": "n",
            "survey": {"source": "x.csv", "country": "c"},
            "attributes": {"a": {"levels": level}},
            "questions": {"q": {"text": "?", "options": {"1": "x", "2": "y"}}},
        },
        tmp_path / "study.yaml",
    )
    code = (
        "import sys; from causal.study import Study; Study.load(sys.argv[1]); "
        "assert not {'pyreadstat', 'causal.preset', 'causal.labelled'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "study.yaml")], check=True)
