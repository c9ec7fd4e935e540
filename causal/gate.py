"""The gate: is the declared graph in keeping with the data, are people comparable, could something unseen explain it?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from causal.adjustment import adjustment
from causal.balance import COMMON, Compared, compared, differences
from causal.check import NOTHING, Check, listed
from causal.counttable import AnySurvey
from causal.independence import findings
from causal.placebo import halves, shuffled
from causal.regressions import Regression, regression
from causal.sensitivity import e_value, risk_ratio, robustness_value, times_as_strong
from causal.survey import Survey

FOUND = 0.05
"""Level of q-values."""
WEAK, STRONG = 0.05, 0.1
"""Strength of a violated independence up to which it only warns, and from which it fails."""
COMMON_SHARE, LEAST_COMMON = 0.9, 0.5
BALANCED, UNBALANCED = 0.1, 0.25
MOVED = 0.01
"""Shift by which leaving out a covariate may move an effect."""
CALM = 1.5
"""Mean squared difference between halves, over its expectation, above which standard errors say too little."""


def gate_checks(survey: AnySurvey, cells: pd.DataFrame) -> list[Check]:
    """Run the checks that need respondents; none where there are only counts.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    """
    if not isinstance(survey, Survey):
        return []
    pairs = list(compared(survey))
    fitted = regressions(survey)
    return [
        implications_check(survey),
        overlap_check(pairs),
        balance_check(survey, pairs),
        *sensitivity_check(fitted, list(survey.study.questions)),
        *left_out_check(fitted),
        placebo_check(survey),
        *control_check(survey, cells),
        halves_check(survey),
    ]


def regressions(survey: Survey) -> list[Regression]:
    """Regress every question on every attribute's levels, given what the attribute does not cause."""
    study = survey.study
    return [
        regression(survey, adjustment(study, name, ()), treated)
        for name, attribute in study.attributes.items()
        for treated in list(attribute.levels)[1:]
    ]


def implications_check(survey: Survey) -> Check:
    """Strongest violated independence of the graph; warns from .05, fails from .1 (partial correlation)."""
    found = findings(survey)
    broken = sorted((one for one in found if one.q_value < FOUND), key=lambda one: -one.strength)
    worst = broken[0].strength if broken else 0.0
    claims = list(dict.fromkeys(str(one.claim) for one in broken))
    named = [f"{claim} ({_strongest(broken, claim):.2f})" for claim in claims]
    pairs = len({str(one.claim) for one in found})
    return Check(
        "implications of the graph",
        worst,
        WEAK,
        "pass" if worst < WEAK else "warn" if worst < STRONG else "fail",
        f"The graph implies {pairs} independencies that the survey can contradict; "
        + (
            f"{len(claims)} of them do not hold (q < {FOUND}): {listed(named)}. In brackets is the association that is "
            "left, from 0 to 1."
            if claims
            else "none is contradicted."
            if found
            else "it draws an arrow, or puts a latent cause, between all that was measured."
        ),
        "Draw an arrow, or a latent common cause, between the two if that is what you believe; then read which estimands "
        "change."
        if claims
        else NOTHING,
        [
            {
                "independent": str(one.claim),
                "question": one.question,
                "strength": one.strength,
                "p_value": one.p_value,
                "q_value": one.q_value,
            }
            for one in found
        ],
    )


def _strongest(broken: list, claim: str) -> float:
    return max(one.strength for one in broken if str(one.claim) == claim)


def overlap_check(pairs: list[Compared]) -> Check:
    """Smallest share of people, of any attribute and country, at whose characteristics both levels occur."""
    rows = [
        {
            "attribute": one.adjustment.attribute,
            "treated": one.treated,
            "country": one.country,
            "people": len(one.people),
            "common": one.common,
        }
        for one in pairs
    ]
    worst = min(rows, key=lambda row: row["common"], default={"common": 1.0})
    share = float(worst["common"])
    bad = [
        f"{row['attribute']} in {row['country']} ({row['common']:.0%})" for row in rows if row["common"] < COMMON_SHARE
    ]
    low, high = COMMON
    return Check(
        "overlap",
        share,
        COMMON_SHARE,
        "pass" if share >= COMMON_SHARE else "warn" if share >= LEAST_COMMON else "fail",
        "To compare two levels, people of like characteristics must occur at both. "
        + (
            f"Fewer than {COMMON_SHARE:.0%} do (probability of the treated level between {low:.0%} and {high:.0%}) for "
            f"{listed(bad)}."
            if bad
            else f"Everywhere at least {share:.0%} do."
        ),
        "There the contrast compares unlike people: read it as an association, leave that country out, or merge levels."
        if bad
        else NOTHING,
        rows,
    )


