"""What no single section of a study file can see: names that must agree across sections."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from causal.codes import code_key
from causal.graph import ANSWER
from causal.graphtext import parse_graph
from causal.yamlfile import Located, Problem, line_of

FILL_IN = "FILL-IN"
"""What stands in a study made by `--inspect` where only the user can know."""
RESERVED = frozenset(
    {
        *("country", "question", "topic", "attribute", "reference", "treated", "granularity", "option"),
        *("p", "std_error", "n", "n_eff", "estimator", "estimand", "supported", "shift"),
        *("n_reference", "n_treated", "n_eff_reference", "n_eff_treated", "p_reference", "p_treated"),
        *("conf_low", "conf_high", "p_value", "q_value", "deff", "family_q_value"),
        *("effect_low", "effect_high", "cdf_low", "cdf_high", "wald_statistic", "wald_df", "wald_p_value"),
        *("label", "split", "score", "distance", "class", "certain_class", "delta_m", "delta_d"),
        *("aligned", "erased", "stereotyped", "flipped", "p_aligned", "p_erased", "p_stereotyped", "p_flipped"),
    }
)
"""Column names of the result tables, which no attribute may take."""


def cross_problems(located: Located) -> Iterable[Problem]:
    """Yield what no single section can see; the file may still break the schema anywhere."""
    for loc, message in (
        *_graph_problems(located.data),
        *_name_problems(located.data),
        *_country_problems(located.data),
        *_unfilled(located.data),
        *_fit_problems(located.data),
    ):
        yield Problem(line_of(located.written, loc), ".".join(map(str, loc)), message)


_Found = tuple[tuple[Any, ...], str]


def _mapping(data: Any, *path: Any) -> dict[Any, Any]:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _items(data: Any, *path: Any) -> list[Any]:
    """Return the list at a path; one bare value counts as a list of one."""
    *parents, last = path
    value = _mapping(data, *parents).get(last)
    if isinstance(value, list):
        return value
    return [] if value is None or isinstance(value, dict) else [value]


def _text_items(data: Any, *path: Any) -> list[str]:
    return [item for item in _items(data, *path) if isinstance(item, str)]


def _graph_problems(raw: Any) -> Iterable[_Found]:
    attributes = list(map(str, _mapping(raw, "attributes")))
    measured = {*attributes, *map(str, _mapping(raw, "covariates"))}
    edges, latent, where = _graph(raw)
    known = {*measured, ANSWER, *latent}
    for i, edge in enumerate(edges):
        for node in edge:
            if node not in known:
                yield (
                    where or ("graph", "edges", i),
                    f"unknown node {node!r}; known are {', '.join(sorted(known))} "
                    f"({'mark unmeasured causes [latent]' if where else 'name unmeasured causes under graph.latent'})",
                )
    for node in latent:
        if node in measured or node == ANSWER:
            yield where or ("graph", "latent"), f"{node!r} is in the data, so it is not latent; remove it here"
        elif not any(node in edge for edge in edges):
            yield (
                where or ("graph", "latent"),
                f"latent node {node!r} is declared but in no edge, so it causes nothing; draw the arrows from it to "
                "what it causes, or remove it",
            )
    if where or _mapping(raw, "graph").get("default_edges") is False:
        for attribute in attributes:
            if ANSWER not in _reached(attribute, edges):
                yield (
                    where or ("graph",),
                    f"no arrows lead from attribute {attribute!r} to {ANSWER!r}, so it would have no effect to "
                    f"estimate; draw {attribute} -> {ANSWER}",
                )


def _graph(raw: Any) -> tuple[list[tuple[str, str]], list[str], tuple[str, ...] | None]:
    """Return the edges and latent nodes, and where the text stands that they come from, if they do."""
    text = _mapping(raw, "graph").get("text")
    if not isinstance(text, str):
        pairs = [edge for edge in _items(raw, "graph", "edges") if isinstance(edge, list)]
        edges = [tuple(node for node in edge if isinstance(node, str)) for edge in pairs]
        return [edge for edge in edges if len(edge) == 2], _text_items(raw, "graph", "latent"), None
    try:
        found = parse_graph(text)
    except ValueError:  # reported where the section is validated
        return [], [], None
    return list(found.edges), list(found.latent), ("graph", "text")


def _reached(start: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    """Return the nodes to which arrows lead from a node, itself included."""
    found, new = {start}, {start}
    while new:
        new = {head for tail, head in edges if tail in new} - found
        found |= new
    return found


def _name_problems(raw: Any) -> Iterable[_Found]:
    attributes = _mapping(raw, "attributes")
    for name in attributes:
        if name in RESERVED or name == ANSWER:
            yield (
                ("attributes", name),
                "this name is taken by a column of the result tables; choose another",
            )
    for name in _mapping(raw, "covariates"):
        if name in attributes or name == ANSWER:
            yield ("covariates", name), "this name is an attribute's or the answer's already; choose another"
    questions, where = _mapping(raw, "questions"), ("checks", "negative_controls")
    for name in _text_items(raw, *where):
        if questions and name not in questions:
            yield where, f"unknown question {name!r}; known are {', '.join(map(str, questions))}"
    full = len(attributes)
    asked, where = _items(raw, "effects", "granularity"), ("effects", "granularity")
    for value in asked:
        if isinstance(value, int) and not 0 <= value <= full:
            yield where, f"{value} is not possible with {full} attributes; give 0 to {full}, full or all"
    if asked and all(value == 0 for value in asked):
        yield where, f"granularity 0 alone has no attribute to toggle; add one of 1 to {full}, full or all"


def _unfilled(raw: Any, *loc: Any) -> Iterable[_Found]:
    """Yield every value that `--inspect` left to be filled in."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from _unfilled(value, *loc, key)
    elif isinstance(raw, list):
        for i, value in enumerate(raw):
            yield from _unfilled(value, *loc, i)
    elif isinstance(raw, str) and FILL_IN in raw:
        yield loc, f"this still says {FILL_IN}; --inspect could not know it, so write what it is"


