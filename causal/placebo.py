"""What the estimates do where they should do nothing: shuffled attributes, and halves of the same survey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from causal.counts import count
from causal.design import Design, nest
from causal.effects import ToggleShifts, toggle_shifts
from causal.grid import grid_from_counts, subsets
from causal.sections import EffectsSettings
from causal.survey import Survey

TOGGLES = 20_000
"""Toggles that are estimated, in as many repetitions as that takes, within the next two."""
FEWEST_TIMES, MOST_TIMES = 3, 20
FEWEST_UNITS = 4
"""PSUs, or respondents, that a country needs to be halved: two on either side."""
SEED = 0


@dataclass(frozen=True)
class Repeated:
    """A figure over repetitions.

    Attributes
    ----------
    value, error : float
        Mean, and its simulation error: the standard deviation between repetitions over the root of their number. NaN
        where nothing has support.
    times, toggles : int
        Repetitions, and supported toggles in each (on average).
    same_sign : float
        Of halves: share of the shifts told apart from 0 in one half that have the same sign in the other. NaN if none.
    """

    value: float
    error: float
    times: int
    toggles: int
    same_sign: float = float("nan")


def shuffled(survey: Survey, seed: int = SEED) -> Repeated:
    """Return the share of toggles significant at .05 when levels are dealt out at random within each country.

    Who answers what, with which weight and in which PSU, stays; which levels they have is shuffled, all attributes
    together. Every effect is then 0, so this share should be .05.
    """
    rng = np.random.default_rng(seed)
    known = _with(survey, survey.study.effects.granularity)

    def once() -> tuple[float, int, float]:
        order = np.lexsort([rng.random(survey.respondents), survey.country])
        levels = survey.levels.copy()
        levels[np.argsort(survey.country, kind="stable")] = survey.levels[order]
        rows = _estimated(replace(known, levels=levels))
        found = ((rows.found.low > 0) | (rows.found.high < 0))[rows.supported]
        return float(found.mean()) if len(found) else np.nan, len(found), np.nan

    return _repeated(once)


def halves(survey: Survey, seed: int = SEED) -> Repeated:
    """Return the mean squared difference of the shifts of two random halves, over its expectation.

    Countries are halved by PSU where PSUs are declared, else by respondent; those with fewer than `FEWEST_UNITS` are
    left out. Around 1, the standard errors say how far the estimates of such halves vary; well above, they say too
    little. One attribute at a time is specified. Strata play no part: the halves are not drawn within them.
    """
    rng = np.random.default_rng(seed)
    coarse = _of_countries(_with(survey, (1,)), _units_of(survey) >= FEWEST_UNITS)
    if not coarse.respondents:
        return Repeated(np.nan, np.nan, 0, 0)
    design = coarse.design
    unit, homes = (np.arange(coarse.respondents), coarse.country) if design is None else (design.psu, design.country)

    def once() -> tuple[float, int, float]:
        first = _alternate(rng, homes)[unit]
        one, other = (_estimated(_part(coarse, first == side)) for side in (False, True))
        both = one.supported & other.supported
        variance = (one.found.std_error**2 + other.found.std_error**2)[both]
        if not (variance > 0).any():
            return np.nan, 0, np.nan
        gap = ((one.found.shift - other.found.shift) ** 2)[both]
        told = ((one.found.low > 0) | (one.found.high < 0)) & both
        agree = (np.sign(one.found.shift) == np.sign(other.found.shift))[told]
        return float(gap.sum() / variance.sum()), int(both.sum()), float(agree.mean()) if len(agree) else np.nan

    return _repeated(once)


def _units_of(survey: Survey) -> np.ndarray:
    """Return each country's number of PSUs, or of respondents where no design is declared."""
    homes = survey.country if survey.design is None else survey.design.country
    return np.bincount(homes, minlength=len(survey.countries))


def _of_countries(survey: Survey, kept: np.ndarray) -> Survey:
    """Return the survey of some countries only."""
    part = _part(survey, kept[survey.country])
    names = tuple(name for name, keep in zip(survey.countries, kept, strict=True) if keep)
    number = np.cumsum(kept) - 1
    design = part.design
    if design is not None:
        design = replace(design, country=number[design.country])
    return replace(part, countries=names, country=number[part.country], design=design)


def _alternate(rng: np.random.Generator, home: np.ndarray) -> np.ndarray:
    """Return for each unit which half it is in: every other one of each country, in random order."""
    order = np.lexsort([rng.random(len(home)), home])
    half = np.empty(len(home), dtype=bool)
    half[order] = np.arange(len(home)) % 2 == 1
    return half


def _part(survey: Survey, chosen: np.ndarray) -> Survey:
    """Return some of the respondents as a survey of their own, each country one stratum."""
    design: Design | None = survey.design
    if design is not None:
        design = nest(survey.country[chosen], None, design.psu[chosen])
    return replace(
        survey,
        country=survey.country[chosen],
        levels=survey.levels[chosen],
        answers=survey.answers[chosen],
        weight=None if survey.weight is None else survey.weight[chosen],
        design=design,
    )


def _with(survey: Survey, granularity: tuple[str | int, ...]) -> Survey:
    """Return the survey with nothing asked for but these granularities at 95% confidence."""
    effects = EffectsSettings.model_construct(
        estimator="cell", support=survey.study.effects.support, confidence=0.95, granularity=granularity
    )
    return replace(survey, study=survey.study.model_copy(update={"effects": effects}))


def _estimated(survey: Survey) -> ToggleShifts:
    counts, study = count(survey), survey.study
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study) if subset]
    return toggle_shifts(grids, study)


def _repeated(once: Callable[[], tuple[float, int, float]]) -> Repeated:
    runs = [once()]
    toggles = runs[0][1]
    if not toggles:
        return Repeated(np.nan, np.nan, 0, 0)
    times = int(np.clip(TOGGLES // toggles, FEWEST_TIMES, MOST_TIMES))
    runs = [run for run in (*runs, *(once() for _ in range(times - 1))) if run[1]]
    value, sizes, same = (np.array(column) for column in zip(*runs, strict=True))
    error = value.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else 0.0
    return Repeated(
        float(value.mean()),
        float(error),
        len(runs),
        round(float(sizes.mean())),
        float(same[~np.isnan(same)].mean()) if (~np.isnan(same)).any() else np.nan,
    )
