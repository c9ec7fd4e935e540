"""Respondent halves: training learns from one half of the people, everything else is said of the other half."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from causal.check import NOTHING, Check
from causal.counttable import AnySurvey
from causal.design import nest
from causal.errors import InputError
from causal.survey import Survey

SEED = 20_240
"""Of the halves alone: whatever ``fit.seed`` is, nobody moves from one half to the other."""
FEWEST_UNITS = 4
"""PSUs, or respondents, that a country needs: two in either half, so that each has a variance."""
LOPSIDED = 0.4
"""Share of a country's respondents below which a half is small."""


@dataclass(frozen=True)
class Halves:
    """A survey's respondents in two halves, each a survey of its own.

    Attributes
    ----------
    evaluation : Survey
        Those whom training never sees.
    training : Survey
        Those whom training learns from.
    """

    evaluation: Survey
    training: Survey


def halve(survey: AnySurvey) -> Halves:
    """Return the respondents in halves, each with the strata and PSUs of its own people.

    ``missing_answers`` of the halves is empty: codes are counted before respondents are dealt out.

    Raises
    ------
    InputError
        There are no respondents to deal out, or fewer than `FEWEST_UNITS` PSUs or respondents in a country.
    """
    respondents = require_units(survey)
    trained = training_half(respondents)
    return Halves(_part(respondents, ~trained), _part(respondents, trained))


def require_units(survey: AnySurvey) -> Survey:
    """Return the survey if its respondents can be dealt out; see `halve`."""
    if not isinstance(survey, Survey):
        raise InputError(
            "fit.held_out.respondents: half deals the respondents out, and counts have none; give the survey's file of "
            "respondents, or remove the key"
        )
    homes = survey.country if survey.design is None else survey.design.country
    found = np.bincount(homes, minlength=len(survey.countries))
    if len(few := np.flatnonzero(found < FEWEST_UNITS)):
        named = ", ".join(f"{survey.countries[i]} ({found[i]})" for i in few)
        what = "PSUs" if survey.study.survey.psu else "respondents"
        raise InputError(
            f"fit.held_out.respondents: half needs at least {FEWEST_UNITS} {what} in every country, two for each half; "
            f"fewer are in {named}; leave these countries out (survey.keep), or remove the key"
        )
    return survey


def training_half(survey: Survey) -> np.ndarray:
    """Return which respondents are in the training half, shape (respondents,).

    In each country, PSUs (respondents, where no PSU is declared) are lined up stratum by stratum, in random order
    within strata and strata in random order, and dealt out one to each half in turn. So the numbers differ by at most
    one in every stratum and every country, each unit is in either half with probability 1/2, and a stratum with one
    PSU goes to one half as a whole. A country's halves depend on its own code and units alone.
    """
    design = survey.design
    unit, home, stratum = (
        (np.arange(survey.respondents), survey.country, survey.country)
        if design is None
        else (design.psu, design.country, design.stratum)
    )
    trained = np.empty(len(home), dtype=bool)
    for i, country in enumerate(survey.countries):
        here = np.flatnonzero(home == i)
        trained[here] = _dealt(stratum[here], np.random.default_rng([SEED, *country.encode()]))
    return trained[unit]


def _dealt(stratum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    number = np.unique(stratum, return_inverse=True)[1].reshape(-1)
    turn = rng.permutation(int(number.max()) + 1)
    order = np.lexsort([rng.random(len(stratum)), turn[number]])
    half = np.empty(len(stratum), dtype=bool)
    half[order] = (np.arange(len(stratum)) + rng.integers(2)) % 2 == 0
    return half


def _part(survey: Survey, chosen: np.ndarray) -> Survey:
    country, design = survey.country[chosen], survey.design
    if design is not None:
        psu = design.psu[chosen]
        design = nest(country, design.stratum[psu], psu)
    return replace(
        survey,
        country=country,
        levels=survey.levels[chosen],
        answers=survey.answers[chosen],
        weight=None if survey.weight is None else survey.weight[chosen],
        design=design,
        covariates={name: values[chosen] for name, values in survey.covariates.items()},
        missing_answers={},
    )


def halves_check(halves: Halves) -> Check:
    """Smallest share of a country's respondents in one half; warns below 40%, which PSUs of unequal size can bring."""
    sides = (halves.evaluation, halves.training)
    countries = halves.evaluation.countries
    people = np.array([np.bincount(side.country, minlength=len(countries)) for side in sides])
    share = (people / people.sum(axis=0)).min(axis=0)
    worst = int(share.argmin())
    units = "PSU" if halves.evaluation.study.survey.psu else "respondent"
    strata = " within strata" if halves.evaluation.study.survey.strata else ""
    low = share[worst] < LOPSIDED
    return Check(
        "respondent halves",
        float(share[worst]),
        LOPSIDED,
        "warn" if low else "pass",
        f"These effects and all checks are of half of the respondents: {people[0].sum()} of {people.sum()}, dealt out "
        f"at random by {units}{strata} in each country. Training learns from the other {people[1].sum()} "
        f"(training_effects.parquet). The smallest half of a country, in {countries[worst]}, has {share[worst]:.0%} of "
        "its people.",
        "A small half is a noisy one; its PSUs are few or very unequal. Read its countries' scores with their ceiling."
        if low
        else NOTHING,
    )
