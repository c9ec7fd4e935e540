"""Columns of codes to level and option indices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.errors import InputError
from causal.sections import Attribute

MISSING = -1
"""Index of an attribute level or answer that the respondent did not give."""


def distinct_keys(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """Return each row's index into the distinct values, and the code key of each (None = missing).

    Raises
    ------
    InputError
        The column holds lists or other compound values.
    """
    plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"  # quicker than as objects
    try:
        positions, values = pd.factorize(column.to_numpy(dtype=None if plain else object), use_na_sentinel=True)
    except TypeError as error:
        raise compound_values(str(column.name)) from error
    keys: list[str | None] = [code_key(value) or None for value in values.tolist()]
    return np.where(positions < 0, len(keys), positions), [*keys, None]


def compound_values(name: str) -> InputError:
    """Return the error for a column of lists."""
    return InputError(
        f"column {name} holds lists or other compound values; a survey column has one code per row, so split it into "
        "several columns"
    )


def indices(
    column: pd.Series,
    codes: Mapping[str, int],
    missing: set[str],
    what: str,
    kind: str,
    problems: list[str],
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Return each row's index by the code book; codes it does not know are added to ``problems``.

    Parameters
    ----------
    column : Series
        Codes as the file holds them.
    codes : mapping of str to int
        Index of each known code, by its code key.
    missing : set of str
        Code keys that are no answer.
    what, kind : str
        Words for the problem: "question trust (column q1)", "an option".
    problems : list of str
        Lines that the caller raises in one message.
    times : ndarray of int, optional
        Respondents that each row stands for, where rows are grouped.

    Returns
    -------
    ndarray of int16, shape (n,)
        ``MISSING`` where the code is null or missing.
    """
    positions, keys = distinct_keys(column)
    counts = np.bincount(positions, times, minlength=len(keys)).astype(int)
    unknown = [i for i, key in enumerate(keys) if key is not None and key not in codes and key not in missing]
    if unknown:
        shown = ", ".join(f"{keys[i]} ({counts[i]} rows)" for i in unknown[:8]) + (" ..." if len(unknown) > 8 else "")
        problems.append(
            f"  {what}: {len(unknown)} code(s) in the data are neither {kind} nor missing: {shown}; known are "
            f"{', '.join(codes)}. Add them to {kind}, or to `missing` here or under survey"
            + (
                ". YAML reads 01 as the number 1: put codes with leading zeros in quotes"
                if any((keys[i] or "").lstrip("0") in codes for i in unknown)
                else ""
            )
        )
    index = np.array([codes.get(key, MISSING) if key is not None else MISSING for key in keys], dtype=np.int16)
    return index[positions]


def level_indices(
    column: pd.Series,
    name: str,
    attribute: Attribute,
    everywhere: set[str],
    problems: list[str],
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Return each row's level of an attribute, by its codes or ranges.

    Parameters
    ----------
    column : Series
        Codes as the file holds them.
    name : str
        The attribute's name.
    attribute : Attribute
        Its levels and missing codes.
    everywhere : set of str
        Code keys that are no answer in any column. A level's own code is kept all the same, a number in its
        range is not.
    problems : list of str
        Lines that the caller raises in one message.
    times : ndarray of int, optional
        Respondents that each row stands for, where rows are grouped.

    Returns
    -------
    ndarray of int16, shape (n,)
        ``MISSING`` where the code is null or missing.
    """
    missing = everywhere | {code_key(code) for code in attribute.missing}
    what = f"attribute {name} (column {column.name})"
    if attribute.binned:
        return _binned(column, [level.bounds for level in attribute.levels.values()], missing, what, problems, times)
    codes = {code_key(code): i for i, level in enumerate(attribute.levels.values()) for code in level.codes}
    return indices(column, codes, missing, what, "a level", problems, times)


def _binned(
    column: pd.Series,
    bounds: Sequence[tuple[float, float]],
    missing: set[str],
    what: str,
    problems: list[str],
    times: np.ndarray | None,
) -> np.ndarray:
    """Return the range that each row's number lies in; low ends are inside, high ends outside."""
    positions, keys = distinct_keys(column)
    rows = np.bincount(positions, times, minlength=len(keys)).astype(int)
    known = np.array([key is not None and key not in missing for key in keys])
    number = np.full(len(keys), np.nan)
    number[known] = [as_number(key) for key in keys if key is not None and key not in missing]
    index = np.full(len(keys), MISSING, dtype=np.int16)
    for i, (low, high) in enumerate(bounds):
        index[(number >= low) & (number < high)] = i
    for bad, fault in (
        (known & np.isnan(number), "no number"),
        (known & ~np.isnan(number) & (index == MISSING), "in no level's range"),
    ):
        if bad.any():
            places = np.flatnonzero(bad)
            shown = ", ".join(f"{keys[i]} ({rows[i]} rows)" for i in places[:8]) + (" ..." if len(places) > 8 else "")
            problems.append(
                f"  {what}: {rows[bad].sum()} rows hold a value that is {fault} and not missing: {shown}. Widen the "
                "ranges (null leaves an end open), or add the value to `missing` here or under survey"
            )
    return index[positions]


def level_spans(column: pd.Series, index: np.ndarray, levels: int) -> tuple[tuple[float, float] | None, ...]:
    """Return the lowest and highest number that each level of a binned column took, None for an empty level."""
    positions, keys = distinct_keys(column[index != MISSING])
    number = np.array([math.nan if key is None else as_number(key) for key in keys])[positions]
    held = [number[index[index != MISSING] == i] for i in range(levels)]
    return tuple((float(values.min()), float(values.max())) if len(values) else None for values in held)


def as_number(key: str) -> float:
    """Return the finite number that a code key says, NaN if it says none."""
    try:
        number = float(key)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) and "_" not in key else math.nan


def rows_by_code(column: pd.Series, times: np.ndarray | None = None) -> dict[str, int]:
    """Return the rows of each code key, the most frequent first; ``""`` is no code at all."""
    positions, keys = distinct_keys(column)
    found: dict[str, int] = {}
    counts = np.bincount(positions, times, minlength=len(keys)).astype(int)
    for key, count in zip(keys, counts.tolist(), strict=True):
        if count:
            found[key or ""] = found.get(key or "", 0) + count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def frame_hash(frame: pd.DataFrame) -> str:
    """Return a SHA-256 of a frame's names and codes, the same however a file format stores them."""
    digest = hashlib.sha256()
    for name in frame.columns:
        positions, keys = distinct_keys(frame[name])
        digest.update(repr((name, keys)).encode())
        digest.update(np.ascontiguousarray(positions, dtype=np.int64).tobytes())
    return digest.hexdigest()
