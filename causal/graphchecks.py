"""Checks of the declared graph: which estimand each contrast has, and whether the survey contradicts the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from causal.adjustment import adjustment
from causal.check import MOST_ROWS, NOTHING, Check, Verdict, counted, listed, worst_rows
from causal.graph import ANSWER
from causal.identification import Identification, adjustment_sets, identify, roles
from causal.independence import Finding, findings
from causal.overlap import Lack, said, without_overlap_advice
from causal.sections import ADJUSTING
from causal.study import Study
from causal.survey import Survey
from causal.tables import estimated_by

SENTENCES = 3
"""Contrasts that are spelled out; the others are in the details."""
FOUND = 0.05
"""Level of q-values."""
FEW_HELD = 2
"""Attributes held at most in the contrasts that are looked through for one to read instead."""
CONTROLLED = "controlled_direct"
WEAK, STRONG = 0.05, 0.1
"""Strength of a violated independence from which it warns, and from which it fails."""


def identification_check(effects: pd.DataFrame, study: Study, lacking_overlap: Sequence[Lack] = ()) -> Check:
    """Share of toggles that nothing asked for identifies; fails if the finest granularity has any.

    A toggle whose ``cell`` row is not identified, but that of an adjusting estimator is, makes it warn. One whose
    adjusted row lacks overlap is not identified, whatever the graph says of its ``cell`` row.

    Parameters
    ----------
    effects : DataFrame
        The effects table, all estimators.
    study : Study
        Attributes, covariates and the DAG.
    lacking_overlap : sequence of Lack
        Supported adjusted rows without overlap.
    """
    cells = estimated_by(effects)
    open_ = (cells["estimand"] == "not_identified").to_numpy()
    saved = _identified_by_adjusting(effects, len(cells))
    bare = np.zeros(len(cells), dtype=bool)
    for lack in lacking_overlap:
        bare[lack.rows] = True
    unknown = (open_ & ~saved) | bare
    finest = (cells["granularity"] == cells["granularity"].max()).to_numpy()
    contrasts = _contrasts(cells, study)
    found = [identify(study.causal_graph, name, held) for name, held in contrasts[:MOST_ROWS]]
    some_saved = bool((open_ & saved).any())
    by_graph = _identification_advice(found, study, bool((unknown & ~bare).any()), some_saved)
    meaning = _identification_meaning(found, len(contrasts) - len(found), study, some_saved)
    return Check(
        "identification",
        float(unknown.mean()),
        0.0,
        "fail" if (unknown & finest).any() else "warn" if (open_ | bare).any() else "pass",
        " ".join([meaning, *said(lacking_overlap)]),
        _with_overlap_advice(by_graph, study) if lacking_overlap else by_graph,
        [_identified(study, one) for one in found],
    )


def _with_overlap_advice(by_graph: str, study: Study) -> str:
    return " ".join([*([] if by_graph == NOTHING else [by_graph]), without_overlap_advice(study)])


def _identified_by_adjusting(effects: pd.DataFrame, toggles: int) -> np.ndarray:
    """Return whether an adjusting estimator's row of each toggle is identified; they follow the cell rows in order."""
    found = np.zeros(toggles, dtype=bool)
    for estimator, rows in effects.groupby("estimator", sort=False):
        if estimator in ADJUSTING:
            found |= (rows["estimand"] != "not_identified").to_numpy()
    return found


def _identification_meaning(found: Sequence[Identification], left_out: int, study: Study, saved: bool) -> str:
    lacking, direct = ([one for one in found if one.estimand == name] for name in ("not_identified", CONTROLLED))
    said = [one.sentence for one in lacking or direct]
    parts = [] if lacking else ["Given the declared graph, every toggle is a total or a controlled direct effect."]
    parts += said[:SENTENCES]
    if len(said) > SENTENCES:
        parts.append(f"The details in checks.json have {counted(len(said) - SENTENCES, 'more contrast')}.")
    if left_out:
        parts.append(f"They leave out {counted(left_out, 'contrast')} that hold fewer things fixed.")
    if saved:
        parts.append(f"The rows of {listed(study.effects.adjusting)} close such paths by what they adjust for.")
    return " ".join([*parts, *_not_adjusted_for(study)])


