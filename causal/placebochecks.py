"""Checks of estimates where they should find nothing, or the same twice: placebos, and halves of the survey."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causal.check import NOTHING, Check, counted, listed
from causal.placebo import halves, shuffled
from causal.study import Study
from causal.survey import Survey

FOUND = 0.05
"""Level of q-values."""
FALSE_FINDS = 0.07
CALM = 1.5
"""Mean squared difference between halves, over its expectation, above which standard errors say too little."""
MANY = 0.05
"""Share of a negative control's toggles that may stand out before it fails."""


def placebo_check(survey: Survey) -> list[Check]:
    """Share of toggles that are significant at .05 when levels are dealt out at random; none without support."""
    found = shuffled(survey)
    if not found.toggles:
        return []
    above = found.value - 2 * found.error > FALSE_FINDS
    times = counted(found.times, "shuffle")
    return [
        Check(
            "placebo attribute",
            found.value,
            FALSE_FINDS,
            "warn" if above else "pass",
            "Dealt out at random within countries, no attribute has an effect. "
            f"{found.value:.1%} of {counted(found.toggles, 'toggle')} then have p < .05 (simulation error "
            f"{found.error:.1%}, {times}); 5% or less is right.",
            "p-values are too small here: cells may be too small, or weights too unequal, for their intervals; raise "
            "effects.support."
            if above
            else NOTHING,
        )
    ]


def control_check(study: Study, cells: pd.DataFrame) -> list[Check]:
    """Share of significant toggles of the questions that the study names as negative controls; none without any.

    Parameters
    ----------
    study : Study
        Names them.
    cells : DataFrame
        The effects table's ``cell`` rows.
    """
    controls = list(study.checks.negative_controls)
    rows = cells[cells["question"].isin(controls) & cells["supported"]]
    if not len(rows):
        return []
    moved = rows[rows["q_value"] < FOUND]
    share = len(moved) / len(rows)
    said = f"The study says that no attribute moves {listed(controls)}. "
    if len(moved):
        worst = moved.iloc[int(np.argmax(moved["shift"].abs().to_numpy()))]
        said += (
            f"{len(moved)} of {counted(len(rows), 'toggle')} {'does' if len(moved) == 1 else 'do'} (q < {FOUND}), most "
            f"{worst['attribute']} in {worst['country']}, by a shift of {worst['shift']:+.3f}."
        )
    else:
        said += f"None of {counted(len(rows), 'toggle')} does (q < {FOUND})."
    return [
        Check(
            "placebo question",
            share,
            0.0,
            "pass" if not len(moved) else "warn" if share < MANY else "fail",
            said,
            "What moves these questions (who was reached, who interviewed, how people use the scale) may move the "
            "others "
            "as well; by as much, if nothing else is known."
            if len(moved)
            else NOTHING,
        )
    ]


def halves_check(survey: Survey) -> list[Check]:
    """Mean squared difference of the shifts of two random halves, over its expectation; none without support."""
    found = halves(survey)
    if not found.toggles:
        return []
    calm = found.value - 2 * found.error <= CALM
    same = (
        ""
        if np.isnan(found.same_sign)
        else f" Of the shifts that are told apart from 0 in one half, {found.same_sign:.0%} have the same sign in "
        f"the other."
    )
    spread = f"simulation error {found.error:.2f}, {counted(found.times, 'split')}"
    return [
        Check(
            "random halves",
            found.value,
            CALM,
            "pass" if calm else "warn",
            f"The shifts of two random halves of the survey differ {found.value:.2f} times as much as their standard "
            f"errors "
            f"say (mean square; {spread}; one attribute specified); about 1 is right.{same}",
            NOTHING
            if calm
            else "Standard errors say too little: a few respondents or PSUs with large weights may drive the results.",
        )
    ]
