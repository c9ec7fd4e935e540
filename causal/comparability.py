"""Checks of whether people at two levels can be compared: overlap, and balance after weighting by propensities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from causal.balance import Compared, Difference, differences, inverse_weights
from causal.check import NOTHING, Check, counted, listed, worst_rows
from causal.overlap import without_overlap_advice
from causal.positivity import COMMON, COMMON_SHARE
from causal.study import Study
from causal.survey import Survey

BALANCED, UNBALANCED = 0.1, 0.25
CHANCE = 0.05
"""Probability that chance alone leaves any difference that counts."""
QUANTILES = (0.05, 0.5, 0.95)


def overlap_check(survey: Survey, pairs: Sequence[Compared]) -> Check:
    """Smallest share of people, of any contrast and country, of kinds found at both levels.

    It fails where overlap is lacking by the rule of `causal.positivity`, which also says what is not identified.
    """
    rows = [_overlap(survey, one) for one in pairs]
    share = min((one.common for one in pairs if one.propensity is not None), default=1.0)
    bad = sorted((one for one in pairs if one.lacks), key=lambda one: one.common)
    empty = [str(one) for one in pairs if one.propensity is None]
    return Check(
        "overlap",
        share,
        COMMON_SHARE,
        "fail" if bad else "warn" if empty or share < COMMON_SHARE else "pass",
        _overlap_meaning([(str(one), row) for one, row in zip(pairs, rows, strict=True)], bad, share, empty),
        _overlap_advice(survey.study, bad, empty),
        worst_rows(rows, lambda row: -1.0 if row["common"] is None else 1 - row["common"]),
    )


def _overlap(survey: Survey, one: Compared) -> dict[str, Any]:
    """Return a comparison's overlap, quantiles of its propensities, and its smaller side's effective number."""
    row = {
        "attribute": one.adjustment.attribute,
        "reference": one.reference,
        "treated": one.treated,
        "country": one.country,
        "people": len(one.people),
        "common": None,
        "lacks": False,
    }
    if one.propensity is None:
        return row
    low, median, high = (float(value) for value in np.quantile(one.propensity.raw, QUANTILES))
    weight = inverse_weights(survey, one.arm, one.people, one.propensity)
    n_eff = np.bincount(one.arm, weight) ** 2 / np.bincount(one.arm, weight**2)
    smaller = int(n_eff.argmin())
    return row | {
        "common": one.common,
        "lacks": one.lacks,
        "apart_by": one.apart_by,
        "propensity_5": low,
        "propensity_50": median,
        "propensity_95": high,
        "smaller_side": int((one.arm == smaller).sum()),
        "smaller_side_effective": float(n_eff[smaller]),
    }


def _overlap_meaning(
    rows: Sequence[tuple[str, dict[str, Any]]], bad: Sequence[Compared], share: float, empty: Sequence[str]
) -> str:
    words = ["To compare two levels, people of like characteristics must occur at both."]
    told = [(name, row) for name, row in rows if row["common"] is not None]
    calm = [(name, row) for name, row in told if not row["lacks"]]
    if bad:
        worst = [f"{one} ({one.common:.0%}, mostly by {one.apart_by})" for one in bad]
        words.append(
            f"Fewer than {COMMON_SHARE:.0%} do for {listed(worst)}: the others are of a kind that is hardly found at "
            f"one of the levels (probability of the treated level below {COMMON[0]:.0%} or above {COMMON[1]:.0%}, were "
            "both equally frequent)."
        )
    elif told:
        words.append("Everywhere all do." if share == 1 else f"Everywhere at least {np.floor(100 * share):.0f}% do.")
    if calm:
        named, least = min(calm, key=lambda pair: float(pair[1]["smaller_side_effective"]))
        words.append(
            f"Weighted to be alike, the smallest side of a comparison{' that overlaps' if bad else ''} counts for "
            f"{least['smaller_side_effective']:.0f} of its {least['smaller_side']} respondents "
            f"({named})."
        )
    if empty:
        words.append(f"Too few respondents at one of the levels: {listed(empty)}.")
    return " ".join(words)


def _overlap_advice(study: Study, bad: Sequence[Compared], empty: Sequence[str]) -> str:
    if not bad:
        return "Nothing can be said there: merge levels, or leave that country out." if empty else NOTHING
    return without_overlap_advice(study)


def balance_check(survey: Survey, pairs: Sequence[Compared]) -> Check:
    """Largest standardised difference of a characteristic, of any contrast and country, after weighting.

    The verdict is that of the differences that chance would not leave (Bonferroni over all of them).
    """
    found = [(one, gap) for one in pairs for gap in differences(survey, one)]
    if not found:
        nothing = "Nothing is adjusted for, so there is nothing to balance."
        return Check("balance", 0.0, BALANCED, "pass", nothing, NOTHING)
    z = float(norm.isf(CHANCE / 2 / len(found)))
    worst = max(found, key=lambda pair: pair[1].after)
    left, apart = (
        _largest([pair for pair in found if getattr(pair[1], which) >= max(BALANCED, z * pair[1].error)], which)
        for which in ("after", "before")
    )
    most = left[0][1].after if left else 0.0
    return Check(
        "balance",
        worst[1].after,
        BALANCED,
        "fail" if most >= UNBALANCED else "warn" if left else "pass",
        _balance_meaning(apart, left, worst),
        "The adjustment does not make people alike: adjusted effects lean on the outcome model there; see overlap."
        if left
        else hold_fixed(survey.study, [gap.variable for _, gap in apart])
        if apart
        else NOTHING,
        worst_rows([_balance(*pair) for pair in found], _worst_of_each_first(found)),
    )


Found = tuple[Compared, Difference]


def _worst_of_each_first(found: Iterable[Found]) -> Callable[[dict[str, Any]], tuple[bool, float]]:
    """Return an order that keeps every contrast's and variable's worst country, however many rows are left out."""
    most: dict[tuple[str, str, str], float] = {}
    for one, gap in found:
        key = (one.adjustment.attribute, one.treated, gap.variable)
        most[key] = max(most.get(key, 0.0), gap.after)
    return lambda row: (
        row["after"] == most[row["attribute"], row["treated"], row["variable"]],
        max(row["after"], row["before"]),
    )


def _largest(found: Iterable[Found], which: str) -> list[Found]:
    return sorted(found, key=lambda pair: -float(getattr(pair[1], which)))


def _balance(one: Compared, gap: Difference) -> dict[str, Any]:
    return {
        "attribute": one.adjustment.attribute,
        "treated": one.treated,
        "country": one.country,
        "variable": gap.variable,
        "before": gap.before,
        "after": gap.after,
    }


def _balance_meaning(apart: Sequence[Found], left: Sequence[Found], worst: Found) -> str:
    words = []
    if apart:
        first, others = apart[0], dict.fromkeys(gap.variable for _, gap in apart)
        others.pop(first[1].variable)
        more = f"; elsewhere in {listed(list(others))} as well" if others else ""
        words.append(
            f"People at two levels differ in other ways too, most in {_named(*first)}: {first[1].before:.2f} standard "
            f"deviations{more}."
        )
    words.append(
        f"Weighted to be alike, they differ most in {_named(*worst)}: {worst[1].after:.2f} standard deviations "
        f"({worst[1].before:.2f} before)."
    )
    if left:
        verb = "is" if len(left) == 1 else "are"
        words.append(f"{counted(len(left), 'difference')} of {BALANCED} or more {verb} left.")
    elif worst[1].after >= BALANCED:
        words.append("Of so few people, chance alone leaves as much.")
    return " ".join(words)


def _named(one: Compared, gap: Difference) -> str:
    return f"{gap.variable} between levels of {one.adjustment.attribute} ({one.treated}) in {one.named}"


def hold_fixed(study: Study, variables: Sequence[str]) -> str:
    """Say how to keep what differs from being mixed in: personas hold attributes, and nothing else."""
    names = list(dict.fromkeys(variables))
    attributes = [name for name in names if name in study.attributes]
    ways = [f"hold {listed(attributes)} in the persona"] if attributes else []
    if study.effects.adjusting:
        ways.append(f"read the rows of {listed(study.effects.adjusting)}, which adjust for {listed(names)}")
    else:
        ways.append(f"adjust for {listed(names)} with effects.estimator: [cell, aipw]")
    return f"Contrasts that leave {listed(names)} free mix in what {'it does' if len(names) == 1 else 'they do'}: " + (
        ", or ".join(ways) + "."
    )
