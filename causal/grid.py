"""Answer distributions on a full factorial grid of personas: what both sides' effects are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from causal.counts import Counts, grid_place, on_grid
from causal.errors import InputError
from causal.linearisation import Linearised, Pairs, linearise
from causal.study import Study


@dataclass(frozen=True)
class Grid:
    """Distributions for every combination of some attributes' levels.

    Attributes
    ----------
    attributes : tuple of str
        The specified attributes, in the study's order.
    p : ndarray, shape (countries, levels of each attribute ..., questions, options)
        Probabilities; NaN in cells that nobody answered, 0 beyond a question's own options.
    v : ndarray, same shape
        Share of squared weights, sum of w**2 in the option over the squared total weight, times N/(N-1) for
        the country's N respondents: were they drawn one by one, the variance of a mean score c would be
        ``sum(v * (c - mean)**2)`` (Taylor linearisation). 0 for a model, which is exact.
    n, n_eff : ndarray, shape of ``p`` without its last axis
        Respondents and Kish's effective number; NaN for a model.
    design : Linearised, optional
        Covariances under strata and PSUs, where the survey has them.
    asked : ndarray, shape of ``n``, optional
        Respondents of the cell, with or without an answer; None for a model, and where a table does not tell.
    """

    attributes: tuple[str, ...]
    p: np.ndarray
    v: np.ndarray
    n: np.ndarray
    n_eff: np.ndarray
    design: Linearised | None = None
    asked: np.ndarray | None = None


def subsets(study: Study) -> list[tuple[str, ...]]:
    """Return the attribute subsets of the granularities that the study asks for, coarse to fine."""
    return [subset for size in study.granularities for subset in combinations(study.attributes, size)]


def grid_from_counts(counts: Counts, study: Study, countries: Sequence[str], attributes: Sequence[str]) -> Grid:
    """Turn counts into weighted proportions with the variance terms of each cell."""
    names = list(study.attributes)
    sizes = [len(study.attributes[name].levels) for name in attributes]
    keep = [names.index(name) for name in attributes]
    cells = on_grid(counts, keep, sizes, len(countries))
    weight = cells.w.sum(axis=-1, keepdims=True)
    squares = cells.w2.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = cells.w / weight
        v = cells.w2 / weight**2 * _sample_factor(counts.respondents)[cells.country][:, None, None]
        n_eff = np.where(squares > 0, weight[..., 0] ** 2 / squares, 0.0)
    shape = (len(countries), *sizes)
    return Grid(
        tuple(attributes),
        p.reshape(*shape, *p.shape[1:]),
        v.reshape(*shape, *v.shape[1:]),
        np.round(cells.n.sum(axis=-1), 6).reshape(*shape, -1),  # a count table's p * n sum to n but for rounding
        n_eff.reshape(*shape, -1),
        _linearised(counts, cells.w, study, attributes, shape),
        None if cells.asked is None else cells.asked.reshape(*shape, -1),
    )


def _sample_factor(respondents: np.ndarray) -> np.ndarray:
    """Return N/(N-1): a domain's variance is estimated from everybody in the sample, those outside as zeros."""
    return np.where(respondents > 1, respondents / np.maximum(respondents - 1, 1), 1.0)


def _linearised(
    counts: Counts, weight: np.ndarray, study: Study, attributes: Sequence[str], shape: tuple[int, ...]
) -> Linearised | None:
    if counts.psus is None:
        return None
    cells = np.arange(np.prod(shape)).reshape(shape)
    pairs = {
        name: [
            Pairs(cells.take(base, axis).ravel(), cells.take(treated, axis).ravel())
            for base, treated in study.attributes[name].pairs
        ]
        for axis, name in enumerate(attributes, start=1)
    }
    keep = [list(study.attributes).index(name) for name in attributes]
    country = np.broadcast_to(np.arange(shape[0]).reshape(-1, *(1,) * len(keep)), shape).ravel()
    place = grid_place(counts, keep, shape[1:], shape[0])
    return linearise(counts.psus, place, pairs, weight, country).reshape(shape)


def grid_from_table(table: pd.DataFrame, study: Study, countries: Sequence[str], attributes: Sequence[str]) -> Grid:
    """Place a distributions table's rows on the grid, as exact distributions (a model's).

    Parameters
    ----------
    table : DataFrame
        A valid distributions table; rows of other granularities are ignored.
    study : Study
        Order of levels and questions.
    countries : sequence of str
        Order of countries.
    attributes : sequence of str
        The specified attributes.
    """
    rows = table
    for name in study.attributes:
        rows = rows[rows[name].notna() if name in attributes else rows[name].isna()]
    questions = list(study.questions)
    sizes = [len(study.attributes[name].levels) for name in attributes]
    options = max(len(question.options) for question in study.questions.values())
    p = np.full((len(countries), *sizes, len(questions), options), np.nan)
    index = [_place(rows["country"], countries)]
    index += [_place(rows[name], list(study.attributes[name].levels)) for name in attributes]
    index += [_place(rows["question"], questions), rows["option"].to_numpy(dtype=int) - 1]
    p[tuple(index)] = rows["p"].to_numpy(dtype=float)
    answered = ~np.isnan(p).all(axis=-1)
    p = np.where(answered[..., None] & np.isnan(p), 0.0, p)
    unknown = np.full(p.shape[:-1], np.nan)
    return Grid(tuple(attributes), p, np.zeros_like(p), unknown, unknown)


def _place(values: pd.Series, order: Sequence[str]) -> np.ndarray:
    """Return each value's position in ``order``."""
    place = pd.Index(order).get_indexer(pd.Index(values))
    if (place < 0).any():
        unknown = sorted(set(values) - set(order))
        raise InputError(f"the distributions hold {', '.join(map(str, unknown))}; the study knows {', '.join(order)}")
    return place


def option_counts(study: Study) -> np.ndarray:
    """Return the number of options K of each question, shape (questions,)."""
    return np.array([len(question.options) for question in study.questions.values()])


def scores(study: Study) -> np.ndarray:
    """Return each option's score (k-1)/(K-1), shape (questions, options); 0 beyond a question's own."""
    counts = option_counts(study)
    k = np.arange(counts.max())
    return np.where(k < counts[:, None], k / (counts[:, None] - 1), 0.0)
