"""Propensities: one for each comparison, fitted once in an audit and shared by all that needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causal.adjustment import Adjustment, Comparison, features
from causal.estimators.nuisance import Propensity, folds, levelled, propensities
from causal.survey import Survey


@dataclass(frozen=True)
class Fitted:
    """Fold and propensity of each of a comparison's respondents, shape (people,)."""

    fold: np.ndarray
    propensity: Propensity


class Propensities:
    """A survey's propensities, each fitted when it is first asked for and then kept."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self._kept: dict[tuple[int, Adjustment, str, str], Fitted | None] = {}

    def of(self, comparison: Comparison) -> Fitted | None:
        """Return a comparison's folds and propensities; None where one level has too few respondents."""
        key = (comparison.country, comparison.adjustment, comparison.reference, comparison.treated)
        if key not in self._kept:
            self._kept[key] = _fitted(self.survey, comparison)
        return self._kept[key]


def _fitted(survey: Survey, comparison: Comparison) -> Fitted | None:
    from threadpoolctl import threadpool_limits

    psu = survey.design.psu[comparison.people] if survey.design is not None and survey.study.survey.psu else None
    fold = folds(comparison.arm, psu)
    if fold is None:
        return None
    weight = weights(survey, comparison.people)
    x = features(survey, comparison)
    with threadpool_limits(1):  # the matrices are so small that threads would wait for each other
        found = propensities(x, comparison.arm, weight, fold)
        if psu is None:
            return Fitted(fold, found)
        # Who is like whom is not asked of whole PSUs: a PSU that holds most of a level is not people of another kind.
        people = folds(comparison.arm, None)
        raw = found if people is None else propensities(x, comparison.arm, weight, people)
        return Fitted(fold, Propensity(raw.raw, levelled(found.raw, comparison.arm, weight, fold)))


def weights(survey: Survey, people: np.ndarray) -> np.ndarray:
    """Return these respondents' weights with mean 1."""
    return np.ones(len(people)) if survey.weight is None else survey.weight[people] / survey.weight[people].mean()
