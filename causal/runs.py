"""The run folder: fixed names, one manifest, finished work kept while its inputs are unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causal.errors import InputError
from causal.files import replace_file, write_json
from causal.study import Study

SURVEY_SECTIONS = ("survey", "attributes", "questions", "covariates", "effects", "graph", "checks")
"""Sections of the study that the survey's tables depend on."""
TABLE_SECTIONS = ("attributes", "questions")
"""Sections that two sides must share for their tables to be compared."""

RIVALS_STEP = "baselines"
"""The step of the manifest that says which labels are rivals, and of which main model."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    path : Path
        ``RUN``; see the design for the names inside.
    """

    path: Path

    @classmethod
    def for_study(cls, study: Study, out: str | Path | None) -> Run:
        """Return the run folder that a command may write to; nothing is created yet.

        Raises
        ------
        InputError
            The folder holds another study's run, or something that is no run.
        """
        run = cls(Path(out) if out else Path("runs") / study.name)
        if blocking := next((path for path in (run.path, *run.path.parents) if path.is_file()), None):
            raise InputError(f"--out {run.path}: {blocking} is a file; give a folder")
        if run.path.is_dir() and any(run.path.iterdir()) and not run.manifest_path.is_file():
            raise InputError(f"--out {run.path} is not empty and no run folder (no manifest.json); give a new folder")
        owner = run.manifest().get("study") if run.manifest_path.is_file() else study.name
        if owner is None:
            raise InputError(f"--out {run.path} holds a manifest.json that is no run's; give a new folder")
        if owner != study.name:
            raise InputError(
                f"--out {run.path} holds the run of study {owner!r}, not {study.name!r}; give another folder"
            )
        return run

    @classmethod
    def existing(cls, path: str | Path) -> Run:
        """Return a run folder to read from.

        Raises
        ------
        InputError
            There is no run there.
        """
        run = cls(Path(path))
        if not run.manifest_path.is_file():
            raise InputError(
                f"{path} is no run folder (no manifest.json); run python -m causal.audit STUDY --out {path} first"
            )
        return run

    @property
    def manifest_path(self) -> Path:
        """``RUN/manifest.json``."""
        return self.path / "manifest.json"

    @property
    def study_path(self) -> Path:
        """``RUN/study.yaml``."""
        return self.path / "study.yaml"

    @property
    def survey_distributions(self) -> Path:
        """``RUN/survey_distributions.parquet``."""
        return self.path / "survey_distributions.parquet"

    @property
    def survey_effects(self) -> Path:
        """``RUN/survey_effects.parquet``."""
        return self.path / "survey_effects.parquet"

    @property
    def training_distributions(self) -> Path:
        """``RUN/training_distributions.parquet``, of the half of the respondents that training learns from."""
        return self.path / "training_distributions.parquet"

    @property
    def training_effects(self) -> Path:
        """``RUN/training_effects.parquet``."""
        return self.path / "training_effects.parquet"

    @property
    def learnt_distributions(self) -> Path:
        """The cells that training learns from: of the training half, where the run holds one."""
        return self.training_distributions if self.training_distributions.is_file() else self.survey_distributions

    @property
    def learnt_effects(self) -> Path:
        """The effects that training learns from: of the training half, where the run holds one."""
        return self.training_effects if self.training_effects.is_file() else self.survey_effects

    @property
    def checks(self) -> Path:
        """``RUN/checks.json``."""
        return self.path / "checks.json"

    def model(self, label: str) -> Path:
        """Return ``RUN/models/<label>``."""
        return self.path / "models" / label

    def labels(self) -> list[str]:
        """Return the labels of the models measured so far, in the order they were first measured."""
        return [
            step.removeprefix("measure/") for step in self.manifest().get("steps", {}) if step.startswith("measure/")
        ]

    def rivals(self) -> list[str]:
        """Return the labels that ``align.fit --baselines`` made to compare a main model with."""
        return self.inputs(RIVALS_STEP).get("rivals", [])

    def manifest(self) -> dict[str, Any]:
        """Return what the run records about itself, empty for a new folder."""
        if not self.manifest_path.is_file():
            return {}
        try:
            held = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{self.manifest_path} is damaged ({error}); remove the run folder and start again"
            ) from error
        return held if isinstance(held, dict) else {}

    def inputs(self, step: str) -> dict[str, Any]:
        """Return the recorded inputs of a finished step, empty if it never finished."""
        return self.manifest().get("steps", {}).get(step, {}).get("inputs", {})

    def is_done(self, step: str, inputs: Mapping[str, Any]) -> bool:
        """Tell whether a step finished with the same inputs and its files are still as it left them."""
        record = self.manifest().get("steps", {}).get(step)
        if record is None or record["inputs"] != dict(inputs):
            return False
        return all(
            (self.path / name).is_file() and file_hash(self.path / name) == digest
            for name, digest in record["files"].items()
        )

    def claim(self, study: Study) -> None:
        """Make the folder a run of this study, so that one killed halfway is still recognised as such."""
        if not self.manifest_path.is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.manifest_path, {"study": study.name, "steps": {}})

    def record(self, study: Study, step: str, inputs: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Note a finished step with its inputs and the hashes of the files it wrote, and save the study."""
        self.claim(study)
        with replace_file(self.study_path) as beside:
            study.save(beside)
        hashes = {str(path.relative_to(self.path)): file_hash(path) for path in files}
        with self._alone():
            manifest = self.manifest()
            manifest["steps"][step] = {"inputs": dict(inputs), "files": hashes}
            write_json(self.manifest_path, manifest)

    def forget(self, step: str) -> None:
        """Drop a step whose results are about to become stale, so that nothing shows them."""
        if not self.manifest_path.is_file():
            return
        with self._alone():
            manifest = self.manifest()
            if manifest.get("steps", {}).pop(step, None) is not None:
                write_json(self.manifest_path, manifest)

    def _alone(self) -> AbstractContextManager[Any]:
        """Wait until no other process changes the manifest, so that two at work on two labels lose no step."""
        from filelock import FileLock

        labels = self.path / "models"  # labels have locks there too, .<label>.lock
        return FileLock(labels / ".lock") if labels.is_dir() else nullcontext()

    def require_survey(self, study: Study) -> None:
        """Raise `InputError` unless the survey's tables are there and belong to this version of the study."""
        again = f"run python -m causal.audit STUDY --out {self.path}"
        recorded = self.inputs("audit")
        if not recorded or not self.survey_effects.is_file():
            raise InputError(f"{self.path} has no survey effects yet; {again} first")
        if recorded["study"] != study.fingerprint(*SURVEY_SECTIONS):
            raise InputError(f"the study changed since the survey effects in {self.path} were computed; {again} again")
        asked = study.fit.held_out.respondents
        if recorded.get("respondents") != asked:
            whose = ("all respondents", "half of them") if asked else ("half of the respondents", "all of them")
            raise InputError(
                f"the survey effects in {self.path} are of {whose[0]}, and by fit.held_out.respondents they should be "
                f"of {whose[1]}; {again} again, with the same key"
            )
        learnt = [path for path in (self.training_effects, self.training_distributions) if not path.is_file()]
        if asked and learnt:
            raise InputError(
                f"{learnt[0]} is missing, from which training learns (fit.held_out.respondents); {again} again"
            )
