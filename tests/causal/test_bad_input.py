"""Bad and odd surveys through the command line: exit code 2 with one message, or a rule and a line in checks.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from ruamel.yaml import YAML

import causal.audit
from causal.audit import main
from causal.tables import read_effects
from causal.yamlfile import write_yaml

Change = Callable[[dict[str, Any]], None]


class Project:
    """A folder with the small study and its respondents, to be spoiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "survey.csv"
        self.people = pd.read_csv(self.path, keep_default_na=False, na_values=[""])

    def study(self, change: Change) -> None:
        """Change the study file."""
        raw = YAML(typ="safe").load((self.folder / "study.yaml").read_text())
        change(raw)
        write_yaml(raw, self.folder / "study.yaml")

    def source(self, name: str) -> Path:
        """Name another file as the source, and return its path."""
        self.study(lambda raw: raw["survey"].update(source=name))
        return self.folder / name

    def audit(self, people: pd.DataFrame | None = None, **how: Any) -> int:
        """Write the respondents, if given, and run the command."""
        if people is not None:
            people.to_csv(self.path, index=False, **how)
        return main([str(self.folder / "study.yaml"), "--out", str(self.folder / "run")])

    @property
    def effects(self) -> pd.DataFrame:
        return read_effects(self.folder / "run" / "survey_effects.parquet")

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        return {check["name"]: check for check in json.loads((self.folder / "run" / "checks.json").read_text())}


