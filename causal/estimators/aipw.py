"""The ``aipw`` estimator: doubly robust effects, standardised over what is adjusted for within each context.

The mean answer of a context, were all its respondents at level a, is the mean of what the outcome model predicts for
them at a, plus the mean error of those predictions among the respondents who are at a, each weighted by the inverse
of the probability of being there (Robins, Rotnitzky and Zhao 1994, JASA 89, 846; Hajek's normalised form). It is right if
either the outcome model or the propensity is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import stdtrit

from causal.adjustment import Comparison, comparisons, features, question_chunks
from causal.domains import Domains
from causal.encoding import MISSING
from causal.estimators import cell
from causal.estimators.nuisance import Propensity, folds, outcomes, propensities
from causal.estimators.result import Estimates
from causal.grid import option_counts, scores
from causal.survey import Survey

PRIOR = 20.0
"""Respondents that count for adjustment leaving the variance as it is, when an interval is narrowed because of it."""


@dataclass(frozen=True)
class Augmented:
    """Adjusted means of the two levels in each domain.

    Attributes
    ----------
    mean : ndarray, shape (2, domains, questions, options)
        At the reference and at the treated level; NaN where nobody at that level answered.
    n_eff : ndarray, shape (2, domains, questions)
        Kish's effective number of those whose answers the mean rests on, inverse probabilities included.
    influence : ndarray, shape (people, questions, options)
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
    y : ndarray, shape (people, questions, options)
        Answers; finite also where there is none.
    weight : ndarray, shape (people, questions)
        Weight of each answer, 0 where there is none.
    arm : ndarray of int, shape (people,)
        0 or 1.
    propensity : ndarray, shape (people,)
        Probability of level 1.
    predicted : ndarray, shape (2, people, questions, options)
        Predicted answers at the two levels.
    group : ndarray of int, shape (people,)
        Domain of each.
    groups : int
        Number of domains.
    """
    people = np.arange(len(arm))
    flat = (groups, *y.shape[1:])
    adds = _adds(group, groups)
    adds_arm = _adds(arm * groups + group, 2 * groups)
    inverse = weight / np.where(arm == 1, propensity, 1 - propensity)[:, None]
    error = y - predicted[arm, people]
    total, total_arm = adds @ weight, adds_arm @ inverse
    squares = adds_arm @ inverse**2
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.stack([(adds @ _rows(weight[..., None] * one)).reshape(flat) for one in predicted])
        level /= total[..., None]
        left = (adds_arm @ _rows(inverse[..., None] * error)).reshape(2, *flat) / total_arm.reshape(2, groups, -1, 1)
        n_eff = np.where(squares > 0, total_arm**2 / squares, 0.0).reshape(2, groups, -1)
        share, share_arm = 1 / total, 1 / total_arm
    gain = predicted[1] - predicted[0] - (level[1] - level[0])[group]
    side = np.where(arm == 1, 1.0, -1.0)[:, None]
    influence = (weight * share[group])[..., None] * gain
    influence += (side * inverse * share_arm[arm * groups + group])[..., None] * (error - left[arm, group])
    influence[weight == 0] = 0
    return Augmented(level + left, n_eff, influence)


def _adds(place: np.ndarray, places: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(places, len(place)))


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


@dataclass(frozen=True)
class _Moments:
    """What intervals need of a set of toggles (first axis).

    ``p`` (2, toggles, options) are distributions, ``covariance`` (toggles, options, options) that of their
    difference; ``n_eff`` (2, toggles), ``units`` and ``df_limit`` (toggles) say what they rest on. ``units`` is 0
    without clusters.
    """

    rows: np.ndarray
    p: np.ndarray
    covariance: np.ndarray
    n_eff: np.ndarray
    units: np.ndarray
    df_limit: np.ndarray


def fitted(survey: Survey, comparison: Comparison) -> tuple[np.ndarray, np.ndarray, Propensity] | None:
    """Return features, folds and propensities of a comparison, None where one level has too few respondents."""
    psu = survey.design.psu[comparison.people] if survey.design is not None and survey.study.survey.psu else None
    fold = folds(comparison.arm, psu)
    if fold is None:
        return None
    x = features(survey, comparison)
    return x, fold, propensities(x, comparison.arm, weights(survey, comparison.people), fold)


def weights(survey: Survey, people: np.ndarray) -> np.ndarray:
    """Return these respondents' weights with mean 1."""
    return np.ones(len(people)) if survey.weight is None else survey.weight[people] / survey.weight[people].mean()


def estimates(survey: Survey, cells: pd.DataFrame) -> Estimates:
    """Estimate every toggle.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.

    Returns
    -------
    Estimates
        One toggle for each row; NaN where a level has too few respondents to fit anything.
    """
    options = option_counts(survey.study)
    found = Estimates.unknown(len(cells), int(options.max()))
    question = pd.Index(list(survey.study.questions)).get_indexer(cells["question"])
    for comparison in comparisons(survey, cells):
        for moments in _moments(survey, comparison):
            _fill(found, moments, survey, question[moments.rows])
    return found


