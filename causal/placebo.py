"""What the estimates do where they should do nothing: shuffled attributes, and halves of the same survey."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from causal.counts import count
from causal.design import nest
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.sections import EffectsSettings
from causal.survey import Survey

TOGGLES = 20_000
"""Toggles that are estimated at most, in as many repetitions as that allows, if it allows more than one."""
MOST_TIMES = 20
SEED = 0


@dataclass(frozen=True)
class Repeated:
    """A figure over repetitions.

    Attributes
    ----------
    value, error : float
        Mean, and its simulation error: the standard deviation between repetitions over the root of their number, or
        what independent toggles would give where there was one.
    times, toggles : int
        Repetitions, and supported toggles in each.
    """

    value: float
    error: float
    times: int
    toggles: int


def shuffled(survey: Survey, seed: int = SEED) -> Repeated:
    """Return the share of toggles significant at .05 when levels are dealt out at random within each country.

    Who answers what, with which weight and in which PSU, stays; which levels they have is shuffled, all attributes
    together. Every effect is then 0, so this share should be .05.
    """
    rng = np.random.default_rng(seed)

    def once() -> tuple[float, int]:
        order = np.lexsort([rng.random(survey.respondents), survey.country])
        levels = survey.levels.copy()
        levels[np.argsort(survey.country, kind="stable")] = survey.levels[order]
        rows = _supported(replace(survey, levels=levels))
        return float((rows["p_value"] < 0.05).mean()), len(rows)

    found = _repeated(survey, once)
    if found.times == 1 and found.toggles:
        return replace(found, error=float(np.sqrt(0.05 * 0.95 / found.toggles)))
    return found


def halves(survey: Survey, seed: int = SEED) -> Repeated:
    """Return the mean squared difference of the shifts of two random halves, over its expectation.

    Countries are halved by PSU where PSUs are declared, else by respondent. Around 1, the standard errors say how far
    estimates vary; well above, they say too little. One attribute at a time is specified.
    """
    rng = np.random.default_rng(seed)
    coarse = _at_one(survey)

    def once() -> tuple[float, int]:
        unit = survey.design.psu if survey.design is not None else np.arange(survey.respondents)
        first = _alternate(rng, unit, survey.country)[unit]
        one, other = (_supported(_part(coarse, first == side), keep=True) for side in (False, True))
        both = (one["supported"] & other["supported"]).to_numpy(dtype=bool)
        variance = (one["std_error"] ** 2 + other["std_error"] ** 2)[both]
        if not len(variance) or not (variance > 0).any():
            return np.nan, 0
        gap = ((one["shift"] - other["shift"]) ** 2)[both]
        return float(gap.sum() / variance.sum()), int(both.sum())

    return _repeated(coarse, once)


def _alternate(rng: np.random.Generator, unit: np.ndarray, country: np.ndarray) -> np.ndarray:
    """Return for each unit which half it is in: every other one of each country, in random order."""
    units = int(unit.max()) + 1
    home = np.empty(units, dtype=np.int64)
    home[unit] = country
    order = np.lexsort([rng.random(units), home])
    half = np.empty(units, dtype=bool)
    half[order] = np.arange(units) % 2 == 1
    return half


def _part(survey: Survey, chosen: np.ndarray) -> Survey:
    """Return some of the respondents as a survey of their own."""
    design = survey.design
    if design is not None:
        design = nest(survey.country[chosen], design.stratum[design.psu[chosen]], design.psu[chosen])
    return replace(
        survey,
        country=survey.country[chosen],
        levels=survey.levels[chosen],
        answers=survey.answers[chosen],
        weight=None if survey.weight is None else survey.weight[chosen],
        design=design,
        covariates={name: values[chosen] for name, values in survey.covariates.items()},
    )


def _at_one(survey: Survey) -> Survey:
    effects = EffectsSettings(support=survey.study.effects.support, granularity=(1,))
    return replace(survey, study=survey.study.model_copy(update={"effects": effects}))


def _supported(survey: Survey, keep: bool = False) -> pd.DataFrame:
    """Return the supported cell rows; all of them with ``keep``."""
    study = survey.study
    effects = study.effects.model_copy(update={"estimator": "cell"})
    study = study.model_copy(update={"effects": effects})
    counts = count(replace(survey, study=study))
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study) if subset]
    rows = survey_effects(grids, study, survey.countries)
    return rows if keep else rows[rows["supported"]]


def _repeated(survey: Survey, once: Callable[[], tuple[float, int]]) -> Repeated:
    first, toggles = once()
    times = int(np.clip(TOGGLES // max(toggles, 1), 1, MOST_TIMES)) if toggles else 1
    values = np.array([first, *_values(once() for _ in range(times - 1))])
    error = values.std(ddof=1) / np.sqrt(times) if times > 1 else np.nan
    return Repeated(float(values.mean()), float(error), times, toggles)


def _values(found: Iterable[tuple[float, int]]) -> list[float]:
    return [value for value, _ in found]
