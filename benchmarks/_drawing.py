"""Draw all methods of a comparison: nearness to the survey's levels against nearness to its effects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLUMNS = {"held_out": "questions never seen", "held_out_personas": "combinations never seen"}
STYLES = {
    "base": ("black", "o", "base model"),
    "anthropological": ("#767676", "s", "anthropological prompting"),
    "temperature": ("#b0b0b0", "D", "temperature"),
    "anchor": ("#56b4e9", "o", "anchor only (CultureLLM)"),
    "effect": ("#cc79a7", "o", "effect only"),
    "ace": ("#d55e00", "^", "ACE-Align"),
    "level_kl": ("#009e73", "v", "distribution matching (SubPOP)"),
    "best": ("#0072b2", "P", "best"),
    "marginal": ("black", "x", "country's marginal, the same for everybody"),
    "perfect model": ("#e6ab02", "*", "perfect model"),
}
"""Colour, marker and name of each method drawn; uniform answers would be beside the temperature."""


def draw(survey: str, seeds: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG with one panel for each part that all surveys have; one mark for each seed.

    Parameters
    ----------
    survey : str
        Its name.
    seeds : sequence of dict
        Figures by part, method and name.
    path : Path
        Where to.
    """
    figure, panels = plt.subplots(1, len(COLUMNS), figsize=(9, 4.8), layout="constrained")
    for axes, (part, words) in zip(panels, COLUMNS.items(), strict=True):
        panel(axes, [one[part] for one in seeds])
        axes.set_title(f"{survey}, {words}", fontsize=10)
        axes.set_xlabel("alignment score S (100 is best)")
    panels[0].set_ylabel("effect distance (0 is best)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(axes: Axes, seeds: Sequence[dict[str, Any]]) -> None:
    """Draw one survey's part."""
    for method, (colour, marker, name) in STYLES.items():
        across, up = ([one[method][name] for one in seeds] for name in ("S", "effect_distance"))
        size = 130 if marker == "*" else 55
        axes.scatter(across, up, s=size, c=colour, marker=marker, label=name, alpha=0.85, zorder=3)
    axes.axhline(seeds[0]["marginal"]["effect_distance"], color="black", linewidth=0.8, linestyle=":", zorder=1)
    axes.grid(color="#eeeeee", zorder=0)
