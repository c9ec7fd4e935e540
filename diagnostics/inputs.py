"""What a run folder holds for the report, read and checked: stale or unknown results are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causal.errors import InputError
from causal.fitsettings import FitSettings, HeldOut
from causal.heldout import PARTS, TRAINED, parts
from causal.ignorability import Check, read_checks
from causal.runs import TABLE_SECTIONS, Run, file_hash
from causal.study import Study
from causal.tables import estimated_by, read_distributions, read_effects, toggles_fingerprint
from diagnostics.alignment import cells, matching_rows


@dataclass(frozen=True)
class Measured:
    """One label's tables and what the run records about how they came about.

    Attributes
    ----------
    label, model : str
        The label, and the name of the model that was measured.
    prompt : mapping
        Layout and form of the options.
    distributions, effects : DataFrame
        The two tables.
    held_out : HeldOut or None
        What training never saw; None for a label that was not trained in this run.
    computed : str or None
        Name of the rule that made it from tables, without a model of its own (`causal.trivial`).
    validation : tuple of str
        The questions that chose its epoch, on which it was not trained.
    off_options : Series or None
        Probability off the options, one value per cell; None for a label without a record of it.
    made_from, weights : str
        Name of the base model, before any training or rescaling, and the hash of its files; empty for a rule without
        a model, and where they are not recorded.
    settings : mapping
        What it was trained with, but for what sets methods apart (the schedule) and what is held out; empty for a
        label that was not trained.
    """

    label: str
    model: str
    prompt: Mapping[str, Any]
    distributions: pd.DataFrame
    effects: pd.DataFrame
    held_out: HeldOut | None
    computed: str | None = None
    validation: tuple[str, ...] = ()
    off_options: pd.Series | None = None
    made_from: str = ""
    weights: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether `align.fit` made this label."""
        return self.held_out is not None


