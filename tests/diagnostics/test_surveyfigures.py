"""The survey's figures draw what the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from diagnostics.dag import Picture
from diagnostics.surveyfigures import OPEN, graph, heat_panel, love_plot, question_rows

ROWS = pd.DataFrame(
    {
        "question": ["low", "high"],
        "reference": "r",
        "treated": "t",
        "shift": [-0.2, 0.3],
        "conf_low": [-0.3, 0.2],
        "conf_high": [-0.1, 0.4],
        "found": [False, True],
        "by_country": [np.array([-0.1, -0.3]), np.array([0.3])],
    }
)
NAMES = {"low": "low: how low?", "high": "high: how high?"}


def test_questions_are_sorted_with_their_intervals_and_countries() -> None:
    ax = question_rows(Figure().subplots(), ROWS, NAMES, "gender")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["high: how high?", "low: how low?"]
    (lines,) = (item for item in ax.collections if hasattr(item, "get_segments"))
    np.testing.assert_allclose(lines.get_segments(), [[[-0.3, 0], [-0.1, 0]], [[0.2, 1], [0.4, 1]]])
    countries, dots = (item for item in ax.collections if not hasattr(item, "get_segments"))
    np.testing.assert_allclose(countries.get_offsets(), [[-0.1, 0], [-0.3, 0], [0.3, 1]])
    np.testing.assert_allclose(dots.get_offsets(), [[-0.2, 0], [0.3, 1]])
    assert [to_hex(color) for color in dots.get_facecolor()] == ["#ffffff", "#222222"]
    assert ax.get_title(loc="left") == "gender: r → t"
    assert ax.get_legend() is None


def test_several_contrasts_stand_side_by_side() -> None:
    rows = pd.concat([ROWS, ROWS.assign(treated="u", shift=ROWS["shift"] + 0.1)])
    ax = question_rows(Figure().subplots(), rows, NAMES, "age")
    assert ax.get_legend().get_title().get_text() == "age"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["r → t", "r → u"]
    dots = {item.get_label(): np.asarray(item.get_offsets()) for item in ax.collections}
    assert (dots["r → t"][:, 1] > dots["r → u"][:, 1]).all()


def test_heat_cells_say_their_number_bold_where_something_was_found() -> None:
    size = pd.DataFrame([[0.1, np.nan], [0.0, 0.04]], index=["a", "b"], columns=["x", "y"])
    found = pd.DataFrame([[2, np.nan], [0, 0]], index=["a", "b"], columns=["x", "y"])
    ax = heat_panel(Figure().subplots(), size, found, 0.2, "gender", True)
    cells = {text.get_position(): text for text in ax.texts}
    assert {place: text.get_text() for place, text in cells.items()} == {(0, 0): ".10", (0, 1): ".00", (1, 1): ".04"}
    assert [text.get_fontweight() for text in cells.values()] == ["bold", "normal", "normal"]
    assert ax.images[0].get_clim() == (0, 0.2)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["x", "y"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_graph_dashes_what_is_latent_and_colours_what_is_open() -> None:
    shown = Picture(
        {"u": (0.0, 1.0), "a": (0.0, 0.0), "answer": (2.9, 0.0)},
        {("u", "a"): 0.0, ("u", "answer"): 0.2, ("a", "answer"): 0.0},
        frozenset({"u"}),
        frozenset({("u", "a"), ("u", "answer")}),
        {"u": "u\nnot measured", "a": "a", "answer": "answer"},
    )
    ax = graph(Figure().subplots(), shown)
    boxes = {text.get_text(): text.get_bbox_patch() for text in ax.texts}
    assert boxes["u\nnot measured"].get_linestyle() != "solid"
    assert boxes["a"].get_linestyle() == "solid"
    arrows = {patch.get_gid(): to_hex(patch.get_edgecolor()).upper() for patch in ax.patches}
    assert {name for name, color in arrows.items() if color == OPEN} == {"u -> a", "u -> answer"}
    assert len(arrows) == 3
    assert all(isinstance(patch, FancyArrowPatch) for patch in ax.patches)
    left, right = ax.get_xlim()
    assert left < 0 < 2.9 < right


def test_love_plot_has_before_hollow_and_after_filled() -> None:
    rows = pd.DataFrame(
        {
            "contrast": "g: m vs f",
            "variable": ["age", "home"],
            "country": ["A", "B"],
            "before": [0.5, 0.2],
            "after": [0.05, 0.0],
            "median": [0.02, np.nan],
        }
    )
    ax = love_plot(Figure().subplots(), rows)
    dots = {item.get_label(): np.asarray(item.get_offsets()) for item in ax.collections}
    np.testing.assert_allclose(dots["as they are"], [[0.5, 1], [0.2, 0]])
    np.testing.assert_allclose(dots["weighted by inverse propensities"], [[0.05, 1], [0.0, 0]])
    np.testing.assert_allclose(dots["median country, weighted"], [[0.02, 1]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["age, A\ng: m vs f", "home, B\ng: m vs f"]
    assert ax.lines[1].get_xdata()[0] == pytest.approx(0.1)


def test_love_plot_of_one_country_does_not_name_it() -> None:
    rows = pd.DataFrame(
        {"contrast": "g: m vs f", "variable": ["age"], "country": "A", "before": 0.5, "after": 0.05, "median": np.nan}
    )
    ax = love_plot(Figure().subplots(), rows)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["age\ng: m vs f"]
    assert "median country, weighted" not in [item.get_label() for item in ax.collections]
