"""The rows of a count table: read, checked, and encoded against the codebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.countjson import JSON_COLUMNS, read_json_counts
from causal.countries import Countries
from causal.encoding import MISSING, distinct_keys, frame_hash, indices, level_indices
from causal.errors import InputError
from causal.readers import checked_path, keep_known, read_plain
from causal.sections import ConstantCountry, CountColumns
from causal.study import Study
from causal.survey import survey_countries

TABLES = (".csv", ".tsv", ".parquet", ".json")
TOLERANCE = 1e-3
"""What a cell's proportions may miss of 1: published tables are rounded."""
SHOWN = 5


@dataclass(frozen=True)
class CountRows:
    """Aligned arrays, one element per country, question, persona and option.

    Attributes
    ----------
    country, question, option : ndarray of int, shape (rows,)
        Indices in the study's order; the option is -1 where its code is missing.
    levels : ndarray of int, shape (rows, attributes)
        Level index, -1 where the attribute is not specified or its code is missing.
    specified : ndarray of bool, shape (rows, attributes)
        Whether the row's persona specifies the attribute.
    count : ndarray of float, shape (rows,)
        Respondents; p * n where the table holds proportions, so not always whole.
    """

    country: np.ndarray
    question: np.ndarray
    option: np.ndarray
    levels: np.ndarray
    specified: np.ndarray
    count: np.ndarray

    def select(self, which: np.ndarray) -> CountRows:
        """Return the rows where ``which`` holds."""
        return CountRows(*(getattr(self, item.name)[which] for item in fields(self)))

    def patterns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct sets of specified attributes, shape (sets, attributes), and each row's set."""
        bits = 1 << np.arange(self.specified.shape[1])
        sets, pattern = np.unique(self.specified @ bits, return_inverse=True)
        return (sets[:, None] & bits) > 0, pattern.reshape(-1)


def read_rows(study: Study, data: pd.DataFrame | None = None) -> tuple[Countries, CountRows, str]:
    """Return the countries, the rows and a SHA-256 of the study's count table.

    Raises
    ------
    InputError
        See `causal.counttable.read_count_table`.
    """
    _refuse_weights(study)
    names, frame = _read(study, data)
    frame = keep_known(frame, _columns(study, names))
    asked = {code_key(question.column or name): i for i, (name, question) in enumerate(study.questions.items())}
    positions, keys = distinct_keys(frame[names.question])
    frame = frame[np.isin(positions, [i for i, key in enumerate(keys) if key in asked])]
    if not len(frame):
        raise InputError(
            f"column {names.question} of the count table has none of the study's questions ({', '.join(asked)}); "
            f"it holds {', '.join(key for key in keys[:20] if key)}"
        )
    countries = survey_countries(study, frame)
    frame, country = frame[~countries.out], countries.index[~countries.out]
    problems: list[str] = []
    question = indices(frame[names.question], asked, set(), f"column {names.question}", "a question", problems)
    levels, specified = _levels(study, frame, problems)
    option = _options(study, frame, names, question, problems)
    counts = _counts(study, frame, names, option, problems)
    problems += _lines(frame, country == MISSING, f"column {study.survey.country} has no country")
    if problems:
        raise InputError("\n".join(["the count table does not fit the study:", *problems]))
    return countries, CountRows(country, question, option, levels, specified, counts), frame_hash(frame)


def _refuse_weights(study: Study) -> None:
    if study.survey.id:
        raise InputError("survey.id names respondents, but the source is a count table, which has none; remove it")
    for key in ("weight", "strata", "psu"):
        if getattr(study.survey, key):
            raise InputError(
                f"survey.{key} is declared, but the source is a count table: counts say nothing about the variance of "
                f"weights or clusters. Give the respondents themselves, or remove survey.{key}"
            )


def _read(study: Study, data: pd.DataFrame | None) -> tuple[CountColumns, pd.DataFrame]:
    source, declared = study.survey.source, study.survey.counts
    path = Path(source)
    if data is None and (path.is_dir() or path.suffix.lower() == ".json"):
        if declared:
            raise InputError("survey.counts is for CSV, TSV and Parquet; a JSON file's columns are known, so remove it")
        return JSON_COLUMNS, read_json_counts(path if path.is_dir() else checked_path(source))
    if declared is None:
        raise InputError("survey.counts must name the count table's columns: {question: ..., option: ..., count: ...}")
    if data is not None:
        return declared, data.reset_index(drop=True)
    path = checked_path(source, TABLES)
    return declared, read_plain(path, _columns(study, declared), study.survey.encoding)


def _columns(study: Study, names: CountColumns) -> list[str]:
    declared = study.survey.country
    wanted = [] if isinstance(declared, ConstantCountry) else [declared]
    wanted += [attribute.column or name for name, attribute in study.attributes.items()]
    numbers = [names.count] if names.count else [names.proportion, names.n]
    return list(dict.fromkeys([*wanted, names.question, names.option, *(name for name in numbers if name)]))


