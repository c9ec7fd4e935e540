"""Rows of the econml package's learners, fitted to each country, attribute, treated level and question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from causal.adjustment import Comparison, Contexts, comparisons, features
from causal.backdoor import identified_adjustment
from causal.domains import Domains
from causal.encoding import MISSING
from causal.estimators.freedom import clustered_freedom
from causal.estimators.learners import Sample, Scores, averaged, fit, two_ends
from causal.estimators.nuisance import folds
from causal.estimators.result import Estimates
from causal.estimators.smallsample import Moments, infer, joined
from causal.grid import option_counts, scores
from causal.progress import progress_bars
from causal.propensities import weights
from causal.study import Study
from causal.survey import Survey

FAR = 4.0
"""Standard deviations beyond which a feature grows no more: the outermost functions of a spline basis are 0 for nearly
everybody, and a fold without the few others would be extrapolated to them."""


@dataclass(frozen=True)
class _Job:
    """One fit: a question of a comparison, and the contexts that its effects are averaged over."""

    comparison: Comparison
    question: int
    contexts: tuple[Contexts, ...]


def estimates(learner: str, survey: Survey, cells: pd.DataFrame) -> Estimates:
    """Estimate every toggle that DoWhy identifies.

    Fits run one after the other, or as many at once as a surrounding ``joblib.parallel_config`` says. A bar on
    stderr, if that is a terminal, counts them.

    Parameters
    ----------
    learner : str
        Such as ``econml.LinearDML``.
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.

    Returns
    -------
    Estimates
        One toggle for each row; NaN where the effect is not identified, a level has nobody in the context, or too
        few respondents to cross-fit.
    """
    from joblib import Parallel, delayed

    compared = list(comparisons(survey, cells, identified_adjustment))
    jobs = list(_jobs(learner, survey, compared))
    parts = []
    with progress_bars() as bars:
        bar = bars.add_task(learner, total=len(jobs), note="")
        samples = (_sample(survey, job) for job in jobs)
        fits = Parallel(return_as="generator")(delayed(_fitted)(learner, sample) for sample in samples)
        for job, learnt in zip(jobs, fits, strict=True):
            if learnt is not None:
                parts += [_part(survey, job, contexts, learnt) for contexts in job.contexts]
            bars.advance(bar)
    return _inferred(parts, survey.study, len(cells))


def _jobs(learner: str, survey: Survey, compared: list[Comparison]) -> Iterator[_Job]:
    """Yield the fits. LinearDML's effect is that of a context, so each set of held attributes needs its own."""
    for comparison in compared:
        for question in range(len(survey.study.questions)):
            if learner == "econml.LinearDML":
                yield from (_Job(comparison, question, (contexts,)) for contexts in comparison.contexts)
            else:
                yield _Job(comparison, question, comparison.contexts)


def _answered(survey: Survey, job: _Job) -> np.ndarray:
    """Positions in the comparison of those who answered."""
    return np.flatnonzero(survey.answers[job.comparison.people, job.question] != MISSING)


def _sample(survey: Survey, job: _Job) -> Sample | None:
    """Return the respondents of a fit, or None if there are too few to cross-fit."""
    own, names = _answered(survey, job), list(survey.study.attributes)
    people, arm = job.comparison.people[own], job.comparison.arm[own]
    fold = None
    if len(own):
        fold = folds(arm, survey.design.psu[people] if survey.design and survey.study.survey.psu else None)
    if fold is None:
        return None
    levels = survey.levels[people][:, [names.index(name) for name in job.comparison.adjustment.attributes]]
    cell = np.unique(levels, axis=0, return_inverse=True)[1].reshape(-1) if levels.shape[1] else np.zeros(len(own))
    y = np.eye(int(option_counts(survey.study)[job.question]))[survey.answers[people, job.question]]
    context = job.contexts[0].group[own]
    x = np.clip(features(survey, job.comparison)[own], -FAR, FAR)
    return Sample(y, arm, weights(survey, people), context, cell, x, fold)


def _fitted(learner: str, sample: Sample | None) -> Scores | None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the matrices are so small that threads would wait for each other
        return None if sample is None else fit(learner, sample)


@dataclass(frozen=True)
class _Part:
    """The toggles of a question and some contexts: their rows and moments."""

    rows: np.ndarray
    question: np.ndarray
    moments: Moments


def _part(survey: Survey, job: _Job, contexts: Contexts, learnt: Scores) -> _Part:
    """Average one fit's effects over contexts, with covariances under the survey's weights and design."""
    own, people, options = _answered(survey, job), job.comparison.people, int(option_counts(survey.study).max())
    rows = contexts.place[:, job.question]
    group, groups = contexts.group[own], len(rows)
    weight = weights(survey, people[own])
    effect, linearised = averaged(learnt, weight, group, groups)
    seen = _seen(survey.answers[people[own], job.question], job.comparison.arm[own], weight, group, effect.shape)
    ends = two_ends(effect, seen.marginal, seen.share)
    there = (rows != MISSING) & ~np.isnan(ends).any(axis=(0, 2))
    domains = Domains.of(contexts.group, groups, people, survey.country, survey.design)
    values = np.zeros((effect.shape[1], len(people), 1))
    values[:, own, 0] = linearised.T
    freedom = None
    if survey.study.survey.psu:
        scored = values[:, :, 0].T @ scores(survey.study)[job.question, : effect.shape[1], None]
        answers = np.zeros((len(people), 1))
        answers[own, 0] = weight
        sizes = seen.n_eff[:, :, None]
        freedom = clustered_freedom(domains, scored, job.comparison.arm, contexts.group, answers, sizes)
        freedom = freedom.at(there[:, None])
    moments = Moments(
        _padded(ends[:, there], options, 1),
        _padded(domains.covariance(values)[there, 0], options, 2),
        seen.n_eff[:, there],
        freedom,
    )
    return _Part(rows[there], np.full(len(rows), job.question)[there], moments)


def _inferred(parts: list[_Part], study: Study, toggles: int) -> Estimates:
    """Give the toggles their intervals and tests, each in its row."""
    score, options = scores(study), option_counts(study)
    found = Estimates.unknown(toggles, score.shape[1])
    rows, question = (
        np.concatenate([np.empty(0, int), *(getattr(part, name) for part in parts)]) for name in ("rows", "question")
    )
    if len(rows):
        moments = joined([part.moments for part in parts])
        known = infer(moments, score[question], options[question], study.effects.confidence)
        for item in fields(Estimates):
            getattr(found, item.name)[rows] = getattr(known, item.name)
    return found


@dataclass(frozen=True)
class _Seen:
    """What is seen in each context: shares of the options, share of the treated level, n_eff of the two levels."""

    marginal: np.ndarray
    share: np.ndarray
    n_eff: np.ndarray


def _seen(answer: np.ndarray, arm: np.ndarray, weight: np.ndarray, group: np.ndarray, shape: tuple[int, ...]) -> _Seen:
    """Summarise the respondents of each context; NaN where a level has nobody."""
    level = np.zeros(shape)
    np.add.at(level, (group, answer), weight)
    total, squares = (
        np.stack([np.bincount(group, power * (arm == a), shape[0]) for a in (0, 1)]) for power in (weight, weight**2)
    )
    total[:, (total == 0).any(axis=0)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Seen(level / total.sum(axis=0)[:, None], total[1] / total.sum(axis=0), total**2 / squares)


def _padded(values: np.ndarray, options: int, axes: int) -> np.ndarray:
    """Add zeros for the options that other questions have, along the last axes."""
    more = options - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - axes) + [(0, more)] * axes)
