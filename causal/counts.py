"""The count core: the only step that touches respondents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causal.survey import MISSING, Survey


@dataclass(frozen=True)
class Counts:
    """Answers counted by country, cell, question and option.

    Attributes
    ----------
    country : ndarray of int, shape (cells,)
        Country index.
    levels : ndarray of int, shape (cells, attributes)
        Level index of each attribute, -1 where the respondents did not say.
    n, w, w2 : ndarray of float, shape (cells, questions, options)
        Respondents, sum of weights, sum of squared weights. Options beyond a question's own are 0.
    """

    country: np.ndarray
    levels: np.ndarray
    n: np.ndarray
    w: np.ndarray
    w2: np.ndarray


def count(survey: Survey) -> Counts:
    """Count a survey's answers.

    Parameters
    ----------
    survey : Survey
        Respondents; without weights every weight is 1.

    Returns
    -------
    Counts
        One cell for each combination of country and levels that occurs.
    """
    keys = np.column_stack([survey.country, survey.levels])
    cells, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    options = max(len(question.options) for question in survey.study.questions.values())
    shape = (len(cells), survey.answers.shape[1], options)
    n, w, w2 = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for q in range(shape[1]):
        answered = survey.answers[:, q] != MISSING
        place = inverse[answered] * options + survey.answers[answered, q]
        weight = None if survey.weight is None else survey.weight[answered]
        squared = None if weight is None else weight**2
        for total, values in ((n, None), (w, weight), (w2, squared)):
            total[:, q, :] = np.bincount(place, values, minlength=shape[0] * options).reshape(shape[0], options)
    return Counts(cells[:, 0], cells[:, 1:], n, w, w2)


def on_grid(counts: Counts, keep: Sequence[int], sizes: Sequence[int], countries: int) -> Counts:
    """Sum the counts over the attributes that are not kept, onto every combination of those that are.

    Parameters
    ----------
    counts : Counts
        Counts by full persona.
    keep : sequence of int
        Positions of the attributes that stay specified.
    sizes : sequence of int
        Number of levels of each kept attribute.
    countries : int
        Number of countries.

    Returns
    -------
    Counts
        Cells in C order over (country, kept attributes), empty ones included. A respondent counts where
        every *kept* attribute is known.
    """
    kept = counts.levels[:, list(keep)]
    known = (kept != MISSING).all(axis=1)
    shape = (countries, *sizes)
    index = np.ravel_multi_index((counts.country[known], *kept[known].T), shape)
    cells = int(np.prod(shape))
    totals = []
    for values in (counts.n, counts.w, counts.w2):
        total = np.zeros((cells, *values.shape[1:]))
        np.add.at(total, index, values[known])
        totals.append(total)
    place = np.stack(np.unravel_index(np.arange(cells), shape), axis=1)
    return Counts(place[:, 0], place[:, 1:], *totals)
