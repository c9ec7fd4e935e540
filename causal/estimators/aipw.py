"""The ``aipw`` estimator: doubly robust effects, standardised over what is adjusted for within each context.

The mean answer of a context, were all its respondents at level a, is the mean of what the outcome model predicts for
them at a, plus the mean error of those predictions among the respondents who are at a, each weighted by the inverse
of the probability of being there (Robins, Rotnitzky and Zhao 1994, JASA 89, 846), the weights normalised to 1. It is
right if either the outcome model or the propensity is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from causal.adjustment import Comparison, comparisons, features, question_chunks
from causal.domains import Domains
from causal.encoding import MISSING
from causal.estimators.freedom import clustered_freedom
from causal.estimators.nuisance import outcomes
from causal.estimators.result import Estimates
from causal.estimators.smallsample import Moments, infer, joined
from causal.grid import option_counts, scores
from causal.propensities import Fitted, Propensities, weights
from causal.survey import Survey

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@dataclass(frozen=True)
class Augmented:
    """Adjusted means of the two levels in each domain.

    Attributes
    ----------
    mean : ndarray, shape (2, domains, questions, options)
        At the reference and at the treated level; NaN where nobody at that level answered.
    n_eff : ndarray, shape (2, domains, questions)
        Kish's effective number of those whose answers the mean rests on, inverse probabilities included.
    influence : ndarray, shape (options, people, questions)
        Linearised value of the difference treated minus reference; they sum to 0 in each domain.
    """

    mean: np.ndarray
    n_eff: np.ndarray
    influence: np.ndarray


def augmented(
    y: np.ndarray,
    weight: np.ndarray,
    arm: np.ndarray,
    propensity: np.ndarray,
    predicted: np.ndarray,
    group: np.ndarray,
    groups: int,
) -> Augmented:
    """Average the predictions over each domain and add the weighted mean of their errors.

    Parameters
    ----------
    y : ndarray, shape (options, people, questions)
        Answers; finite also where there is none.
    weight : ndarray, shape (people, questions)
        Weight of each answer, 0 where there is none.
    arm : ndarray of int, shape (people,)
        0 or 1.
    propensity : ndarray, shape (people,)
        Probability of level 1.
    predicted : ndarray, shape (2, options, people, questions)
        Predicted answers at the two levels.
    group : ndarray of int, shape (people,)
        Domain of each.
    groups : int
        Number of domains.
    """
    options, _, questions = y.shape
    cell = arm * groups + group
    adds, adds_arm = _adds(group, groups), _adds(cell, 2 * groups)
    inverse = weight / np.where(arm == 1, propensity, 1 - propensity)[:, None]
    total, total_arm = adds @ weight, adds_arm @ inverse
    squares = adds_arm @ inverse**2
    share = _quotient(weight, total[group])
    share_arm = _quotient(inverse, total_arm[cell]) * np.where(arm == 1, 1.0, -1.0)[:, None]
    level, left = np.empty((2, groups, questions, options)), np.empty((2, groups, questions, options))
    influence = np.empty_like(y)
    for k in range(options):
        reference, treated = predicted[:, k]
        error = y[k] - np.where(arm[:, None] == 1, treated, reference)
        level[..., k] = [_quotient(adds @ (weight * one), total) for one in (reference, treated)]
        missed = _quotient(adds_arm @ (inverse * error), total_arm)
        left[..., k] = missed.reshape(2, groups, questions)
        gain = level[1, :, :, k] - level[0, :, :, k]
        influence[k] = share * (treated - reference - gain[group]) + share_arm * (error - missed[cell])
    n_eff = _quotient(total_arm**2, squares).reshape(2, groups, questions)
    return Augmented(np.where(n_eff[..., None] > 0, level + left, np.nan), n_eff, influence)


def _quotient(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Divide, with 0 where nothing is to be divided by."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)


def _adds(place: np.ndarray, places: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(places, len(place)))


def estimates(survey: Survey, cells: pd.DataFrame, propensities: Propensities) -> Estimates:
    """Estimate every toggle.

    One comparison (country, attribute, treated level and what is adjusted for) is one joblib task, so a
    `joblib.parallel_config` around the call says where they run; by default one after another.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    propensities : Propensities
        The survey's.

    Returns
    -------
    Estimates
        One toggle for each row; NaN where a level has too few respondents to fit anything.
    """
    from joblib import Parallel, delayed

    options = option_counts(survey.study)
    found = Estimates.unknown(len(cells), int(options.max()))
    tasks = (delayed(_solved)(survey, one, propensities.of(one)) for one in comparisons(survey, cells))
    for rows, part in Parallel(return_as="generator")(tasks):
        for item in fields(Estimates):
            getattr(found, item.name)[rows] = getattr(part, item.name)
    return found


@dataclass(frozen=True)
class _Part:
    """The toggles of some contexts and questions: their rows, questions and moments."""

    rows: np.ndarray
    question: np.ndarray
    moments: Moments


def _solved(survey: Survey, comparison: Comparison, ready: Fitted | None) -> tuple[np.ndarray, Estimates]:
    """Return the rows of a comparison's toggles and what is found for them."""
    study, options, score = survey.study, option_counts(survey.study), scores(survey.study)
    with _threads().limit(limits=1):  # the matrices are so small that threads would wait for each other
        parts = [] if ready is None else list(_parts(survey, comparison, ready))
    rows, question = (
        np.concatenate([np.empty(0, int), *(getattr(one, name) for one in parts)]) for name in ("rows", "question")
    )
    if not len(rows):
        return rows, Estimates.unknown(0, score.shape[1])
    moments = joined([part.moments for part in parts])
    return rows, infer(moments, score[question], options[question], study.effects.confidence)


