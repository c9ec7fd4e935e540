"""``python -m causal.audit --inspect FILE``: what a survey file holds, and a study file to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.countjson import JSON_COLUMNS, KEYS, read_items, read_json_counts
from causal.encoding import as_number, distinct_keys
from causal.errors import InputError
from causal.readers import LABELLED, TEXT, checked_path, read_plain

FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".sav": "SPSS",
    ".zsav": "SPSS, compressed",
    ".dta": "Stata",
    ".json": "count table in JSON",
}
LEVELS = range(2, 9)
"""Numbers of distinct values that can be an attribute's levels as they are."""
MOST_VALUES = 300
"""Distinct values that are kept of a column; one with more is no attribute, no question and no country."""
NO_ANSWER = re.compile(
    r"(don.?t|do not) know|\bdk\b|refus|no answer|not applicable|\bn/?ap?\b|\bnav\b|not asked|\bmissing|\binap"
    r"|(can.?t|cannot) (choose|say)|not available|not ascertained|no response|unknown|\bskip",
    re.IGNORECASE,
)
"""Labels of codes that are no answer."""


@dataclass(frozen=True)
class Column:
    """What one column of a file holds.

    Attributes
    ----------
    name : str
        The column's name.
    rows : dict of str to int
        Rows of each distinct code, by its code key; empty if there are more than `MOST_VALUES`.
    distinct : int
        Number of distinct codes.
    missing : int
        Rows without a code, those with a code that the file declares missing included.
    wording : str or None
        The question's wording, if the file has it.
    labels : dict of str to str
        The file's label of each code.
    declared : tuple of str
        Codes that the file declares missing, of those with a label or in the data.
    spread : tuple of float
        Of a column of more numbers than an attribute has levels: the lowest, the one or two that cut the answers
        into thirds as nearly as can be (each begins its third), and the highest. Else empty.
    """

    name: str
    rows: dict[str, int]
    distinct: int
    missing: int
    wording: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    spread: tuple[float, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What a survey file holds; ``questions`` are known apart from the columns only in a JSON count table."""

    source: str
    format: str
    rows: int
    columns: tuple[Column, ...]
    encoding: str | None = None
    questions: tuple[Column, ...] = ()


def inspect_file(source: str) -> Inspection:
    """Look at a survey file.

    Parameters
    ----------
    source : str
        A path, as ``survey.source`` takes it.

    Returns
    -------
    Inspection

    Raises
    ------
    InputError
        The file cannot be read.
    """
    if Path(source).is_dir():
        return _inspect_json(source, Path(source))
    path = checked_path(source)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _inspect_json(source, path)
    if suffix in LABELLED:
        return _inspect_labelled(source, path)
    frame, encoding = _read_guessing(path) if suffix in TEXT else (read_plain(path, None, None), None)
    columns = tuple(_column(frame[name]) for name in frame.columns)
    return Inspection(source, FORMATS[suffix], len(frame), columns, encoding)


def _read_guessing(path: Path) -> tuple[pd.DataFrame, str | None]:
    """Read text in UTF-8, else in the encoding that its first bytes or Windows suggest."""
    with path.open("rb") as stream:
        head = stream.read(2)
    guess = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
    try:
        return read_plain(path, None, None), None
    except InputError as error:
        if not isinstance(error.__cause__, UnicodeError):
            raise
    return read_plain(path, None, guess), guess


def no_answer(codes: Iterable[str], labels: Mapping[str, str], declared: Iterable[str]) -> set[str]:
    """Return the codes that are no answer: by the file's word, by their label, or negative beside such ones."""
    codes, declared = set(codes), set(declared)
    gone = {code for code in codes if code in declared or NO_ANSWER.search(labels.get(code, ""))}
    negative = {code for code in codes if as_number(code) < 0}
    return gone | negative if gone & negative else gone


def _column(values: pd.Series, missing: np.ndarray | None = None, labels: Mapping[str, str] | None = None) -> Column:
    name = str(values.name)
    try:
        positions, keys = distinct_keys(values)
    except InputError:  # lists: nothing that a study can use, but worth a line
        return Column(name, {}, len(values), 0)
    counts = np.bincount(positions, minlength=len(keys))
    rows: dict[str, int] = {}
    for key, count in zip(keys, counts.tolist(), strict=True):
        if key is not None and count:
            rows[key] = rows.get(key, 0) + count
    gone = np.array([key is None for key in keys])[positions]
    absent = gone if missing is None else gone | missing
    kept = np.bincount(positions[~absent], minlength=len(keys))
    declared = {key for key, count in zip(keys, kept, strict=True) if key is not None and not count}
    left = {key: rows[key] for key in rows.keys() - no_answer(rows, labels or {}, declared)}
    held = rows if len(rows) <= MOST_VALUES else {}
    return Column(name, held, len(rows), int(absent.sum()), spread=_spread(left))


def _spread(rows: Mapping[str, int]) -> tuple[float, ...]:
    """Return lowest, cuts into thirds and highest of a column of numbers, nothing of another column."""
    numbers = np.array([as_number(key) for key in rows])
    if len(numbers) < LEVELS.stop or np.isnan(numbers).any():
        return ()
    order = np.argsort(numbers)
    numbers, below = numbers[order], np.array(list(rows.values()))[order].cumsum()
    begins = np.searchsorted(below, below[-1] * np.array([1, 2]) / 3) + 1  # the first number above each third
    cuts = sorted({float(numbers[i]) for i in begins if i < len(numbers)})
    return (float(numbers[0]), *cuts, float(numbers[-1])) if cuts else ()


def _inspect_labelled(source: str, path: Path) -> Inspection:
    from causal.labelled import read_labelled

    held = read_labelled(path, None)
    columns = []
    for name in held.frame.columns:
        values = held.frame[name]
        labels = {code_key(code): label for code, label in held.labels.get(name, {}).items()}
        seen = _column(values, held.declared(name), labels)
        present = values.dropna().unique().tolist() if seen.rows else []
        declared = {
            code_key(code) for code in (*present, *held.labels.get(name, {})) if held.declares_missing(name, code)
        }
        columns.append(replace(seen, wording=held.wording.get(name), labels=labels, declared=tuple(sorted(declared))))
    return Inspection(source, FORMATS[path.suffix.lower()], len(held.frame), tuple(columns))


def _inspect_json(source: str, path: Path) -> Inspection:
    frame = read_json_counts(path)
    personas = [name for name in frame.columns if name not in (*KEYS, JSON_COLUMNS.option)]
    questions: dict[str, Column] = {}
    items = 0
    for _, item in read_items(path):
        items += 1
        name = str(item["question_id"])
        labels = {code_key(code): str(label) for code, label in item["options"].items()}
        questions.setdefault(name, Column(name, dict.fromkeys(labels, 0), len(labels), 0, _wording(item), labels))
    columns = tuple(_column(frame[name]) for name in personas)
    return Inspection(source, FORMATS[".json"], items, columns, None, tuple(questions.values()))


def _wording(item: Mapping[str, object]) -> str | None:
    text = item.get("question_text")
    return str(text) if text else None


def describe(found: Inspection) -> list[str]:
    """Return what was recognised, as lines of text."""
    what = "items" if found.questions else "rows"
    lines = [f"{found.source}: {found.format}, {found.rows} {what}, {len(found.columns)} columns"]
    if found.encoding:
        lines.append(f"not UTF-8; read as {found.encoding}, which is a guess: look at the accents below")
    lines += [_described(column) for column in found.columns]
    if found.questions:
        lines += [f"{len(found.questions)} questions:", *map(_described, found.questions)]
    return lines


def _described(column: Column) -> str:
    parts = [f"{column.distinct} distinct, {column.missing} missing"]
    if column.labels:
        parts.append("labels " + _shown([f"{code} = {label}" for code, label in column.labels.items()]))
    elif column.rows and column.distinct <= 12:
        parts.append("values " + _shown(list(column.rows)))
    if column.spread:
        low, *cuts, high = column.spread
        parts.append(f"numbers from {low:g} to {high:g}, cut into thirds by {' and '.join(f'{cut:g}' for cut in cuts)}")
    if column.declared:
        parts.append("missing by the file's own word: " + _shown(column.declared))
    return plain(f"{column.name}: {'; '.join(parts)}" + (f"; wording: {column.wording}" if column.wording else ""))


def _shown(items: Sequence[str]) -> str:
    return ", ".join(items[:8]) + (" ..." if len(items) > 8 else "")


def plain(text: str) -> str:
    """Return text on one line, without characters that YAML or a terminal would stumble over."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
