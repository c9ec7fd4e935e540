"""What the template shows: tables as text, figures with captions, and the facts of the method section."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from causal.heldout import HELD_OUT
from causal.study import Study
from diagnostics.alignment import matching_rows
from diagnostics.classify import CLASSES, UNDETERMINED
from diagnostics.diagnosis import NO_EFFECT, PERFECT, UNIFORM, Diagnosis, Q, in_split, splits_shown, supported_toggles
from diagnostics.estimators import beside
from diagnostics.inputs import Inputs, toggle_key
from diagnostics.marks import DAGGER, LEGEND, NOT_IDENTIFIED, mark
from diagnostics.verdict import distance, percent, score, signed

LARGEST = 15
FOREST_WIDTH = 44  # characters of a label line in the forest plot
SPLIT_NAMES = {
    "all": "all questions",
    "trained": "trained on",
    "validation": "chose the epoch",
    "held_out": "held out",
    "held_out_countries": "held-out countries",
    "held_out_personas": "held-out personas",
}
ESTIMANDS = {"total": "total", "controlled_direct": "controlled direct", "not_identified": "association only"}


@dataclass(frozen=True)
class Table:
    """A table of text: the first ``text_columns`` columns are left-aligned, the others are numbers.

    ``quiet`` holds the positions of rows that are for reference only.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    quiet: frozenset[int] = frozenset()


def class_table(inputs: Inputs, found: Diagnosis) -> Table:
    """Class shares by split and label, with the perfect model and no effect for reference."""
    rows: list[tuple[str, ...]] = []
    quiet: set[int] = set()
    for split in splits_shown(inputs):
        part = in_split(found.toggles, split)
        for label in [*(model.label for model in inputs.models), PERFECT, NO_EFFECT]:
            own = part[part["label"] == label]
            if label in (PERFECT, NO_EFFECT):
                quiet.add(len(rows))
                certain = ""
            else:
                certain = percent(float((own["certain_class"] != UNDETERMINED).mean()))
            shares = [percent(own[name].mean()) for name in CLASSES]
            rows.append((SPLIT_NAMES[split], label, str(len(own)), *shares, certain))
    caption = (
        "Share of toggles in each class. “80% sure”: share of toggles whose class is at least 80% certain given the "
        "survey's sampling error. The perfect model's row shows what noise alone does."
    )
    return Table(
        caption, ("questions", "who answers", "toggles", *CLASSES, "80% sure"), tuple(rows), 2, frozenset(quiet)
    )


def class_shares(inputs: Inputs, found: Diagnosis) -> pd.DataFrame:
    """Class shares for the figure: one row per split and answerer, the overall split only if there is no other."""
    splits = list(splits_shown(inputs))[1:] or ["all"]
    rows = {}
    for split in splits:
        part = in_split(found.toggles, split)
        for label in [*(model.label for model in inputs.models), PERFECT]:
            own = part[part["label"] == label]
            if len(own):
                rows[label if split == "all" else f"{label}, {SPLIT_NAMES[split]}"] = own[list(CLASSES)].mean()
    return pd.DataFrame(rows).T


def score_table(
    inputs: Inputs,
    rows: pd.DataFrame,
    groups: Mapping[str, pd.Series],
    measure: str,
    caption: str,
    transpose: bool = False,
) -> Table:
    """A label's mean score or distance in each group of cells or toggles.

    Parameters
    ----------
    inputs : Inputs
        Names the labels.
    rows : DataFrame
        `Diagnosis.cells` or `Diagnosis.toggles`.
    groups : mapping of str to Series of bool
        Which rows belong to which column.
    measure : {"score", "distance"}
        The column that is averaged.
    caption : str
        What the table says.
    transpose : bool
        Groups as rows, for many groups.
    """
    form = score if measure == "score" else distance
    answerers = [*(model.label for model in inputs.models), PERFECT, UNIFORM if measure == "score" else NO_EFFECT]
    chosen = [(answerer, rows["label"] == answerer) for answerer in answerers]
    body = [[form(rows.loc[own & group, measure].mean()) for group in groups.values()] for _, own in chosen]
    if transpose:
        lines = tuple((name, *column) for name, column in zip(groups, zip(*body, strict=True), strict=True))
        return Table(caption, ("", *answerers), lines)
    lines = tuple((name, *line) for name, line in zip(answerers, body, strict=True))
    return Table(caption, ("who answers", *groups), lines, 1, frozenset({len(lines) - 2, len(lines) - 1}))


