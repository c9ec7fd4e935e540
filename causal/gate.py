"""The gate: does the survey contradict the graph, are people comparable, could something unseen explain the effects?"""

from __future__ import annotations

import pandas as pd

from causal.balance import compared
from causal.check import Check
from causal.comparability import balance_check, overlap_check
from causal.confounding import left_out_check, regressions, sensitivity_check
from causal.counttable import AnySurvey
from causal.graphchecks import implications_check
from causal.placebochecks import control_check, halves_check, placebo_check
from causal.propensities import Propensities
from causal.survey import Survey


def gate_checks(survey: AnySurvey, cells: pd.DataFrame, propensities: Propensities | None = None) -> list[Check]:
    """Run the checks that ask whether effects may be read as causal.

    Parameters
    ----------
    survey : Survey, CountTable or FrameCounts
        Without respondents in memory most checks cannot be run; one check says so.
    cells : DataFrame
        The effects table's ``cell`` rows.
    propensities : Propensities, optional
        The survey's, if something else in the same audit needs them too.
    """
    study = survey.study
    if not isinstance(survey, Survey):
        return [unchecked(), *control_check(study, cells)]
    pairs = list(compared(survey, propensities or Propensities(survey)))
    fitted = regressions(survey, pairs)
    return [
        implications_check(survey),
        overlap_check(survey, pairs),
        balance_check(survey, pairs),
        *sensitivity_check(fitted, list(study.questions), study.causal_graph),
        *left_out_check(survey, fitted),
        *placebo_check(survey),
        *control_check(study, cells),
        *halves_check(survey),
    ]


def unchecked() -> Check:
    """Say that counts alone are not enough for the other checks."""
    return Check(
        "causal checks",
        0.0,
        0.0,
        "warn",
        "There are counts here and no respondents in memory, so it was not checked whether the survey contradicts the "
        "graph, whether people at two levels are comparable, and how strong an unmeasured cause would have to be.",
        "Run the audit on a file of respondents (of a large survey, some countries or a random part of the rows) for "
        "these.",
    )
