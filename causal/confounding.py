"""Checks of what something unmeasured would have to be, and of what the measured covariates do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2

from causal.adjustment import KNOTS, adjustment, measured
from causal.balance import Compared
from causal.check import NOTHING, Check, counted, listed, worst_rows
from causal.comparability import hold_fixed
from causal.encoding import MISSING
from causal.graph import CausalGraph
from causal.regressions import Regression, regression
from causal.sensitivity import e_value, risk_ratio, robustness_value, times_as_strong
from causal.survey import Survey

MOVED = 0.01
"""Shift by which leaving out a covariate may move an attribute's effects on average."""
FRAGILE = 0.2
"""Share of effects that something no stronger than a measured covariate may explain away."""
LEVEL = 0.05


def regressions(survey: Survey, pairs: Sequence[Compared] = ()) -> list[Regression]:
    """Regress every question on every contrast of an attribute, given what that is adjusted for.

    Countries without overlap, of which a regression could only guess, are left out (``pairs`` says which).
    """
    found = []
    for name, attribute in survey.study.attributes.items():
        levels = list(attribute.levels)
        for base, treated in attribute.pairs:
            ends = (name, levels[base], levels[treated])
            lacking = [
                one.country
                for one in pairs
                if one.lacks and (one.adjustment.attribute, one.reference, one.treated) == ends
            ]
            found.append(regression(survey, adjustment(survey.study, name, ()), *ends[1:], lacking))
    return found


def sensitivity_check(fitted: Sequence[Regression], questions: Sequence[str], graph: CausalGraph) -> list[Check]:
    """Share of the effects told apart from 0 that a confounder as strong as a measured covariate explains away.

    With the median robustness value and E-value; nothing where no regression could be fitted. Warns as well where no
    effect of an attribute is identified, by the graph or for lack of overlap in all countries: what is explained away
    then is an association.
    """
    rows = [row for one in fitted for row in _sensitivities(one, questions, graph)]
    if not rows:
        return []
    effects = [row for row in rows if row["estimand"] != "not_identified"]
    associations = [row for row in rows if row["estimand"] == "not_identified"]
    told = _told(effects)
    weak = [row for row in told if row["times"] < 1]
    share = len(weak) / len(told) if told else 0.0
    parts = [_sensitivity_meaning(effects, told, len(weak))] if effects else []
    parts += [_association_meaning(associations)] if associations else []
    parts += _lacking_meaning(fitted)
    return [
        Check(
            "sensitivity",
            share,
            FRAGILE,
            "warn" if share > FRAGILE or associations else "pass",
            " ".join(parts),
            _sensitivity_advice(share > FRAGILE, bool(associations)),
            worst_rows(rows, lambda row: row["robustness"]),
        )
    ]


def _lacking_meaning(fitted: Sequence[Regression]) -> list[str]:
    out = [f"{one.adjustment.attribute} {one.treated} in {name}" for one in fitted for name in one.lacking]
    return [f"Left out for lack of overlap: {listed(out)}."] if out else []


def _told(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["robustness_alpha"] > 0]


def _sensitivity_advice(fragile: bool, associations: bool) -> str:
    advice = ["First identify these effects (see check identification), then ask how robust they are."] * associations
    if fragile:
        advice.append(
            "Ask what could be that strong and was not measured; add it as a covariate, or as a latent node of the "
            "graph."
        )
    return " ".join(advice) or NOTHING


def _association_meaning(rows: Sequence[dict[str, Any]]) -> str:
    told, names = _told(rows), listed(list(dict.fromkeys(row["attribute"] for row in rows)))
    start = (
        f"Of {names} no effect is identified, whatever that is measured is adjusted for: {len(told)} of "
        f"{counted(len(rows), 'association')} can be told apart from 0"
    )
    if not told:
        return start + "."
    return (
        f"{start}, with a median robustness value of {np.median([row['robustness'] for row in told]):.1%} and a median "
        f"E-value of {np.median([row['e_value'] for row in told]):.2f}. These values are about associations: they do "
        "not say that there is an effect."
    )


def _sensitivity_meaning(rows: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]], weak: int) -> str:
    start = (
        f"{len(told)} of {counted(len(rows), 'effect')} (one for each attribute's level and question, over all "
        f"countries) "
        f"can be told apart from 0."
    )
    if not told:
        return start + " So there is nothing that a confounder would have to explain away."
    middle = (
        f" To explain the median one away, something unmeasured would have to explain "
        f"{np.median([row['robustness'] for row in told]):.1%} of the variance that is left of both the attribute "
        f"and the "
        f"answer (robustness value), or be tied to both by a risk ratio of "
        f"{np.median([row['e_value'] for row in told]):.2f} (E-value)."
    )
    known = [row for row in told if row["benchmark"] is not None]
    if not known:
        return start + middle + " Nothing is adjusted for that this could be compared with."
    names = list(dict.fromkeys(row["benchmark"] for row in known))
    return f"{start}{middle} {_beside(known, weak)} ({listed(names)})."


def _beside(known: Sequence[dict[str, Any]], weak: int) -> str:
    finite = [row["times"] for row in known if np.isfinite(row["times"])]
    such = "the strongest thing that is adjusted for"
    if weak:
        return f"{counted(weak, 'effect')} would be explained away by a confounder no stronger than {such}"
    if not finite:
        return f"No confounder however many times as strong as {such} would do so"
    nearest = min((row for row in known if np.isfinite(row["times"])), key=lambda row: row["times"])
    return (
        f"The most fragile, {nearest['attribute']} on {nearest['question']}, needs a confounder "
        f"{nearest['times']:.1f} times "
        f"as strong as {such}"
    )


