"""Are people at the two levels of an attribute alike in what is adjusted for: propensities, and balance by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from causal.adjustment import Adjustment, Comparison, adjustment, indicators, known, measured
from causal.estimators.nuisance import Propensity
from causal.positivity import Positivity, most_apart, positivity
from causal.propensities import Propensities, weights
from causal.survey import Survey

TINY = 1e-12
"""Standard deviation that counts as none."""


@dataclass(frozen=True)
class Compared:
    """One attribute's two levels in one country.

    Attributes
    ----------
    country, named : str
        The country, and what it is called.
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
    positivity : Positivity or None
        Who of them is of a kind found at both levels, nothing held; likewise.
    apart_by : str
        What is adjusted for that differs most between the levels; "" unless overlap is lacking.
    """

    country: str
    named: str
    adjustment: Adjustment
    reference: str
    treated: str
    people: np.ndarray
    arm: np.ndarray
    propensity: Propensity | None
    positivity: Positivity | None
    apart_by: str

    def __str__(self) -> str:
        return f"{self.adjustment.attribute} {self.treated} in {self.named}"

    @property
    def common(self) -> float:
        """Weighted share of people of kinds found at both levels; NaN if nothing is fitted."""
        return np.nan if self.positivity is None else float(self.positivity.share[0])

    @property
    def lacks(self) -> bool:
        """Whether overlap is lacking, by the rule of `causal.positivity`."""
        return self.positivity is not None and bool(self.positivity.lacks[0])


def compared(survey: Survey, propensities: Propensities) -> Iterator[Compared]:
    """Compare the levels of each of an attribute's contrasts in each country, given all that it is adjusted for."""
    study, names = survey.study, list(survey.study.attributes)
    for attribute, declared in study.attributes.items():
        chosen = adjustment(study, attribute, ())
        own, usable, levels = survey.levels[:, names.index(attribute)], known(survey, chosen), list(declared.levels)
        for base, level in declared.pairs:
            at_either = usable & ((own == base) | (own == level))
            for country in range(len(survey.countries)):
                people = np.flatnonzero(at_either & (survey.country == country))
                arm = (own[people] == level).astype(np.int8)
                one = Comparison(country, chosen, levels[base], levels[level], people, arm, ())
                yield _compared(survey, one, propensities)


def _compared(survey: Survey, one: Comparison, propensities: Propensities) -> Compared:
    ready, found, apart = propensities.of(one), None, ""
    if ready is not None:
        found = positivity(survey, one, ready.propensity.raw, np.zeros(len(one.people), dtype=np.int64), 1)
        apart = most_apart(survey, one, np.ones(len(one.people), dtype=bool)) if found.lacks[0] else ""
    return Compared(
        survey.countries[one.country],
        survey.study.country_name(survey.countries[one.country]),
        one.adjustment,
        one.reference,
        one.treated,
        one.people,
        one.arm,
        None if ready is None else ready.propensity,
        found,
        apart,
    )


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
    error : float
        Standard error of ``after``, were there no difference: by Kish's effective numbers at the two levels.
    """

    variable: str
    before: float
    after: float
    error: float


def differences(survey: Survey, pair: Compared) -> list[Difference]:
    """Return the standardised difference of each variable adjusted for (Austin 2009, Statistics in Medicine 28, 3083).

    Both are divided by the standard deviation within levels before weighting, so that they can be compared; where
    that is 0, because the variable goes with the level without exception, by that of all. Nothing is returned where no
    propensity was fitted.
    """
    if pair.propensity is None:
        return []
    weight, inverse = weights(survey, pair.people), inverse_weights(survey, pair.arm, pair.people, pair.propensity)
    error = float(np.sqrt((np.bincount(pair.arm, inverse**2) / np.bincount(pair.arm, inverse) ** 2).sum()))
    found = []
    for name in pair.adjustment.names:
        columns = _columns(survey, name, pair.people)
        spread = np.sqrt(sum(_variance(columns[pair.arm == a], weight[pair.arm == a]) for a in (0, 1)) / 2)
        spread = np.where(spread > TINY, spread, np.sqrt(_variance(columns, weight)))
        known_spread = np.where(spread > TINY, spread, np.inf)
        before, after = (
            np.abs(_mean(columns, by * (pair.arm == 1)) - _mean(columns, by * (pair.arm == 0))) / known_spread
            for by in (weight, inverse)
        )
        found.append(Difference(name, float(before.max(initial=0)), float(after.max(initial=0)), error))
    return found


def inverse_weights(survey: Survey, arm: np.ndarray, people: np.ndarray, propensity: Propensity) -> np.ndarray:
    """Return weights over the probability of the level that each respondent is at, shape (people,)."""
    return weights(survey, people) / np.where(arm == 1, propensity.value, 1 - propensity.value)


def _columns(survey: Survey, name: str, people: np.ndarray) -> np.ndarray:
    values = measured(survey, name)[people]
    return values[:, None] if values.dtype.kind == "f" else indicators(values)


def _mean(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ columns / weight.sum()


def _variance(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ (columns - _mean(columns, weight)) ** 2 / weight.sum()
