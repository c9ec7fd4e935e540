"""The score tables: every answerer in every cell and toggle. Each published number is a mean of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.ceiling import perfect_alignment
from causal.closeness import alignment_score, effect_distance
from diagnostics.alignment import Cells, cells, matching_rows, padded
from diagnostics.ceiling import perfect_toggles
from diagnostics.classify import CLASSES, certain_class, class_probabilities, classify, indicators, interval_error
from diagnostics.inputs import Inputs, Measured, toggle_key

PERFECT = "perfect model"
UNIFORM = "uniform answers"
NO_EFFECT = "no effect at all"
Q = 0.05
"""q-value below which an effect stands out from sampling noise."""


@dataclass(frozen=True)
class Diagnosis:
    """Every answerer's score in every supported cell and toggle.

    Attributes
    ----------
    cells : DataFrame
        ``label``, the cell's keys, ``topic``, ``split``, ``score`` (S). Labels are the models', `PERFECT` (the
        ceiling) and `UNIFORM`.
    toggles : DataFrame
        ``label``, the toggle's keys, ``topic``, ``split``, ``distance`` (d_CDF) and one column per class with
        its share (0 or 1; for `PERFECT` an expectation). Labels are the models', `PERFECT` and `NO_EFFECT`.
    models : DataFrame
        What ``diagnosis.parquet`` holds: one row per model and toggle, with both shifts, the survey's interval,
        the class, its probabilities and the certain class.
    """

    cells: pd.DataFrame
    toggles: pd.DataFrame
    models: pd.DataFrame


def diagnose(inputs: Inputs) -> Diagnosis:
    """Score and classify every model against the survey, beside the ceilings and the trivial rivals."""
    models = [_model_toggles(inputs, model) for model in inputs.models]
    if not models:
        empty = pd.DataFrame()
        return Diagnosis(empty, empty, empty)
    toggles = [_score_rows(rows) for rows in models] + _reference_toggles(inputs)
    return Diagnosis(
        pd.concat(_cell_rows(inputs), ignore_index=True),
        pd.concat(toggles, ignore_index=True),
        pd.concat(models, ignore_index=True),
    )


def supported_cells(inputs: Inputs) -> Cells:
    """Return the survey's cells that have the study's minimum of respondents, n and n_eff."""
    found = cells(inputs.distributions, list(inputs.study.attributes))
    enough = inputs.study.effects.support
    keep = ((found.keys["n"] >= enough) & (found.keys["n_eff"] >= enough)).to_numpy(dtype=bool)
    return Cells(found.keys[keep].reset_index(drop=True), found.p[keep], found.options[keep])


def _cell_rows(inputs: Inputs) -> list[pd.DataFrame]:
    names = list(inputs.study.attributes)
    survey = supported_cells(inputs)
    keys = _with_groups(inputs, survey.keys)
    inside = np.arange(survey.p.shape[1]) < survey.options[:, None]
    uniform = inside / survey.options[:, None]
    scored = {}
    for model in inputs.models:
        theirs = cells(model.distributions, names)
        place = matching_rows(survey.keys, theirs.keys, ["country", "question", *names], f"label {model.label}")
        scored[model.label] = alignment_score(theirs.p[place], survey.p, survey.options)
    scored[PERFECT] = perfect_alignment(survey.p, survey.options, survey.keys["n_eff"].to_numpy(dtype=float))
    scored[UNIFORM] = alignment_score(uniform, survey.p, survey.options)
    return [keys.assign(label=label, score=score) for label, score in scored.items()]


def _with_groups(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    split = inputs.split_of(rows) if inputs.splits else np.full(len(rows), None, dtype=object)
    topic = rows["question"].map({name: question.topic for name, question in inputs.study.questions.items()})
    return rows.assign(topic=topic, split=pd.Series(split, index=rows.index, dtype=object))


def supported_toggles(inputs: Inputs) -> pd.DataFrame:
    """Return the survey's supported toggles with their topic and split."""
    return _with_groups(inputs, inputs.effects[inputs.effects["supported"]].reset_index(drop=True))


def _model_toggles(inputs: Inputs, model: Measured) -> pd.DataFrame:
    study = inputs.study
    survey = supported_toggles(inputs)
    theirs = model.effects.iloc[matching_rows(survey, model.effects, toggle_key(study), f"label {model.label}")]
    options = survey["p_reference"].map(len).to_numpy(dtype=int)
    width = options.max(initial=2)
    ours = padded(survey["p_treated"], width) - padded(survey["p_reference"], width)
    effect = padded(theirs["p_treated"], width) - padded(theirs["p_reference"], width)
    delta_m, delta_d = theirs["shift"].to_numpy(dtype=float), survey["shift"].to_numpy(dtype=float)
    low, high = survey["conf_low"].to_numpy(dtype=float), survey["conf_high"].to_numpy(dtype=float)
    error = interval_error(low, high, study.effects.confidence)
    probabilities = class_probabilities(delta_m, delta_d, error, study.diagnosis.tau)
    columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)}
    rows = survey[[*toggle_key(study), "granularity", "estimand", "topic", "split"]].copy()
    rows.insert(0, "label", model.label)
    return rows.assign(
        delta_m=delta_m,
        delta_d=delta_d,
        conf_low=low,
        conf_high=high,
        q_value=survey["q_value"].to_numpy(dtype=float),
        distance=effect_distance(effect, ours, options),
        **{"class": classify(delta_m, delta_d, study.diagnosis.tau)},
        **columns,
        certain_class=certain_class(probabilities),
    )


def _score_rows(rows: pd.DataFrame) -> pd.DataFrame:
    shares = indicators(rows["class"].to_numpy(dtype=str))
    kept = rows.drop(columns=[name for name in rows.columns if name.startswith("p_") or name == "class"])
    return kept.assign(**{name: shares[:, i] for i, name in enumerate(CLASSES)})


def _reference_toggles(inputs: Inputs) -> list[pd.DataFrame]:
    tau = inputs.study.diagnosis.tau
    survey = supported_toggles(inputs)
    options = survey["p_reference"].map(len).to_numpy(dtype=int)
    width = options.max(initial=2)
    low, high = padded(survey["p_reference"], width), padded(survey["p_treated"], width)
    sizes = survey[["n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float)
    perfect = perfect_toggles(low, high, sizes[:, 0], sizes[:, 1], options, tau)
    keys = survey[[*toggle_key(inputs.study), "granularity", "topic", "split"]]
    shift = survey["shift"].to_numpy(dtype=float)
    still = indicators(classify(np.zeros_like(shift), shift, tau))
    distance = effect_distance(np.zeros_like(low), high - low, options)
    return [
        _reference_rows(keys, PERFECT, perfect.distance, perfect.classes),
        _reference_rows(keys, NO_EFFECT, distance, still),
    ]


def _reference_rows(keys: pd.DataFrame, label: str, distance: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    return keys.assign(label=label, distance=distance, **{name: shares[:, i] for i, name in enumerate(CLASSES)})


def in_split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split; ``all`` is every row."""
    return rows if split == "all" else rows[rows["split"] == split]


def splits_shown(inputs: Inputs) -> Sequence[str]:
    """Return the splits that exist in a run: only ``all`` if nothing is held out."""
    return "all", *inputs.splits
