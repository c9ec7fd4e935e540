"""All methods side by side, part by part of the survey: the table without which no method is praised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from causal.heldout import TRAINED, VALIDATION
from diagnostics.alignment import shift_correlation
from diagnostics.ceiling import MEASURES, true_share
from diagnostics.classify import CLASSES, UNDETERMINED
from diagnostics.diagnosis import (
    BEST_FIRST,
    MARGINAL,
    NO_EFFECT,
    PERFECT,
    UNIFORM,
    Diagnosis,
    cell_groups,
    in_split,
    splits_shown,
)
from diagnostics.equity import PERSONAS, TIERS, Groups, group_range
from diagnostics.inputs import Inputs
from diagnostics.page import SPLIT_NAMES, Table
from diagnostics.verdict import distance, percent, score

TRIVIAL = {"marginal": MARGINAL, "uniform": UNIFORM}
"""Rules that need no model, and what they are called where they are no label of the run."""
_NAMES = dict(zip(MEASURES, ("S", "modal_accuracy", "NMAE"), strict=True))
Numbers = dict[str, dict[str, dict[str, Any]]]


def compare(inputs: Inputs, found: Diagnosis) -> Numbers:
    """Return every method's measures by part of the survey, as ``scores.json`` holds them.

    Returns
    -------
    dict
        Part (in the order of `BEST_FIRST`) to method to measures. Methods are all labels, the trivial rules that are
        no labels, and `PERFECT`, the ceiling. A measure that is not defined is None.
    """
    if not inputs.everyone:
        return {}
    keys = found.cells[found.cells["label"] == PERFECT]
    groups = cell_groups(inputs, keys)
    return {
        part: {name: _measures(found, part, groups, *rows) for name, rows in methods(inputs).items()}
        for part in sorted(splits_shown(inputs), key=BEST_FIRST.index)
    }


def methods(inputs: Inputs) -> dict[str, tuple[str, str]]:
    """Return each method's name with the labels of its cells and toggles; a rule without effects shares theirs."""
    computed = {model.computed for model in inputs.everyone}
    own = {model.label: (model.label, model.label) for model in inputs.everyone}
    trivial = {label: (label, NO_EFFECT) for name, label in TRIVIAL.items() if name not in computed}
    return own | trivial | {PERFECT: (PERFECT, PERFECT)}


def _measures(
    found: Diagnosis, part: str, groups: dict[tuple[str, str], Groups], cell_label: str, toggle_label: str
) -> dict[str, Any]:
    everywhere = found.cells[found.cells["label"] == cell_label]
    cells = in_split(everywhere, part)
    toggles = in_split(found.toggles[found.toggles["label"] == toggle_label], part)
    ranges = {
        kind: found.ranges[part, kind]
        if cell_label == PERFECT
        else {name: group_range(everywhere[name].to_numpy(), groups[part, kind]) for name in MEASURES}
        for kind in (PERSONAS, TIERS)
    }
    levels = {str(g): rows["score"].mean() for g, rows in cells.groupby("granularity")}
    return {
        "cells": len(cells),
        "toggles": len(toggles),
        **{published: _number(cells[name].mean()) for name, published in _NAMES.items()},
        "S_by_granularity": {name: _number(value) for name, value in levels.items()},
        "effect_distance": _number(toggles["distance"].mean()),
        "shift_correlation": _number(_correlation(toggles, toggle_label)),
        "classes": _classes(toggles, toggle_label),
        "range_over_personas": _ranges(ranges[PERSONAS]),
        "tier_gap": _ranges(ranges[TIERS]),
    }


def _correlation(toggles: pd.DataFrame, label: str) -> float:
    if label == PERFECT:
        return true_share(toggles["delta_m"].to_numpy(), toggles["noise"].to_numpy())
    return shift_correlation(toggles["delta_m"].to_numpy(), toggles["delta_d"].to_numpy())


def _classes(toggles: pd.DataFrame, label: str) -> dict[str, float | None]:
    """Return the share of each class, and beside these the share whose class is not certain."""
    shares = {name: _number(toggles[name].mean()) for name in CLASSES}
    uncertain = np.nan if label == PERFECT else (toggles["certain_class"] == UNDETERMINED).mean()
    return {**shares, UNDETERMINED: _number(uncertain)}


def _ranges(values: Any) -> dict[str, float | None]:
    return {published: _number(values[name]) for name, published in _NAMES.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def comparison_tables(inputs: Inputs, numbers: Numbers) -> list[Table]:
    """Return the comparison as text: one table for each part, the reference rows quiet."""
    return [_table(inputs, part, rows) for part, rows in numbers.items()]


def _table(inputs: Inputs, part: str, rows: dict[str, dict[str, Any]]) -> Table:
    sizes = list(rows[PERFECT]["S_by_granularity"])
    tiers = any(row["tier_gap"]["S"] is not None for row in rows.values())
    levels = [f"S, G={size}" for size in sizes] if len(sizes) > 1 else []
    head = ("method", *levels, "S", "modal acc.", "NMAE", "range of S", *(["tier gap"] if tiers else []))
    head += ("effect dist.", "corr.", *CLASSES, UNDETERMINED)
    lines = [(name, *_line(row, sizes if levels else [], tiers)) for name, row in rows.items()]
    computed = [model.label for model in inputs.everyone if model.computed in TRIVIAL]
    quiet = frozenset(i for i, name in enumerate(rows) if name in (PERFECT, *TRIVIAL.values(), *computed))
    return Table(_caption(inputs, part, rows[PERFECT]), head, tuple(lines), 1, quiet)


def _line(row: dict[str, Any], sizes: list[str], tiers: bool) -> list[str]:
    shares = row["classes"]
    return [
        *(score(row["S_by_granularity"].get(size)) for size in sizes),
        score(row["S"]),
        percent(row["modal_accuracy"]),
        _three(row["NMAE"]),
        score(row["range_over_personas"]["S"]),
        *([score(row["tier_gap"]["S"])] if tiers else []),
        distance(row["effect_distance"]),
        _two(row["shift_correlation"]),
        *(percent(shares[name]) for name in (*CLASSES, UNDETERMINED)),
    ]


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _caption(inputs: Inputs, part: str, perfect: dict[str, Any]) -> str:
    where = SPLIT_NAMES[part][0].upper() + SPLIT_NAMES[part][1:] if part != "held_out" else "Held-out questions"
    size = f"{where}: {perfect['cells']} cells, {perfect['toggles']} toggles."
    return " ".join(sentence for sentence in (size, _fairness(inputs, part)) if sentence)


def _fairness(inputs: Inputs, part: str) -> str:
    """Say what trained methods have seen of a part, nothing where that is nothing."""
    halves = bool(inputs.study.fit.held_out.respondents)
    others = ", as the other half of the respondents answered them" if halves else ""
    if part == VALIDATION:
        return f"These questions chose the epoch{others}: not trained on, but not as clean as held out."
    if part == "all" and inputs.splits:
        seen = f"questions that trained methods have seen{others}" if halves else "what the trained methods have seen"
        return f"Partly {seen}; compare them where they have not."
    if part != TRAINED and not (part == "all" and any(model.trained for model in inputs.everyone)):
        return ""
    if halves:
        return f"Trained methods have seen these questions{others}; the others have not, so they are at a disadvantage."
    return "Trained methods have seen these answers, so this is no fair comparison with the others."
