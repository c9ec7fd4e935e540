"""Checks of what the effects rest on, each said in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causal.adjusted import without_overlap
from causal.check import Check, listed
from causal.counttable import AnySurvey, CountTable
from causal.estimators.nuisance import BOUND
from causal.files import write_json
from causal.framecounts import FrameCounts
from causal.graphchecks import identification_check
from causal.grid import subsets
from causal.overlap import Lack, Overlap, overlaps
from causal.pooling import fits
from causal.propensities import Propensities
from causal.study import Study
from causal.survey import Survey
from causal.tables import estimated_by

SUPPORT_SHARE = 0.8
NONRESPONSE_SHARE = 0.2
ALMOST_ZERO = 1e-12
POOLED_TOGGLES = 20
WORST = 3
"""Questions whose missing codes are counted out."""
SHOWN_CODES = 6
BOUNDED_SHARE = 0.01


def checks(survey: AnySurvey, effects: pd.DataFrame, propensities: Propensities | None = None) -> list[Check]:
    """Run every check on a survey and its effects; pooled rows count in none but their own.

    Parameters
    ----------
    survey : Survey, CountTable or FrameCounts
        What was read.
    effects : DataFrame
        The effects table, all estimators.
    propensities : Propensities, optional
        The survey's, if something else in the same audit needs them too.
    """
    raw = estimated_by(effects)
    lacking: list[Lack] = []
    adjustments: list[Check] = []
    if survey.study.effects.adjusting and isinstance(survey, Survey):
        shared = propensities or Propensities(survey)
        lacking = without_overlap(survey, effects, shared)
        adjustments = [adjustment_check(overlaps(survey, raw, shared))]
    found = [
        support_check(raw, survey.study),
        identification_check(effects, survey.study, lacking),
        *([nonresponse_check(survey), attribute_check(survey)] if survey.tells_missing else []),
        *declared_missing_check(survey),
        *left_out_check(survey),
        *coverage_check(survey),
        *([] if isinstance(survey, CountTable) else [design_check(survey, raw)]),
    ]
    if survey.study.effects.pools:
        found.append(pooled_check(raw, survey.study))
    return [*found, *adjustments]


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


def nonresponse_check(survey: AnySurvey) -> Check:
    """Largest share of respondents without an answer to one question, with the codes; warns above 20%."""
    missing = survey.unanswered
    order = np.argsort(-missing, kind="stable")[:WORST]
    worst = missing[order[0]]
    questions = list(survey.study.questions)
    named = "; ".join(
        f"{questions[i]} {missing[i]:.1%}{_by_code(survey, questions[i])}" for i in order[missing[order] > 0]
    )
    return Check(
        "item nonresponse",
        float(worst),
        NONRESPONSE_SHARE,
        "pass" if worst <= NONRESPONSE_SHARE else "warn",
        f"Question {questions[order[0]]} has the largest share of respondents without an answer: {worst:.1%} (of those "
        "in countries where anybody answered it). "
        + (f"The highest, with respondents by missing code: {named}. " if named else "")
        + "Effects describe those who answered.",
        "Nothing to do."
        if worst <= NONRESPONSE_SHARE
        else "Ask whether those who answer differ from those who do not. To keep a code as an answer, such as don't "
        "know, list it among the question's options.",
    )


def _by_code(survey: AnySurvey, question: str) -> str:
    """Return a question's missing answers by code as words; nothing where a table does not tell."""
    codes = survey.missing_answers.get(question)
    return f" ({_counted(codes)})" if codes else ""


def _counted(rows: Mapping[str, int]) -> str:
    """Return rows by code as words, the most frequent first."""
    shown = [f"{code or 'empty'}: {count}" for code, count in list(rows.items())[:SHOWN_CODES]]
    return ", ".join(shown) + (" ..." if len(rows) > SHOWN_CODES else "")


