"""Which country each row belongs to, and which countries the study leaves out."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.encoding import MISSING, distinct_keys
from causal.errors import InputError
from causal.sections import ConstantCountry, SurveySource


@dataclass(frozen=True)
class Countries:
    """The countries of a survey.

    Attributes
    ----------
    names : tuple of str
        Codes of the countries kept, sorted.
    index : ndarray of int, shape (n,)
        Each row's place in ``names``; -1 where its country is missing or left out.
    out : ndarray of bool, shape (n,)
        Whether the row's country is left out.
    left_out : dict of str to int
        Rows of each country that ``survey.keep`` leaves out.
    """

    names: tuple[str, ...]
    index: np.ndarray
    out: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)


def read_countries(
    source: SurveySource, frame: pd.DataFrame, missing: Collection[str], times: np.ndarray | None = None
) -> Countries:
    """Read the declared country of each row.

    Parameters
    ----------
    source : SurveySource
        Names the column, or the one country of all rows, and the countries to keep.
    frame : DataFrame
        Holds that column.
    missing : collection of str
        Code keys that are no country.
    times : ndarray of int, optional
        Respondents that each row stands for, where rows are grouped.

    Returns
    -------
    Countries

    Raises
    ------
    InputError
        ``survey.keep`` asks for a country that the data lack.
    """
    if isinstance(source.country, ConstantCountry):
        return Countries(
            (source.country.constant,), np.zeros(len(frame), dtype=np.int32), np.zeros(len(frame), dtype=bool)
        )
    positions, keys = distinct_keys(frame[source.country])
    held = sorted({key for key in keys if key is not None and key not in missing})
    asked = set(map(code_key, source.keep)) or set(held)
    if absent := sorted(asked - set(held)):
        raise InputError(_absent(absent, held))
    kept = [key for key in held if key in asked]
    place = {key: i for i, key in enumerate(kept)}
    index = np.array([place.get(key or "", MISSING) for key in keys], dtype=np.int32)[positions]
    names = np.array([key if key in held and key not in place else None for key in keys], dtype=object)[positions]
    out = names != None  # noqa: E711
    counts = pd.Series(1 if times is None else times[out], index=names[out]).groupby(level=0).sum()
    counts = counts.sort_values(ascending=False, kind="stable")
    return Countries(tuple(kept), index, out, {str(key): int(count) for key, count in counts.items()})


def _absent(absent: list[str], held: list[str]) -> str:
    named = []
    for key in absent:
        close = difflib.get_close_matches(key, held, n=1, cutoff=0.5)
        named.append(key + (f" (did you mean {close[0]!r}?)" if close else ""))
    return (
        f"survey.keep asks for {', '.join(named)}, which the data do not hold; countries there: "
        f"{', '.join(held[:40])}{' ...' if len(held) > 40 else ''}"
    )
