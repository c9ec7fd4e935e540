"""How well the respondents at two levels overlap in what their comparison is adjusted for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.adjustment import Comparison, comparisons
from causal.estimators.aipw import fitted, weights
from causal.survey import Survey


@dataclass(frozen=True)
class Overlap:
    """What one comparison (country, attribute and two levels) rests on.

    Attributes
    ----------
    country, attribute, treated : str
        The comparison.
    adjusted_for : tuple of str
        What it is adjusted for in every context.
    left_out : float
        Share of the respondents at its two levels of whom something adjusted for is unknown.
    bounded : float
        Share of those kept whose propensity is beyond the bound.
    n, n_eff : float
        Respondents at the smaller side, and Kish's effective number with weights times inverse probabilities.
    fitted : bool
        Whether there are enough to fit anything.
    """

    country: str
    attribute: str
    treated: str
    adjusted_for: tuple[str, ...]
    left_out: float
    bounded: float
    n: int
    n_eff: float
    fitted: bool

    def __str__(self) -> str:
        return f"{self.attribute} {self.treated} in {self.country}"


def overlaps(survey: Survey, cells: pd.DataFrame) -> list[Overlap]:
    """Fit every propensity once more and say what it shows.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    """
    return [_overlap(survey, comparison) for comparison in comparisons(survey, cells)]


def _overlap(survey: Survey, comparison: Comparison) -> Overlap:
    study, arm = survey.study, comparison.arm
    attribute = comparison.adjustment.attribute
    own = survey.levels[survey.country == comparison.country, list(study.attributes).index(attribute)]
    levels = list(study.attributes[attribute].levels)
    at_either = int(np.isin(own, [levels.index(comparison.reference), levels.index(comparison.treated)]).sum())
    ready = fitted(survey, comparison)
    sizes = np.bincount(arm, minlength=2)
    n_eff, bounded = sizes.astype(float), 0.0
    if ready is not None:
        at_level = np.where(arm == 1, ready.propensity.value, 1 - ready.propensity.value)
        inverse = weights(survey, comparison.people) / at_level
        n_eff = np.bincount(arm, inverse) ** 2 / np.bincount(arm, inverse**2)
        bounded = float(ready.propensity.bounded.mean())
    smaller = int(n_eff.argmin())
    return Overlap(
        survey.countries[comparison.country],
        attribute,
        comparison.treated,
        comparison.adjustment.names,
        1 - len(arm) / at_either if at_either else 0.0,
        bounded,
        int(sizes[smaller]),
        float(n_eff[smaller]),
        ready is not None,
    )