def attribute_check(survey: AnySurvey) -> Check:
    """Largest share of respondents of whom one attribute is unknown; warns above 20%."""
    missing = survey.unknown
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


def design_check(survey: Survey | FrameCounts, effects: pd.DataFrame) -> Check:
    """Number of lonely PSUs, with the design effects of the supported shifts; warns if there are any."""
    design = survey.design
    lonely = 0 if design is None else design.lonely
    source = survey.study.survey
    declared = [key for key in ("weight", "strata", "psu") if getattr(source, key)]
    meaning = "No weights, strata or PSUs are declared: respondents count alike, as if drawn one by one."
    if declared:
        meaning = f"Standard errors and intervals use {', '.join(f'survey.{key}' for key in declared)}."
        ratios = design_effects(effects[effects["supported"]])
        if len(ratios):
            meaning += (
                f" Design effect of a supported shift (its variance over that of as many respondents drawn one by "
                f"one with equal chances): median {np.median(ratios):.2f}, largest {ratios.max():.2f}."
            )
    if design is not None:
        what = "PSUs" if source.psu else "respondents, each its own PSU,"
        meaning += (
            f" {len(design.stratum)} {what} in {len(design.strata_sizes)} strata, of which {lonely} have one PSU."
        )
    return Check(
        "design",
        float(lonely),
        0.0,
        "warn" if lonely else "pass",
        meaning,
        "A stratum with one PSU is centred at the mean of all PSUs, which errs to the wide side; merge it with a "
        "similar stratum if the survey's documentation says which."
        if lonely
        else "Nothing to do."
        if declared
        else "Declare survey.weight, survey.strata and survey.psu if the survey has them; intervals are too narrow "
        "without.",
    )


def design_effects(effects: pd.DataFrame) -> np.ndarray:
    """Return each shift's variance over that of a simple random sample of the same two sizes.

    Parameters
    ----------
    effects : DataFrame
        An effects table; toggles without answers, or whose answers do not vary, are left out.
    """
    simple = np.zeros(len(effects))
    for end in ("reference", "treated"):
        shares, n = effects[f"p_{end}"], effects[f"n_{end}"].to_numpy(dtype=float, na_value=np.nan)
        lengths = shares.map(lambda p: 0 if p is None else len(p)).to_numpy(dtype=int)
        for k in np.unique(lengths):
            rows = lengths == k
            if k == 0:
                simple[rows] = np.nan
                continue
            p, score = np.array(shares[rows].tolist(), dtype=float), np.linspace(0, 1, k)
            simple[rows] += (p @ score**2 - (p @ score) ** 2) / n[rows]
    known = simple > ALMOST_ZERO
    return effects["std_error"].to_numpy(dtype=float)[known] ** 2 / simple[known]


def declared_missing_check(survey: AnySurvey) -> list[Check]:
    """Values that are missing because the file declares their codes so; nothing to say where there are none."""
    found = survey.declared_missing
    if not found:
        return []
    totals = {name: sum(codes.values()) for name, codes in found.items()}
    order = sorted(totals, key=lambda name: -totals[name])
    named = "; ".join(f"{name} ({_counted(found[name])})" for name in order[:8]) + (" ..." if len(order) > 8 else "")
    return [
        Check(
            "missing codes of the file",
            float(sum(totals.values())),
            0.0,
            "pass",
            f"The file declares codes missing, and these values were read as no answer: {named}.",
            "To keep one as an answer, list its code under the question's options.",
        )
    ]


def left_out_check(survey: AnySurvey) -> list[Check]:
    """Rows of the countries that the study leaves out; nothing to say where it keeps all."""
    out = survey.left_out
    if not out:
        return []
    largest = sorted(out.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} ({rows})" for name, rows in largest[:8]) + (" ..." if len(out) > 8 else "")
    return [
        Check(
            "countries left out",
            float(sum(out.values())),
            0.0,
            "pass",
            f"survey.keep keeps {', '.join(survey.countries)}; {sum(out.values())} rows of {len(out)} other countries "
            f"are left out: {named}.",
            "Nothing to do: countries are separate samples.",
        )
    ]