@cache
def _threads() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _parts(survey: Survey, comparison: Comparison, ready: Fitted) -> Iterator[_Part]:
    people, arm, study = comparison.people, comparison.arm, survey.study
    weight, options, x = weights(survey, people), option_counts(study), features(survey, comparison)
    score = scores(study)
    option = np.arange(options.max())
    layout = [
        Domains.of(contexts.group, len(contexts.place), people, survey.country, survey.design)
        for contexts in comparison.contexts
    ]
    for chunk in question_chunks(len(people), len(options), len(option)):
        answers = survey.answers[people, chunk]
        w = weight[:, None] * (answers != MISSING)
        own = option < options[chunk, None]
        even = own / options[chunk, None]  # what is predicted where nobody else answered
        y = (answers == option[:, None, None]) - even.T[:, None]
        predicted = outcomes(x, y, w, arm, ready.fold)
        for contexts, domains in zip(comparison.contexts, layout, strict=True):
            group, groups = contexts.group, len(contexts.place)
            means = augmented(y, w, arm, ready.propensity.value, predicted, group, groups)
            place = contexts.place[:, chunk]
            there = (place != MISSING) & (means.n_eff > 0).all(axis=0)
            question = np.nonzero(there)[1]
            freedom = None
            if study.survey.psu:
                scored = np.einsum("kpq,qk->pq", means.influence, score[chunk])
                freedom = clustered_freedom(domains, scored, arm, group, w, means.n_eff).at(there)
            moments = Moments(
                nearest_distribution((means.mean + even)[:, there], own[question]),
                domains.covariance(means.influence)[there],
                means.n_eff[:, there],
                freedom,
            )
            yield _Part(place[there], chunk.start + question, moments)


def nearest_distribution(p: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the distributions nearest to vectors that sum to 1 but may leave [0, 1].

    Nearest is Euclidean (Duchi et al. 2008, ICML), which brings each vector nearer to any distribution, the true
    one included.

    Parameters
    ----------
    p : ndarray, shape (..., options)
        Sums to 1.
    own : ndarray of bool, broadcastable
        Which options exist; the others stay 0.
    """
    ranked = -np.sort(-np.where(own, p, -1e3), axis=-1)
    excess = (ranked.cumsum(axis=-1) - 1) / np.arange(1, p.shape[-1] + 1)
    last = (ranked > excess).sum(axis=-1, keepdims=True) - 1
    moved = np.where(own, np.maximum(p - np.take_along_axis(excess, last, axis=-1), 0), 0.0)
    return np.where((p < 0).any(axis=-1, keepdims=True), moved, np.where(own, p, 0.0))
