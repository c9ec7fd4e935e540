"""Rows of the econml package's learners, fitted to each country, attribute, treated level and question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.adjustment import Comparison, Contexts, comparisons, features
from causal.cli import progress_bars
from causal.domains import Domains
from causal.encoding import MISSING
from causal.estimators.aipw import Moments, fill, weights
from causal.estimators.learners import Sample, Scores, averaged, fit, two_ends
from causal.estimators.nuisance import folds
from causal.estimators.result import Estimates
from causal.grid import option_counts
from causal.identification import identified_adjustment
from causal.survey import Survey


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

    found = Estimates.unknown(len(cells), int(option_counts(survey.study).max()))
    compared = list(comparisons(survey, cells, identified_adjustment))
    jobs = list(_jobs(learner, survey, compared))
    with progress_bars() as bars:
        bar = bars.add_task(learner, total=len(jobs), note="")
        samples = (_sample(survey, job) for job in jobs)
        fits = Parallel(return_as="generator")(delayed(_fitted)(learner, sample) for sample in samples)
        for job, scores in zip(jobs, fits, strict=True):
            if scores is not None:
                for contexts in job.contexts:
                    _place(found, survey, job, contexts, scores)
            bars.advance(bar)
    return found


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
    return Sample(y, arm, weights(survey, people), context, cell, features(survey, job.comparison)[own], fold)


def _fitted(learner: str, sample: Sample | None) -> Scores | None:
    return None if sample is None else fit(learner, sample)


def _place(found: Estimates, survey: Survey, job: _Job, contexts: Contexts, scores: Scores) -> None:
    """Put one fit's context effects in their rows, with variances under the survey's weights and design."""
    own, people = _answered(survey, job), job.comparison.people
    rows = contexts.place[:, job.question]
    group, groups = contexts.group[own], len(rows)
    weight = weights(survey, people[own])
    effect, linearised = averaged(scores, weight, group, groups)
    seen = _seen(survey.answers[people[own], job.question], job.comparison.arm[own], weight, group, effect.shape)
    ends = two_ends(effect, seen.marginal, seen.share)
    there = (rows != MISSING) & ~np.isnan(ends).any(axis=(0, 2))
    known, options = int(there.sum()), found.p_reference.shape[1]
    domains = Domains.of(contexts.group, groups, people, survey.country, survey.design)
    values = np.zeros((len(people), 1, effect.shape[1]))
    values[own, 0] = linearised
    answered = np.zeros((len(people), 1), dtype=bool)
    answered[own] = True
    units = domains.units(answered)[there, 0] if survey.study.survey.psu else np.zeros(known)
    moments = Moments(
        rows[there],
        _padded(ends[:, there], options, 1),
        _padded(domains.covariance(values)[there, 0], options, 2),
        seen.n_eff[:, there],
        units,
        np.full(known, domains.df_limit),
    )
    fill(found, moments, survey, np.full(known, job.question))


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