def balance_check(survey: Survey, pairs: list[Compared]) -> Check:
    """Largest standardised difference of a characteristic between levels after adjustment, averaged over countries."""
    rows = []
    for one in pairs:
        if not np.isnan(one.propensity).any() and len(one.people):
            rows += [
                {
                    "attribute": one.adjustment.attribute,
                    "treated": one.treated,
                    "country": one.country,
                    "variable": gap.variable,
                    "before": gap.before,
                    "after": gap.after,
                }
                for gap in differences(survey, one)
            ]
    if not rows:
        return Check(
            "balance", 0.0, BALANCED, "pass", "Nothing is adjusted for, so there is nothing to balance.", NOTHING
        )
    mean = pd.DataFrame(rows).groupby(["attribute", "treated", "variable"], sort=False)[["before", "after"]].mean()
    worst = float(mean["after"].max())
    apart = [f"{key[2]} between levels of {key[0]}" for key in mean.index[mean["before"] >= BALANCED]]
    left = [f"{key[2]} between levels of {key[0]} ({row:.2f})" for key, row in mean["after"].items() if row >= BALANCED]
    return Check(
        "balance",
        worst,
        BALANCED,
        "pass" if worst < BALANCED else "warn" if worst < UNBALANCED else "fail",
        (f"People at two levels differ in other ways too: {listed(apart)}. " if apart else "")
        + f"After weighting by propensities the largest difference is {worst:.2f} standard deviations"
        + (f": {listed(left)}." if left else "."),
        "Contrasts that do not hold these fixed mix their effects in: hold them in the persona, or use effects.estimator: "
        "[cell, aipw]."
        if apart and not left
        else "The adjustment does not make people alike; see overlap."
        if left
        else NOTHING,
        rows,
    )


def sensitivity_check(fitted: list[Regression], questions: list[str]) -> list[Check]:
    """Median robustness value of the effects that are told apart from 0, beside the strongest covariate."""
    rows = [row for one in fitted for row in _sensitivities(one, questions)]
    told = [row for row in rows if row["robustness_alpha"] > 0]
    if not rows:
        return []
    values = np.array([row["robustness"] for row in told])
    weak = [row for row in told if row["times"] < 1]
    benchmarks = sorted({row["benchmark"] for row in told if row["benchmark"]})
    median = float(np.median(values)) if len(told) else 0.0
    share = len(weak) / len(told) if told else 0.0
    return [
        Check(
            "sensitivity",
            share,
            0.2,
            "pass" if share <= 0.2 else "warn",
            f"{len(told)} of {len(rows)} effects (a question and an attribute, all countries together) differ from 0. "
            + (
                f"To explain the median one away, something unmeasured would have to explain {median:.1%} of what is left "
                f"of both the attribute and the answer (robustness value); its E-value is "
                f"{np.median([row['e_value'] for row in told]):.2f}. "
                if told
                else ""
            )
            + (
                f"{len(weak)} would be explained away by something no stronger than the strongest thing adjusted for "
                f"({listed(benchmarks)})."
                if benchmarks
                else ""
            ),
            "Name what could be that strong and unmeasured, and add it as a covariate or as a latent node of the graph."
            if share > 0.2
            else NOTHING,
            rows,
        )
    ]


def _sensitivities(fit: Regression, questions: list[str]) -> list[dict[str, Any]]:
    rows = []
    for q, (estimate, r2, dof, deviation) in enumerate(
        zip(fit.estimate, fit.partial_r2, fit.dof, fit.deviation, strict=True)
    ):
        if np.isnan(estimate):
            continue
        f = float(np.sqrt(r2 / max(1 - r2, 1e-12)))
        times = [
            times_as_strong(float(a), float(y), f)
            for a, y in zip(fit.with_attribute, fit.with_answer[:, q], strict=True)
        ]
        nearest = int(np.argmin(times)) if times else None
        t = f * np.sqrt(dof)
        rows.append(
            {
                "attribute": fit.adjustment.attribute,
                "treated": fit.treated,
                "question": questions[q],
                "shift": float(estimate),
                "partial_r2": float(r2),
                "e_value": float(e_value(risk_ratio(estimate, deviation))),
                "robustness": float(robustness_value(t, dof)),
                "robustness_alpha": float(robustness_value(t, dof, alpha=0.05)),
                "benchmark": None if nearest is None else fit.adjustment.names[nearest],
                "times": np.inf if nearest is None else times[nearest],
            }
        )
    return rows


