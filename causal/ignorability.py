"""Checks of what the effects rest on, each said in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from causal.files import write_json
from causal.pooling import fits
from causal.study import Study
from causal.survey import MISSING, Survey
from causal.tables import estimated_by

SUPPORT_SHARE = 0.8
NONRESPONSE_SHARE = 0.2
POOLED_TOGGLES = 20


@dataclass(frozen=True)
class Check:
    """One check: what was measured, against which threshold, what it means and what to do."""

    name: str
    statistic: float
    threshold: float
    verdict: Literal["pass", "warn", "fail"]
    meaning: str
    advice: str


def checks(survey: Survey, effects: pd.DataFrame) -> list[Check]:
    """Run every check on a survey and its effects; pooled rows count in none but their own."""
    raw = estimated_by(effects)
    found = [
        support_check(raw, survey.study),
        identification_check(raw),
        nonresponse_check(survey),
        attribute_check(survey),
    ]
    return [*found, pooled_check(raw, survey.study)] if survey.study.effects.pools else found


def support_check(effects: pd.DataFrame, study: Study) -> Check:
    """Share of toggles with enough respondents in both cells; fails below 80%."""
    share = float(effects["supported"].mean())
    finest = effects[effects["granularity"] == effects["granularity"].max()]
    smallest = int(finest[["n_reference", "n_treated"]].min(axis=1).median())
    return Check(
        "support",
        share,
        SUPPORT_SHARE,
        "pass" if share == 1 else "warn" if share >= SUPPORT_SHARE else "fail",
        f"{effects['supported'].sum()} of {len(effects)} toggles have at least {study.effects.support} "
        "respondents (n and n_eff) "
        f"in both cells; at the finest granularity the smaller cell of a toggle has {smallest} (median).",
        "Nothing to do." if share == 1 else "Merge rare levels, drop an attribute, or read coarser granularities.",
    )


def identification_check(effects: pd.DataFrame) -> Check:
    """Share of toggles that the declared DAG does not identify; fails if the finest granularity has any."""
    unknown = effects["estimand"] == "not_identified"
    finest = effects["granularity"] == effects["granularity"].max()
    which = effects.loc[unknown, ["attribute", "granularity"]].drop_duplicates()
    named = ", ".join(f"{row.attribute} at G={row.granularity}" for row in which.itertuples())
    return Check(
        "identification",
        float(unknown.mean()),
        0.0,
        "fail" if (unknown & finest).any() else "warn" if unknown.any() else "pass",
        f"The declared graph leaves a back-door path open for: {named}. These contrasts are associations."
        if named
        else "Given the declared graph, every toggle is a total or a controlled direct effect.",
        "Read these rows as associations, or use personas that hold the confounding attribute fixed."
        if named
        else "Nothing to do.",
    )


def nonresponse_check(survey: Survey) -> Check:
    """Largest share of respondents without an answer to one question; warns above 20%."""
    missing = (survey.answers == MISSING).mean(axis=0)
    worst = int(missing.argmax())
    name = list(survey.study.questions)[worst]
    return Check(
        "item nonresponse",
        float(missing[worst]),
        NONRESPONSE_SHARE,
        "pass" if missing[worst] <= NONRESPONSE_SHARE else "warn",
        f"Question {name} has the most respondents without an answer: {missing[worst]:.1%} of "
        f"{survey.respondents}. Effects describe those who answered.",
        "Nothing to do."
        if missing[worst] <= NONRESPONSE_SHARE
        else "Ask whether those who answer differ from those who do not.",
    )


def attribute_check(survey: Survey) -> Check:
    """Largest share of respondents of whom one attribute is unknown; warns above 20%."""
    missing = (survey.levels == MISSING).mean(axis=0)
    worst = int(missing.argmax())
    name = list(survey.study.attributes)[worst]
    return Check(
        "attribute nonresponse",
        float(missing[worst]),
        NONRESPONSE_SHARE,
        "pass" if missing[worst] <= NONRESPONSE_SHARE else "warn",
        f"Attribute {name} is unknown for {missing[worst]:.1%} of {survey.respondents} respondents; they "
        f"count only where it is not specified. {survey.without_country} respondents without a country are left out.",
        "Nothing to do." if missing[worst] <= NONRESPONSE_SHARE else "Check the attribute's codes and who is missing.",
    )


def pooled_check(effects: pd.DataFrame, study: Study) -> Check:
    """Variance components behind the pooled estimates; warns if one rests on fewer than 20 toggles."""
    found = list(fits(effects, study))
    fewest = min((len(fit.place) for fit in found), default=0)
    finest = max((fit.granularity for fit in found), default=0)
    named = "; ".join(
        f"{fit.attribute} ({fit.treated}) {fit.components.question**0.5:.3f} and {fit.components.context**0.5:.3f}"
        for fit in found
        if fit.granularity == finest
    )
    enough = fewest >= POOLED_TOGGLES
    return Check(
        "pooled variance components",
        float(fewest),
        float(POOLED_TOGGLES),
        "pass" if enough else "warn",
        f"Standard deviation of true shifts between questions, and between countries and contexts of one question, "
        f"at G={finest}: {named}. The smaller the second against a toggle's noise, the more of its pooled value is "
        f"its question's mean. The smallest set pooled has {fewest} toggles."
        if found
        else "No toggle has support, so nothing was pooled.",
        "Nothing to do."
        if enough
        else "With so few toggles these are guesses: read the cell rows, or add questions or contexts.",
    )


def write_checks(found: Sequence[Check], path: Path) -> None:
    """Write ``checks.json``."""
    write_json(path, [asdict(check) for check in found])


def read_checks(items: Sequence[dict[str, Any]]) -> list[Check]:
    """Return the checks that ``checks.json`` holds."""
    return [Check(**item) for item in items]
