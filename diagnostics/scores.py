"""Averages of the score tables, as ``scores.json`` holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from causal.fitsettings import HeldOut
from diagnostics.alignment import Change, change
from diagnostics.classify import CLASSES
from diagnostics.comparison import compare
from diagnostics.diagnosis import NO_EFFECT, PERFECT, UNIFORM, Diagnosis, in_split, splits_shown
from diagnostics.inputs import Inputs
from diagnostics.origins import is_effect_of_training


def scores(inputs: Inputs, found: Diagnosis) -> dict[str, Any]:
    """Return averages by split, granularity, topic and country of the labels shown, and the comparison of all labels.

    Only distances, scores and shares are averaged; signed shifts never are, because questions point in
    different directions.
    """
    labels = {model.label: _label_scores(inputs, found, model.label) for model in inputs.models}
    return {
        "study": inputs.study.name,
        "tau": inputs.study.diagnosis.tau,
        **_held_out(inputs),
        "left_out": dict(inputs.left_out),
        "labels": labels,
        "changes": _changes(inputs, found),
        "comparison": compare(inputs, found),
    }


def _held_out(inputs: Inputs) -> dict[str, Any]:
    """Return what no shown label was trained on."""
    first, *others = inputs.held_out if inputs.models else [HeldOut()]

    def shared(name: str, values: Iterable[Any]) -> list[Any]:
        return [value for value in values if all(value in getattr(other, name) for other in others)]

    chosen, *rest = inputs.validation if inputs.models else [()]
    return {
        "validation": [name for name in chosen if all(name in other for other in rest)],
        "held_out": shared("questions", first.questions),
        "held_out_countries": shared("country_codes", first.country_codes),
        "held_out_personas": shared("personas", first.personas),
    }


def _label_scores(inputs: Inputs, found: Diagnosis, label: str) -> dict[str, Any]:
    model = next(model for model in inputs.models if model.label == label)
    splits = {}
    for split in splits_shown(inputs):
        chosen = in_split(found.cells, split), in_split(found.toggles, split)
        splits[split] = averages(*chosen, label) | {"by_granularity": _by("granularity", *chosen, label)}
    return {
        "model": model.model,
        "prompt": dict(model.prompt),
        "trained": model.trained,
        "splits": splits,
        "by_topic": _by("topic", found.cells, found.toggles, label),
        "by_country": _by("country", found.cells, found.toggles, label),
    }


def _by(name: str, cells: pd.DataFrame, toggles: pd.DataFrame, label: str) -> dict[str, Any]:
    groups = sorted(cells[name].unique())
    return {
        str(group): averages(cells[cells[name] == group], toggles[toggles[name] == group], label) for group in groups
    }


def averages(cells: pd.DataFrame, toggles: pd.DataFrame, label: str) -> dict[str, Any]:
    """Return a label's mean scores over some cells and toggles, beside the ceilings and the trivial rivals.

    Parameters
    ----------
    cells, toggles : DataFrame
        Rows of `Diagnosis.cells` and `Diagnosis.toggles`, of every answerer.
    label : str
        Whose averages.

    Returns
    -------
    dict
        S on 0 to 100, effect distances on 0 to 1, class shares; None where there is nothing to average.
    """
    own = toggles[toggles["label"] == label]
    return {
        "cells": int((cells["label"] == label).sum()),
        "S": _mean(cells, label, "score"),
        "S_ceiling": _mean(cells, PERFECT, "score"),
        "S_uniform": _mean(cells, UNIFORM, "score"),
        "toggles": len(own),
        "effect_distance": _mean(toggles, label, "distance"),
        "effect_distance_ceiling": _mean(toggles, PERFECT, "distance"),
        "effect_distance_no_effect": _mean(toggles, NO_EFFECT, "distance"),
        "classes": {name: _mean(toggles, label, name) for name in CLASSES},
        "classes_ceiling": {name: _mean(toggles, PERFECT, name) for name in CLASSES},
        "classes_certain": {str(name): int(count) for name, count in own["certain_class"].value_counts().items()},
    }


def _mean(rows: pd.DataFrame, label: str, column: str) -> float | None:
    values = rows.loc[rows["label"] == label, column].to_numpy(dtype=float)
    return float(values.mean()) if len(values) else None


def _changes(inputs: Inputs, found: Diagnosis) -> dict[str, Any]:
    if not inputs.models:
        return {}
    before, *after = inputs.models
    changes: dict[str, Any] = {}
    for model in after:
        told = {"against": before.label, "effect_of_training": is_effect_of_training(before, model)}
        pairs = {split: distance_change(found, before.label, model.label, split) for split in splits_shown(inputs)}
        changes[model.label] = {split: _plain(item) | told for split, item in pairs.items() if item is not None}
    return changes


def distance_change(found: Diagnosis, before: str, after: str, split: str) -> Change | None:
    """Return how the effect distance changed between two labels, None if the split has no toggles."""
    rows = in_split(found.models, split)
    old, new = rows[rows["label"] == before], rows[rows["label"] == after]
    if old.empty:
        return None
    return change(old["distance"].to_numpy(), new["distance"].to_numpy(), old["question"].to_numpy())


def _plain(item: Change) -> dict[str, Any]:
    return {name: None if np.isnan(value) else value for name, value in asdict(item).items()}