@pytest.fixture
def project(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(causal.audit, "_write_report", lambda *_: None)
    return Project(study_folder)


def refused(project: Project, capsys: pytest.CaptureFixture[str], people: pd.DataFrame | None = None) -> str:
    """Run the command, which must end with 2 and one message and write nothing; return the message."""
    assert project.audit(people) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("error: ")
    assert out.err.count("error:") == 1
    assert "Traceback" not in out.err
    assert not (project.folder / "run").exists()
    return out.err


@pytest.mark.parametrize("weight", [-1, 0, None, "x", 1e-300, 1e300])
def test_a_weight_that_is_no_positive_number(
    project: Project, capsys: pytest.CaptureFixture[str], weight: object
) -> None:
    people = project.people.astype({"w": object})
    people.loc[[3, 5], "w"] = weight
    assert "weight (column w): 2 of 400 rows (the first is row 4)" in refused(project, capsys, people)


@pytest.mark.parametrize("weight", [1.0, 0.3, 1e-40, 1e40])
def test_equal_weights_are_no_weights_however_large(project: Project, weight: float) -> None:
    assert project.audit(project.people.assign(w=weight)) == 0
    weighted = project.effects
    project.study(lambda raw: raw["survey"].pop("weight"))
    assert project.audit() == 0
    plain = project.effects
    assert plain["supported"].sum() > 50
    pd.testing.assert_frame_equal(weighted, plain, check_exact=False, rtol=1e-9, atol=1e-11)


def test_one_huge_weight_costs_support(project: Project) -> None:
    project.people.loc[0, "w"] = 1e12
    assert project.audit(project.people) == 0
    nation, table = project.people.loc[0, "nation"], project.effects
    mine = (table["country"] == nation) & (table["granularity"] == 1) & (table["question"] == "trust")
    assert table.loc[mine, ["n_eff_reference", "n_eff_treated"]].min(axis=1).min() == pytest.approx(1)
    assert not table.loc[mine & (table["attribute"] == "residence"), "supported"].any()
    assert table.loc[table["country"] != nation, "supported"].any()


def test_one_psu_in_a_stratum_is_a_warning_with_the_count(project: Project) -> None:
    project.study(lambda raw: raw["survey"].update(strata="st", psu="c"))
    project.people["nation"] = "NO"
    people = project.people.assign(st=[1] * 20 + [2] * 380, c=[1] * 20 + list(range(20)) * 19)
    assert project.audit(people) == 0
    assert (project.checks["design"]["verdict"], project.checks["design"]["statistic"]) == ("warn", 1)


def test_one_psu_in_a_country(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.study(lambda raw: raw["survey"].update(psu="c"))
    people = project.people.assign(c=np.where(project.people["nation"] == "NO", 1, np.arange(400) % 9))
    assert "survey.psu: only one PSU in NO" in refused(project, capsys, people)


def test_an_attribute_with_one_level_in_the_data_is_a_failed_check(project: Project) -> None:
    assert project.audit(project.people[project.people["sex"] != "F"]) == 0
    check, table = project.checks["levels"], project.effects
    assert (check["verdict"], check["statistic"]) == ("fail", 2)
    assert "gender female in NA; gender female in NO" in check["meaning"]
    assert "No toggle of gender is possible" in check["meaning"]
    gender = table[table["attribute"] == "gender"]
    assert not gender["supported"].any()
    assert gender["shift"].isna().all()
    assert (gender["n_treated"] == 0).all()


def test_option_codes_that_skip_keep_their_order_not_their_distance(project: Project) -> None:
    assert project.audit(project.people) == 0
    even = project.effects
    skipping = {"never": 1, "rarely": 3, "often": 7, "always": 12}
    project.study(lambda raw: raw["questions"]["trust"].update(options={v: k for k, v in skipping.items()}))
    assert project.audit(project.people.assign(trust=project.people["trust"].map(skipping))) == 0
    pd.testing.assert_frame_equal(project.effects, even)


def test_an_option_that_nobody_chose_keeps_its_place(project: Project) -> None:
    people = project.people.assign(trust=project.people["trust"].replace("rarely", "never"))
    assert project.audit(people) == 0
    table = project.effects
    trust = table[(table["question"] == "trust") & table["shift"].notna()]
    assert all(len(p) == 4 and p[1] == 0 for p in trust["p_treated"])


def test_duplicate_ids(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.study(lambda raw: raw["survey"].update(id="person"))
    project.people["nation"] = "NO"
    message = refused(project, capsys, project.people.assign(person=[1, 1, *range(2, 400)]))
    assert "survey.id (column person): 1 ids stand more than once in a country: 1 (2 rows)" in message
    assert project.audit(project.people.assign(person=range(400))) == 0


LATIN = {"não": "Não", "yes": "Sim"}


def test_latin_1_is_read_where_it_is_declared(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.audit(project.people) == 0
    expected = project.effects
    project.study(lambda raw: raw["questions"]["vote"].update(options=LATIN))
    people = project.people.assign(v=project.people["v"].replace("no", "não"))
    assert project.audit(people, encoding="latin-1") == 2
    assert "is not UTF-8 text; say what it is under survey.encoding" in capsys.readouterr().err
    project.study(lambda raw: raw["survey"].update(encoding="latin-1"))
    assert project.audit(people, encoding="latin-1") == 0
    pd.testing.assert_frame_equal(project.effects, expected)


def test_the_mark_of_utf_8_is_read_over_and_never_as_latin_1(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.audit(project.people) == 0
    expected = project.effects
    assert project.audit(project.people, encoding="utf-8-sig") == 0
    pd.testing.assert_frame_equal(project.effects, expected)
    project.study(lambda raw: raw["survey"].update(encoding="latin-1"))
    assert project.audit() == 2
    assert "begins with the mark of UTF-8, but survey.encoding says latin-1" in capsys.readouterr().err


def test_line_ends_of_windows_and_old_macs_and_newlines_in_quotes(project: Project) -> None:
    assert project.audit(project.people) == 0
    expected = project.effects
    odd = project.people.assign(comment='one\r\ntwo, "three"\n')
    for ending in ("\r\n", "\r"):
        project.path.write_bytes(odd.to_csv(index=False, lineterminator=ending).encode())
        assert project.audit() == 0
        pd.testing.assert_frame_equal(project.effects, expected)


def spss(project: Project, name: str) -> Path:
    path = project.source(name)
    pyreadstat.write_sav(project.people, path)
    return path


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.999])
def test_a_cut_or_empty_spss_file(project: Project, capsys: pytest.CaptureFixture[str], kept: float) -> None:
    path = spss(project, "survey.sav")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = refused(project, capsys)
    assert "is no readable SPSS file" in message if kept else "is empty (0 bytes)" in message
    path.write_bytes(content)
    assert project.audit() == 0


@pytest.mark.parametrize(("name", "said"), [("s.csv", "name it s.sav"), ("s.dta", "name it s.sav")])
def test_an_spss_file_under_another_name(
    project: Project, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    spss(project, "real.sav").rename(project.source(name))
    message = refused(project, capsys)
    assert "is an SPSS file, not what" in message
    assert said in message


def test_a_csv_named_sav(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.people.to_csv(project.source("s.sav"), index=False)
    assert "is no readable SPSS file" in refused(project, capsys)


@pytest.mark.parametrize(("column", "said"), [("v", "column v holds lists"), ("sex", "column sex holds lists")])
def test_a_column_of_lists(project: Project, capsys: pytest.CaptureFixture[str], column: str, said: str) -> None:
    project.people.assign(**{column: [["no", "yes"]] * 400}).to_parquet(project.source("s.parquet"))
    assert said in refused(project, capsys)


def test_a_column_of_lists_that_the_study_does_not_use_is_left(project: Project) -> None:
    project.people.assign(other=[["no", "yes"]] * 400).to_parquet(project.source("s.parquet"))
    assert project.audit() == 0


def test_one_respondent_supports_nothing(project: Project) -> None:
    assert project.audit(project.people[project.people["sex"].notna()].iloc[:1]) == 0
    assert not project.effects["supported"].any()
    assert project.effects["shift"].isna().all()
    assert project.checks["support"]["verdict"] == project.checks["levels"]["verdict"] == "fail"


@pytest.mark.parametrize("design", [{}, {"strata": "st"}])
def test_a_country_with_one_respondent_leaves_the_others_alone(project: Project, design: dict[str, str]) -> None:
    project.study(lambda raw: raw["survey"].update(design))
    people = project.people.assign(nation="NO", st=np.arange(400) % 3)
    assert project.audit(people) == 0
    alone = project.effects
    assert project.audit(pd.concat([people, people.iloc[:1].assign(nation="SE")])) == 0
    table = project.effects
    small = table[table["country"] == "SE"]
    assert not small["supported"].any()
    assert small["std_error"].isna().all()
    others = table[table["country"] == "NO"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, alone)
    assert project.checks["levels"]["verdict"] == "warn"


def test_a_question_that_nobody_in_a_country_answered(project: Project) -> None:
    people = project.people.assign(v=project.people["v"].where(project.people["nation"] == "NA"))
    assert project.audit(people) == 0
    table, check = project.effects, project.checks["questions without answers"]
    assert (check["verdict"], check["statistic"]) == ("warn", 1)
    assert "vote in NO" in check["meaning"]
    silent = (table["country"] == "NO") & (table["question"] == "vote")
    assert table.loc[silent, "shift"].isna().all()
    assert (table.loc[silent, ["n_reference", "n_treated"]] == 0).all(axis=None)
    assert table.loc[~silent, "supported"].any()


def test_labels_with_html_are_text(study_folder: Path) -> None:
    """With the real report: no tag of the study's or the file's own comes through."""
    project = Project(study_folder)

    def change(raw: dict[str, Any]) -> None:
        raw["name"] = "<h1>name</h1>"
        raw["questions"]["trust"]["text"] = "<script>alert(1)</script>"
        raw["questions"]["trust"]["options"] |= {"never": "<b>N</b>", "always": "x' onload='y"}
        male, female = raw["attributes"]["gender"]["levels"].values()
        raw["attributes"]["gender"]["levels"] = {"<i>male</i>": male | {"persona": "a <u>man</u>"}, "female": female}
        raw["effects"]["granularity"] = [1]

    project.study(change)  # and an effect so large that the report shows the question
    assert project.audit(project.people.assign(trust=project.people["sex"].map({"M": "never", "F": "always"}))) == 0
    page = (study_folder / "run" / "report.html").read_text(encoding="utf-8")
    for text in ("&lt;script&gt;alert(1)", "&lt;h1&gt;name", "&lt;i&gt;male", "&lt;u&gt;man"):
        assert text in page
    assert not [tag for tag in ("<script>alert", "<b>N", "<i>male", "<u>man", "<h1>name", "onload='") if tag in page]


def test_whole_numbers_stored_as_floats_in_one_country_are_the_same_codes(project: Project) -> None:
    project.study(lambda raw: raw["questions"]["vote"].update(options={0: "No", 1: "Yes"}))
    number = project.people["v"].map({"no": 0, "yes": 1}).astype("Int64")
    assert project.audit(project.people.assign(v=number)) == 0
    expected = project.effects
    as_float = (project.people["nation"] == "NO") & number.notna()
    mixed = number.astype(str).where(number.notna()).mask(as_float, number.astype(str) + ".0")
    assert mixed.dropna().isin(["0", "1", "0.0", "1.0"]).all()
    assert mixed.nunique() == 4
    assert project.audit(project.people.assign(v=mixed)) == 0
    pd.testing.assert_frame_equal(project.effects, expected)


def aged(raw: dict[str, Any]) -> None:
    levels = {
        "young": {"range": [None, 35], "persona": "under 35"},
        "old": {"range": [35, None], "persona": "35 or more"},
    }
    raw["attributes"]["residence"] = {"column": "age", "levels": levels, "missing": [998]}


def test_ranges_give_what_codes_of_the_same_bins_give(project: Project) -> None:
    assert project.audit(project.people) == 0
    expected = project.effects.replace({"residence": {"urban": "young", "rural": "old"}})
    expected = expected.replace({"reference": {"urban": "young"}, "treated": {"rural": "old"}})
    age = np.where(project.people["residence"] == "city", 34.9, 35).astype(object)
    project.study(aged)
    assert project.audit(project.people.assign(age=age)) == 0
    pd.testing.assert_frame_equal(project.effects, expected)


def test_numbers_outside_every_range_and_no_numbers(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.study(aged)
    project.study(lambda raw: raw["attributes"]["residence"]["levels"]["old"].update(range=[40, 99]))
    age = [36, 36.5, 99, "old", *[30] * 396]
    message = refused(project, capsys, project.people.assign(age=age))
    assert "1 rows hold a value that is no number and not missing: old (1 rows)" in message
    assert (
        "3 rows hold a value that is in no level's range and not missing: 36 (1 rows), 36.5 (1 rows), 99 (1" in message
    )


def test_dont_know_is_an_answer_where_the_question_lists_it(project: Project) -> None:
    order = {"never": "Never", "rarely": "Rarely", "dk": "Don't know", "often": "Often", "always": "Always"}

    def change(raw: dict[str, Any]) -> None:
        kept = {"text": "With don't know?", "column": "trust", "options": order}
        raw["questions"]["trust_or_not"] = kept

    project.study(change)
    assert project.audit(project.people) == 0
    table = project.effects
    with_it = table[(table["question"] == "trust_or_not") & table["shift"].notna()]
    without = table[(table["question"] == "trust") & table["shift"].notna()]
    assert all(len(p) == 5 for p in with_it["p_treated"])
    assert all(len(p) == 4 for p in without["p_treated"])
    assert with_it["n_treated"].sum() > without["n_treated"].sum()
    assert "dk: " in project.checks["item nonresponse"]["meaning"]
