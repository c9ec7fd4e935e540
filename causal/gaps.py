"""Checks of what is not there: levels without respondents, questions without answers, nonresponse by cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, false_discovery_control, norm

from causal.check import Check
from causal.counttable import AnySurvey, CountTable
from causal.effects import ROUNDING
from causal.encoding import MISSING
from causal.grid import Grid
from causal.ignorability import NONRESPONSE_SHARE
from causal.study import Study

DIFFERENCE = 0.1
"""Difference of nonresponse between a toggle's ends above which its effect is suspect."""
CHANCE = 0.05
"""q-value below which a share or difference is more than chance."""
SHOWN = 5
_NINES = re.compile(r"7{3,}|8{3,}|9{2,}[789]")
"""What a missing code in a column of numbers looks like: 777, 888, 997, 998, 999, 9998, ..."""


def gap_checks(survey: AnySurvey, grids: Sequence[Grid]) -> list[Check]:
    """Check who and what is missing.

    Parameters
    ----------
    survey : Survey, CountTable or FrameCounts
        Levels of everybody who was counted.
    grids : sequence of Grid
        The survey's; nonresponse is looked at on those with the most attributes specified.

    Returns
    -------
    list of Check
        Those on nonresponse are left out where a count table does not tell it.
    """
    found = [level_check(survey), *range_check(survey)]
    finest = max(len(grid.attributes) for grid in grids)
    cells = [_cells(grid, survey) for grid in grids if len(grid.attributes) == finest and grid.asked is not None]
    if not cells:
        return found
    return [*found, *unasked_check(cells[0]), cell_check(cells, survey.study), toggle_check(cells, survey.study)]


def level_check(survey: AnySurvey) -> Check:
    """Number of levels that nobody in a country has; fails if an attribute has fewer than two levels in the data."""
    study = survey.study
    lone, empty = [], []
    for name, present in _present(survey):
        levels = np.array(list(study.attributes[name].levels))
        if (present.any(axis=0)).sum() < 2:
            lone.append(name)
        for c, level in np.argwhere(~present):
            empty.append(f"{name} {levels[level]} in {survey.countries[c]}")
    shown = "; ".join(empty[:SHOWN]) + (" ..." if len(empty) > SHOWN else "")
    meaning = f"Nobody in the data has: {shown}. Toggles from or to these levels stand as unsupported with n = 0."
    if lone:
        meaning += f" No toggle of {', '.join(lone)} is possible: the data have fewer than two of its levels."
    return Check(
        "levels",
        float(len(empty)),
        0.0,
        "fail" if lone else "warn" if empty else "pass",
        meaning if empty else "Every level of every attribute has respondents in every country.",
        "Check the levels' codes or ranges against the data; drop an attribute that does not vary."
        if empty
        else "Nothing to do.",
    )


def range_check(survey: AnySurvey) -> list[Check]:
    """Number of open ranges that seem to have taken in a missing code; nothing to say without ranges."""
    if isinstance(survey, CountTable) or not survey.spans:
        return []
    held, odd = [], []
    for name, spans in survey.spans.items():
        levels = survey.study.attributes[name].levels
        for (level, item), span in zip(levels.items(), spans, strict=True):
            if span is None:
                continue
            held.append(f"{name} {level} {span[0]:g} to {span[1]:g}")
            low, high = item.bounds
            odd += [f"{span[0]:g} in {name} {level}"] if np.isinf(low) and span[0] < 0 else []
            odd += [f"{span[1]:g} in {name} {level}"] if np.isinf(high) and _NINES.fullmatch(f"{span[1]:.15g}") else []
    return [
        Check(
            "ranges",
            float(len(odd)),
            0.0,
            "warn" if odd else "pass",
            f"Lowest and highest number of each range: {'; '.join(held)}."
            + (f" These look like missing codes: {'; '.join(odd)}." if odd else ""),
            "If they are no answer, list them under the attribute's missing; else close the range with a number."
            if odd
            else "Nothing to do.",
        )
    ]


