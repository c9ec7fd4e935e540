"""Whether people of every kind occur at both levels: without that an adjusted effect is not identified.

Positivity is part of identification (Petersen et al. 2012, Statistical Methods in Medical Research 21, 31). The rule,
after Crump et al. (2009, Biometrika 96, 187), is the same for the checks, the estimands and the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from causal.adjustment import Comparison, measured
from causal.estimators.newcombe import wilson
from causal.propensities import weights
from causal.survey import Survey

COMMON = (0.05, 0.95)
"""Probabilities of the treated level, were both equally frequent, between which both are really there to compare."""
COMMON_SHARE = 0.9
"""Share of people that must be of kinds found at both levels."""
FIFTHS = (0.2, 0.4, 0.6, 0.8)
"""Quantiles between which a number's values are one kind."""
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Positivity:
    """Who of a comparison's respondents is of a kind found at both levels, by context.

    Attributes
    ----------
    even : ndarray, shape (people,)
        Propensity, were both levels equally frequent in the context, so that a rare level does not look like one whose
        people are unlike the others.
    common : ndarray of bool, shape (people,)
        Whether ``even`` lies within `COMMON`, and so does the share of the treated level among those of the context
        who are in the same category, or the same fifth, of any one thing that is adjusted for.
    share : ndarray, shape (contexts,)
        Weighted share of ``common``; NaN where there is nobody.
    lacks : ndarray of bool, shape (contexts,)
        Whether the context lacks overlap: the upper end of the share's 95% interval is below `COMMON_SHARE`.
    """

    even: np.ndarray
    common: np.ndarray
    share: np.ndarray
    lacks: np.ndarray


def positivity(survey: Survey, comparison: Comparison, raw: np.ndarray, group: np.ndarray, groups: int) -> Positivity:
    """Apply the rule to each context of a comparison.

    Parameters
    ----------
    survey : Survey
        Respondents.
    comparison : Comparison
        Whom it compares, and what it is adjusted for.
    raw : ndarray, shape (people,)
        Propensities.
    group : ndarray of int, shape (people,)
        Context of each.
    groups : int
        Number of contexts.
    """
    weight = weights(survey, comparison.people)
    even = _evened(raw, comparison.arm, weight, group, groups)
    common = _within(even)
    for name in comparison.adjustment.names:
        common &= _within(_among_alike(kinds(survey, name, comparison.people), comparison.arm, group, groups))
    total, squares = (np.bincount(group, power, groups) for power in (weight, weight**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.bincount(group, weight * common, groups) / total
        most = wilson(share, total**2 / squares, float(norm.isf((1 - _CONFIDENCE) / 2)))[1]
    lacks = (most < COMMON_SHARE) & bool(comparison.adjustment.names)  # who is adjusted for nothing lacks nobody alike
    return Positivity(even, common, share, lacks)


def _within(probability: np.ndarray) -> np.ndarray:
    return (probability >= COMMON[0]) & (probability <= COMMON[1])


def _evened(raw: np.ndarray, arm: np.ndarray, weight: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    total = np.bincount(group, weight, groups)
    share = np.divide(np.bincount(group, weight * arm, groups), total, out=np.zeros(groups), where=total > 0)[group]
    at, other = raw * (1 - share), (1 - raw) * share
    return at / (at + other)


def _among_alike(kind: np.ndarray, arm: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the share of the treated level among those alike, at even odds, half a person added to either count.

    So ten of a kind at one level and nobody at the other are beyond `COMMON` where both levels are equally frequent. A
    logistic regression that is pulled to 0 would not see as much in a small country.
    """
    width = int(kind.max(initial=0)) + 1
    count = np.stack([np.bincount((group * width + kind)[arm == a], minlength=groups * width) for a in (0, 1)])
    count = count.reshape(2, groups, width)
    rate = (count + 0.5) / (count.sum(axis=2, keepdims=True) + 1)
    return (rate[1] / rate.sum(axis=0))[group, kind]


def kinds(survey: Survey, name: str, people: np.ndarray) -> np.ndarray:
    """Return the category of each of these respondents, or a number's fifth, counted from 0, shape (people,)."""
    values = measured(survey, name)[people]
    distinct, place = np.unique(values, return_inverse=True)
    if values.dtype.kind != "f" or len(distinct) <= len(FIFTHS) + 1:
        return place.reshape(-1)
    return np.searchsorted(np.unique(np.quantile(values, FIFTHS)), values, side="right")


def most_apart(survey: Survey, comparison: Comparison, within: np.ndarray) -> str:
    """Return what is adjusted for whose kinds differ most between the levels (total variation), among some people."""
    people, arm = comparison.people[within], comparison.arm[within]
    weight = weights(survey, people)

    def apart(name: str) -> float:
        kind = kinds(survey, name, people)
        at, other = (np.bincount(kind, weight * (arm == a), kind.max() + 1) for a in (0, 1))
        return float(np.abs(at / max(at.sum(), 1e-12) - other / max(other.sum(), 1e-12)).sum())

    return max(comparison.adjustment.names, key=apart)