def granularity_groups(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Rows by number of specified attributes, and all of them."""
    names = {0: "country alone", 1: "1 attribute"}
    groups = {names.get(g, f"{g} attributes"): rows["granularity"] == g for g in sorted(rows["granularity"].unique())}
    return groups | {"all": pd.Series(True, index=rows.index)} if len(groups) > 1 else groups


def split_groups(inputs: Inputs, rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Rows by split, and all of them."""
    names = list(splits_shown(inputs))
    return {SPLIT_NAMES[split]: (rows["split"] == split) | (split == "all") for split in [*names[1:], names[0]]}


def value_groups(rows: pd.DataFrame, column: str) -> dict[str, pd.Series]:
    """Rows by the value of a column, in alphabetical order."""
    return {str(value): rows[column] == value for value in sorted(rows[column].unique())}


def attribute_table(inputs: Inputs) -> Table:
    """The survey's effects by attribute, beside the size that noise alone would give them."""
    rows = []
    for name, part in inputs.effects.groupby("attribute", sort=False):
        known = part[part["supported"]]
        noise = np.sqrt(2 / np.pi) * known["std_error"].mean()
        counts = part["estimand"].value_counts()
        estimands = ", ".join(f"{text} {counts[key]}" for key, text in ESTIMANDS.items() if key in counts)
        clear = f"{(known['q_value'] < Q).sum()} ({percent((known['q_value'] < Q).mean())})"
        rows.append(
            (
                str(name),
                estimands,
                str(len(part)),
                str(len(known)),
                _real(known["shift"].abs().mean()),
                _real(noise),
                clear,
            )
        )
    head = (
        "attribute",
        "what the toggles measure",
        "toggles",
        "supported",
        "mean size of shift",
        "from noise alone",
        "q < .05",
    )
    caption = (
        "The survey's effects by attribute. Sizes are averaged without their sign, because questions point in "
        "different directions. “From noise alone” is the mean size that sampling error alone would produce."
    )
    return Table(caption, head, tuple(rows), 2)


def estimator_table(inputs: Inputs) -> Table | None:
    """The other estimators' effects beside the cells' own, by attribute; None where there is no other."""
    rows = [
        (
            one.attribute,
            one.estimator,
            str(len(one.rows)),
            _size(one.cells["shift"]),
            _size(one.rows["shift"]),
            _size(one.rows["shift"].to_numpy() - one.cells["shift"].to_numpy()),
            str((one.rows["q_value"] < Q).sum()) if one.rows["q_value"].notna().any() else "–",
            f"{one.turned} of {one.clear.sum()}",
        )
        for one in beside(inputs)
    ]
    head = (
        "attribute",
        "estimator",
        "toggles",
        "mean size, cell",
        "mean size, estimator",
        "mean difference",
        "q < .05",
        "other sign, of those with q < .05 in either",
    )
    caption = (
        "Other estimators beside the cells' own contrasts, on toggles that both support. “pooled” borrows strength "
        "across contexts and has no q-values; the others adjust for covariates and the other attributes."
    )
    return Table(caption, head, tuple(rows), 2) if rows else None


def _size(values: pd.Series | np.ndarray) -> str:
    return f"{np.abs(values).mean():.3f}" if len(values) else "–"


def _real(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def largest_effects(inputs: Inputs) -> pd.DataFrame:
    """The largest clear survey effects (supported, q < .05): the strongest toggle of each question and contrast."""
    rows = supported_toggles(inputs)
    rows = rows[rows["q_value"] < Q]
    rows = rows.iloc[np.argsort(-rows["shift"].abs().to_numpy(), kind="stable")]
    rows = rows.drop_duplicates(["country", "question", "attribute", "treated"]).head(LARGEST).reset_index(drop=True)
    return rows.assign(
        held=[held_fixed(row, inputs.study) for _, row in rows.iterrows()],
        name=[_forest_name(row, inputs) for _, row in rows.iterrows()],
    )


def held_fixed(row: pd.Series, study: Study) -> str:
    """Say which levels a toggle holds fixed, each with its attribute: levels such as "yes" say nothing alone."""
    held = (f"{name} {row[name]}" for name in study.attributes if isinstance(row[name], str))
    return ", ".join(held) or "nothing"


def _forest_name(row: pd.Series, inputs: Inputs) -> str:
    country = f"{inputs.study.country_name(row['country'])}: " if len(inputs.effects["country"].unique()) > 1 else ""
    held = held_fixed(row, inputs.study)
    out = " [held out]" if row["split"] in HELD_OUT else ""
    dagger = f" {DAGGER}" if row["estimand"] == NOT_IDENTIFIED else ""
    lines = [f"{country}{row['question']}{out}{dagger}", f"{row['attribute']}: {row['reference']} → {row['treated']}"]
    lines += [] if held == "nothing" else textwrap.wrap(f"| {held}", FOREST_WIDTH)
    return "\n".join(lines)


def model_shifts(inputs: Inputs, rows: pd.DataFrame) -> dict[str, list[float]]:
    """Each label's shifts of some survey toggles, in their order."""
    key = toggle_key(inputs.study)
    return {
        model.label: model.effects["shift"]
        .iloc[matching_rows(rows, model.effects, key, f"label {model.label}")]
        .tolist()
        for model in inputs.models
    }


def effects_table(inputs: Inputs, rows: pd.DataFrame) -> Table:
    """The largest survey effects with uncertainty, and the labels' shifts beside them."""
    shifts = model_shifts(inputs, rows)
    lines = []
    several = len(inputs.effects["country"].unique()) > 1
    for i, (_, row) in enumerate(rows.iterrows()):
        question = inputs.study.questions[row["question"]]
        towards = list(question.options.values())[-1 if row["shift"] > 0 else 0]
        text = f"{inputs.study.country_name(row['country'])}: {question.text}" if several else question.text
        lines.append(
            (
                f"{text} ({row['question']})",
                f"{row['attribute']}: {row['reference']} → {row['treated']}"
                + ("" if row["held"] == "nothing" else f" | {row['held']}")
                + (f" {DAGGER}" if row["estimand"] == NOT_IDENTIFIED else ""),
                towards,
                f"{row['n_reference']} / {row['n_treated']}",
                signed(row["shift"]),
                f"{signed(row['conf_low'])} to {signed(row['conf_high'])}",
                "<.001" if row["q_value"] < 0.001 else f"{row['q_value']:.3f}".lstrip("0"),
                *(signed(values[i]) for values in shifts.values()),
            )
        )
    head = (
        "question",
        "change | held fixed",
        "moves towards",
        "people",
        "shift",
        f"{inputs.study.effects.confidence:.0%} interval",
        "q",
    )
    caption = (
        "The largest survey effects: for each question and attribute the strongest toggle with q < .05. They were "
        "picked for being large, so their true sizes are probably smaller. All are in survey_effects.parquet."
    )
    caption += f" {LEGEND}" if mark(rows) else ""
    return Table(caption, (*head, *shifts), tuple(lines), 3)


def method(inputs: Inputs) -> dict[str, Any]:
    """Return the facts of the method section."""
    study = inputs.study
    counts = inputs.effects["estimand"].value_counts()
    attribute, (reference, treated, *_) = next(
        (name, list(item.levels.values())) for name, item in study.attributes.items()
    )
    return {
        "example": f"{attribute}: “{reference.persona}” becomes “{treated.persona}”",
        "edges": [f"{tail} → {head}" for tail, head in study.graph.edges],
        "default_edges": study.graph.default_edges,
        "latent": list(study.graph.latent),
        "estimands": {name: int(counts.get(name, 0)) for name in ESTIMANDS},
        "toggles": len(inputs.effects),
        "supported": int(inputs.effects["supported"].sum()),
        "countries": [study.country_name(name) for name in sorted(inputs.effects["country"].unique())],
        "granularities": list(study.granularities),
        "references": {name: list(attribute.levels) for name, attribute in study.attributes.items()},
        "adjacent": [name for name, attribute in study.attributes.items() if attribute.contrasts == "adjacent"],
    }
