"""Are people at the two levels of an attribute alike in what is adjusted for: propensities, and balance by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from causal.adjustment import Adjustment, Comparison, adjustment, indicators, known
from causal.estimators.aipw import fitted, weights
from causal.survey import Survey

COMMON = (0.05, 0.95)
"""Propensities between which both levels are really there to compare."""


@dataclass(frozen=True)
class Compared:
    """One attribute's two levels in one country.

    Attributes
    ----------
    country : str
        The country.
    adjustment : Adjustment
        The attribute and what it is adjusted for.
    treated : str
        The level compared with the reference.
    people : ndarray of int
        Positions of the respondents compared.
    arm : ndarray of int, shape (people,)
        0 at the reference, 1 at the treated level.
    propensity : ndarray, shape (people,)
        Cross-fitted probability of the treated level; NaN where a level has too few people to fit it.
    """

    country: str
    adjustment: Adjustment
    treated: str
    people: np.ndarray
    arm: np.ndarray
    propensity: np.ndarray

    @property
    def common(self) -> float:
        """Share of people at whose characteristics both levels occur: propensity within `COMMON`."""
        if not len(self.people):
            return 0.0
        return float(((self.propensity >= COMMON[0]) & (self.propensity <= COMMON[1])).mean())


def compared(survey: Survey) -> Iterator[Compared]:
    """Fit each attribute's propensity in each country, given everything it does not cause."""
    study, names = survey.study, list(survey.study.attributes)
    for attribute, declared in study.attributes.items():
        chosen = adjustment(study, attribute, ())
        own, usable = survey.levels[:, names.index(attribute)], known(survey, chosen)
        for level, treated in enumerate(list(declared.levels)[1:], start=1):
            at_either = usable & ((own == 0) | (own == level))
            for country, name in enumerate(survey.countries):
                people = np.flatnonzero(at_either & (survey.country == country))
                arm = (own[people] > 0).astype(np.int8)
                fit = fitted(survey, Comparison(country, chosen, next(iter(declared.levels)), treated, people, arm, ()))
                propensity = np.full(len(people), np.nan) if fit is None else fit.propensity.value
                yield Compared(name, chosen, treated, people, arm, propensity)


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

    Both are divided by the standard deviation before weighting, so that they can be compared.
    """
    weight = weights(survey, pair.people)
    inverse = weight / np.where(pair.arm == 1, pair.propensity, 1 - pair.propensity)
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


def _columns(survey: Survey, name: str, people: np.ndarray) -> np.ndarray:
    names = list(survey.study.attributes)
    values = (survey.levels[:, names.index(name)] if name in names else survey.covariates[name])[people]
    return values[:, None] if values.dtype.kind == "f" else indicators(values)


def _mean(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ columns / weight.sum()


def _variance(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ (columns - _mean(columns, weight)) ** 2 / weight.sum()
