"""The report's figures: each takes tables and an axes, and returns the axes. No pyplot, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from diagnostics.classify import CLASSES
from diagnostics.marks import DAGGER, NOT_IDENTIFIED

# Okabe-Ito, which colour-blind readers can tell apart
CLASS_COLORS = {"aligned": "#009E73", "erased": "#56B4E9", "stereotyped": "#E69F00", "flipped": "#D55E00"}
LABEL_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LABEL_MARKERS = ("s", "^", "D", "v", "P", "X")
SPLIT_STYLES = {
    "all": ("#0072B2", "o", "all questions"),
    "trained": ("#0072B2", "o", "trained on"),
    "some": ("#56B4E9", "P", "trained on by some labels only"),
    "validation": ("#E69F00", "v", "chose the epoch"),
    "held_out": ("#D55E00", "^", "questions held out"),
    "held_out_countries": ("#009E73", "D", "countries held out"),
    "held_out_personas": ("#CC79A7", "s", "personas held out"),
}
_GRAY = "#6b6b6b"
_MANY = 3000  # points from which a scatter is drawn as an image, to keep the page small


def shift_scatter(ax: Axes, rows: pd.DataFrame, tau: float, limit: float, title: str) -> Axes:
    """Draw the survey's shift (x, with its interval) against one label's shift (y).

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : DataFrame
        Rows of ``diagnosis.parquet`` of one label.
    tau : float
        Half-width of the band around the 45-degree line in which a toggle counts as aligned.
    limit : float
        Both axes run from -limit to limit.
    title : str
        The label.

    Raises
    ------
    ValueError
        A part of the survey that has no style: no toggle is left out unseen.
    """
    ends = np.array([-limit, limit])
    ax.fill_between(ends, ends - tau, ends + tau, color="#e9f3ee", linewidth=0, zorder=0)
    ax.plot(ends, ends, color="#222222", linewidth=1, zorder=1)
    ax.axhline(0, color=_GRAY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    ax.axvline(0, color="#d0d0d0", linewidth=0.8, zorder=1)
    split = rows["split"].fillna("all" if rows["split"].isna().all() else "some")
    for name in sorted(split.unique(), key=list(SPLIT_STYLES).index):
        part, (color, marker, text) = rows[split == name], SPLIT_STYLES[name]
        x, y = part["delta_d"].to_numpy(), part["delta_m"].to_numpy()
        image = len(rows) > _MANY
        ax.hlines(
            y, part["conf_low"], part["conf_high"], color=color, alpha=0.16, linewidth=0.8, zorder=2, rasterized=image
        )
        ax.scatter(
            x, y, s=15, color=color, marker=marker, alpha=0.75, linewidths=0, label=text, zorder=3, rasterized=image
        )
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel="shift in the survey", ylabel="shift in the model")
    ax.set_title(title, loc="left", fontweight="bold")
    return ax


def class_bars(ax: Axes, shares: pd.DataFrame) -> Axes:
    """Draw stacked horizontal bars of class shares, the first row on top.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    shares : DataFrame
        One row per bar (the index names it), one column per class; rows sum to 1.
    """
    y = np.arange(len(shares))[::-1]
    left = np.zeros(len(shares))
    for name in CLASSES:
        width = shares[name].to_numpy(dtype=float)
        ax.barh(y, width, left=left, height=0.66, color=CLASS_COLORS[name], edgecolor="white", linewidth=1, label=name)
        for place, start, share in zip(y, left, width, strict=True):
            if share >= 0.055:
                ax.text(start + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=9)
        left = left + width
    ax.set_yticks(y, [str(name) for name in shares.index])
    ax.set(xlim=(0, 1), ylim=(-0.6, len(shares) - 0.4))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_xlabel("share of toggles")
    ax.tick_params(axis="y", length=0)
    ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, handlelength=1, borderaxespad=0.2)
    return ax


def forest(ax: Axes, rows: pd.DataFrame, models: Mapping[str, Sequence[float]]) -> Axes:
    """Draw survey shifts with their intervals, the first row on top, and each label's shift beside them.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : DataFrame
        ``name`` (a few short lines of text), ``shift``, ``conf_low``, ``conf_high``, ``estimand`` (hollow where it is
        ``not_identified``).
    models : mapping of str to sequence of float
        Each label's shifts in the order of ``rows``; empty for a survey on its own.
    """
    y = np.arange(len(rows))[::-1].astype(float)
    shift = rows["shift"].to_numpy(dtype=float)
    ax.axvline(0, color=_GRAY, linewidth=0.8, zorder=0)
    ax.hlines(y, rows["conf_low"], rows["conf_high"], color="#222222", linewidth=1.6, zorder=1)
    hollow = (rows["estimand"] == NOT_IDENTIFIED).to_numpy(dtype=bool)
    for part, face, label in ((~hollow, "#222222", ""), (hollow, "white", f"{DAGGER} association only")):
        if part.any():
            words = label or "survey, with its interval"
            ax.scatter(shift[part], y[part], s=34, c=face, edgecolors="#222222", linewidths=1.2, zorder=2, label=words)
    steps = np.linspace(0.16, -0.16, len(models)) if len(models) > 1 else np.zeros(1)
    for i, (label, values) in enumerate(models.items()):
        color, marker = LABEL_COLORS[i % len(LABEL_COLORS)], LABEL_MARKERS[i % len(LABEL_MARKERS)]
        ax.scatter(
            values,
            y + steps[i],
            s=34,
            color=color,
            marker=marker,
            edgecolors="white",
            linewidths=0.6,
            zorder=3,
            label=label,
        )
    ax.set_yticks(y, list(rows["name"]))
    ax.set(
        ylim=(-0.7, len(rows) - 0.3),
        xlabel="shift, −1 to 1\n(below 0 towards the first option, above 0 towards the last)",
    )
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, handletextpad=0.3, borderaxespad=0.2)
    return ax


def pale_frame(ax: Axes) -> Axes:
    """Keep only the axis lines that carry ticks."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#b0b0b0")
    return ax