def left_out_check(fitted: list[Regression]) -> list[Check]:
    """Largest mean change of an attribute's effects when one thing adjusted for is left out."""
    rows = [
        {
            "attribute": fit.adjustment.attribute,
            "treated": fit.treated,
            "left_out": name,
            "mean_change": float(np.nanmean(np.abs(change))),
            "largest_change": float(np.nanmax(np.abs(change))),
        }
        for fit in fitted
        for name, change in zip(fit.adjustment.names, fit.left_out - fit.estimate, strict=True)
        if not np.isnan(change).all()
    ]
    if not rows:
        return []
    worst = max(rows, key=lambda row: float(row["mean_change"]))
    moved = float(worst["mean_change"])
    return [
        Check(
            "leave one out",
            moved,
            MOVED,
            "pass" if moved <= MOVED else "warn",
            f"Effects move most when {worst['left_out']} is left out of what {worst['attribute']} is adjusted for: by "
            f"{moved:.3f} on average over questions, at most {worst['largest_change']:.3f} (shift).",
            f"Effects of {worst['attribute']} rest on holding {worst['left_out']} fixed: read them with it in the persona, "
            "or adjusted for."
            if moved > MOVED
            else NOTHING,
            rows,
        )
    ]


def placebo_check(survey: Survey) -> Check:
    """Share of toggles that are significant at .05 when levels are dealt out at random."""
    found = shuffled(survey)
    above = found.toggles > 0 and found.value - 2 * found.error > 0.07
    return Check(
        "placebo attribute",
        found.value,
        0.07,
        "warn" if above else "pass",
        f"When levels are dealt out at random within countries, no attribute has an effect. {found.value:.1%} of "
        f"{found.toggles} toggles then have p < .05 (simulation error {found.error:.1%}, {found.times} shuffles); it "
        "should be 5% or less."
        if found.toggles
        else "No toggle has support, so there is nothing to shuffle.",
        "p-values are too small here: look for weights or clusters that are not declared." if above else NOTHING,
    )


def control_check(survey: Survey, cells: pd.DataFrame) -> list[Check]:
    """Share of significant toggles of the questions that the study names as negative controls."""
    controls = list(survey.study.checks.negative_controls)
    rows = cells[cells["question"].isin(controls) & cells["supported"]]
    if not len(rows):
        return []
    moved = rows[rows["q_value"] < FOUND]
    share = len(moved) / len(rows)
    worst = moved.loc[moved["shift"].abs().idxmax()] if len(moved) else None
    return [
        Check(
            "placebo question",
            share,
            0.0,
            "pass" if not len(moved) else "warn" if share < 0.05 else "fail",
            f"The study says that no attribute moves {listed(controls)}. "
            + (
                f"{len(moved)} of {len(rows)} toggles do (q < {FOUND}), {worst['attribute']} in {worst['country']} most: "
                f"{worst['shift']:+.3f}."
                if worst is not None
                else f"None of {len(rows)} toggles does (q < {FOUND})."
            ),
            "What moves these questions (who was reached, who interviewed, how people use the scale) may move the others "
            "as well; by as much, if nothing else is known."
            if len(moved)
            else NOTHING,
        )
    ]


def halves_check(survey: Survey) -> Check:
    """Mean squared difference of the shifts of two random halves, over its expectation; warns above 1.5."""
    found = halves(survey)
    calm = not found.value > CALM
    return Check(
        "random halves",
        found.value,
        CALM,
        "pass" if calm else "warn",
        f"Two random halves of the survey differ in their shifts {found.value:.2f} times as much as the standard errors "
        f"say (mean square; simulation error {found.error:.2f} over {found.times} splits; one attribute specified); it "
        "should be about 1."
        if found.toggles
        else "Halves of this survey have too few respondents to be compared.",
        NOTHING if calm else "Standard errors say too little: look for clusters that are not declared.",
    )
