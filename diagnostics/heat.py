"""Where an attribute matters: the size of its effects by topic and country, as the panels of a heat map."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from diagnostics.averages import coarsest, sizes
from diagnostics.inputs import Inputs
from diagnostics.marks import mark
from diagnostics.page import Table
from diagnostics.verdict import percent

ALL = "all"
MOST_TOPICS = 30
"""Topics that are drawn; of more, those with the most toggles."""


@dataclass(frozen=True)
class Panel:
    """One panel of the heat map.

    Attributes
    ----------
    title : str
        The attribute, or nothing where attributes are the columns.
    size : DataFrame
        Topics by countries (or attributes): size of the shifts beyond noise; NaN where no toggle has support.
    found : DataFrame
        The number of toggles with q < .05, likewise.
    """

    title: str
    size: pd.DataFrame
    found: pd.DataFrame


def panels(inputs: Inputs) -> list[Panel]:
    """Return one panel of topics by attributes for one country, else one per attribute of topics by countries.

    None where no toggle has support, and none for one topic in one country.
    """
    rows = _toggles(inputs)
    marks = {name: f"{name}{mark(own)}" for name, own in rows.groupby("attribute", sort=False)}
    rows = rows.assign(attribute=rows["attribute"].map(marks))
    if rows.empty or (len(rows["topic"].unique()) * len(inputs.effects["country"].unique()) == 1):
        return []
    topics = list(rows["topic"].value_counts(sort=True).index[:MOST_TOPICS])
    topics = [topic for topic in dict.fromkeys(rows["topic"]) if topic in topics]
    countries = sorted(inputs.effects["country"].unique(), key=inputs.study.country_name)
    if len(countries) == 1:
        return [_panel("", sizes(rows, ["topic", "attribute"]), topics, list(dict.fromkeys(rows["attribute"])))]
    named = {country: inputs.study.country_name(country) for country in countries}
    rows = rows.assign(country=rows["country"].map(named))
    found = []
    for attribute, own in rows.groupby("attribute", sort=False):
        every = sizes(own.assign(country=ALL), ["topic", "country"])
        both = pd.concat([sizes(own, ["topic", "country"]), every])
        found.append(_panel(str(attribute), both, topics, [*named.values(), ALL]))
    return found


def _toggles(inputs: Inputs) -> pd.DataFrame:
    return pd.concat([coarsest(inputs, name) for name in inputs.study.attributes], ignore_index=True)


def _panel(title: str, found: pd.DataFrame, topics: list[str], columns: list[str]) -> Panel:
    across, long = found.index.names[1], found.reset_index()
    size, count = (
        long.pivot_table(index="topic", columns=across, values=name).reindex(index=topics, columns=columns)
        for name in ("beyond", "found")
    )
    return Panel(title, size, count)


def topic_table(inputs: Inputs) -> Table | None:
    """Return the size of effects by attribute and topic over all countries; None if no toggle has support."""
    rows = _toggles(inputs)
    if rows.empty or len(rows["topic"].unique()) == 1:
        return None
    found = sizes(rows, ["attribute", "topic"]).reset_index().to_dict(orient="records")
    lines = tuple(
        (
            row["attribute"],
            row["topic"],
            str(row["toggles"]),
            *(f"{row[name]:.3f}" for name in ("mean", "noise", "beyond")),
            f"{row['found']} ({percent(row['found'] / row['toggles'])})",
        )
        for row in found
    )
    head = ("attribute", "topic", "toggles", "mean size of shift", "from noise alone", "beyond noise", "q < .05")
    caption = (
        "Effects by attribute and topic, over all countries, on the toggles of the heat map. “From noise alone” is the "
        "mean size that sampling error alone would give; “beyond noise” is the size with the sampling variance "
        "taken out."
    )
    return Table(caption, head, lines, 2)
