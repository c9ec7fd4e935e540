"""Tests of the graph's conditional independencies on weighted, clustered survey data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, f, false_discovery_control

from causal.adjustment import spline
from causal.domains import Domains
from causal.encoding import MISSING
from causal.graph import ANSWER
from causal.implications import Independence, implied
from causal.survey import Survey

RANK = 1e-9
"""Share of the largest eigenvalue below which a direction is taken not to vary."""
SLACK = 1e-3
"""Share of a respondent's variance that least squares leaves at least."""


@dataclass(frozen=True)
class Finding:
    """An independence with its test.

    Attributes
    ----------
    claim : Independence
        What the graph says.
    question : str or None
        The question whose answer is one of the two, if it is.
    strength : float
        Association that is left given the others, from 0 to 1: a partial correlation where both are binary or numbers,
        Cramer's V where nothing is given; root mean square over countries, less what chance gives.
    statistic, df, p_value : float
        Sum over countries of each country's chi-squared, its degrees of freedom and tail.
    q_value : float
        Benjamini and Hochberg's, over everything that the graph implies.
    """

    claim: Independence
    question: str | None
    strength: float
    statistic: float
    df: int
    p_value: float
    q_value: float


@dataclass(frozen=True)
class _Country:
    """One country's part of a test."""

    statistic: float
    df: int
    squared: float
    people: int


def findings(survey: Survey) -> list[Finding]:
    """Test every independence that the study's graph implies, an answer's with each question.

    Both sides are reduced to what the given ones do not predict, by weighted least squares on every combination of the
    given levels and splines of the given numbers; what is left must be uncorrelated. With levels alone this is the
    generalised Cochran-Mantel-Haenszel test (Landis, Heyman & Koch 1978), otherwise the generalised covariance measure
    (Shah & Peters 2020, Annals of Statistics 48, 1514), here with the design's variance and Rao and Scott's
    second-order reference (Thomas & Rao 1987, JASA 82, 630), country by country. It cannot see associations that
    cancel over the levels held fixed within a country.

    Returns
    -------
    list of Finding
        In the order of `implied`; claims that nobody can be tested on are left out.
    """
    found = [
        (claim, question, parts)
        for claim in implied(survey.study.causal_graph)
        for question in (range(len(survey.study.questions)) if ANSWER in (claim.one, claim.other) else [None])
        if (parts := list(_countries(survey, claim, question)))
    ]
    totals = [(sum(part.statistic for part in parts), sum(part.df for part in parts)) for _, _, parts in found]
    p = [float(chi2.sf(statistic, df)) for statistic, df in totals]
    q = false_discovery_control(p) if p else []
    names = list(survey.study.questions)
    return [
        Finding(claim, None if question is None else names[question], _strength(parts), *total, one, float(many))
        for (claim, question, parts), total, one, many in zip(found, totals, p, q, strict=True)
    ]


def _strength(parts: Sequence[_Country]) -> float:
    squared = np.average([part.squared for part in parts], weights=[part.people for part in parts])
    return float(np.sqrt(max(squared, 0.0)))


def _countries(survey: Survey, claim: Independence, question: int | None) -> Iterator[_Country]:
    known = np.ones(survey.respondents, dtype=bool)
    for name in (claim.one, claim.other, *claim.given):
        known &= _known(survey, name, question)
    for country in range(len(survey.countries)):
        people = np.flatnonzero(known & (survey.country == country))
        if len(people) and (part := _one_country(survey, claim, question, people)):
            yield part


def _one_country(survey: Survey, claim: Independence, question: int | None, people: np.ndarray) -> _Country | None:
    weight = np.ones(len(people)) if survey.weight is None else survey.weight[people]
    weight = weight / weight.sum()
    given = _given(survey, claim.given, question, people)
    one, other = (
        _unpredicted(_columns(survey, name, question, people), given, weight) for name in (claim.one, claim.other)
    )
    if not one.shape[1] or not other.shape[1]:
        return None
    product = (one[:, :, None] * other[:, None, :]).reshape(len(people), -1)
    mean = weight @ product
    domains = Domains.of(np.zeros(len(people), dtype=np.int64), 1, people, survey.country, survey.design)
    # what least squares leaves of a respondent varies less than the respondent does, by 1 - leverage
    spread = weight[:, None] * (product - mean) / np.sqrt(np.maximum(1 - _leverage(given, weight), SLACK))[:, None]
    covariance = domains.covariance(spread.T[:, :, None])[0, 0]
    df = domains.df_limit if survey.design is not None else _worth(np.square(weight)) - 1
    within = [(side * weight[:, None]).T @ side for side in (one, other)]
    tail, rank = _rao_scott(mean, covariance, np.kron(*within), float(np.square(weight).sum()), df)
    if rank == 0:
        return None
    size = min(one.shape[1], other.shape[1])
    chance = rank * float(np.square(weight).sum()) / size
    return _Country(float(chi2.isf(max(tail, 1e-300), rank)), rank, _squared(one, other, weight) - chance, len(people))