def _sensitivities(fit: Regression, questions: Sequence[str], graph: CausalGraph) -> list[dict[str, Any]]:
    estimand = graph.estimand(fit.adjustment.attribute, fit.adjustment.names) if fit.overlaps else "not_identified"
    known = [q for q in range(len(questions)) if not np.isnan(fit.estimate[q])]
    return [_sensitivity(fit, q, questions[q]) | {"estimand": estimand} for q in known]


def _sensitivity(fit: Regression, q: int, question: str) -> dict[str, Any]:
    """Return one effect's row; ``times`` is infinite where no multiple of a covariate's strength is enough."""
    estimate, r2, dof = float(fit.estimate[q]), float(fit.partial_r2[q]), float(fit.dof[q])
    f = float(np.sqrt(r2 / max(1 - r2, 1e-12)))
    times = [
        times_as_strong(float(a), float(y), f) for a, y in zip(fit.with_attribute, fit.with_answer[:, q], strict=True)
    ]
    nearest = int(np.argmin(times)) if times else None
    t = f * np.sqrt(dof)
    return {
        "attribute": fit.adjustment.attribute,
        "treated": fit.treated,
        "question": question,
        "shift": estimate,
        "partial_r2": r2,
        "e_value": float(e_value(risk_ratio(estimate, fit.deviation[q]))),
        "robustness": float(robustness_value(t, dof)),
        "robustness_alpha": float(robustness_value(t, dof, alpha=LEVEL)),
        "benchmark": None if nearest is None else fit.adjustment.names[nearest],
        "times": np.inf if nearest is None else times[nearest],
    }


def left_out_check(survey: Survey, fitted: Sequence[Regression]) -> list[Check]:
    """Largest mean change of an attribute's effects when one thing adjusted for is left out; none without any.

    To move effects is what adjusting is for. It warns only where the graph says that the variable need not be adjusted
    for, and yet it goes with the attribute beyond chance and moves its effects.
    """
    rows = [row for fit in fitted for row in _left_out(survey, fit)]
    if not rows:
        return []
    level = LEVEL / len(rows)
    wrong = [row for row in rows if row["unneeded"] and row["mean_change"] > MOVED and row["p_value"] < level]
    worst: dict[str, Any] = max(wrong or rows, key=lambda row: float(row["mean_change"]))
    return [
        Check(
            "leave one out",
            float(worst["mean_change"]),
            MOVED,
            "warn" if wrong else "pass",
            _left_out_meaning(worst, bool(wrong)),
            _left_out_advice(survey, rows, worst, bool(wrong)),
            worst_rows(rows, lambda row: row["mean_change"]),
        )
    ]


def _left_out(survey: Survey, fit: Regression) -> Iterator[dict[str, Any]]:
    graph, names, attribute = survey.study.causal_graph, fit.adjustment.names, fit.adjustment.attribute
    estimand = graph.estimand(attribute, names)
    for i, name in enumerate(names):
        change = fit.left_out[i] - fit.estimate
        if np.isnan(change).all():
            continue
        without = graph.estimand(attribute, [other for other in names if other != name])
        yield {
            "attribute": attribute,
            "treated": fit.treated,
            "left_out": name,
            "mean_change": float(np.nanmean(np.abs(change))),
            "largest_change": float(np.nanmax(np.abs(change))),
            "mean_size": float(np.nanmean(np.abs(fit.estimate))),
            "mean_size_without": float(np.nanmean(np.abs(fit.left_out[i]))),
            "unneeded": estimand != "not_identified" and without == estimand,
            "p_value": _chance(survey, name, float(fit.with_attribute[i]), float(np.nanmedian(fit.dof))),
        }


def _chance(survey: Survey, name: str, share: float, dof: float) -> float:
    """Return the p-value of a share of the attribute's variance that a variable explains."""
    values = measured(survey, name)
    number = values.dtype.kind == "f"
    columns = len(np.unique(values[~np.isnan(values) if number else values != MISSING])) - 1
    if number:
        columns = min(columns, KNOTS + 1)
    return float(chi2.sf(dof * share / max(1 - share, 1e-12), max(columns, 1)))


def _left_out_meaning(worst: dict[str, Any], wrong: bool) -> str:
    name, whose = worst["left_out"], f"{worst['attribute']} ({worst['treated']})"
    moved = (
        f"without it the effects of {whose} move by {worst['mean_change']:.3f} on average over questions, at most by "
        f"{worst['largest_change']:.3f} (in units of the shift; their mean size goes from {worst['mean_size']:.3f} to "
        f"{worst['mean_size_without']:.3f})"
    )
    if wrong:
        return (
            f"By the graph, effects of {worst['attribute']} need not be adjusted for {name}, but {moved}: something "
            "that the graph does not show ties the two together."
        )
    if worst["mean_change"] <= MOVED:
        return f"Of all that effects are adjusted for, {name} matters most, and it matters little: {moved}."
    return f"Of all that effects are adjusted for, {name} matters most: {moved}. That is what adjusting is for."


def _left_out_advice(survey: Survey, rows: Sequence[dict[str, Any]], worst: dict[str, Any], wrong: bool) -> str:
    moving = [str(row["left_out"]) for row in rows if row["mean_change"] > MOVED]
    if not moving or (survey.study.effects.adjusting and not wrong):
        return NOTHING
    holding = hold_fixed(survey.study, moving)
    if not wrong:
        return holding
    return (
        f"Draw an arrow, or a latent common cause, between {worst['left_out']} and {worst['attribute']}, if that is "
        f"what you believe; then read how the estimands change. {holding}"
    )