def coverage_check(survey: AnySurvey) -> list[Check]:
    """Share of the asked personas that a count table cannot give; nothing to say about respondents."""
    if not isinstance(survey, CountTable):
        return []
    asked = subsets(survey.study)
    absent = [subset for subset in asked if not survey.holds(subset)]
    holds = (
        f"It holds no personas that specify {'; '.join(', '.join(subset) for subset in absent)}: their toggles stand "
        "as unsupported with n = 0."
        if absent
        else "Every granularity asked for can be made from it."
    )
    silent = "" if survey.tells_missing else " It has no rows for missing answers, so nonresponse is not known."
    return [
        Check(
            "count table",
            len(absent) / len(asked),
            0.0,
            "warn" if absent else "pass",
            f"The source is a count table. {holds}{silent}",
            "Ask for the granularities that the table holds." if absent else "Nothing to do.",
        )
    ]


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


def adjustment_check(found: Sequence[Overlap]) -> Check:
    """Largest share of propensities at their bound in one comparison that overlaps.

    It warns above 1%, where many are left out, where nothing can be fitted, and where overlap is lacking.
    """
    names = {o.attribute: o.adjusted_for for o in sorted(found, key=lambda o: -len(o.adjusted_for))}
    calm, lacking = [o for o in found if not o.lacks], [o for o in found if o.lacks]
    bounded = max((o.bounded for o in calm), default=0.0)
    omitted = max(found, key=lambda o: o.left_out)
    unfitted = [str(o) for o in found if not o.fitted]
    wrong = bounded > BOUNDED_SHARE or omitted.left_out > NONRESPONSE_SHARE or bool(unfitted) or bool(lacking)
    adjusted = "; ".join(f"{name} for {', '.join(others) or 'nothing'}" for name, others in names.items())
    meaning = (
        f"Adjusted: {adjusted}, and for what a persona holds fixed. At most {omitted.left_out:.1%} of the respondents "
        f"of one comparison are left out because something adjusted for is unknown ({omitted}). {_smallest(calm)}"
    )
    if lacking:
        worst = sorted(lacking, key=lambda o: -o.bounded)
        named = [f"{o} ({o.bounded:.0%} of people at the bound)" for o in worst]
        meaning += f"Overlap is lacking for {listed(named)}: there such a number would mean nothing. "
    if unfitted:
        meaning += f"Too few respondents to fit anything: {', '.join(unfitted[:8])}."
    return Check(
        "adjustment",
        bounded,
        BOUNDED_SHARE,
        "warn" if wrong else "pass",
        meaning.rstrip(),
        "Where hardly anybody with some characteristic is at one of the levels, or many are left out, the adjusted "
        "effect rests on few: read it as an association there; leave a covariate out only if it is no common cause."
        if wrong
        else "Nothing to do.",
    )


def _smallest(calm: Sequence[Overlap]) -> str:
    """Say what the comparisons that overlap rest on; where they do not, the bound hides it."""
    if not calm:
        return ""
    bounded, smallest = max(calm, key=lambda o: o.bounded), min(calm, key=lambda o: o.n_eff)
    return (
        f"Where people overlap, at most {bounded.bounded:.1%} have a probability of their attribute beyond the bound "
        f"of {BOUND:.0%} ({bounded}), and weighted by inverse probabilities the smallest side of a comparison counts "
        f"for {smallest.n_eff:.0f} of its {smallest.n} respondents ({smallest}). "
    )


def write_checks(found: Sequence[Check], path: Path) -> None:
    """Write ``checks.json``."""
    write_json(path, [asdict(check) for check in found])


def read_checks(items: Sequence[dict[str, Any]]) -> list[Check]:
    """Return the checks that ``checks.json`` holds."""
    return [Check(**item) for item in items]