def _levels(study: Study, frame: pd.DataFrame, problems: list[str]) -> tuple[np.ndarray, np.ndarray]:
    everywhere = {code_key(code) for code in study.survey.missing}
    levels = np.empty((len(frame), len(study.attributes)), dtype=np.int16)
    specified = np.empty(levels.shape, dtype=bool)
    for j, (name, attribute) in enumerate(study.attributes.items()):
        column = frame[attribute.column or name]
        levels[:, j] = level_indices(column, name, attribute, everywhere, problems)
        specified[:, j] = _key_ids(column) != MISSING
    return levels, specified


def _options(
    study: Study, frame: pd.DataFrame, names: CountColumns, asked: np.ndarray, problems: list[str]
) -> np.ndarray:
    everywhere = {code_key(code) for code in study.survey.missing}
    option = np.full(len(frame), MISSING, dtype=np.int16)
    for i, (name, question) in enumerate(study.questions.items()):
        rows = asked == i
        codes = {code_key(code): k for k, code in enumerate(question.options)}
        missing = everywhere | {code_key(code) for code in question.missing}
        what = f"question {name} (column {names.option})"
        before = len(problems)
        option[rows] = indices(frame.loc[rows, names.option], codes, missing, what, "an option", problems)
        if (option[rows] == MISSING).all() and len(problems) == before:
            problems.append(f"  question {name}: the count table has no answers; remove the question or correct it")
    empty = _key_ids(frame[names.option]) == MISSING
    problems += _lines(frame, empty, f"column {names.option} is empty; every row counts one option")
    return option


def _counts(
    study: Study, frame: pd.DataFrame, names: CountColumns, option: np.ndarray, problems: list[str]
) -> np.ndarray:
    cell = _cells(study, frame, names)
    twice = pd.DataFrame({"cell": cell, "option": _key_ids(frame[names.option])}).duplicated().to_numpy()
    problems += _lines(frame, twice, "the same country, question, persona and option was counted before")
    if names.count:
        return _whole(frame, names.count, problems)
    assert names.proportion
    assert names.n
    n = _whole(frame, names.n, problems)
    p = pd.to_numeric(frame[names.proportion], errors="coerce").to_numpy(dtype=float)
    p = np.where((n == 0) & np.isnan(p), 0.0, p)
    bad = ~((p >= 0) & (p <= 1))
    problems += _lines(frame, bad, f"column {names.proportion} is no proportion from 0 to 1", names.proportion)
    if problems:
        return n
    return _from_proportions(frame, p, n, cell, option, problems)


def _from_proportions(
    frame: pd.DataFrame, p: np.ndarray, n: np.ndarray, cell: np.ndarray, option: np.ndarray, problems: list[str]
) -> np.ndarray:
    first = np.full(cell.max() + 1, np.nan)
    first[cell[::-1]] = n[::-1]
    problems += _lines(frame, n != first[cell], "n differs from that of the cell's other options")
    total = np.bincount(cell, p)[cell]
    off = (np.abs(total - 1) > TOLERANCE) & (n > 0)
    for i in _once_per_cell(off, cell):
        problems.append(f"  {_label(frame, i)}: the proportions of its cell sum to {total[i]:.6g}, not 1")
    unanswered = (option == MISSING) & (p > 0)
    problems += _lines(
        frame, unanswered, "a missing code has a proportion; give proportions and n among those who answered"
    )
    return p / np.where(total > 0, total, 1) * n


def _once_per_cell(which: np.ndarray, cell: np.ndarray) -> Iterator[int]:
    rows = np.flatnonzero(which)
    _, first = np.unique(cell[rows], return_index=True)
    yield from sorted(rows[first])[:SHOWN]


def _whole(frame: pd.DataFrame, column: str, problems: list[str]) -> np.ndarray:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
    bad = ~(np.isfinite(values) & (values >= 0))
    bad[~bad] = values[~bad] != np.round(values[~bad])
    problems += _lines(frame, bad, f"column {column} is no whole number of respondents, 0 or more", column)
    return values


def _cells(study: Study, frame: pd.DataFrame, names: CountColumns) -> np.ndarray:
    """Return an index of each row's country, question and persona, as the table's own codes tell them apart."""
    columns = [name for name in _columns(study, names) if name not in (names.option, names.count, names.proportion)]
    keys = [_key_ids(frame[name]) for name in columns if name != names.n]
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].reshape(-1)


def _key_ids(column: pd.Series) -> np.ndarray:
    """Return the same number for the same code, -1 for null."""
    positions, keys = distinct_keys(column)
    ids: dict[str, int] = {}
    place = [MISSING if key is None else ids.setdefault(key, len(ids)) for key in keys]
    return np.array(place)[positions]


def _lines(frame: pd.DataFrame, which: np.ndarray, message: str, column: str | None = None) -> Sequence[str]:
    """Return one problem for each of the first rows where ``which`` holds."""
    rows = np.flatnonzero(which)
    lines = []
    for i in rows[:SHOWN]:
        value = frame[column].iloc[i] if column else None
        lines.append(f"  {_label(frame, i)}: {message}" + (f" (given: {value})" if column else ""))
    return [*lines, *([f"  and {len(rows) - SHOWN} more rows like these"] if len(rows) > SHOWN else [])]


def _label(frame: pd.DataFrame, i: int) -> str:
    """Return a row's name: its number below the header, or what the JSON reader called it."""
    name = frame.index[i]
    return name if isinstance(name, str) else f"row {name + 1}"
