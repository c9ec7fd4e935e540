"""A study file to start from, made from what a survey file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from causal.crosschecks import RESERVED
from causal.graph import ANSWER
from causal.inspection import LEVELS, Column, Inspection, describe, no_answer, plain

OPTIONS = range(2, 12)
MOST_ATTRIBUTES = 4
COUNTRY_NAMES = (
    *("b_country_alpha", "c_alphan", "cntry", "country", "country_code", "countrycode", "nation", "iso3", "iso"),
    *("b_country", "cntry_an", "v3"),
)
_DEMOGRAPHIC = re.compile(
    r"(?<![a-z])(sex|gender|female|educ|degree|college|urban|rural|residence|settlement|townsize|marital|married|marit"
    r"|age|race|ethnic|income|class|region|religious denomination|employ|occup)",
    re.IGNORECASE,
)
_WEIGHT = re.compile(r"(w|wt|wtss\w*|\w*weight\w*|pspwght|wght\w*)", re.IGNORECASE)
SHORT = 40
"""Characters of a variable label up to which its words tell an attribute; a longer one is a question's wording."""


@dataclass(frozen=True)
class _Scale:
    """The codes of a column that are answers or levels, in order, with their labels; and those that are none."""

    options: dict[str, str]
    missing: tuple[str, ...]


def starter(found: Inspection) -> str:
    """Return the text of a study file: what was recognised as comments, then the study.

    It loads as it is when the file has at least one column that can be an attribute and one that can be a
    question. What only the user can know is marked FILL-IN.
    """
    country = _country(found)
    weight = next((c.name for c in found.columns if _WEIGHT.fullmatch(c.name) and c.distinct > LEVELS.stop), None)
    fixed = {country.name if country else None, weight}
    attributes, others = _attributes(found, fixed)
    questions = _questions(found, fixed | {column.name for column in (*attributes, *others)})
    if not questions:  # what looks like attributes must be all there is
        attributes, others = attributes[:1], []
        questions = _questions(found, fixed | {column.name for column in attributes})
    lines = [
        *(f"# {plain(line)}" for line in describe(found)),
        "# What is marked FILL-IN only you can know; the rest is a guess from names and labels. Look at every line.",
        f"name: {_quoted(re.sub(r'[^A-Za-z0-9_-]+', '_', Path(found.source).stem) or 'study')}",
        *_survey(found, country, weight),
        *_attribute_section(attributes, others),
        *_bins(found, fixed | {column.name for column in attributes}, bool(attributes)),
        *_question_section(questions),
        "effects: {granularity: [1]}  # FILL-IN: all, full or numbers of attributes specified at once",
    ]
    return "\n".join(lines) + "\n"


def _survey(found: Inspection, country: Column | None, weight: str | None) -> Iterator[str]:
    yield "survey:"
    yield f"  source: {_quoted(found.source)}"
    if found.encoding:
        yield f"  encoding: {found.encoding}  # FILL-IN: a guess"
    if country is None:
        yield "  country: {constant: FILL-IN}  # FILL-IN: the country's code, or the name of its column"
    else:
        yield f"  country: {_quoted(country.name)}"
        named = {code: plain(country.labels.get(code, "")) for code in country.rows}
        if any(named.values()):
            yield "  countries:"
            yield from (f"    {_quoted(code)}: {_quoted(label)}" for code, label in named.items() if label)
    if weight:
        yield f"  # weight: {_quoted(weight)}  # FILL-IN: remove the first # if this is the survey's weight"


def _attribute_section(attributes: list[Column], others: list[Column]) -> Iterator[str]:
    if others:
        yield f"# other columns that may be attributes: {plain(', '.join(column.name for column in others))}"
    if not attributes:
        yield "attributes: {}  # FILL-IN: no column has 2 to 8 values; choose one, or bin one of numbers"
        return
    yield "attributes:  # FILL-IN: the first level is the reference; codes may be put together"
    for column in attributes:
        scale = _scale(column, present=True)
        yield f"  {_quoted(_attribute_name(column.name))}:"
        yield f"    column: {_quoted(column.name)}"
        yield "    levels:"
        for (code, label), name in zip(scale.options.items(), _distinct(scale.options), strict=True):
            persona = f'{_quoted(label)}}}  # FILL-IN: as a persona says it, such as "a woman"'
            yield f"      {_quoted(name)}: {{codes: [{_code(code)}], persona: {persona}"
        if scale.missing:
            yield f"    missing: [{', '.join(map(_code, scale.missing))}]"