def _country_problems(raw: Any) -> Iterable[_Found]:
    named = {code_key(code) for code in _mapping(raw, "survey", "countries")}
    kept = {code_key(code) for code in _items(raw, "survey", "keep")}
    for loc, codes in (
        (("survey", "keep"), _items(raw, "survey", "keep")),
        (("survey", "tiers"), list(_mapping(raw, "survey", "tiers"))),
        (("fit", "held_out", "countries"), _items(raw, "fit", "held_out", "countries")),
    ):
        for code in codes:
            if named and code_key(code) not in named:
                hint = _nearest(code_key(code), named)
                yield loc, f"country {code!r} is not among those that survey.countries names{hint}"
    if kept and _mapping(raw, "survey", "country"):
        yield ("survey", "keep"), "the survey has one country for all rows, so there is nothing to keep; remove it"


def _fit_problems(raw: Any) -> Iterable[_Found]:
    yield from _question_problems(raw)
    for i, persona in enumerate(_items(raw, "fit", "held_out", "personas")):
        if isinstance(persona, dict):
            yield from _persona_problems(raw, ("fit", "held_out", "personas", i), persona)


def _question_problems(raw: Any) -> Iterable[_Found]:
    questions, loc = _mapping(raw, "questions"), ("fit", "held_out", "questions")
    held_out, where = _text_items(raw, *loc), ("fit", "early_stopping", "questions")
    validation = _text_items(raw, *where)
    for place, name in (*((loc, name) for name in held_out), *((where, name) for name in validation)):
        if questions and name not in questions:
            yield place, f"unknown question {name!r}; known are {', '.join(map(str, questions))}"
    for name in validation:
        if name in held_out:
            yield where, f"{name!r} is held out (fit.held_out.questions), so it may not choose the epoch; take another"
    if questions and set(held_out) >= set(questions):
        yield loc, "every question is held out; leave at least one to train on"
    elif questions and {*held_out, *validation} >= set(questions):
        yield where, "every question is held out or chooses the epoch; leave at least one to train on"


def _persona_problems(raw: Any, loc: tuple[Any, ...], persona: dict[Any, Any]) -> Iterable[_Found]:
    attributes, asked = _mapping(raw, "attributes"), _items(raw, "effects", "granularity")
    finest = max(asked) if asked and all(isinstance(value, int) for value in asked) else len(attributes)
    if finest < len(attributes):
        yield (
            loc,
            f"personas are trained with {finest} of {len(attributes)} attributes (effects.granularity), so these "
            f"people's answers would be in what is trained on; add {len(attributes)} to effects.granularity, or hold "
            "out questions, countries or respondents instead",
        )
    for name, level in persona.items():
        levels = [str(known) for known in _mapping(raw, "attributes", name, "levels")]
        if attributes and name not in attributes:
            yield loc, f"unknown attribute {name!r}{_nearest(name, attributes) or _known(attributes)}"
        elif levels and str(level) not in levels:
            yield loc, f"{name} has no level {level!r}{_nearest(level, levels) or _known(levels)}"


def _nearest(given: Any, known: Iterable[Any]) -> str:
    close = difflib.get_close_matches(str(given), sorted(map(str, known)), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _known(names: Iterable[Any]) -> str:
    return f"; known are {', '.join(map(str, names))}"
