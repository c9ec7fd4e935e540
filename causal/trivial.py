"""Answers that need no model: the same for every option, the country's own, and a model's made flatter or sharper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

TEMPERATURES = (0.05, 50.0)
"""Where `best_temperature` looks."""
_ANSWER = ["country", "question", "option"]


def uniform(table: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """Return a distributions table's cells with the same probability 1/K for each of a question's options.

    Parameters
    ----------
    table : DataFrame
        A valid distributions table, whose cells are answered.
    attributes : sequence of str
        Its attributes.

    Returns
    -------
    DataFrame
        The same rows as a model's, which is exact: no n, standard error 0.
    """
    return _answered(table, 1 / _options(table, attributes))


def marginal(table: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Return a distributions table's cells, each with its country's answers whatever the persona.

    Parameters
    ----------
    table : DataFrame
        A valid distributions table.
    shares : DataFrame
        From `country_shares`. Cells of a country and question that it lacks are left out.
    """
    p = shares.set_index(_ANSWER)["p"].reindex(pd.MultiIndex.from_frame(table[_ANSWER])).to_numpy(dtype=float)
    known = ~np.isnan(p)
    return _answered(table[known].reset_index(drop=True), p[known])


def country_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Return each country's answer distribution to each question.

    Parameters
    ----------
    table : DataFrame
        A distributions table with ``n``. Where it holds no personas without attributes (granularity 0), the cells that
        specify the most attributes are pooled in proportion to their respondents. That leaves out people of whom an
        attribute is not known, and weights count within cells only.

    Returns
    -------
    DataFrame
        ``country``, ``question``, ``option``, ``p``.
    """
    granularity = table["granularity"].to_numpy(dtype=int)
    chosen = table[granularity == (0 if (granularity == 0).any() else granularity.max())]
    n = chosen["n"].to_numpy(dtype=float)
    sums = chosen[_ANSWER].assign(n=n, answers=n * chosen["p"]).groupby(_ANSWER, sort=False).sum()
    return (sums["answers"] / sums["n"]).rename("p").reset_index()


def tempered(table: pd.DataFrame, attributes: Sequence[str], temperature: float) -> pd.DataFrame:
    """Return a model's distributions at another temperature: p^(1/T), renormalised over the options.

    Parameters
    ----------
    table : DataFrame
        A model's distributions table.
    attributes : sequence of str
        Its attributes.
    temperature : float
        T > 0; above 1 is flatter, below 1 sharper.
    """
    p = table["p"].to_numpy(dtype=float) ** (1 / temperature)
    cell, found = _cells(table, attributes)
    return _answered(table, p / np.bincount(cell, weights=p, minlength=found)[cell])


def best_temperature(model: np.ndarray, survey: np.ndarray, options: np.ndarray, weight: np.ndarray) -> float:
    """Return the temperature at which a model comes nearest to a survey.

    It minimises the weighted mean over cells of the Kullback-Leibler divergence from survey to model (`level_kl`).
    The loss is convex in 1/T, so the minimum found is the only one.

    Parameters
    ----------
    model, survey : ndarray, shape (cells, options)
        Probabilities, 0 beyond a question's own options.
    options : ndarray of int, shape (cells,)
        K of each cell's question.
    weight : ndarray, shape (cells,)
        Of each cell, 0 or more.

    Returns
    -------
    float
        Within `TEMPERATURES`.
    """
    own = np.arange(model.shape[1]) < options[:, None]
    # an option whose probability is too small for a float would make every temperature infinitely bad
    log_p = np.where(own, np.log(np.maximum(model, np.finfo(float).tiny)), -np.inf)

    def loss(log_temperature: float) -> float:
        scaled = log_p / np.exp(log_temperature)
        log_q = scaled - logsumexp(scaled, axis=1, keepdims=True)
        return float(-weight @ np.where(own, survey * np.where(own, log_q, 0), 0).sum(axis=1))

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8}).x))


def _options(table: pd.DataFrame, attributes: Sequence[str]) -> np.ndarray:
    """Return the number of options of each row's cell."""
    cell, found = _cells(table, attributes)
    return np.bincount(cell, minlength=found)[cell]


def _cells(table: pd.DataFrame, attributes: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return each row's cell as a number, and how many cells there are."""
    groups = table.groupby(["country", "question", *attributes], dropna=False, sort=False)
    return groups.ngroup().to_numpy(), groups.ngroups


def _answered(table: pd.DataFrame, p: np.ndarray) -> pd.DataFrame:
    """Return the rows with other probabilities, as a model's."""
    return table.assign(p=p, std_error=0.0, n=pd.array([None] * len(table), dtype="Int64"), n_eff=np.nan, deff=np.nan)
