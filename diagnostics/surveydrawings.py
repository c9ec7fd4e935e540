"""The survey's own figures on paper, with their captions: effects by question, by topic, the graph, balance."""

from __future__ import annotations

import textwrap

import pandas as pd

from causal.check import listed
from diagnostics import surveyfigures
from diagnostics.averages import coarsest, held_in_words, question_effects
from diagnostics.balance import love_rows
from diagnostics.dag import Picture, by_default, picture
from diagnostics.drawing import Drawing, drawn
from diagnostics.figures import pale_frame
from diagnostics.heat import panels
from diagnostics.inputs import Inputs
from diagnostics.marks import LEGEND, mark

NAME_WIDTH, NAME_LINES = 52, 3
"""Characters of a line of a question's name in a figure, and its lines; the page has a table of the whole wording."""
UNIT = 0.6
"""Inches of a unit of the graph."""
MOST_QUESTIONS = 40
"""Questions that are drawn; of more, those furthest from 0."""


def draw_attributes(inputs: Inputs) -> list[Drawing]:
    """One forest plot per attribute with a supported toggle; a second where only adjusting identifies its effect."""
    found = []
    for number, attribute in enumerate(inputs.study.attributes, start=1):
        cells = coarsest(inputs, attribute)
        if not cells.empty:
            found.append(_draw_attribute(inputs, attribute, f"attribute_{number}"))
            adjusted = _identifying(inputs, attribute) if mark(cells) else None
            if adjusted:
                found.append(_draw_attribute(inputs, attribute, f"attribute_{number}_adjusted", adjusted))
    return found


def _identifying(inputs: Inputs, attribute: str) -> str | None:
    """Return the first estimator that adjusts and identifies an effect of the attribute, None if none does."""
    asked = inputs.study.effects.adjusting
    return next((name for name in asked if not coarsest(inputs, attribute, name).empty), None)


