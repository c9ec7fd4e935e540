"""Checks of whether people at two levels can be compared: overlap, and balance after weighting by propensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from causal.balance import COMMON, Compared, differences, inverse_weights
from causal.check import NOTHING, Check, Verdict, listed, worst_rows
from causal.survey import Survey

COMMON_SHARE, LEAST_COMMON = 0.9, 0.5
BALANCED, UNBALANCED = 0.1, 0.25
QUANTILES = (0.05, 0.5, 0.95)


def overlap_check(survey: Survey, pairs: Sequence[Compared]) -> Check:
    """Smallest share of people, of any contrast and country, at whose characteristics both levels occur."""
    rows = [_overlap(survey, one) for one in pairs]
    told = [row for row in rows if row["common"] is not None]
    share = min((float(row["common"]) for row in told), default=1.0)
    bad = sorted((row for row in told if row["common"] < COMMON_SHARE), key=lambda row: row["common"])
    empty = [str(one) for one in pairs if one.propensity is None]
    verdict: Verdict = "pass" if share >= COMMON_SHARE else "warn" if share >= LEAST_COMMON else "fail"
    return Check(
        "overlap",
        share,
        COMMON_SHARE,
        "warn" if empty and verdict == "pass" else verdict,
        _overlap_meaning(told, bad, share, empty),
        "There the contrast compares unlike people, and what is adjusted for rests on a guess: read it as an "
        "association, "
        "leave that country out, or merge levels."
        if bad
        else "Nothing can be said there: merge levels, or leave that country out."
        if empty
        else NOTHING,
        worst_rows(rows, lambda row: -1.0 if row["common"] is None else 1 - row["common"]),
    )


def _overlap(survey: Survey, one: Compared) -> dict[str, Any]:
    """Return a comparison's overlap, quantiles of its propensities, and its smaller side's effective number."""
    row = {
        "attribute": one.adjustment.attribute,
        "treated": one.treated,
        "country": one.country,
        "people": len(one.people),
        "common": None,
    }
    if one.propensity is None:
        return row
    low, median, high = (float(value) for value in np.quantile(one.propensity.raw, QUANTILES))
    weight = inverse_weights(survey, one.arm, one.people, one.propensity)
    n_eff = np.bincount(one.arm, weight) ** 2 / np.bincount(one.arm, weight**2)
    smaller = int(n_eff.argmin())
    return row | {
        "common": one.common,
        "propensity_5": low,
        "propensity_50": median,
        "propensity_95": high,
        "smaller_side": int((one.arm == smaller).sum()),
        "smaller_side_effective": float(n_eff[smaller]),
    }


def _overlap_meaning(
    told: Sequence[dict[str, Any]], bad: Sequence[dict[str, Any]], share: float, empty: Sequence[str]
) -> str:
    words = ["To compare two levels, people of like characteristics must occur at both."]
    if bad:
        named = [f"{row['attribute']} {row['treated']} in {row['country']} ({row['common']:.0%})" for row in bad]
        words.append(
            f"Fewer than {COMMON_SHARE:.0%} do for {listed(named)}: the others are of a kind that is hardly found at "
            f"one of "
            f"the levels (probability of the treated level below {COMMON[0]:.0%} or above {COMMON[1]:.0%}, were both "
            "equally frequent)."
        )
    elif told:
        words.append("Everywhere all do." if share == 1 else f"Everywhere at least {np.floor(100 * share):.0f}% do.")
    if told:
        least = min(told, key=lambda row: row["smaller_side_effective"])
        words.append(
            f"Weighted to be alike, the smallest side of a comparison counts for "
            f"{least['smaller_side_effective']:.0f} of its "
            f"{least['smaller_side']} respondents ({least['attribute']} {least['treated']} in {least['country']})."
        )
    if empty:
        words.append(f"Too few respondents at one of the levels: {listed(empty)}.")
    return " ".join(words)


def balance_check(survey: Survey, pairs: Sequence[Compared]) -> Check:
    """Largest standardised difference of a characteristic between levels after weighting, averaged over countries."""
    rows = [
        {
            "attribute": one.adjustment.attribute,
            "treated": one.treated,
            "country": one.country,
            "variable": gap.variable,
            "before": gap.before,
            "after": gap.after,
        }
        for one in pairs
        for gap in differences(survey, one)
    ]
    if not rows:
        nothing = "Nothing is adjusted for, so there is nothing to balance."
        return Check("balance", 0.0, BALANCED, "pass", nothing, NOTHING)
    mean = pd.DataFrame(rows).groupby(["attribute", "treated", "variable"], sort=False)[["before", "after"]].mean()
    worst = float(mean["after"].max())
    apart = [_named(key) for key, before in mean["before"].items() if before >= BALANCED]
    left = [f"{_named(key)} ({after:.2f})" for key, after in mean["after"].items() if after >= BALANCED]
    before = f"People at two levels differ in other ways too: {listed(apart)}. " if apart else ""
    after = f"; {listed(left)} remain{'s' if len(left) == 1 else ''} apart." if left else "."
    return Check(
        "balance",
        worst,
        BALANCED,
        "pass" if worst < BALANCED else "warn" if worst < UNBALANCED else "fail",
        f"{before}Weighted to be alike, they differ by at most {worst:.2f} standard deviations (mean over "
        f"countries){after}",
        "The adjustment does not make people alike: adjusted effects lean on the outcome model there; see overlap."
        if left
        else _hold(survey)
        if apart
        else NOTHING,
        worst_rows(rows, lambda row: max(row["after"], row["before"])),
    )


def _named(key: Any) -> str:
    attribute, treated, variable = key
    return f"{variable} between levels of {attribute} ({treated})"


def _hold(survey: Survey) -> str:
    asked = "" if survey.study.effects.adjusting else ", or use effects.estimator: [cell, aipw]"
    return f"Contrasts that do not hold these fixed mix their effects in: hold them in the persona{asked}."
