"""A model's tables beside a survey's: the same cells and toggles, and how much nearer one model is than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from causal.errors import InputError


@dataclass(frozen=True)
class Cells:
    """A distributions table, one row per cell.

    Attributes
    ----------
    keys : DataFrame, ``cells`` rows
        country, question, one column per attribute (null = not specified), granularity, n, n_eff.
    p : ndarray, shape (cells, K of the longest question)
        Probabilities of options 1..K; 0 beyond a question's own options.
    options : ndarray of int, shape (cells,)
        Each cell's own K.
    """

    keys: pd.DataFrame
    p: np.ndarray
    options: np.ndarray


def cells(table: pd.DataFrame, attributes: Sequence[str]) -> Cells:
    """Bring a valid distributions table into one row per cell, in order of first appearance."""
    names = ["country", "question", *attributes]
    place, found = key_index(table, names).factorize()
    option = table["option"].to_numpy(dtype=int)
    p = np.zeros((len(found), option.max()))
    p[place, option - 1] = table["p"].to_numpy(dtype=float)
    first = np.unique(place, return_index=True)[1]
    keys = table.iloc[first][[*names, "granularity", "n", "n_eff"]].reset_index(drop=True)
    return Cells(keys, p, np.bincount(place))


def key_index(table: pd.DataFrame, names: Sequence[str]) -> pd.MultiIndex:
    """Return an index over key columns in which "not specified" equals itself."""
    return pd.MultiIndex.from_arrays(
        [table[name].astype(object).where(table[name].notna(), "") for name in names], names=list(names)
    )


def matching_rows(survey: pd.DataFrame, model: pd.DataFrame, names: Sequence[str], what: str) -> np.ndarray:
    """Return, for each row of ``survey``, the position of the row of ``model`` with the same keys.

    Raises
    ------
    InputError
        The model has no such row.
    """
    place = key_index(model, names).get_indexer(key_index(survey, names))
    if (place < 0).any():
        row = survey.iloc[int(np.flatnonzero(place < 0)[0])]
        shown = ", ".join(f"{name}={row[name]}" for name in names if pd.notna(row[name]))
        raise InputError(f"{what} lacks {(place < 0).sum()} of the survey's {len(place)} rows, the first is {shown}")
    return place


def padded(lists: pd.Series, width: int) -> np.ndarray:
    """Stack a list column into an array of shape (rows, width), 0 where a list is shorter."""
    array = np.zeros((len(lists), width))
    for i, values in enumerate(lists):
        array[i, : len(values)] = values
    return array


@dataclass(frozen=True)
class Change:
    """How a distance changed between two labels, with questions as the unit of uncertainty.

    Attributes
    ----------
    difference : float
        Mean over toggles of after minus before; negative is nearer to the survey.
    low, high : float
        95% interval; NaN with fewer than two questions.
    questions, nearer : int
        Number of questions, and of those that came nearer on average.
    """

    difference: float
    low: float
    high: float
    questions: int
    nearer: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return bool(self.low > 0 or self.high < 0)


def change(before: np.ndarray, after: np.ndarray, question: np.ndarray) -> Change:
    """Compare two labels' distances on the same toggles.

    Toggles of one question share respondents and wording, so the standard error is clustered by question
    and the interval uses Student's t with (questions - 1) degrees of freedom.

    Parameters
    ----------
    before, after : ndarray, shape (toggles,)
        Distances of the same toggles, at least one.
    question : ndarray, shape (toggles,)
        The question of each toggle.
    """
    difference = after - before
    mean = float(difference.mean())
    codes, names = pd.factorize(question)
    sums = np.bincount(codes, weights=difference)
    count = len(names)
    half = np.nan
    if count > 1:
        residual = np.bincount(codes, weights=difference - mean)
        error = np.sqrt(count / (count - 1) * np.square(residual).sum()) / len(difference)
        half = float(student_t.ppf(0.975, count - 1) * error)
    return Change(mean, mean - half, mean + half, count, int((sums < 0).sum()))