def _not_adjusted_for(study: Study) -> Iterator[str]:
    """Say of each covariate that an attribute's effect is not adjusted for why it is not."""
    graph = study.causal_graph
    for attribute in study.attributes:
        kept = adjustment(study, attribute, ()).names
        caused = graph.caused_by(attribute)
        below = [name for name in study.covariates if name in caused]
        if below:
            yield (
                f"The effect of {attribute} is not adjusted for {listed(below)}, which it causes: that would take part "
                "of it away, or tie it to other causes."
            )
        ties = [name for name in (*study.attributes, *study.covariates) if name not in (attribute, *caused, *kept)]
        if ties:
            yield (
                f"Nor for {listed(ties)}: "
                if below
                else f"The effect of {attribute} is not adjusted for {listed(ties)}: "
            ) + "that would open a path between causes whose common effect it is, and is not needed."


def _identification_advice(found: Sequence[Identification], study: Study, unknown: bool, saved: bool) -> str:
    lacking, direct = (
        dict.fromkeys(one.attribute for one in found if one.estimand == name) for name in ("not_identified", CONTROLLED)
    )
    if not lacking:
        total = "; ".join(_readings(direct, study, "gives"))
        return f"To report total effects: {total}." if total else NOTHING
    sets = [adjustment_sets(study.causal_graph, name).minimal for name in lacking]
    by_covariate = any(set(names or ()) & set(study.covariates) for names in sets)
    every = [*lacking, *(name for name in direct if name not in lacking)]
    read = "; ".join(_readings(every, study, "is", adjusted=unknown and bool(study.effects.adjusting)))
    if not unknown:
        adjusted = ", and the adjusted rows as effects" if saved else ""
        return f"Read these cell rows as associations{adjusted}." + (f" Of cell rows: {read}." if read else "")
    advice = "Read these rows as associations"
    if by_covariate and not study.effects.adjusting:
        advice += "; covariates are adjusted for with effects.estimator: [cell, aipw]"
    if read:
        return f"{advice}. Instead: {read}."
    if all(names is None for names in sets):
        return advice + "; check sensitivity says how strong what is unmeasured would have to be."
    return advice + "."


def _readings(attributes: Iterable[str], study: Study, verb: str, adjusted: bool = False) -> Iterator[str]:
    """Say for each attribute which granularity, with what held, identifies its effect; nothing where none does.

    Where no cell row does, and ``adjusted``, those of the adjusting estimators that were asked for.
    """
    for attribute in attributes:
        found, whose = _reading(attribute, study), ""
        if found is None and adjusted:
            found, whose = _reading(attribute, study, adjusted=True), f" of {listed(study.effects.adjusting)}"
        if found is None:
            continue
        held, estimand = found
        size = len(held) + 1
        fixed = f"with {listed(held)} held fixed" if held else "nothing else held"
        add = "" if size in study.granularities else f"; add {size} to effects.granularity"
        measures = "its total effect" if estimand == "total" else "a controlled direct effect"
        yield f"for {attribute} read granularity {size}{whose} ({fixed}{add}), which {verb} {measures}"


def _reading(attribute: str, study: Study, adjusted: bool = False) -> tuple[tuple[str, ...], str] | None:
    """Return what other attributes to hold to get the total effect, else a controlled direct one, and which it is.

    The fewest; if what is adjusted for counts as held too, all of them where that will do.
    """
    graph, others = study.causal_graph, [name for name in study.attributes if name != attribute]
    few = [held for size in range(FEW_HELD + 1) for held in combinations(others, size)]
    for wanted in ("total", CONTROLLED):
        for held in [tuple(others), *few] if adjusted else [*few, tuple(others)]:
            fixed = adjustment(study, attribute, held).names if adjusted else held
            if graph.estimand(attribute, fixed) == wanted:
                return held, wanted
    return None


