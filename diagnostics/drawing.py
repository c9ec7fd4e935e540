"""Figures on paper: sizes and panels, and SVG that is reproducible and safe to put inside a page."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causal.files import replace_file, write_text
from diagnostics import figures

_STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "ace-align",
    "text.parse_math": False,  # a dollar sign in a question is a dollar sign
}

_OURS = re.compile(r"(scatter|classes|forest|attribute_\d+(?:_adjusted)?|topics|graph|balance)\.(svg|png)")
"""Files that a report writes."""


@dataclass(frozen=True)
class Drawing:
    """One finished figure.

    Attributes
    ----------
    name : str
        Its files are called so.
    description : str
        What it shows, for those who cannot see it.
    caption : str
        What stands beneath it; empty where the page has the words.
    svg : str
        SVG text for the page.
    png : bytes
        The same for a file.
    """

    name: str
    description: str
    caption: str
    svg: str
    png: bytes


def draw_scatter(models: pd.DataFrame, labels: Sequence[str], tau: float) -> Drawing:
    """One panel per label, at most three in a row, with equal axes."""
    limit = 1.06 * max(float(np.abs(models[["delta_d", "delta_m"]].to_numpy()).max()), tau)
    columns = min(len(labels), 3)
    rows = -(-len(labels) // columns)

    def fill(figure: object) -> None:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()  # type: ignore[attr-defined]
        for ax in axes[len(labels) :]:
            ax.set_visible(False)
        for ax, label in zip(axes, labels, strict=False):
            figures.pale_frame(figures.shift_scatter(ax, models[models["label"] == label], tau, limit, label))
        handles, texts = axes[0].get_legend_handles_labels()
        if len(texts) > 1:
            figure.legend(handles, texts, ncols=3, loc="outside upper left", frameon=False)  # type: ignore[attr-defined]

    what = "Scatter of the survey's shift against the model's shift, one panel per label"
    return drawn("scatter", what, (4.3 * columns, 4.5 * rows), fill)


def draw_classes(shares: pd.DataFrame) -> Drawing:
    """Class shares, one bar per row."""
    return drawn(
        "classes",
        "Stacked bars: shares of the four classes, for each label and the perfect model",
        (8.4, 1.1 + 0.42 * len(shares)),
        lambda figure: figures.pale_frame(figures.class_bars(figure.subplots(), shares)),
    )


def draw_forest(rows: pd.DataFrame, models: Mapping[str, Sequence[float]]) -> Drawing:
    """The largest survey effects, with the labels' shifts if there are any."""
    return drawn(
        "forest",
        "The largest survey effects with their intervals",
        (8.4, 1.4 + 0.18 * sum(1 + name.count("\n") for name in rows["name"])),
        lambda figure: figures.pale_frame(figures.forest(figure.subplots(), rows, models)),
    )


def drawn(
    name: str, description: str, size: tuple[float, float], fill: Callable[..., object], caption: str = ""
) -> Drawing:
    """Draw a figure: ``fill`` gets it empty, ``size`` is its width and height in inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser has the font for the SVG
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
        figure.savefig(svg, format="svg", bbox_inches="tight", metadata={"Date": None})
    return Drawing(name, description, caption, _inline(svg.getvalue(), name), png.getvalue())


def _inline(svg: str, name: str) -> str:
    """Strip the prolog and the metadata, and make ids unique: all figures of a page share one id space."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<[^<>]*\bid=")', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.strip()


def embedded(drawing: Drawing) -> str:
    """Return the SVG for inside an HTML page: scaled to its column, described for screen readers, no namespaces."""
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawing.svg)
    width = float(re.findall(r'viewBox="0 0 ([\d.]+) ', svg)[0])
    style = f"width:100%;max-width:{width * 1.25:.0f}px;height:auto"
    head = f'<svg role="img" aria-label="{html.escape(drawing.description)}" style="{style}" '
    svg = re.sub(r'^<svg width="[^"]*" height="[^"]*" ', lambda _: head, svg)
    assert svg.startswith(head)
    return svg


def save(drawings: Sequence[Drawing], folder: Path) -> None:
    """Write each drawing as ``<name>.svg`` and ``<name>.png``, and remove figures of an earlier report."""
    keep = {f"{drawing.name}.{suffix}" for drawing in drawings for suffix in ("svg", "png")}
    for drawing in drawings:
        write_text(folder / f"{drawing.name}.svg", drawing.svg + "\n")
        with replace_file(folder / f"{drawing.name}.png") as beside:
            beside.write_bytes(drawing.png)
    for path in folder.glob("*"):
        if _OURS.fullmatch(path.name) and path.name not in keep:
            path.unlink()
