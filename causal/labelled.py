"""SPSS and Stata files: codes, with the labels, wording and missing codes that the file carries."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causal.codes import Code, code_key
from causal.encoding import rows_by_code
from causal.errors import InputError
from causal.readers import Source


@dataclass(frozen=True)
class Labelled:
    """An SPSS or Stata file.

    Attributes
    ----------
    frame : DataFrame
        Codes; those that the file declares missing are still there, Stata's as ``.a`` to ``.z``.
    wording : dict of str to str
        The variable label of each column that has one: a question's wording.
    labels : dict of str to dict of Code to str
        The value labels of each column that has some.
    ranges : dict of str to list of pair
        By column, the smallest and largest code of each range that the file declares missing.
    """

    frame: pd.DataFrame
    wording: dict[str, str]
    labels: dict[str, dict[Code, str]]
    ranges: dict[str, list[tuple[Any, Any]]]

    def declared(self, column: str, kept: Set[str] = frozenset()) -> np.ndarray:
        """Return where a column holds a code that the file declares missing and ``kept`` does not, shape (rows,)."""
        positions, values = pd.factorize(self.frame[column].to_numpy(dtype=object))
        found = [self.declares_missing(column, value) and code_key(value) not in kept for value in values]
        return np.array([*found, False])[positions]  # position -1: nothing there

    def declares_missing(self, column: str, code: Any) -> bool:
        """Return whether the file declares a code of a column missing."""
        return any(_within(code, low, high) for low, high in self.ranges.get(column, []))

    def masked(self, kept: Mapping[str, set[str]]) -> Source:
        """Return the codes with the declared missing ones null, except the code keys in ``kept``."""
        frame, counts = self.frame.copy(), {}
        for column in self.ranges:
            found = self.declared(column, kept.get(column, frozenset()))
            if found.any():
                counts[column] = rows_by_code(frame.loc[found, column])
                frame[column] = frame[column].astype(object).where(~found, None)
        return Source(frame, counts, self.frame)


def read_labelled(path: Path, columns: Sequence[str] | None, encoding: str | None = None) -> Labelled:
    """Read a ``.sav``, ``.zsav`` or ``.dta`` file; ``columns`` None reads all.

    Where the file lacks a column, the columns that it holds are returned without rows.

    Raises
    ------
    InputError
        The file is truncated, of another format, or not decodable.
    """
    held, _ = _read(path, encoding, metadataonly=True)
    if columns is not None and not set(columns) <= set(held.columns):
        return Labelled(held.iloc[:0], {}, {}, {})
    usecols = None if columns is None else list(columns)
    frame, meta = _read(path, encoding, usecols=usecols, user_missing=True, disable_datetime_conversion=True)
    if frame.empty:
        raise InputError(f"survey file {path} has no respondents")
    return _labelled(path, _without_empty(frame), meta)


def read_codebook(path: Path, encoding: str | None = None) -> Labelled:
    """Read a file's column names, wording, labels and missing codes, and none of its rows.

    Of a Stata file only those missing codes are known that have a label.

    Raises
    ------
    InputError
        The file is truncated, of another format, or not decodable.
    """
    held, meta = _read(path, encoding, metadataonly=True, user_missing=True)
    return _labelled(path, held.iloc[:0], meta)


def first_value(path: Path, column: str, encoding: str | None = None) -> Any:
    """Return what the first row of a file holds in one column."""
    frame, _ = _read(path, encoding, usecols=[column], row_limit=1, disable_datetime_conversion=True)
    return None if frame.empty else frame.iloc[0, 0]


def _labelled(path: Path, frame: pd.DataFrame, meta: Any) -> Labelled:
    labels = {str(name): dict(values) for name, values in meta.variable_value_labels.items()}
    if path.suffix.lower() == ".dta":
        tags = {name: [code for code in values if isinstance(code, str)] for name, values in labels.items()}
        tags |= {name: list(found) for name, found in meta.missing_user_values.items()}
        ranges = {name: [(f".{tag}", f".{tag}") for tag in found] for name, found in tags.items() if found}
        if not frame.empty:
            frame = frame.assign(**{name: frame[name].map(_tagged) for name in ranges if name in frame})
        labels = {name: {_tagged(code): label for code, label in values.items()} for name, values in labels.items()}
    else:
        found = meta.missing_ranges.items()
        ranges = {name: [(r["lo"], r["hi"]) for r in several] for name, several in found if several}
    wording = {str(name): text for name, text in meta.column_names_to_labels.items() if text}
    return Labelled(frame, wording, labels, ranges)


def _read(path: Path, encoding: str | None, **options: Any) -> tuple[pd.DataFrame, Any]:
    import pyreadstat

    reader = pyreadstat.read_dta if path.suffix.lower() == ".dta" else pyreadstat.read_sav
    iconv = codecs.lookup(encoding).name if encoding else None  # latin-1 is unknown to iconv, iso8859-1 is not
    try:
        return reader(str(path), encoding=iconv, apply_value_formats=False, **options)
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, UnicodeError) as error:
        what = "Stata" if path.suffix.lower() == ".dta" else "SPSS"
        raise InputError(
            f"survey file {path} is no readable {what} file ({error}); it may be truncated or of another format. If "
            "its text is the trouble, name its encoding under survey.encoding"
        ) from error


def _without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with null in place of empty text, which these formats write where there is no answer."""
    text = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].astype(object).where(frame[name] != "", None) for name in text})


def _tagged(value: Any) -> Any:
    """Return Stata's extended missing value as Stata writes it: the reader gives ``a`` for ``.a``."""
    return f".{value}" if isinstance(value, str) else value


def _within(value: Any, low: Any, high: Any) -> bool:
    if isinstance(low, str):
        return isinstance(value, str) and low.strip() <= value.strip() <= high.strip()
    return isinstance(value, int | float) and low <= value <= high