def _contrasts(cells: pd.DataFrame, study: Study) -> list[tuple[str, tuple[str, ...]]]:
    """Return every attribute with what is held, as the table has them: the most held first, the unidentified first."""
    names = list(study.attributes)
    held = cells[[*names, "attribute", "estimand"]].assign(**{name: cells[name].notna() for name in names})
    found = [
        (len(others := tuple(name for name in names if row[name])), row["estimand"], str(row["attribute"]), others)
        for row in held.drop_duplicates().to_dict(orient="records")
    ]
    most = max((size for size, *_ in found), default=0)
    found.sort(key=lambda one: (one[0] < most, one[1] != "not_identified", -one[0]))
    return [(attribute, others) for *_, attribute, others in found]


def _identified(study: Study, one: Identification) -> dict[str, Any]:
    graph = study.causal_graph
    sets = adjustment_sets(graph, one.attribute)
    return {
        "attribute": one.attribute,
        "held": list(one.held),
        "estimand": one.estimand,
        "open_paths": list(one.open_paths),
        "mediators": list(one.mediators),
        "colliders": list(one.colliders),
        "sentence": one.sentence,
        "roles": {node: list(found) for node, found in roles(graph, one.attribute).items()},
        "minimal_adjustment": None if sets.minimal is None else list(sets.minimal),
        "canonical_adjustment": None if sets.canonical is None else list(sets.canonical),
    }


def implications_check(survey: Survey) -> Check:
    """Strongest violated independence of the graph; warns from .05, fails from .1, and only if edges were declared."""
    found, drawn = findings(survey), bool(survey.study.graph.edges)
    broken = [one for one in found if one.q_value < FOUND]
    strongest: dict[str, float] = {}
    for one in sorted(broken, key=lambda one: -one.strength):
        strongest.setdefault(str(one.claim), one.strength)
    worst = max(strongest.values(), default=0.0)
    return Check(
        "implications of the graph",
        worst,
        WEAK,
        _implications_verdict(worst, drawn),
        _implications_meaning(found, strongest, drawn),
        NOTHING if worst < WEAK else _implications_advice(drawn),
        worst_rows([_tested(one) for one in found], lambda row: -row["q_value"]),
    )


def _implications_verdict(worst: float, drawn: bool) -> Verdict:
    if worst < WEAK:
        return "pass"
    return "fail" if worst >= STRONG and drawn else "warn"


def _implications_meaning(found: Sequence[Finding], strongest: dict[str, float], drawn: bool) -> str:
    start = "" if drawn else "No edges are declared, so attributes count as causes of the answer that are unrelated. "
    if not found:
        return start + (
            "The graph implies nothing that the survey could contradict: all that was measured is joined by an arrow "
            "or a "
            "latent cause."
        )
    claims = len({str(one.claim) for one in found})
    start += f"The graph implies {counted(claims, 'independency', 'independencies')} that the survey can contradict; "
    if not strongest:
        return start + "none is contradicted."
    shown = [f"{_between(claim)} ({size:.2f})" for claim, size in strongest.items()]
    verb = "does" if len(shown) == 1 else "do"
    weak = " All are weak." if max(strongest.values()) < WEAK else ""
    return (
        f"{start}{len(shown)} {verb} not hold (q < {FOUND}): {listed(shown, 4)}. In brackets is the association that "
        f"is "
        f"left, from 0 to 1.{weak}"
    )


def _between(claim: str) -> str:
    return claim.replace(f" and {ANSWER}", " and the answer")


def _implications_advice(drawn: bool) -> str:
    if drawn:
        return (
            "Draw an arrow, or a latent common cause, between the two if that is what you believe; then read how the "
            "estimands change."
        )
    return (
        "Declare under graph.edges which attribute causes which (or a latent cause of both under graph.latent): only "
        "then "
        "are estimands more than a default."
    )


def _tested(one: Finding) -> dict[str, Any]:
    return {
        "independent": str(one.claim),
        "question": one.question,
        "strength": one.strength,
        "p_value": one.p_value,
        "q_value": one.q_value,
    }