@dataclass(frozen=True)
class Inputs:
    """Everything the report is made from; ``models`` begins with the one that stands for "before".

    ``rivals`` are further labels, which only the comparison of all has.
    ``effects`` are the survey's raw ones (``cell``), which models are diagnosed against; ``others`` those of other
    estimators, if the study asks for any.
    """

    run: Run
    study: Study
    distributions: pd.DataFrame
    effects: pd.DataFrame
    others: pd.DataFrame
    checks: tuple[Check, ...]
    models: tuple[Measured, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[Measured, ...] = ()

    @property
    def everyone(self) -> tuple[Measured, ...]:
        """All labels: those shown in detail, then the rivals."""
        return *self.models, *self.rivals

    @property
    def held_out(self) -> tuple[HeldOut, ...]:
        """What each trained label never saw; what the study holds out where no label is trained."""
        kept = [model.held_out for model in self.models if model.held_out is not None]
        return tuple(kept or [self.study.fit.held_out])

    @property
    def validation(self) -> tuple[tuple[str, ...], ...]:
        """The questions that chose each trained label's epoch; the study's where no label is trained."""
        kept = [model.validation for model in self.models if model.trained]
        return tuple(kept or [self.study.fit.validation])

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The parts of the survey that occur (`causal.heldout.PARTS`), empty if nothing is held out."""
        found = set(self.split_of(self.distributions)) - {None, TRAINED}
        return tuple(part for part in PARTS if part == TRAINED or part in found) if found and self.models else ()

    def split_of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the part of each cell or toggle; None where the trained labels differ in it."""
        unseen = zip(self.held_out, self.validation, strict=True)
        first, *others = (parts(rows, held_out, self.study, validation) for held_out, validation in unseen)
        split = first.astype(object)
        for other in others:
            split[first != other] = None
        return split


def load_inputs(path: str, compare: Sequence[str] | None = None, skip_stale: bool = False) -> Inputs:
    """Read a run folder.

    Parameters
    ----------
    path : str
        The run folder.
    compare : sequence of str, optional
        The labels to show in detail; by default ``base`` and all that are not rivals by ``align.fit --baselines``. The
        others that fit are rivals.
    skip_stale : bool
        Leave labels out whose results no longer belong to the study, instead of refusing.

    Raises
    ------
    InputError
        There is no run, no survey result, an unknown label, or a label that must be measured or trained again.
    """
    run = Run.existing(path)
    if not run.study_path.is_file():
        raise InputError(f"{run.study_path} is missing; run python -m causal.audit STUDY --out {path} again")
    study = Study.load(run.study_path)
    run.require_survey(study)
    effects = read_effects(run.survey_effects)
    others = effects[effects["estimator"] != "cell"].reset_index(drop=True)
    survey = read_distributions(run.survey_distributions), estimated_by(effects)
    shown = _shown(run, compare)
    models, left_out = _load(run, study, shown, survey, skip_stale)
    others_too = [label for label in run.labels() if label not in shown]
    rivals, more = _load(run, study, others_too, survey, skip_stale or compare is not None)
    found = read_checks(json.loads(run.checks.read_text(encoding="utf-8")) if run.checks.is_file() else [])
    inputs = Inputs(run, study, *survey, others, tuple(found), tuple(models), left_out | more)
    return _with_rivals(inputs, rivals)


def _load(
    run: Run, study: Study, labels: Sequence[str], survey: tuple[pd.DataFrame, pd.DataFrame], skip_stale: bool
) -> tuple[list[Measured], dict[str, str]]:
    """Read labels; return those that belong to the study, and why others do not."""
    models, left_out = [], {}
    for label in labels:
        try:
            models.append(_measured(run, study, label, *survey))
        except InputError as error:
            if not skip_stale:
                raise
            left_out[label] = str(error)
    return models, left_out


def _with_rivals(inputs: Inputs, rivals: Sequence[Measured]) -> Inputs:
    """Add the rivals that saw no more of the survey than those shown, so that a part held out is held out for all."""
    seen = set(zip(map(repr, inputs.held_out), inputs.validation, strict=True))
    fair = [model for model in rivals if not model.trained or (repr(model.held_out), model.validation) in seen]
    reason = "it holds out other parts of the survey than the labels shown, so it cannot be compared with them"
    unfair = {model.label: reason for model in rivals if model not in fair}
    return replace(inputs, rivals=tuple(fair), left_out={**inputs.left_out, **unfair})


def _shown(run: Run, compare: Sequence[str] | None) -> list[str]:
    """Return the labels to show in detail: ``base`` first if it is there, the others as they were measured."""
    known, rivals = run.labels(), run.rivals()
    if unknown := [label for label in compare or [] if label not in known]:
        there = f"measured so far: {', '.join(known)}" if known else "no model has been measured in this run yet"
        raise InputError(f"--compare {' '.join(unknown)}: no such label in {run.path}; {there}")
    chosen = list(dict.fromkeys(compare)) if compare else [one for one in known if one not in rivals or one == "base"]
    return sorted(chosen, key=lambda label: label != "base")


def _measured(run: Run, study: Study, label: str, distributions: pd.DataFrame, effects: pd.DataFrame) -> Measured:
    record, fit = run.inputs(f"measure/{label}"), run.inputs(f"fit/{label}")
    again = f"run python -m align.measure STUDY --label {label} --out {run.path} again"
    retrain = f"run python -m align.fit STUDY --label {label} --out {run.path} again"
    if fit:
        again = retrain
        learnt = {"survey_toggles": run.survey_effects, "training_toggles": run.training_effects}
        names = list(study.attributes)
        if any(
            path.is_file() and fit.get(name, "") != toggles_fingerprint(path, names) for name, path in learnt.items()
        ):
            raise InputError(f"label {label} was trained on survey effects that have changed since; {retrain}")
    if "computed" in record:
        again = f"run python -m align.fit STUDY --baselines {label} --out {run.path} again"
        made_from = ("survey_distributions", "learnt_distributions", "learnt_effects")
        if any(record.get(name) != file_hash(getattr(run, name)) for name in made_from):
            raise InputError(f"label {label} was made from survey tables that have changed since; {again}")
    if record.get("tables") != study.fingerprint(*TABLE_SECTIONS):
        raise InputError(f"the study's attributes or questions changed since label {label} was measured; {again}")
    folder = run.model(label)
    held_out = fit["fit"]["held_out"] if fit else record.get("held_out")
    if not run.is_done(f"measure/{label}", record):
        raise InputError(
            f"the files in {folder} are not those that were recorded when label {label} was measured; {again}"
        )
    model = Measured(
        label,
        str(record.get("model", "unknown model")),
        record.get("prompt") or {},
        read_distributions(folder / "distributions.parquet"),
        read_effects(folder / "effects.parquet"),
        HeldOut.model_validate(held_out) if held_out is not None else None,
        record.get("computed"),
        _validation(record, fit),
        _off_options(folder / "off_options.parquet"),
        *_origin(run, record, fit),
        _settings(fit["fit"]) if fit else {},
    )
    _require_same_rows(model, study, distributions, effects, again)
    return model


def _validation(record: Mapping[str, Any], fit: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the questions that a label did not learn from because they choose an epoch."""
    found = (fit["fit"].get("early_stopping") or {}).get("questions", ()) if fit else record.get("validation", ())
    return tuple(found)


_OF_A_METHOD = ("schedule", "epochs", "held_out", "early_stopping", "seed", "checkpoint_activations")
"""Settings of a training that may differ between methods that are compared, and those that are compared otherwise."""


def _settings(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return what methods should be trained alike with; the paper's schedule makes odd epochs even."""
    schedule = {key: fit[key] for key in ("schedule", "epochs") if key in fit}
    epochs = sum(stage.epochs for stage in FitSettings.model_validate(schedule).stages)
    return {"epochs": epochs + epochs % 2} | {key: value for key, value in fit.items() if key not in _OF_A_METHOD}


def _origin(run: Run, record: Mapping[str, Any], fit: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the hash of the base model that a label was made from."""
    if "computed" in record:
        base = run.model("base") / "distributions.parquet"
        if "base" not in record:
            return "", ""
        if not base.is_file() or record["base"] != file_hash(base):
            return str(record["model"]), ""
        record = run.inputs("measure/base")
    name = fit.get("model", record.get("model", "unknown model"))
    return str(name), str((fit or record).get("weights", ""))


def _off_options(path: Path) -> pd.Series | None:
    return pd.read_parquet(path, columns=["off_option"])["off_option"] if path.is_file() else None


def _require_same_rows(
    model: Measured, study: Study, distributions: pd.DataFrame, effects: pd.DataFrame, again: str
) -> None:
    names = list(study.attributes)
    toggle = toggle_key(study)
    ours, theirs = cells(distributions, names), cells(model.distributions, names)
    try:
        place = matching_rows(ours.keys, theirs.keys, ["country", "question", *names], f"label {model.label}")
        matching_rows(
            effects[effects["supported"]], model.effects[model.effects["shift"].notna()], toggle, f"label {model.label}"
        )
    except InputError as error:
        raise InputError(f"{error}; {again}") from error
    if not np.array_equal(ours.options, theirs.options[place]):
        raise InputError(f"label {model.label} has another number of options than the survey; {again}")


def toggle_key(study: Study) -> list[str]:
    """Return the columns that name a toggle."""
    return ["country", "question", "attribute", "reference", "treated", *study.attributes]
