"""The count core: the only step that touches respondents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from causal.design import Design
from causal.study import Study
from causal.survey import MISSING, Survey


@dataclass(frozen=True)
class PsuSums:
    """Weights added up within PSUs: what a design-based variance needs of the respondents.

    Attributes
    ----------
    psu, cell : ndarray of int, shape (parts,)
        The PSU and the cell (as in `Counts`) of each part, for all pairs that occur.
    w : tuple of sparse arrays, shape (parts, options)
        Sum of weights by option, one array for each question.
    stratum : ndarray of int, shape (PSUs,)
        Stratum of each PSU of the design, whether or not it has answers.
    df : ndarray, shape (countries,)
        Degrees of freedom of each country's design.
    """

    psu: np.ndarray
    cell: np.ndarray
    w: tuple[sparse.csr_array, ...]
    stratum: np.ndarray
    df: np.ndarray


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
    respondents : ndarray of int, shape (countries,)
        Everybody in the sample of each country, with or without an answer.
    psus : PsuSums, optional
        Weights within PSUs, for a survey with strata or PSUs.
    asked : ndarray, shape (cells, questions), optional
        Respondents of the cell who count for the question, with or without an answer; None where it is not known.
    """

    country: np.ndarray
    levels: np.ndarray
    n: np.ndarray
    w: np.ndarray
    w2: np.ndarray
    respondents: np.ndarray
    psus: PsuSums | None = None
    asked: np.ndarray | None = None


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
    cells, inverse = occurring_cells(survey.study, survey.country, survey.levels)
    options = max(len(question.options) for question in survey.study.questions.values())
    shape = (len(cells), survey.answers.shape[1], options)
    n, w, w2 = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    first = inverse * (options + 1) + 1  # one place more than options: answer -1 has its own, which is left out
    squared = None if survey.weight is None else survey.weight**2
    for q in range(shape[1]):
        place = first + survey.answers[:, q]
        for total, values in ((n, None), (w, survey.weight), (w2, squared)):
            sums = np.bincount(place, values, minlength=shape[0] * (options + 1))
            total[:, q, :] = sums.reshape(shape[0], options + 1)[:, 1:]
    respondents = np.bincount(survey.country, minlength=len(survey.countries))
    psus = None if survey.design is None else _within_psus(survey, survey.design, inverse, options)
    asked = np.broadcast_to(np.bincount(inverse, minlength=len(cells))[:, None], shape[:2])
    return Counts(cells[:, 0], cells[:, 1:], n, w, w2, respondents, psus, asked)


def occurring_cells(study: Study, country: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of country and levels that occur, sorted, and the place of each row."""
    shape = (int(country.max(initial=0)) + 1, *(len(item.levels) + 1 for item in study.attributes.values()))
    key = np.ravel_multi_index((country, *(levels.T + 1)), shape)  # level -1 takes the first place
    held, inverse = np.unique(key, return_inverse=True)
    axes = np.stack(np.unravel_index(held, shape), axis=1)
    axes[:, 1:] -= 1
    return axes, inverse.reshape(-1)


def _within_psus(survey: Survey, design: Design, cell: np.ndarray, options: int) -> PsuSums:
    cells = int(cell.max(initial=0)) + 1
    key, part = np.unique(design.psu.astype(np.int64) * cells + cell, return_inverse=True)
    part = part.reshape(-1)
    weight = np.ones(survey.respondents) if survey.weight is None else survey.weight
    sums = []
    for answers in survey.answers.T:
        answered = answers != MISSING
        entries = (weight[answered], (part[answered], answers[answered]))
        sums.append(sparse.csr_array(entries, shape=(len(key), options)))
    return PsuSums(key // cells, key % cells, tuple(sums), design.stratum, design.degrees_of_freedom)


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
    place = grid_place(counts, keep, sizes, countries)
    known = place >= 0
    shape = (countries, *sizes)
    cells = int(np.prod(shape))
    totals = []
    for values in (counts.n, counts.w, counts.w2):
        total = np.zeros((cells, *values.shape[1:]))
        np.add.at(total, place[known], values[known])
        totals.append(total)
    axes = np.stack(np.unravel_index(np.arange(cells), shape), axis=1)
    n, w, w2 = totals
    asked = None
    if counts.asked is not None:
        asked = np.zeros(n.shape[:2])
        np.add.at(asked, place[known], counts.asked[known])
    return Counts(axes[:, 0], axes[:, 1:], n, w, w2, counts.respondents, asked=asked)


def grid_place(counts: Counts, keep: Sequence[int], sizes: Sequence[int], countries: int) -> np.ndarray:
    """Return the cell of `on_grid` that each cell of the counts belongs to, -1 where a kept attribute is unknown."""
    kept = counts.levels[:, list(keep)]
    known = (kept != MISSING).all(axis=1)
    place = np.full(len(kept), MISSING, dtype=np.int64)
    place[known] = np.ravel_multi_index((counts.country[known], *kept[known].T), (countries, *sizes))
    return place
