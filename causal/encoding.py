"""Columns of codes to level and option indices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.errors import InputError

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


def frame_hash(frame: pd.DataFrame) -> str:
    """Return a SHA-256 of a frame's names and codes, the same however a file format stores them."""
    digest = hashlib.sha256()
    for name in frame.columns:
        positions, keys = distinct_keys(frame[name])
        digest.update(repr((name, keys)).encode())
        digest.update(np.ascontiguousarray(positions, dtype=np.int64).tobytes())
    return digest.hexdigest()
