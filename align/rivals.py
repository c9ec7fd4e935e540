"""The rivals beside a tuned model, each by name: prompted, trained otherwise, rescaled, or no model at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causal.errors import InputError
from causal.fitsettings import FitSettings
from causal.runs import RIVALS_STEP, TABLE_SECTIONS, Run, file_hash
from causal.study import Study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas.core.groupby import DataFrameGroupBy

MEASURED = ("base", "anthropological")
"""The model as it is, and with a prompt of another style."""
TRAINED = ("anchor", "effect", "ace", "level_kl")
"""Adapters of one objective, and of the paper's schedule."""
COMPUTED = ("temperature", "marginal", "uniform")
"""Made from tables."""
RIVALS = (*MEASURED, *TRAINED, *COMPUTED)


@dataclass(frozen=True)
class VariantRun(Run):
    """The same folder, where what is recorded is the study as its user wrote it, not a rival's variant of it."""

    written: Study

    def record(self, study: Study, step: str, inputs: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Note a finished step of a variant."""
        super().record(self.written, step, inputs, files)


def rivals_asked(text: str | None, study: Study, label: str) -> tuple[str, ...]:
    """Return the rivals that ``--baselines`` names, in the order of `RIVALS`, with those that they are made from.

    A trained rival that is the main model itself (same label, same objectives) is left out.

    Raises
    ------
    InputError
        An unknown name, or a rival whose label the main model has although the two differ.
    """
    if text is None:
        return ()
    asked = [word.strip() for word in text.split(",")]
    if unknown := [word for word in asked if word not in (*RIVALS, "all")]:
        near = get_close_matches(unknown[0], RIVALS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--baselines {unknown[0]!r}: give all, or some of {','.join(RIVALS)}{hint}")
    wanted = set(RIVALS if "all" in asked else asked)
    if "temperature" in wanted:
        wanted.add("base")
    if label in wanted:
        if label not in TRAINED or variant(study, label).fit.stages != study.fit.stages:
            raise InputError(
                f"--label {label} is also the name of a rival, which is another model than fit.schedule makes; "
                "give the main model another --label, or leave that name out of --baselines"
            )
        wanted.remove(label)
    return tuple(name for name in RIVALS if name in wanted)


def variant(study: Study, name: str) -> Study:
    """Return the study that makes a rival: another style of prompt, or the same settings under another schedule.

    A schedule of one objective has as many epochs as the study's own, all stages together; the paper's has one more
    where that is odd.

    Raises
    ------
    InputError
        The paper's last stage would have one epoch, among which early stopping has nothing to choose.
    """
    if name == "anthropological":
        return study.model_copy(update={"prompt": study.prompt.model_copy(update={"style": "anthropological"})})
    if name not in TRAINED:
        return study
    epochs = sum(stage.epochs for stage in study.fit.stages)
    changed: dict[str, Any] = {"schedule": name, "epochs": epochs}
    if name == "ace":
        changed = {"schedule": "paper", "epochs": epochs + epochs % 2}
        if study.fit.early_stopping and changed["epochs"] < 4:
            raise InputError(
                f"--baselines ace: {epochs} epochs leave the last stage of the paper's schedule one, and "
                "fit.early_stopping chooses among the epochs of the last stage; raise fit.epochs to 4 or more (in a "
                "list of stages: all together), or leave ace out of --baselines"
            )
    settings = FitSettings.model_validate(study.fit.model_dump() | changed)
    return study.model_copy(update={"fit": settings})


def prompted(study: Study, names: Sequence[str]) -> tuple[Study, ...]:
    """Return the studies whose prompts are asked of every persona: the main model's, and a rival's of another style."""
    return (study, *(variant(study, name) for name in MEASURED if name in names and variant(study, name) != study))


def refuse_taken(run: Run, names: Sequence[str]) -> None:
    """Raise `InputError` if a rival's label holds something that the rival would replace.

    Raises
    ------
    InputError
        A label to be trained was measured, or one that is not to be trained was.
    """
    from align.measure import refuse_measured, refuse_trained

    for name in names:
        refuse = refuse_measured if name in TRAINED else refuse_trained
        refuse(run, name, "leave it out of --baselines, or choose another --out")


def trainings(study: Study, run: Run, names: Sequence[str]) -> dict[str, tuple[Study, Run]]:
    """Return, for each rival asked for that is trained, the study that makes it and the folder to record it in."""
    return {name: (variant(study, name), VariantRun(run.path, study)) for name in names if name in TRAINED}


def make_rivals(
    study: Study, run: Run, model: str, label: str, names: Sequence[str], measure_tuned: Callable[[str], None]
) -> None:
    """Make every rival a label in the run folder; what is there with the same inputs is kept.

    Parameters
    ----------
    study, run, model, label
        Of the main model.
    names : sequence of str
        From `rivals_asked`; those of `trainings` are trained.
    measure_tuned : callable
        Measures a trained rival, unless that is done.
    """
    from align.measure import measure_once

    if not names:
        return
    rivals = [name for name in RIVALS if name in (*run.rivals(), *names) and name != label]
    run.record(study, RIVALS_STEP, {"main": label, "rivals": rivals}, [])
    for place, name in enumerate(names, start=1):
        print(f"rival {place} of {len(names)}: {name}", flush=True)
        if name in TRAINED:
            measure_tuned(name)
        elif name in MEASURED:
            measure_once(variant(study, name), VariantRun(run.path, study), model, name)
        else:
            _compute(study, run, model, name)


def _compute(study: Study, run: Run, model: str, label: str) -> None:
    made = _from_base(study, run, model) if label == "temperature" else _from_survey(study, run, label)
    inputs = {
        "computed": label,
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "graph": study.fingerprint("graph"),
        "survey_distributions": file_hash(run.survey_distributions),
        "learnt_distributions": file_hash(run.learnt_distributions),
        "learnt_effects": file_hash(run.learnt_effects),
        **made.inputs,
    }
    if run.is_done(f"measure/{label}", inputs):
        print(f"{label}: kept, computed before from the same tables")
    else:
        _write(study, run, label, made.table, inputs)


@dataclass(frozen=True)
class _Made:
    """A distributions table, and what it depends on beside the survey."""

    table: pd.DataFrame
    inputs: dict[str, Any]


def _from_survey(study: Study, run: Run, label: str) -> _Made:
    from causal.tables import read_distributions
    from causal.trivial import country_shares, marginal, uniform

    names, survey = list(study.attributes), read_distributions(run.survey_distributions)
    if label == "uniform":
        return _Made(uniform(survey, names), {"model": "no model, every option alike", "prompt": {}})
    table = marginal(survey, country_shares(read_distributions(run.learnt_distributions)))
    return _Made(table, {"model": "no model, the country's own answers whoever is asked", "prompt": {}})


def _from_base(study: Study, run: Run, model: str) -> _Made:
    from causal.tables import read_distributions
    from causal.trivial import tempered

    path = run.model("base") / "distributions.parquet"
    base = read_distributions(path)
    temperature = training_temperature(study, run, base)
    print(f"temperature: {temperature:.4g}{_at_bound(temperature)}")
    inputs = {
        "model": f"{model} at temperature {temperature:.3g}",
        "prompt": study.prompt.model_dump(),
        "base": file_hash(path),
        "held_out": study.fit.held_out.model_dump(mode="json"),
        "validation": list(study.fit.validation),
        "temperature": temperature,
    }
    return _Made(tempered(base, list(study.attributes), temperature), inputs)


def _at_bound(temperature: float) -> str:
    """Say that a temperature is as far as one looks, where it is."""
    from causal.trivial import TEMPERATURES

    low, high = TEMPERATURES
    if np.isclose(temperature, high, rtol=1e-3):
        return " (the highest looked at: the nearer base comes to equal shares, the nearer to the survey)"
    return " (the lowest looked at: base is best as sure as can be)" if np.isclose(temperature, low, rtol=1e-3) else ""


def _write(study: Study, run: Run, label: str, table: pd.DataFrame, inputs: Mapping[str, Any]) -> None:
    from causal.effects import model_effects
    from causal.grid import grid_from_table, subsets
    from causal.tables import distributions_schema, effects_schema, write_table

    names, countries = list(study.attributes), list(dict.fromkeys(table["country"]))
    grids = [grid_from_table(table, study, countries, subset) for subset in subsets(study)]
    files = [run.model(label) / "distributions.parquet", run.model(label) / "effects.parquet"]
    write_table(table, files[0], distributions_schema(names))
    write_table(model_effects(grids, study, countries), files[1], effects_schema(names))
    run.record(study, f"measure/{label}", inputs, files)


def training_temperature(study: Study, run: Run, base: pd.DataFrame) -> float:
    """Return the temperature at which the base model comes nearest to the cells that are trained on.

    The loss is `level_kl` as the rival of that name sees it: both ends of every toggle, with its goals and weights,
    each country and question counting alike.
    """
    from align.targets import targets
    from causal import heldout
    from causal.tables import read_effects
    from causal.trivial import best_temperature

    found = targets(variant(study, "level_kl"), read_effects(run.learnt_effects))[heldout.TRAINED]
    if not found:
        raise InputError("no toggle to choose a temperature on is supported; lower effects.support or hold less out")
    place = {key: rows["p"].to_numpy() for key, rows in base.sort_values("option").pipe(_by_cell, study)}
    width = max(target.goal_reference.shape[1] for target in found)
    model, survey, options, weight = [], [], [], []
    for target in found:
        share = target.weight / target.weight.sum()
        for ends, p in ((target.reference, target.goal_reference), (target.treated, target.goal_treated)):
            for end, one, counts in zip(ends, p, share, strict=True):
                who = target.personas[end]
                key = (target.country, target.question, *(who.get(name, "") for name in study.attributes))
                model.append(np.pad(place[key], (0, width - len(one))))
                survey.append(np.pad(one, (0, width - len(one))))
                options.append(len(one))
                weight.append(counts)
    return best_temperature(np.array(model), np.array(survey), np.array(options), np.array(weight))


def _by_cell(table: pd.DataFrame, study: Study) -> DataFrameGroupBy:
    """Group rows by cell, with "" for an attribute that is not specified."""
    levels = [table[name].where(table[name].notna(), "") for name in study.attributes]
    return table.groupby([table["country"], table["question"], *levels], sort=False)
