"""The survey's own figures: effects by question, their size by topic, the graph, balance. Axes in, axes out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from causal.graph import ANSWER
from diagnostics.dag import Picture
from diagnostics.figures import LABEL_COLORS, LABEL_MARKERS

INK, GRAY, PALE, OPEN = "#222222", "#6b6b6b", "#b9c0c6", "#D55E00"
EDGE = (1.3, 0.9)
"""Room around the graph's nodes, in its units."""
BALANCED = 0.1
"""Standardised difference up to which levels count as alike."""


def question_rows(ax: Axes, rows: pd.DataFrame, names: Mapping[str, str], attribute: str) -> Axes:
    """Draw one line per question, the largest shift on top: each contrast's mean, its interval, the countries behind.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : DataFrame
        From `diagnostics.averages.question_effects`.
    names : mapping of str to str
        What each question is called.
    attribute : str
        Named in the title, with its levels if it has two.
    """
    top = rows.groupby("question", sort=False)["shift"].mean().sort_values(ascending=False, kind="stable")
    place = {name: len(top) - 1.0 - i for i, name in enumerate(top.index)}
    contrasts = list(rows[["reference", "treated"]].drop_duplicates().itertuples(index=False, name=None))
    steps = np.linspace(0.24, -0.24, len(contrasts)) if len(contrasts) > 1 else np.zeros(1)
    ax.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
    for i, (reference, treated) in enumerate(contrasts):
        own = rows[(rows["reference"] == reference) & (rows["treated"] == treated)]
        y = own["question"].map(place).to_numpy(dtype=float) + steps[i]
        color = LABEL_COLORS[i % len(LABEL_COLORS)] if len(contrasts) > 1 else INK
        marker = LABEL_MARKERS[i % len(LABEL_MARKERS)] if len(contrasts) > 1 else "o"
        if any(len(values) > 1 for values in own["by_country"]):
            each = np.concatenate([np.full(len(values), h) for values, h in zip(own["by_country"], y, strict=True)])
            ax.scatter(np.concatenate(list(own["by_country"])), each, s=9, color=PALE, linewidths=0, zorder=1)
        ax.hlines(y, own["conf_low"], own["conf_high"], color=color, linewidth=1.5, zorder=2)
        face = np.where(own["found"], color, "white")
        label = f"{reference} → {treated}"
        ax.scatter(
            own["shift"], y, s=30, c=face, edgecolors=color, linewidths=1.2, marker=marker, zorder=3, label=label
        )
    ax.set_yticks(list(place.values()), [names[name] for name in place], fontsize=8.5)
    ax.set(
        ylim=(-0.7, len(top) - 0.3),
        xlabel="shift, −1 to 1\n(below 0 towards the first option, above 0 towards the last)",
    )
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    if len(contrasts) == 1:
        ax.set_title(f"{attribute}: {label}", loc="left", fontweight="bold")
        return ax
    ax.legend(
        title=attribute,
        title_fontproperties={"weight": "bold", "size": 10.5},
        alignment="left",
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        frameon=False,
        handletextpad=0.3,
    )
    return ax


def heat_panel(ax: Axes, size: pd.DataFrame, found: pd.DataFrame, limit: float, title: str, columns: bool) -> Axes:
    """Draw sizes as shades with their numbers, bold where some toggle has q < .05; what has no support stays blank.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    size, found : DataFrame
        As in `diagnostics.heat.Panel`.
    limit : float
        The size of the darkest shade.
    title : str
        Above the panel.
    columns : bool
        Whether to name the columns.
    """
    values = size.to_numpy(dtype=float)
    ax.imshow(values, cmap="Blues", vmin=0, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            ax.text(
                j,
                i,
                f"{value:.2f}".removeprefix("0"),
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold" if found.to_numpy()[i, j] > 0 else "normal",
                color="white" if value > 0.6 * limit else INK,
            )
    ax.set_yticks(range(len(size)), list(size.index))
    long = sum(len(str(name)) for name in size.columns) > 80
    ax.set_xticks(range(len(size.columns)), list(size.columns) if columns else [""] * len(size.columns))
    if long:
        for text in ax.get_xticklabels():
            text.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks(np.arange(len(size.columns) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(size) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    ax.set_title(title, loc="left", fontweight="bold")
    return ax


def graph(ax: Axes, shown: Picture) -> Axes:
    """Draw the DAG: latent nodes dashed, arrows on open paths coloured, mediators and colliders named."""
    boxes = {}
    for node, (x, y) in shown.places.items():
        hidden = node in shown.latent
        frame = {
            "boxstyle": "round,pad=0.4",
            "facecolor": "#e3eef5" if node == ANSWER else "white",
            "edgecolor": GRAY if hidden else INK,
            "linestyle": (0, (4, 2)) if hidden else "solid",
        }
        boxes[node] = ax.text(x, y, shown.labels[node], ha="center", va="center", fontsize=8.5, zorder=1, bbox=frame)
    left, right, bottom, top = shown.extent
    ax.set(xlim=(left - EDGE[0], right + EDGE[0]), ylim=(bottom - EDGE[1], top + EDGE[1]), aspect="equal")
    ax.set_axis_off()
    for (tail, head), rad in shown.bends.items():
        opened = (tail, head) in shown.open
        arrow = FancyArrowPatch(
            shown.places[tail],
            shown.places[head],
            arrowstyle="-|>",
            mutation_scale=11,
            connectionstyle=f"arc3,rad={rad}",
            patchA=boxes[tail].get_bbox_patch(),
            patchB=boxes[head].get_bbox_patch(),
            shrinkA=0,
            shrinkB=1,
            color=OPEN if opened else GRAY,
            linewidth=1.7 if opened else 1.0,
            zorder=3 if opened else 2,  # after the boxes, whose places are known once they are drawn
            gid=f"{tail} -> {head}",
        )
        ax.add_patch(arrow)
    return ax


def love_plot(ax: Axes, rows: pd.DataFrame) -> Axes:
    """Draw standardised differences before (hollow) and after weighting (filled), the first row on top.

    They are the worst country's, which is named; a tick marks the median country's after weighting.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : DataFrame
        From `diagnostics.balance.love_rows`.
    """
    y = np.arange(len(rows))[::-1].astype(float)
    before, after = rows["before"].to_numpy(dtype=float), rows["after"].to_numpy(dtype=float)
    ax.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
    ax.axvline(BALANCED, color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.hlines(y, after, before, color=PALE, linewidth=1.2, zorder=1)
    ax.scatter(before, y, s=30, c="white", edgecolors=INK, linewidths=1.2, zorder=2, label="as they are")
    ax.scatter(after, y, s=30, color=LABEL_COLORS[0], zorder=3, label="weighted by inverse propensities")
    median = rows["median"].to_numpy(dtype=float)
    several = ~np.isnan(median)
    if several.any():
        ax.scatter(median[several], y[several], s=60, marker="|", color=INK, zorder=4, label="median country, weighted")
    named = len(set(rows["country"])) > 1 or several.any()
    where = rows["variable"] + (", " + rows["country"] if named else "")
    ax.set_yticks(y, (where + "\n" + rows["contrast"]).tolist())
    ax.set(ylim=(-0.7, len(rows) - 0.3), xlim=(-0.01, None), xlabel="difference in standard deviations (without sign)")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, handletextpad=0.3)
    return ax
