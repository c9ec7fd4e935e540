"""A model's tables beside a survey's: the same cells and toggles, and how much nearer one model is than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from causal.errors import InputError

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Cells:
    """A distributions table, one row per cell.

    Attributes
    ----------
    keys : DataFrame, ``cells`` rows
        country, question, one column per attribute (null = not specified), granularity, n, n_eff, deff.
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
    keys = table.iloc[first][[*names, "granularity", "n", "n_eff", "deff"]].reset_index(drop=True)
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


def modal_accuracy(model: np.ndarray, survey: np.ndarray) -> np.ndarray:
    """Tell whether a model's most probable option is the one that most people chose.

    Parameters
    ----------
    model, survey : ndarray, shape (..., cells, options)
        Probabilities over options, 0 beyond a question's own.

    Returns
    -------
    ndarray, shape (..., cells)
        1 or 0. Of several options that are equally probable for the model one is drawn by lot, so the chance to hit
        one of the survey's: 1/K for uniform answers.
    """
    ours, theirs = (p >= p.max(axis=-1, keepdims=True) - _ROUNDING for p in (model, survey))
    return (ours & theirs).sum(axis=-1) / ours.sum(axis=-1)


def mean_error(model: np.ndarray, survey: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the absolute error of the expected answer as a share of the scale, whose mean over cells is the NMAE.

    |E_m[Y] - E_d[Y]| / (K - 1), with Y the option 1..K.

    Parameters
    ----------
    model, survey, options : ndarray
        As for `alignment_score`.

    Returns
    -------
    ndarray, shape (..., cells)
        0 if the means agree, 1 if they are at opposite ends. Never above 1 - S/100.
    """
    return np.abs((model - survey) @ np.arange(model.shape[-1])) / (options - 1)


def shift_correlation(model: np.ndarray, survey: np.ndarray) -> float:
    """Return the correlation about 0 of a model's shifts with a survey's: their cosine.

    sum(delta_m delta_d) / sqrt(sum(delta_m^2) sum(delta_d^2)). Unlike Pearson's it does not change if a question's
    options, or an attribute's levels, are listed the other way round.

    Parameters
    ----------
    model, survey : ndarray, shape (toggles,)
        Shifts.

    Returns
    -------
    float
        In [-1, 1]; NaN where one of the two never moves.
    """
    size = np.sqrt(np.square(model).sum() * np.square(survey).sum())
    return float(model @ survey / size) if size > 0 else np.nan


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
