"""Are people at the two levels of an attribute alike in what is adjusted for: propensities, and balance by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from causal.adjustment import Adjustment, Comparison, adjustment, indicators, known
from causal.estimators.aipw import fitted, weights
from causal.estimators.nuisance import Propensity
from causal.survey import Survey

COMMON = (0.05, 0.95)
"""Probabilities of the treated level, were both equally frequent, between which both are really there to compare."""


@dataclass(frozen=True)
class Compared:
    """One attribute's two levels in one country.

    Attributes
    ----------
    country : str
        The country.
    adjustment : Adjustment
        The attribute and what it is adjusted for.
    reference, treated : str
        The two levels.
    people : ndarray of int
        Positions of the respondents compared.
    arm : ndarray of int, shape (people,)
        0 at the reference, 1 at the treated level.
    propensity : Propensity or None
        Cross-fitted probability of the treated level; None where a level has too few people to fit it.
    even : ndarray, shape (people,)
        The same, were both levels equally frequent, so that a rare level does not look like one whose people are unlike
        the others; NaN where nothing is fitted.
    """

    country: str
    adjustment: Adjustment
    reference: str
    treated: str
    people: np.ndarray
    arm: np.ndarray
    propensity: Propensity | None
    even: np.ndarray

    def __str__(self) -> str:
        return f"{self.adjustment.attribute} {self.treated} in {self.country}"

    @property
    def common(self) -> float:
        """Share of people at whose characteristics both levels occur: `even` within `COMMON`; NaN if not fitted."""
        if self.propensity is None:
            return np.nan
        return float(((self.even >= COMMON[0]) & (self.even <= COMMON[1])).mean())


def compared(survey: Survey) -> Iterator[Compared]:
    """Fit the propensity of each of an attribute's contrasts in each country, given all that it is adjusted for."""
    study, names = survey.study, list(survey.study.attributes)
    for attribute, declared in study.attributes.items():
        chosen = adjustment(study, attribute, ())
        own, usable, levels = survey.levels[:, names.index(attribute)], known(survey, chosen), list(declared.levels)
        for base, level in declared.pairs:
            at_either = usable & ((own == base) | (own == level))
            for country, name in enumerate(survey.countries):
                people = np.flatnonzero(at_either & (survey.country == country))
                arm = (own[people] == level).astype(np.int8)
                fit = fitted(survey, Comparison(country, chosen, levels[base], levels[level], people, arm, ()))
                found = None if fit is None else fit.propensity
                even = _evened(found, arm, weights(survey, people))
                yield Compared(name, chosen, levels[base], levels[level], people, arm, found, even)


def _evened(propensity: Propensity | None, arm: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if propensity is None:
        return np.full(len(arm), np.nan)
    share = float(np.average(arm, weights=weight))
    at, other = propensity.raw * (1 - share), (1 - propensity.raw) * share
    return at / (at + other)


@dataclass(frozen=True)
class Difference:
    """Standardised difference of one variable between the two levels, in one country.

    Attributes
    ----------
    variable : str
        What is adjusted for.
    before, after : float
        Difference of means over the standard deviation within levels (that of the largest difference among a
        variable's categories), as the respondents are, and weighted by inverse propensities.
    """

    variable: str
    before: float
    after: float


def differences(survey: Survey, pair: Compared) -> list[Difference]:
    """Return the standardised difference of each variable adjusted for (Austin 2009, Statistics in Medicine 28, 3083).

    Both are divided by the standard deviation before weighting, so that they can be compared. Nothing is returned
    where no propensity was fitted.
    """
    if pair.propensity is None:
        return []
    weight, inverse = weights(survey, pair.people), inverse_weights(survey, pair.arm, pair.people, pair.propensity)
    found = []
    for name in pair.adjustment.names:
        columns = _columns(survey, name, pair.people)
        spread = np.sqrt(sum(_variance(columns[pair.arm == a], weight[pair.arm == a]) for a in (0, 1)) / 2)
        known_spread = np.where(spread > 1e-12, spread, np.inf)
        gaps = [
            np.abs(_mean(columns, by * (pair.arm == 1)) - _mean(columns, by * (pair.arm == 0))) / known_spread
            for by in (weight, inverse)
        ]
        found.append(Difference(name, *(float(gap.max(initial=0)) for gap in gaps)))
    return found


def inverse_weights(survey: Survey, arm: np.ndarray, people: np.ndarray, propensity: Propensity) -> np.ndarray:
    """Return weights over the probability of the level that each respondent is at, shape (people,)."""
    return weights(survey, people) / np.where(arm == 1, propensity.value, 1 - propensity.value)


def _columns(survey: Survey, name: str, people: np.ndarray) -> np.ndarray:
    names = list(survey.study.attributes)
    values = (survey.levels[:, names.index(name)] if name in names else survey.covariates[name])[people]
    return values[:, None] if values.dtype.kind == "f" else indicators(values)


def _mean(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ columns / weight.sum()


def _variance(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ (columns - _mean(columns, weight)) ** 2 / weight.sum()