def _present(survey: AnySurvey) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each attribute with whether its levels have respondents, shape (countries, levels).

    An attribute that no row of a count table specifies is left out: the check of the table speaks of it.
    """
    rows = survey.rows.select(survey.rows.count > 0) if isinstance(survey, CountTable) else survey
    for j, (name, attribute) in enumerate(survey.study.attributes.items()):
        if isinstance(survey, CountTable) and not survey.rows.specified[:, j].any():
            continue
        known = rows.levels[:, j] != MISSING
        present = np.zeros((len(survey.countries), len(attribute.levels)), dtype=bool)
        present[rows.country[known], rows.levels[known, j]] = True
        yield name, present


@dataclass(frozen=True)
class _Cells:
    """Item nonresponse on one grid; arrays of shape (countries, levels of each attribute ..., questions)."""

    attributes: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    countries: tuple[str, ...]
    questions: tuple[str, ...]
    asked: np.ndarray  # 0 where the question was not asked in the country
    answered: np.ndarray
    supported: np.ndarray
    unasked: np.ndarray  # shape (countries, questions)

    @property
    def silent(self) -> np.ndarray:
        """Share of respondents without an answer."""
        return 1 - self.answered / np.maximum(self.asked, 1)

    def name(self, place: Sequence[int]) -> str:
        """Return a cell as words."""
        country, *held, question = place
        persona = [levels[i] for levels, i in zip(self.levels, held, strict=True)]
        return ", ".join([self.countries[country], self.questions[question], *persona])


def _cells(grid: Grid, survey: AnySurvey) -> _Cells:
    assert grid.asked is not None
    study, personas = survey.study, tuple(range(1, grid.n.ndim - 1))
    unasked = (grid.n.sum(axis=personas) == 0) & (grid.asked.sum(axis=personas) > 0)
    least = study.effects.support - ROUNDING
    return _Cells(
        grid.attributes,
        tuple(tuple(study.attributes[name].levels) for name in grid.attributes),
        survey.countries,
        tuple(study.questions),
        np.where(np.expand_dims(unasked, personas), 0, grid.asked),
        grid.n,
        (grid.n >= least) & (grid.n_eff >= least),
        unasked,
    )


def unasked_check(cells: _Cells) -> list[Check]:
    """Number of questions that nobody in some country answered; nothing to say where there are none."""
    places = np.argwhere(cells.unasked)
    if not len(places):
        return []
    shown = "; ".join(f"{cells.questions[q]} in {cells.countries[c]}" for c, q in places[:SHOWN])
    return [
        Check(
            "questions without answers",
            float(len(places)),
            0.0,
            "warn",
            f"Nobody answered: {shown}{' ...' if len(places) > SHOWN else ''}. They count as not asked: their toggles "
            "stand as unsupported with n = 0, and nonresponse by cell leaves them out.",
            "Nothing to do if they were not asked there; else check the codes of these countries.",
        )
    ]


def cell_check(cells: Sequence[_Cells], study: Study) -> Check:
    """Share of cells in which clearly more than 20% have no answer; warns if there are any."""
    least = study.effects.support
    worst: list[tuple[float, str]] = []
    above, tails = 0, []
    for one in cells:
        places = np.argwhere(one.asked >= least)
        at = tuple(places.T)
        silent, asked = one.silent[at], one.asked[at]
        above += int((silent > NONRESPONSE_SHARE).sum())
        tails.append(binom.sf(np.round(asked - one.answered[at]) - 1, np.round(asked), NONRESPONSE_SHARE))
        for i in np.lexsort((-asked, -silent))[: min(SHOWN, int((silent > 0).sum()))]:
            worst.append((silent[i], f"{one.name(places[i])} ({silent[i]:.0%} of {asked[i]:.0f})"))
    clear = _clear(np.concatenate(tails))
    highest = "; ".join(text for _, text in sorted(worst, key=lambda item: -item[0])[:SHOWN])
    return Check(
        "cell nonresponse",
        float(clear.mean()) if len(clear) else 0.0,
        0.0,
        "warn" if clear.any() else "pass",
        f"Of {len(clear)} cells (country, question, persona) with at least {least} respondents, {above} have more than "
        f"{NONRESPONSE_SHARE:.0%} without an answer, {clear.sum()} of them by more than chance (binomial test, "
        f"q < {CHANCE}). Highest: {highest or 'none'}.",
        "Read the effects of these questions as those of the people who answered, or keep don't know as an option."
        if clear.any()
        else "Nothing to do.",
    )


def toggle_check(cells: Sequence[_Cells], study: Study) -> Check:
    """Largest difference of nonresponse between a supported toggle's ends that is no chance; warns above 10 points.

    An effect is biased where those who answer are selected otherwise at one end than at the other.
    """
    gaps = [gap for one in cells for gap in _gaps(one, study)]
    size = np.abs(np.concatenate([gap.difference for gap in gaps]))
    clear = _clear(np.concatenate([gap.p_value for gap in gaps]))
    largest = float(size[clear].max(initial=0))
    owner = np.repeat(np.arange(len(gaps)), [len(gap.difference) for gap in gaps])
    first = np.concatenate([np.arange(len(gap.difference)) for gap in gaps])
    order = np.lexsort((-size, ~clear))[: min(SHOWN, int((size > 0).sum()))]
    named = "; ".join(gaps[owner[i]].name(first[i]) for i in order)
    beyond = int((clear & (size > DIFFERENCE)).sum())
    return Check(
        "toggle nonresponse",
        largest,
        DIFFERENCE,
        "warn" if largest > DIFFERENCE else "pass",
        f"Of {len(size)} supported toggles at the finest granularity, {clear.sum()} have ends that differ in "
        f"nonresponse by more than chance (q < {CHANCE}), {beyond} of them by more than {DIFFERENCE:.0%} of "
        "respondents. "
        f"Largest: {named or 'none'}.",
        "Such a toggle compares people who were selected differently at its two ends; do not read its effect without "
        "asking who is silent."
        if largest > DIFFERENCE
        else "Nothing to do.",
    )


@dataclass(frozen=True)
class _Gap:
    """Differences of nonresponse across the supported toggles of one contrast."""

    cells: _Cells
    axis: int
    pair: tuple[int, int]
    places: np.ndarray  # (toggles, axes but the toggled one)
    difference: np.ndarray
    p_value: np.ndarray

    def name(self, i: int) -> str:
        """Return a toggle and the nonresponse at its ends as words."""
        ends = [tuple(np.insert(self.places[i], self.axis, level)) for level in self.pair]
        level = self.cells.levels[self.axis - 1][self.pair[0]]
        low, high = (f"{self.cells.silent[end]:.0%} of {self.cells.asked[end]:.0f}" for end in ends)
        return f"{self.cells.name(ends[1])} ({high}) against {level} ({low})"


def _gaps(cells: _Cells, study: Study) -> Iterator[_Gap]:
    """Yield the differences of each contrast, tested as those of two proportions of people drawn one by one."""
    for axis, attribute in enumerate(cells.attributes, start=1):
        for pair in study.attributes[attribute].pairs:
            (asked0, asked1), (silent0, silent1), (held0, held1) = (
                [values.take(level, axis=axis) for level in pair]
                for values in (cells.asked, cells.silent, cells.supported)
            )
            at = np.nonzero(held0 & held1)
            n0, n1, r0, r1 = (values[at] for values in (asked0, asked1, silent0, silent1))
            both = (n0 * r0 + n1 * r1) / (n0 + n1)
            error = np.sqrt(both * (1 - both) * (1 / n0 + 1 / n1))
            z = np.divide(np.abs(r1 - r0), error, out=np.zeros_like(error), where=error > 0)
            yield _Gap(cells, axis, pair, np.stack(at, axis=1), r1 - r0, 2 * norm.sf(z))


def _clear(p_values: np.ndarray) -> np.ndarray:
    """Return which p-values stand after looking at all of them (Benjamini and Hochberg)."""
    return false_discovery_control(p_values) < CHANCE if len(p_values) else np.zeros(0, dtype=bool)