def _moments(survey: Survey, comparison: Comparison) -> Iterator[_Moments]:
    ready = fitted(survey, comparison)
    if ready is None:
        return
    x, fold, propensity = ready
    people, arm = comparison.people, comparison.arm
    weight, options = weights(survey, people), option_counts(survey.study)
    layout = [
        Domains.of(contexts.group, len(contexts.place), people, survey.country, survey.design)
        for contexts in comparison.contexts
    ]
    for chunk in question_chunks(len(people), len(options), int(options.max())):
        answers = survey.answers[people, chunk]
        w = weight[:, None] * (answers != MISSING)
        own = np.arange(options.max()) < options[chunk, None]
        flat = own / options[chunk, None]
        y = (answers[..., None] == np.arange(options.max())) - flat
        predicted = outcomes(x, y, w, arm, fold)
        for contexts, domains in zip(comparison.contexts, layout, strict=True):
            means = augmented(y, w, arm, propensity.value, predicted, contexts.group, len(contexts.place))
            place = contexts.place[:, chunk]
            there = (place != MISSING) & ~np.isnan(means.mean[..., 0]).any(axis=0)
            units = domains.units(answers != MISSING) if survey.study.survey.psu else np.zeros(place.shape)
            yield _Moments(
                place[there],
                nearest_distribution(
                    (means.mean + flat)[:, there], np.broadcast_to(own, (*place.shape, own.shape[1]))[there]
                ),
                domains.covariance(means.influence)[there],
                means.n_eff[:, there],
                units[there],
                np.full(int(there.sum()), domains.df_limit),
            )


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


def _fill(found: Estimates, moments: _Moments, survey: Survey, question: np.ndarray) -> None:
    """Put a set of toggles with their intervals in its place."""
    rows, p, confidence = moments.rows, moments.p, survey.study.effects.confidence
    score, options = scores(survey.study)[question], option_counts(survey.study)[question]
    stretch = _stretch(moments, (1 + confidence) / 2)
    variance = np.einsum("tk,tkj,tj->t", score, moments.covariance, score)
    shift = cell.contrast(*_ends(p, score, variance, moments.n_eff, stretch), score, options, confidence)
    found.p_reference[rows], found.p_treated[rows] = p
    found.std_error[rows] = np.sqrt(np.maximum(variance, 0))
    for name in ("shift", "conf_low", "conf_high", "p_value"):
        getattr(found, name)[rows] = getattr(shift, name)
    found.effect_low[rows], found.effect_high[rows] = _shares(moments, stretch, np.eye(p.shape[-1]), confidence)
    found.cdf_low[rows], found.cdf_high[rows] = _shares(moments, stretch, np.tri(p.shape[-1]), confidence)
    last = np.arange(p.shape[-1]) >= options[:, None] - 1
    for name in ("cdf_low", "cdf_high"):
        getattr(found, name)[rows] = np.where(last, 0.0, getattr(found, name)[rows])


def _shares(
    moments: _Moments, stretch: np.ndarray, sums: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals of differences of shares: of each row of ``sums``, which says what options it adds up."""
    share = np.clip(moments.p @ sums.T, 0, 1)
    variance = np.einsum("ik,tkj,ij->ti", sums, moments.covariance, sums).ravel()
    both = np.stack([1 - share, share], axis=-1).reshape(2, -1, 2)
    score, each = np.array([0.0, 1.0]), share.shape[-1]
    n_eff, stretch = np.repeat(moments.n_eff, each, axis=1), np.repeat(stretch, each)
    ends = _ends(both, score, variance, n_eff, stretch)
    found = cell.contrast(*ends, score, np.full(len(variance), 2), confidence)
    return found.conf_low.reshape(-1, each), found.conf_high.reshape(-1, each)


def _ends(
    p: np.ndarray, score: np.ndarray, variance: np.ndarray, n_eff: np.ndarray, stretch: np.ndarray
) -> tuple[cell.Cells, cell.Cells]:
    """Return two independent cells of such a size that their difference has the variance given.

    Where adjustment makes it smaller than that of two cells of ``n_eff``, it is believed only as far as it rests on
    more than `PRIOR` respondents.
    """
    mean = (p * score).sum(axis=-1)
    plain = (((p * np.square(score)).sum(axis=-1) - mean**2) / n_eff).sum(axis=0)
    ratio = np.divide(variance, plain, out=np.ones_like(plain), where=plain > 1e-12)
    believed = n_eff.sum(axis=0)
    ratio = np.where(ratio < 1, (believed * ratio + PRIOR) / (believed + PRIOR), ratio)
    size = n_eff / (ratio * stretch**2)
    low, high = (cell.Cells(one, one / n[:, None], n, n) for one, n in zip(p, size, strict=True))
    return low, high


def _stretch(moments: _Moments, tail: float) -> np.ndarray:
    """Return how much wider Student's quantile is with the clusters' degrees of freedom than without clusters."""
    clustered = np.clip(moments.units - 1, 1, moments.df_limit)
    plain = np.maximum(moments.n_eff.sum(axis=0) - 2, 1)
    ratio = stdtrit(clustered, tail) / stdtrit(plain, tail)
    return np.where(moments.units > 0, np.maximum(ratio, 1.0), 1.0)