def _rao_scott(
    mean: np.ndarray, covariance: np.ndarray, simple: np.ndarray, per_person: float, df: float
) -> tuple[float, int]:
    """Return the tail and rank of Rao and Scott's second-order test that means are 0.

    The statistic is measured by what independent people would give, ``simple * per_person``, and referred to F by the
    trace and the square of the true covariance in that measure. No covariance is taken to be smaller than that of so
    many people on the whole: where a combination of levels is rare, the estimate may come from empty cells.
    """
    values, vectors = np.linalg.eigh(simple)
    kept = values > RANK * max(values[-1], 1e-300)
    if not kept.any() or df <= 0:
        return 1.0, 0
    scaled = vectors[:, kept] / np.sqrt(values[kept])
    effect = scaled.T @ covariance @ scaled
    trace, rank = float(np.trace(effect)), int(kept.sum())
    if trace <= 0:
        return 1.0, 0
    terms = trace**2 / float(np.square(effect).sum())
    statistic = float(np.square(scaled.T @ mean).sum()) / max(trace, rank * per_person)
    return float(f.sf(statistic, terms, terms * df)), rank


def _leverage(given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the diagonal of the weighted least squares projection on the given columns."""
    vectors, values, _ = np.linalg.svd(given * np.sqrt(weight)[:, None], full_matrices=False)
    return np.square(vectors[:, values > RANK * values[0]]).sum(axis=1)


def _worth(values: np.ndarray) -> float:
    """Return how many equal terms a sum of positive terms is worth (Kish)."""
    return float(values.sum() ** 2 / np.square(values).sum())


def _squared(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> float:
    """Return the mean squared canonical correlation."""
    between = (one * weight[:, None]).T @ other
    within = [np.linalg.pinv((side * weight[:, None]).T @ side) for side in (one, other)]
    return float(np.trace(within[0] @ between @ within[1] @ between.T)) / min(between.shape)


def _unpredicted(values: np.ndarray, given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return what is left of the columns after weighted least squares, without those that nothing is left of."""
    root = np.sqrt(weight)[:, None]
    left = values - given @ np.linalg.lstsq(given * root, values * root, rcond=None)[0]
    spread = np.sqrt(weight @ left**2)
    return left[:, spread > 1e-6 * np.sqrt(np.maximum(weight @ values**2, 1e-300))]


def _given(survey: Survey, names: Sequence[str], question: int | None, people: np.ndarray) -> np.ndarray:
    """Return one indicator for each combination of the given levels, and spline columns of the given numbers."""
    values = [_values(survey, name, question)[people] for name in names]
    levels = [column for column in values if column.dtype.kind != "f"]
    keys = np.column_stack([np.zeros(len(people), dtype=np.int64), *levels])
    place = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    cells = (place[:, None] == np.arange(place.max() + 1)).astype(float)
    return np.concatenate([cells, *(spline(column) for column in values if column.dtype.kind == "f")], axis=1)


def _columns(survey: Survey, name: str, question: int | None, people: np.ndarray) -> np.ndarray:
    values = _values(survey, name, question)[people]
    if values.dtype.kind == "f":
        return values[:, None]
    return (values[:, None] == np.unique(values)[1:]).astype(float)


def _values(survey: Survey, name: str, question: int | None) -> np.ndarray:
    if name == ANSWER:
        assert question is not None
        return survey.answers[:, question]
    names = list(survey.study.attributes)
    return survey.levels[:, names.index(name)] if name in names else survey.covariates[name]


def _known(survey: Survey, name: str, question: int | None) -> np.ndarray:
    values = _values(survey, name, question)
    return ~np.isnan(values) if values.dtype.kind == "f" else values != MISSING
