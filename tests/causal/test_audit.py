from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

import causal.audit
from causal.audit import main
from causal.tables import read_distributions, read_effects
from causal.yamlfile import write_yaml

WRITTEN = {"study.yaml", "manifest.json", "survey_distributions.parquet", "survey_effects.parquet", "checks.json"}


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keep the audit from starting the report; return the commands it would have run."""
    calls: list[list[str]] = []

    def recorded(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(causal.audit.subprocess, "run", recorded)
    return calls


def change(folder: Path, **sections: Any) -> None:
    """Merge sections into the study file."""
    path = folder / "study.yaml"
    raw = YAML(typ="safe").load(path.read_text())
    for name, section in sections.items():
        raw[name] = raw.get(name, {}) | section if isinstance(section, dict) else section
    write_yaml(raw, path)


def arguments(folder: Path, *more: str) -> list[str]:
    return [str(folder / "study.yaml"), "--out", str(folder / "run"), *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_audit_writes_the_contracts_files_and_a_short_table(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(study_folder)) == 0
    run = study_folder / "run"
    assert {path.name for path in run.iterdir()} == WRITTEN
    assert len(read_effects(run / "survey_effects.parquet")) == 168
    assert read_distributions(run / "survey_distributions.parquet")["country"].unique().tolist() == ["NA", "NO"]
    assert [check["verdict"] in ("pass", "warn", "fail") for check in json.loads((run / "checks.json").read_text())]
    out = capsys.readouterr()
    assert out.err == ""
    assert out.out.endswith(f"{run / 'checks.json'}\n{run / 'report.html'}\n")
    assert no_report[0][1:4] == ["-m", "diagnostics.report", str(run)]


def test_second_run_keeps_finished_work_and_says_the_same(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments(study_folder))
    first, before = capsys.readouterr().out, contents(study_folder)
    stamp = (study_folder / "run" / "survey_effects.parquet").stat().st_mtime_ns
    assert main(arguments(study_folder)) == 0
    assert capsys.readouterr().out == first
    assert contents(study_folder) == before
    assert (study_folder / "run" / "survey_effects.parquet").stat().st_mtime_ns == stamp


def test_set_overrides_reach_the_estimates(study_folder: Path, no_report: list[list[str]]) -> None:
    assert main(arguments(study_folder, "--set", "effects.granularity=full", "--set", "effects.support=400")) == 0
    table = read_effects(study_folder / "run" / "survey_effects.parquet")
    assert set(table["granularity"]) == {3}
    assert not table["supported"].any()


def test_dry_run_writes_nothing(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(study_folder)
    assert main(arguments(study_folder, "--dry-run")) == 0
    assert contents(study_folder) == before
    assert not (study_folder / "run").exists()
    assert not no_report
    assert "small: 400 respondents, 2 countries, 2 questions" in capsys.readouterr().out


def test_dry_run_finds_bad_data(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study_folder / "survey.csv").unlink()
    assert main(arguments(study_folder, "--dry-run")) == 2


def test_strict_stops_with_3_at_thin_support_and_keeps_the_results(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(study_folder, "--strict")) == 3
    err = capsys.readouterr().err
    assert err.startswith("gate: support: ")
    assert "Traceback" not in err
    assert {path.name for path in (study_folder / "run").iterdir()} == WRITTEN


def test_strict_stops_with_3_where_the_graph_leaves_the_finest_toggles_open(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    change(study_folder, effects={"granularity": [1], "support": 1}, graph={"edges": [["gender", "education"]]})
    assert main(arguments(study_folder)) == 0
    capsys.readouterr()
    assert main(arguments(study_folder, "--strict")) == 3
    assert "identification: Given the graph, the contrast of education with nothing else held fixed is no causal" in (
        capsys.readouterr().err
    )


def test_strict_passes_where_all_is_supported_and_identified(study_folder: Path, no_report: list[list[str]]) -> None:
    change(study_folder, effects={"granularity": [1], "support": 1})
    assert main(arguments(study_folder, "--strict")) == 0


def _replace_column(folder: Path, column: str, value: Any, encoding: str = "utf-8") -> None:
    people = pd.read_csv(folder / "survey.csv", keep_default_na=False)
    people[column] = value
    people.to_csv(folder / "survey.csv", index=False, encoding=encoding)


def _replace_text(folder: Path, old: str, new: str) -> None:
    path = folder / "survey.csv"
    path.write_text(path.read_text().replace(old, new))


def _as_source(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    change(folder, survey={"source": name})


def _append_row(folder: Path, row: str) -> None:
    with (folder / "survey.csv").open("a") as stream:
        stream.write(row + "\n")


BAD = {
    "missing file": (lambda f: (f / "survey.csv").unlink(), "survey.csv does not exist"),
    "missing column": (
        lambda f: change(f, survey={"weight": "wt"}),
        "no column for 1 of the study's names",
    ),
    "unknown level": (
        lambda f: _append_row(f, "NO,D,uni,city,never,no,1"),
        "attribute gender (column sex): 1 code(s) in the data are neither a level nor missing: D (1 rows)",
    ),
    "option outside the codebook": (
        lambda f: _append_row(f, "NO,M,uni,city,maybe,no,1"),
        "question trust (column trust): 1 code(s) in the data are neither an option nor missing: maybe (1 rows)",
    ),
    "all-missing question": (
        lambda f: _replace_column(f, "v", ""),
        "question vote (column v): no respondent has an answer",
    ),
    "cyclic DAG": (
        lambda f: change(f, graph={"edges": [["gender", "education"], ["education", "gender"]]}),
        "the graph has a cycle: gender -> education -> gender",
    ),
    "run folder of another study": (
        lambda f: change(f, name="other"),
        "holds the run of study 'small', not 'other'",
    ),
    "unknown key": (lambda f: change(f, efects={}), "efects: unknown key; did you mean 'effects'?"),
    "granularity 0 alone": (lambda f: change(f, effects={"granularity": [0]}), "no attribute to toggle"),
    "no table": (lambda f: (f / "survey.csv").write_bytes(b""), "is empty (0 bytes)"),
    "other encoding": (
        lambda f: _replace_column(f, "residence", "caf\u00e9", encoding="cp1252"),
        "say what it is under survey.encoding",
    ),
    "column named twice": (
        lambda f: _replace_text(f, "nation,sex", "nation,edu"),
        "more than one column named edu",
    ),
    "semicolons": (lambda f: _replace_text(f, ",", ";"), "its fields are separated by semicolons"),
    "mislabelled": (
        lambda f: _as_source(f, "survey.sav", (f / "survey.csv").read_bytes()),
        "is no readable SPSS file",
    ),
    "truncated": (lambda f: _as_source(f, "survey.dta", b"<stata_dta><header>"), "is no readable Stata file"),
    "weighted count table": (
        lambda f: change(f, survey={"counts": {"question": "q", "option": "o", "count": "k"}}),
        "survey.weight is declared, but the source is a count table",
    ),
    "missing study": (lambda f: (f / "study.yaml").unlink(), "study.yaml does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_exit_2_and_earlier_results_untouched(
    case: str, study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(study_folder)) == 0
    spoil, expected = BAD[case]
    spoil(study_folder)
    before = contents(study_folder)
    capsys.readouterr()
    assert main(arguments(study_folder)) == 2
    out = capsys.readouterr()
    assert expected in out.err
    assert out.err.startswith("error: ")
    assert out.err.count("error:") == 1
    assert "Traceback" not in out.err
    assert out.out == ""
    assert contents(study_folder) == before
    assert len(no_report) == 1


def test_a_count_table_audits_end_to_end(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    people = pd.read_csv(study_folder / "survey.csv", keep_default_na=False)
    persona = ["nation", "sex", "edu", "residence"]
    long = people[people["sex"] != ""].melt(persona, ["trust", "v"], "item", "answer")
    long = long[long["answer"] != ""]
    long.groupby([*persona, "item", "answer"]).size().rename("k").reset_index().to_csv(
        study_folder / "counts.csv", index=False
    )
    survey = {"source": "counts.csv", "counts": {"question": "item", "option": "answer", "count": "k"}}
    raw = YAML(typ="safe").load((study_folder / "study.yaml").read_text())
    del raw["survey"]["weight"]
    write_yaml(raw | {"survey": raw["survey"] | survey}, study_folder / "study.yaml")
    assert main(arguments(study_folder)) == 0
    table = read_effects(study_folder / "run" / "survey_effects.parquet")
    assert len(table) == 168
    everyone = table[(table["attribute"] == "gender") & (table["granularity"] == 1) & (table["question"] == "vote")]
    asked = people[people["v"] != ""]
    assert everyone["n_reference"].sum() == (asked["sex"] == "M").sum()
    assert "pass  count table: " in capsys.readouterr().out


def test_bad_arguments_exit_2(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert main(arguments(study_folder, "--set", "effects.suport=1")) == 2
    assert "did you mean 'support'?" in capsys.readouterr().err


def test_interruption_exits_130(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert main(arguments(study_folder)) == 130
    assert "finished work is kept" in capsys.readouterr().err


def test_names_that_look_like_console_markup_are_printed_as_they_are(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    change(study_folder, name="[/bold] study")
    assert main(arguments(study_folder)) == 0
    assert "[/bold] study" in capsys.readouterr().out


def test_toggles_without_any_support_have_no_mean(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(study_folder, "--set", "effects.support=9999")) == 0
    assert "nan" not in capsys.readouterr().out


def test_audit_and_its_real_report_end_to_end(study_folder: Path) -> None:
    assert main(arguments(study_folder)) == 0
    page = (study_folder / "run" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "small" in page


def test_the_report_as_markdown(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(study_folder, "--format", "md")) == 0
    run = study_folder / "run"
    assert capsys.readouterr().out.rstrip().endswith(str(run / "report.md"))
    text = (run / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# small")
    assert "(figures/graph.png)" in text
    assert (run / "figures" / "graph.png").is_file()
    assert not (run / "report.html").exists()


def test_a_failing_report_is_exit_1_and_leaves_the_tables(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(causal.audit.subprocess, "run", lambda c, **_: subprocess.CompletedProcess(c, 2))
    assert main(arguments(study_folder)) == 1
    assert "the report is not" in capsys.readouterr().err
    assert {path.name for path in (study_folder / "run").iterdir()} == WRITTEN


@pytest.fixture
def designed_folder(study_folder: Path) -> Path:
    """The small study with eight PSUs in three strata of each country, the last of which has one PSU."""
    path = study_folder / "survey.csv"
    people = pd.read_csv(path, dtype=str, keep_default_na=False)
    people["village_no"] = [str(i % 8) for i in range(len(people))]
    people["region"] = people["village_no"].map(lambda psu: "south" if psu == "7" else "east" if psu < "3" else "west")
    people.to_csv(path, index=False)
    return study_folder


DESIGN = ["--set", "survey.strata=region", "--set", "survey.psu=village_no"]


def test_strata_and_psus_reach_the_tables_and_the_checks(designed_folder: Path, no_report: list[list[str]]) -> None:
    study, run = str(designed_folder / "study.yaml"), designed_folder / "run"
    assert main([study, "--out", str(run)]) == 0
    plain = read_effects(run / "survey_effects.parquet")
    assert main([study, "--out", str(run), *DESIGN]) == 0
    table = read_effects(run / "survey_effects.parquet")
    pd.testing.assert_series_equal(table["shift"], plain["shift"])
    known = table["std_error"].notna()
    assert (table["std_error"] != plain["std_error"])[known].mean() > 0.9
    check = {item["name"]: item for item in json.loads((run / "checks.json").read_text())}["design"]
    assert (check["verdict"], check["statistic"]) == ("warn", 2)  # one lonely stratum in each country
    assert "16 PSUs in 6 strata, of which 2 have one PSU" in check["meaning"]


def test_bad_design_is_exit_2_with_advice(
    designed_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    study, run = str(designed_folder / "study.yaml"), designed_folder / "run"
    assert main([study, "--out", str(run), "--set", "survey.psu=nation"]) == 2
    assert "only one PSU in NA, NO" in capsys.readouterr().err
    assert main([study, "--out", str(run), "--set", "survey.strata=sex"]) == 2
    assert "survey.strata (column sex)" in capsys.readouterr().err
    assert not run.exists()


def test_pooled_estimates_are_written_beside_the_raw_ones_and_counted_once(
    study_folder: Path, no_report: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> tuple[list[str], list[list[str]]]:
        """The checks, and the rows of the table without what draws it."""
        lines = capsys.readouterr().out.splitlines()
        rows = [
            re.split(r"  +", line.strip()) for line in lines if line.startswith(("gender", "education", "residence"))
        ]
        return [line for line in lines if line[:4] in ("pass", "warn", "fail")], rows

    assert main(arguments(study_folder)) == 0
    checks, rows = said()
    for _ in range(2):  # the second time from the files
        assert main(arguments(study_folder, "--set", "effects.estimator=[cell, pooled]")) == 0
        more, both = said()
        assert [line for line in more if "pooled variance components" not in line] == checks
        assert len(more) == len(checks) + 1
        assert [[row[0], *row[2:]] for row in both if row[1] == "cell"] == rows
        assert [row[0] for row in both if row[1] == "pooled"] == [row[0] for row in rows]
    table = read_effects(study_folder / "run" / "survey_effects.parquet")
    assert table["estimator"].value_counts().to_dict() == {"cell": 168, "pooled": 168}
    written = json.loads((study_folder / "run" / "checks.json").read_text())
    (check,) = [check for check in written if check["name"] == "pooled variance components"]
    assert "between questions" in check["meaning"]
