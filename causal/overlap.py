"""What each comparison rests on, and which toggles compare people of kinds that are found at one level only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.adjustment import Choice, Comparison, adjustment, comparisons
from causal.check import counted, listed
from causal.encoding import MISSING
from causal.positivity import most_apart, positivity
from causal.propensities import Propensities, weights
from causal.study import Study
from causal.survey import Survey

SHOWN = 3
"""Comparisons without overlap that are spelled out."""


@dataclass(frozen=True)
class Lack:
    """Toggles of one comparison that lack overlap in what they are adjusted for.

    Attributes
    ----------
    country, attribute, reference, treated : str
        The comparison; the country is called what the study calls it.
    outside : float
        Share of the people of these toggles' contexts who are of a kind hardly found at one of the levels.
    by : str
        What is adjusted for that differs most between the levels among them.
    rows : ndarray of int
        The toggles' positions in the table of ``cell`` rows.
    """

    country: str
    attribute: str
    reference: str
    treated: str
    outside: float
    by: str
    rows: np.ndarray

    def __str__(self) -> str:
        return (
            f"in {self.country}, {self.outside:.0%} of those compared for {self.attribute} ({self.reference} or "
            f"{self.treated}) are, mostly by {self.by}, of a kind hardly found at one of the two levels, so that "
            "nobody can be compared with them"
        )


def said(found: Sequence[Lack]) -> list[str]:
    """Return what lacks overlap in a sentence for the reader; none where nothing does."""
    if not found:
        return []
    every = list(dict.fromkeys(str(one) for one in sorted(found, key=lambda one: -one.outside)))
    shown = "; ".join(every[:SHOWN])
    more = f" (and {counted(len(every) - SHOWN, 'more comparison')})" if len(every) > SHOWN else ""
    return [f"No overlap, so no effect is identified by adjusting: {shown}{more}."]


def without_overlap_advice(study: Study) -> str:
    """Say what to do where people of a kind are found at one level only."""
    marked = f", and the rows of {listed(study.effects.adjusting)} that do are not_identified"
    return (
        f"Where people cannot be compared an estimator can only guess{marked if study.effects.adjusting else ''}: read "
        "these contrasts as associations. To get an effect, leave that country out, merge levels, or ask about a "
        "population in which both levels occur."
    )


def lacks(
    survey: Survey, cells: pd.DataFrame, propensities: Propensities, choose: Choice = adjustment
) -> Iterator[Lack]:
    """Yield what lacks overlap, by the rule of `causal.positivity`; a context is judged by its own people.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    propensities : Propensities
        The survey's.
    choose : callable
        What a toggle is adjusted for.
    """
    for comparison in comparisons(survey, cells, choose):
        ready = propensities.of(comparison)
        if ready is not None and (found := _lack(survey, comparison, ready.propensity.raw)):
            yield found


def _lack(survey: Survey, comparison: Comparison, raw: np.ndarray) -> Lack | None:
    hit, outside, rows = np.zeros(len(raw), dtype=bool), np.zeros(len(raw), dtype=bool), [np.empty(0, dtype=int)]
    for contexts in comparison.contexts:
        found = positivity(survey, comparison, raw, contexts.group, len(contexts.place))
        there = found.lacks[contexts.group]
        hit, outside = hit | there, outside | (there & ~found.common)
        rows.append(contexts.place[found.lacks].ravel())
    if not hit.any():
        return None
    own = np.concatenate(rows)
    share = float(np.average(outside[hit], weights=weights(survey, comparison.people[hit])))
    return Lack(
        survey.study.country_name(survey.countries[comparison.country]),
        comparison.adjustment.attribute,
        comparison.reference,
        comparison.treated,
        share,
        most_apart(survey, comparison, hit),
        own[own != MISSING],
    )


@dataclass(frozen=True)
class Overlap:
    """What one comparison (country, attribute and two levels) rests on.

    Attributes
    ----------
    country, attribute, treated : str
        The comparison, likewise.
    adjusted_for : tuple of str
        What it is adjusted for in every context.
    left_out : float
        Share of the respondents at its two levels of whom something adjusted for is unknown.
    bounded : float
        Share of those kept whose propensity is beyond the bound.
    n, n_eff : float
        Respondents at the smaller side, and Kish's effective number with weights times inverse probabilities.
    fitted : bool
        Whether there are enough to fit anything.
    lacks : bool
        Whether it lacks overlap, nothing held: then the bound hides how few ``n_eff`` would be.
    """

    country: str
    attribute: str
    treated: str
    adjusted_for: tuple[str, ...]
    left_out: float
    bounded: float
    n: int
    n_eff: float
    fitted: bool
    lacks: bool

    def __str__(self) -> str:
        return f"{self.attribute} {self.treated} in {self.country}"


def overlaps(survey: Survey, cells: pd.DataFrame, propensities: Propensities) -> list[Overlap]:
    """Return what the propensity of every comparison shows.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    propensities : Propensities
        The survey's.
    """
    return [_overlap(survey, comparison, propensities) for comparison in comparisons(survey, cells)]


def _overlap(survey: Survey, comparison: Comparison, propensities: Propensities) -> Overlap:
    study, arm = survey.study, comparison.arm
    attribute = comparison.adjustment.attribute
    own = survey.levels[survey.country == comparison.country, list(study.attributes).index(attribute)]
    levels = list(study.attributes[attribute].levels)
    at_either = int(np.isin(own, [levels.index(comparison.reference), levels.index(comparison.treated)]).sum())
    ready = propensities.of(comparison)
    sizes = np.bincount(arm, minlength=2)
    n_eff, bounded, lacking = sizes.astype(float), 0.0, False
    if ready is not None:
        at_level = np.where(arm == 1, ready.propensity.value, 1 - ready.propensity.value)
        inverse = weights(survey, comparison.people) / at_level
        n_eff = np.bincount(arm, inverse) ** 2 / np.bincount(arm, inverse**2)
        bounded = float(ready.propensity.bounded.mean())
        nothing_held = np.zeros(len(arm), dtype=np.int64)
        lacking = bool(positivity(survey, comparison, ready.propensity.raw, nothing_held, 1).lacks[0])
    smaller = int(n_eff.argmin())
    return Overlap(
        survey.study.country_name(survey.countries[comparison.country]),
        attribute,
        comparison.treated,
        comparison.adjustment.names,
        1 - len(arm) / at_either if at_either else 0.0,
        bounded,
        int(sizes[smaller]),
        float(n_eff[smaller]),
        ready is not None,
        lacking,
    )