def _bins(found: Inspection, taken: set[str | None], chosen: bool) -> Iterator[str]:
    """Show how columns of numbers would be binned: those that look like demographics, else any."""
    wide = [column for column in found.columns if column.spread and column.name not in taken]
    if chosen or any(map(_is_demographic, wide)):
        wide = [column for column in wide if _is_demographic(column)]
    if not wide:
        return
    yield "# FILL-IN: numbers can be binned (the low end is inside, the high end outside), here in thirds of the rows."
    yield "# null is an open end that takes all there is, so list codes such as -1 or 998 under missing. Choose bounds"
    yield "# that mean something, and remove the first # of the lines to use:"
    for column in wide[:MOST_ATTRIBUTES]:
        cuts = [f"{cut:.15g}" for cut in column.spread[1:-1]]
        yield f"#  {_quoted(_attribute_name(column.name))}:"
        yield f"#    column: {_quoted(column.name)}"
        yield "#    levels:"
        for low, high in pairwise([None, *cuts, None]):
            words = f"under {high}" if low is None else f"{low} or more" if high is None else f"{low} to under {high}"
            span = f"range: [{low or 'null'}, {high or 'null'}]"
            yield f"#      {_quoted(words)}: {{{span}, persona: {_quoted(f'{column.name} {words}')}}}"
        codes = sorted({*column.labels, *column.rows}, key=_order)
        if gone := no_answer(codes, column.labels, column.declared):
            yield f"#    missing: [{', '.join(_code(code) for code in codes if code in gone)}]"


def _question_section(questions: list[Column]) -> Iterator[str]:
    if not questions:
        yield "questions: {}  # FILL-IN: no column looks like a question with 2 to 11 ordered options"
        return
    yield "questions:  # FILL-IN: keep those whose options have an order, and check it"
    for column in questions:
        scale = _scale(column)
        wording = plain(column.wording or "")
        yield f"  {_quoted(column.name)}:"
        yield f"    text: {_quoted(wording or column.name)}" + ("" if wording else "  # FILL-IN: its wording")
        yield "    options:" + ("" if column.labels else "  # FILL-IN: their order, and what the codes mean")
        for code, label in zip(scale.options, _distinct(scale.options), strict=True):
            yield f"      {_code(code)}: {_quoted(label)}"
        if scale.missing:
            yield f"    missing: [{', '.join(map(_code, scale.missing))}]"


def _country(found: Inspection) -> Column | None:
    named = {column.name.lower(): column for column in found.columns if column.rows}
    return next((named[name] for name in COUNTRY_NAMES if name in named), None)


def _attributes(found: Inspection, taken: set[str | None]) -> tuple[list[Column], list[Column]]:
    """Return the likely attributes, and further columns that may be some."""
    free = [c for c in found.columns if c.name not in taken and len(_scale(c, present=True).options) in LEVELS]
    if found.questions:
        return free[:MOST_ATTRIBUTES], free[MOST_ATTRIBUTES:]
    likely = [column for column in free if _is_demographic(column)] or free[:1]
    return likely[:MOST_ATTRIBUTES], likely[MOST_ATTRIBUTES:]


def _is_demographic(column: Column) -> bool:
    wording = column.wording or ""
    return bool(_DEMOGRAPHIC.search(column.name) or (len(wording) <= SHORT and _DEMOGRAPHIC.search(wording)))


def _questions(found: Inspection, taken: set[str | None]) -> list[Column]:
    if found.questions:
        return [column for column in found.questions if len(_scale(column).options) in OPTIONS]
    labelled = any(column.labels for column in found.columns)
    return [
        column
        for column in found.columns
        if column.name not in taken
        and column.rows
        and len(_scale(column).options) in OPTIONS
        and set(_scale(column).options) & set(column.rows)
        and (not labelled or set(_scale(column).options) & set(column.labels))
    ]


def _scale(column: Column, present: bool = False) -> _Scale:
    """Split a column's codes into answers and missing ones; ``present`` keeps only answers in the data."""
    codes = sorted({*column.labels, *column.rows}, key=_order)
    gone = no_answer(codes, column.labels, column.declared)
    kept = [code for code in codes if code not in gone and (not present or code in column.rows)]
    labels = {code: plain(column.labels.get(code, "")) or plain(code) or code for code in kept}
    return _Scale(labels, tuple(code for code in codes if code in gone))


def _number(code: str) -> float:
    return float(code) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", code) else float("inf")


def _order(code: str) -> tuple[float, str]:
    return _number(code), code


def _distinct(labels: dict[str, str]) -> list[str]:
    """Return the labels, with the code behind those that occur twice."""
    texts = list(labels.values())
    return [text if texts.count(text) == 1 else f"{text} ({code})" for code, text in labels.items()]


def _attribute_name(column: str) -> str:
    return f"{column}_of_person" if column in RESERVED or column == ANSWER else column


def _code(key: str) -> str:
    return key if re.fullmatch(r"0|-?[1-9][0-9]*", key) else _quoted(key)


def _quoted(text: str) -> str:
    """Return text as a YAML scalar in double quotes, plain where nothing can be misread."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) and text.lower() not in ("true", "false", "null", "yes", "no"):
        return text
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))
