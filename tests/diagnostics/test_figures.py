"""Figures draw what the tables say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from causal.heldout import PARTS
from diagnostics.classify import CLASSES
from diagnostics.drawing import draw_classes, embedded
from diagnostics.figures import class_bars, forest, shift_scatter


def _rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "split": ["trained", "trained", "held_out"],
            "delta_d": [0.1, -0.2, 0.3],
            "delta_m": [0.0, -0.1, 0.2],
            "conf_low": [0.0, -0.3, 0.2],
            "conf_high": [0.2, -0.1, 0.4],
        }
    )


def test_scatter_puts_the_survey_on_x_and_the_model_on_y() -> None:
    ax = Figure().subplots()
    assert shift_scatter(ax, _rows(), 0.05, 0.5, "base") is ax
    points = {
        item.get_label(): np.asarray(item.get_offsets())
        for item in ax.collections
        if not str(item.get_label()).startswith("_")
    }
    np.testing.assert_allclose(points["trained on"], [[0.1, 0.0], [-0.2, -0.1]])
    np.testing.assert_allclose(points["questions held out"], [[0.3, 0.2]])
    assert ax.get_xlim() == ax.get_ylim() == (-0.5, 0.5)


def test_scatter_without_splits_and_beyond_every_split() -> None:
    ax = shift_scatter(Figure().subplots(), _rows().assign(split=None), 0.05, 0.5, "base")
    assert ax.get_legend_handles_labels()[1] == ["all questions"]


def _drawn(rows: pd.DataFrame) -> dict[str, int]:
    handles, labels = shift_scatter(Figure().subplots(), rows, 0.05, 0.5, "base").get_legend_handles_labels()
    return {label: len(one.get_offsets()) for label, one in zip(labels, handles, strict=True)}


def test_scatter_draws_every_toggle_whatever_its_part() -> None:
    every = (*PARTS, None)
    rows = pd.concat([_rows().head(1).assign(split=part) for part in every for _ in range(2)], ignore_index=True)
    found = _drawn(rows)
    assert list(found.values()) == [2] * len(every)
    assert "chose the epoch" in found
    assert "trained on by some labels only" in found
    with pytest.raises(ValueError, match="new part"):
        _drawn(rows.assign(split="new part"))


def test_class_bars_put_the_first_row_on_top() -> None:
    shares = pd.DataFrame(
        [[0.5, 0.3, 0.1, 0.1], [1.0, 0, 0, 0]], columns=list(CLASSES), index=["base", "perfect model"]
    )
    ax = class_bars(Figure().subplots(), shares)
    labels = {text.get_text(): tick for text, tick in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert labels["base"] > labels["perfect model"]
    widths = [bar.get_width() for container in ax.containers for bar in container]  # type: ignore[union-attr]
    np.testing.assert_allclose(widths, shares.to_numpy().T.ravel())


def test_forest_with_and_without_models() -> None:
    rows = pd.DataFrame({"name": ["a", "b"], "shift": [0.3, -0.2], "conf_low": [0.1, -0.3], "conf_high": [0.5, -0.1]})
    rows["estimand"] = "total"
    alone = forest(Figure().subplots(), rows, {})
    both = forest(Figure().subplots(), rows, {"base": [0.0, 0.1], "ace": [0.2, -0.1]})
    assert alone.get_legend_handles_labels()[1] == ["survey, with its interval"]
    assert both.get_legend_handles_labels()[1][1:] == ["base", "ace"]


def test_what_is_not_identified_is_hollow() -> None:
    rows = pd.DataFrame({"name": ["a", "b"], "shift": [0.3, -0.2], "conf_low": [0.1, -0.3], "conf_high": [0.5, -0.1]})
    ax = forest(Figure().subplots(), rows.assign(estimand=["total", "not_identified"]), {})
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["survey, with its interval", "† association only"]
    assert [one.get_facecolor()[0, 0] == 1 for one in handles] == [False, True]
    assert [one.get_offsets()[0, 0] for one in handles] == [0.3, -0.2]


def test_embedded_svg_scales_and_has_no_prolog() -> None:
    shares = pd.DataFrame([[0.5, 0.3, 0.1, 0.1]], columns=list(CLASSES), index=["<i>base</i> $x$"])
    drawing = draw_classes(shares)
    text = embedded(drawing)
    assert text.startswith('<svg role="img" aria-label="Stacked bars: shares')
    assert "xmlns" not in text
    assert "&lt;i&gt;base&lt;/i&gt; $x$" in text
    assert drawing.png.startswith(b"\x89PNG")
    described = replace(drawing, description='effects of "<b>home')
    assert 'aria-label="effects of &quot;&lt;b&gt;home"' in embedded(described)