def _draw_attribute(inputs: Inputs, attribute: str, name: str, estimator: str = "cell") -> Drawing:
    rows = question_effects(inputs, attribute, estimator)
    furthest = rows["shift"].abs().groupby(rows["question"]).max().nlargest(MOST_QUESTIONS)
    shown = rows[rows["question"].isin(furthest.index)]
    names = {one: _named(one, item.text) for one, item in inputs.study.questions.items()}
    adjusted = f" (adjusted, {estimator})" if estimator != "cell" else ""
    titled = f"{attribute}{adjusted}{mark(coarsest(inputs, attribute, estimator))}"
    contrasts = len(rows[["reference", "treated"]].drop_duplicates())
    lines = max(1 + names[one].count("\n") for one in furthest.index)
    height = max(0.12 + 0.13 * lines, 0.13 * contrasts)
    return drawn(
        name,
        f"Effects of {attribute}{adjusted} on each question, with intervals",
        (8.4, 1.1 + (0.2 * (contrasts // 2 + 1) if contrasts > 1 else 0.0) + height * len(furthest)),
        lambda figure: pale_frame(surveyfigures.question_rows(figure.subplots(), shown, names, titled)),
        _attribute_caption(inputs, attribute, len(furthest), estimator),
    )


def _named(name: str, text: str) -> str:
    return "\n".join(textwrap.wrap(f"{name}: {text}", NAME_WIDTH, max_lines=NAME_LINES, placeholder=" …"))


def _attribute_caption(inputs: Inputs, attribute: str, shown: int, estimator: str) -> str:
    levels = list(inputs.study.attributes[attribute].levels)
    rows, toggles = question_effects(inputs, attribute, estimator), coarsest(inputs, attribute, estimator)
    several = max(len(values) for values in rows["by_country"]) > 1
    held = held_in_words(inputs, attribute, estimator)
    contrast = f"{levels[0]} → {levels[1]}" if len(levels) == 2 else "colours are its contrasts"
    questions = rows["question"].nunique()
    return " ".join(
        [
            f"{attribute} ({contrast}; {held}). Given the graph, this is {_estimand(toggles)}.",
            *([] if estimator == "cell" else [_adjusted(inputs, toggles, estimator)]),
            f"The dots are shifts with their {inputs.study.effects.confidence:.0%} intervals"
            + (", averaged over countries, each counted alike; the pale dots are the countries." if several else "."),
            *([] if held.startswith("nothing") else ["Contexts are averaged in proportion to their respondents."]),
            "A dot is filled where the shift differs from 0 with q < .05 (false discoveries among the questions of "
            "this figure), else hollow.",
            *([LEGEND] if mark(toggles) else []),
            *([f"Of {questions} questions, the {shown} furthest from 0 are drawn."] if shown < questions else []),
        ]
    )


def _adjusted(inputs: Inputs, toggles: pd.DataFrame, estimator: str) -> str:
    """Say that rows are adjusted, and which countries have none that are identified."""
    names = sorted(set(inputs.effects["country"]) - set(toggles["country"]))
    left_out = (
        f" Adjusting identifies none in {listed([inputs.study.country_name(one) for one in names])}." if names else ""
    )
    return f"Estimated by {estimator}, adjusted for what check adjustment names.{left_out}"


def _estimand(toggles: pd.DataFrame) -> str:
    found = toggles["estimand"].unique()
    return _ESTIMANDS[found[0]] if len(found) == 1 else "more than one thing (see the table of contrasts)"


_ESTIMANDS = {
    "total": "its total effect",
    "controlled_direct": "a controlled direct effect",
    "not_identified": "an association and not identified as an effect",
}


def draw_topics(inputs: Inputs) -> list[Drawing]:
    """The heat map, if any toggle has support: panels one above the other."""
    found = panels(inputs)
    if not found:
        return []
    limit = max(0.1, *(float(one.size.max().max()) for one in found))
    columns = max(one.size.shape[1] for one in found)
    topics = len(found[0].size)

    def fill(figure: object) -> None:
        axes = figure.subplots(len(found), 1, squeeze=False).ravel()  # type: ignore[attr-defined]
        for ax, one in zip(axes, found, strict=True):
            surveyfigures.heat_panel(ax, one.size, one.found, limit, one.title, one is found[-1])

    across = "topic and attribute" if len(found) == 1 and not found[0].title else "topic (rows) and country (columns)"
    caption = (
        f"Size of shifts by {across}: the root mean square, with the part that sampling error gives taken out. .00 is "
        "what noise alone would leave, a blank is no support, and bold is where at least one toggle has q < .05. Signs "
        "are left out, because questions point in different directions."
    )
    if any(mark(coarsest(inputs, name)) for name in inputs.study.attributes):
        caption += f" {LEGEND}"
    size = (min(8.4, 3.2 + 0.62 * columns + 0.5 * (columns < 6) * columns), 0.6 + len(found) * (0.5 + 0.27 * topics))
    return [drawn("topics", f"Heat map of effect sizes by {across}", size, fill, caption)]


def draw_graph(inputs: Inputs) -> list[Drawing]:
    """The DAG."""
    shown = picture(inputs)
    left, right, bottom, top = shown.extent
    size = (UNIT * (right - left + 2 * surveyfigures.EDGE[0]), UNIT * (top - bottom + 2 * surveyfigures.EDGE[1]))
    caption = _graph_caption(inputs, shown)
    return [
        drawn(
            "graph",
            "The declared causal graph",
            size,
            lambda figure: surveyfigures.graph(figure.subplots(), shown),
            caption,
        )
    ]


def _graph_caption(inputs: Inputs, shown: Picture) -> str:
    if by_default(inputs.study):
        words = [
            "No arrows were declared, so this is the default graph: every attribute and the country cause the answer "
            "by themselves and through their interaction (dashed, because nothing measures it), and not one another."
        ]
    else:
        words = ["The graph that the study declares; every arrow runs from cause to effect."]
        if shown.latent:
            words.append("What has a dashed frame is not measured and cannot be held fixed.")
    if shown.open:
        words.append(
            "Orange arrows lie on paths that stay open in the toggles that hold the most fixed: through them people "
            "differ in more than the attribute, so these contrasts are associations."
        )
    notes = " ".join(shown.labels.values())
    if "mediator of" in notes:
        words.append("A mediator is held fixed although the attribute causes it: its share of the effect is taken out.")
    if "collider for" in notes:
        words.append("A collider is a common effect of two causes, and ties them together by being held fixed.")
    return " ".join(words)


def draw_balance(inputs: Inputs) -> list[Drawing]:
    """The love plot, where the balance check left its rows."""
    rows = love_rows(inputs)
    if rows.empty:
        return []
    where = rows["variable"] + ", " + rows["country"]
    longest = int(max(where.str.len().max(), rows["contrast"].str.len().max()))
    caption = (
        "How far people at two levels of an attribute differ in other things, in standard deviations, in the country "
        "where they differ most: as they are, and weighted by the inverse of their estimated propensities. Below "
        f"{surveyfigures.BALANCED} (dashed) they count as alike. Contrasts of cells make people alike in what they "
        "hold fixed, not by weights."
    )
    return [
        drawn(
            "balance",
            "Standardised differences before and after weighting",
            (max(8.4, 4.4 + 0.085 * longest), 1.1 + 0.42 * len(rows)),
            lambda figure: pale_frame(surveyfigures.love_plot(figure.subplots(), rows)),
            caption,
        )
    ]
