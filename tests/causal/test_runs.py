from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causal.audit import audit_survey
from causal.errors import InputError
from causal.runs import Run, file_hash
from causal.study import Study
from causal.survey import Survey, read_survey


@pytest.fixture
def survey(study: Study, respondents: pd.DataFrame) -> Survey:
    return read_survey(study, respondents)


@pytest.fixture
def run(study: Study, survey: Survey, tmp_path: Path) -> Run:
    """Return a run folder with a finished audit."""
    made = Run.for_study(study, tmp_path / "run")
    audit_survey(survey, made)
    return made


def stamps(run: Run) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}


NOTES = """
import sys
import time
from pathlib import Path
from causal import runs
from causal.study import Study
write_json = runs.write_json
runs.write_json = lambda path, value: (time.sleep(0.02), write_json(path, value))
run = runs.Run(Path(sys.argv[1]))
for number in range(20):
    run.record(Study.load(run.study_path), f"measure/{sys.argv[2]}{number}", {}, [])
"""


def test_two_processes_at_work_in_one_folder_lose_no_step(run: Run) -> None:
    (run.path / "models").mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    others = [subprocess.Popen([sys.executable, "-c", NOTES, run.path, name], env=environment) for name in "ab"]
    assert [other.wait() for other in others] == [0, 0]
    assert sorted(run.labels()) == sorted(f"{name}{number}" for name in "ab" for number in range(20))


def test_default_folder_is_named_after_the_study_and_not_made_yet(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Run.for_study(study, None).path == Path("runs/small")
    assert list(tmp_path.iterdir()) == []


def test_folder_of_another_study_is_refused(run: Run, raw: dict[str, Any]) -> None:
    before = stamps(run)
    with pytest.raises(InputError, match="holds the run of study 'small', not 'other'"):
        Run.for_study(Study.from_dict(raw | {"name": "other"}), run.path)
    assert stamps(run) == before


def test_folder_that_is_no_run_is_refused(study: Study, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(InputError, match="not empty and no run folder"):
        Run.for_study(study, tmp_path)
    with pytest.raises(InputError, match="is no run folder"):
        Run.existing(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (b'{"name": "a browser extension"}', "no run's"),
        (b"[]", "no run's"),
        (b"{", "is damaged"),
        (b"\xff", "is damaged"),
    ],
)
def test_manifest_that_is_no_runs_is_refused(study: Study, tmp_path: Path, manifest: bytes, expected: str) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(InputError, match=expected):
        Run.for_study(study, tmp_path)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_file_in_the_way_is_refused(study: Study, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give a folder"):
        Run.for_study(study, tmp_path / out)


def test_empty_folder_and_the_studys_own_run_are_accepted(study: Study, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Run.for_study(study, tmp_path / "empty").manifest() == {}
    assert Run.for_study(study, run.path) == run


def test_finished_work_is_kept_while_its_inputs_are_unchanged(run: Run, survey: Survey) -> None:
    before = stamps(run)
    table, found = audit_survey(survey, run)
    assert stamps(run) == before
    assert len(table) == 168
    assert [check.name for check in found][:2] == ["support", "identification"]


def test_changed_data_are_recomputed(run: Run, study: Study, respondents: pd.DataFrame) -> None:
    before = file_hash(run.survey_effects)
    respondents.loc[:50, "v"] = "yes"
    audit_survey(read_survey(study, respondents), run)
    assert file_hash(run.survey_effects) != before


def test_changed_study_is_recomputed(run: Run, raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["effects"]["support"] = 300
    table, _ = audit_survey(read_survey(Study.from_dict(raw), respondents), run)
    assert not table["supported"].any()
    assert not pd.read_parquet(run.survey_effects)["supported"].any()


@pytest.mark.parametrize("name", ["survey_effects.parquet", "survey_distributions.parquet", "checks.json"])
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_damaged_output_is_recomputed(run: Run, survey: Survey, name: str, damage: str) -> None:
    path = run.path / name
    before = path.read_bytes()
    path.write_bytes(before[:-1]) if damage == "changed" else path.unlink()
    audit_survey(survey, run)
    assert path.read_bytes() == before


def test_step_is_done_only_with_the_same_inputs(run: Run, study: Study) -> None:
    note = run.path / "note.txt"
    note.write_text("x")
    run.record(study, "measure/base", {"model": "a"}, [note])
    assert run.is_done("measure/base", {"model": "a"})
    assert not run.is_done("measure/base", {"model": "b"})
    assert not run.is_done("measure/other", {"model": "a"})
    assert run.inputs("audit")
    assert run.labels() == ["base"]


def test_other_steps_survive_a_new_record(run: Run, study: Study, survey: Survey) -> None:
    run.record(study, "measure/base", {}, [])
    run.survey_effects.unlink()
    audit_survey(survey, run)
    assert run.labels() == ["base"]


def test_run_without_fitting_survey_effects_is_refused(run: Run, study: Study, raw: dict[str, Any]) -> None:
    run.require_survey(study)
    raw["effects"]["support"] = 20
    with pytest.raises(InputError, match="the study changed"):
        run.require_survey(Study.from_dict(raw))
    run.survey_effects.unlink()
    with pytest.raises(InputError, match="has no survey effects yet"):
        run.require_survey(study)


def test_run_folder_holds_the_contracts_names(run: Run, study: Study) -> None:
    names = {"study.yaml", "manifest.json", "survey_distributions.parquet", "survey_effects.parquet", "checks.json"}
    assert {path.name for path in run.path.iterdir()} == names
    assert Study.load(run.study_path).fingerprint("attributes") == study.fingerprint("attributes")


def test_claimed_folder_is_the_studys_before_any_step_is_done(
    study: Study, raw: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    new = Run.for_study(study, tmp_path / "new")
    new.claim(study)
    (new.path / "half").touch()  # what a killed command leaves
    assert Run.for_study(study, new.path) == new
    with pytest.raises(InputError, match="holds the run of study 'small'"):
        Run.for_study(Study.from_dict(raw | {"name": "other"}), new.path)
    before = run.manifest()
    run.claim(study)
    assert run.manifest() == before
