"""What an effect is adjusted for, the respondents that leaves, and their characteristics as numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.encoding import MISSING
from causal.identification import held_or_adjusted
from causal.study import Study
from causal.survey import Survey

KNOTS = 5
"""Knots of a number's cubic spline, at quantiles; a number with no more distinct values gets one indicator each."""

CHUNK = 500_000
"""Numbers of one array that are worked on at a time."""


@dataclass(frozen=True)
class Adjustment:
    """The attributes and covariates that an attribute's effect is adjusted for, in the study's order."""

    attribute: str
    attributes: tuple[str, ...]
    covariates: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.attributes, *self.covariates)


@dataclass(frozen=True)
class Contexts:
    """The toggles of one comparison with the same attributes held.

    Attributes
    ----------
    held : tuple of str
        The attributes held fixed.
    group : ndarray of int, shape (people,)
        Context of each of the comparison's respondents.
    place : ndarray of int, shape (contexts, questions)
        Row of each toggle in the table of ``cell`` rows, -1 where it has none.
    """

    held: tuple[str, ...]
    group: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One attribute's two levels in one country, adjusted for one set of variables: what one propensity is fitted to.

    Attributes
    ----------
    country : int
        Index into the survey's countries.
    adjustment : Adjustment
        What is adjusted for.
    reference, treated : str
        The two levels.
    people : ndarray of int
        Positions of the respondents at one of the two levels of whom everything adjusted for is known, ascending.
    arm : ndarray of int, shape (people,)
        0 at the reference, 1 at the treated level.
    contexts : tuple of Contexts
        One for each set of held attributes.
    """

    country: int
    adjustment: Adjustment
    reference: str
    treated: str
    people: np.ndarray
    arm: np.ndarray
    contexts: tuple[Contexts, ...]


def adjustment(study: Study, attribute: str, held: Collection[str]) -> Adjustment:
    """Choose what a toggle is adjusted for: what is held, and everything else the attribute does not cause.

    What the declared graph says the attribute causes is a mediator: adjusting for it would take away part of the
    effect. Only where a persona holds such an attribute fixed is it conditioned on (a controlled direct effect). A
    common effect of latent causes is left out too, where that identifies the effect and adjusting for it does not;
    see `causal.identification.held_or_adjusted`.

    Parameters
    ----------
    study : Study
        Attributes, covariates and the DAG.
    attribute : str
        The toggled attribute.
    held : collection of str
        The attributes held fixed.
    """
    chosen = held_or_adjusted(study.causal_graph, attribute, frozenset(held))
    return Adjustment(
        attribute,
        tuple(name for name in study.attributes if name in chosen),
        tuple(name for name in study.covariates if name in chosen),
    )


Choice = Callable[[Study, str, Collection[str]], Adjustment | None]
"""What a toggle of an attribute, given the held ones, is adjusted for; None where no adjustment identifies it."""


def estimands(cells: pd.DataFrame, study: Study, choose: Choice = adjustment) -> np.ndarray:
    """Name the estimand of each adjusted toggle: that of the attribute given everything adjusted for.

    Parameters
    ----------
    cells : DataFrame
        Rows of the effects table.
    study : Study
        Attributes, covariates and the DAG.
    choose : callable
        What a toggle is adjusted for.
    """
    found = np.full(len(cells), "not_identified", dtype=object)
    for attribute, _, _, held, rows in _blocks(cells, study):
        if chosen := choose(study, attribute, held):
            found[rows] = study.causal_graph.estimand(attribute, chosen.names)
    return found


def measured(survey: Survey, name: str) -> np.ndarray:
    """Return an attribute's levels or a covariate's values, shape (respondents,)."""
    names = list(survey.study.attributes)
    return survey.levels[:, names.index(name)] if name in names else survey.covariates[name]


def known(survey: Survey, chosen: Adjustment) -> np.ndarray:
    """Return whether everything adjusted for is known of each respondent, shape (respondents,)."""
    names = list(survey.study.attributes)
    found = (survey.levels[:, [names.index(name) for name in chosen.attributes]] != MISSING).all(axis=1)
    for name in chosen.covariates:
        values = survey.covariates[name]
        found &= ~np.isnan(values) if values.dtype.kind == "f" else values != MISSING
    return found


def comparisons(survey: Survey, cells: pd.DataFrame, choose: Choice = adjustment) -> Iterator[Comparison]:
    """Yield every comparison that the toggles need, country by country.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows; ``Contexts.place`` counts these from 0.
    choose : callable
        What a toggle is adjusted for; toggles for which it returns None are in no comparison.
    """
    study = survey.study
    names = list(study.attributes)
    gathered: dict[tuple[Adjustment, str, str], list[tuple[tuple[str, ...], np.ndarray]]] = {}
    for attribute, reference, treated, held, rows in _blocks(cells, study):
        if chosen := choose(study, attribute, held):
            gathered.setdefault((chosen, reference, treated), []).append((held, rows))
    for (chosen, reference, treated), blocks in gathered.items():
        own = survey.levels[:, names.index(chosen.attribute)]
        levels = list(study.attributes[chosen.attribute].levels)
        usable = known(survey, chosen) & np.isin(own, [levels.index(reference), levels.index(treated)])
        places = [(held, _places(cells.iloc[rows], rows, survey, held)) for held, rows in blocks]
        for country in range(len(survey.countries)):
            people = np.flatnonzero(usable & (survey.country == country))
            contexts = tuple(Contexts(held, _group(survey, held, people), place[country]) for held, place in places)
            arm = (own[people] == levels.index(treated)).astype(np.int8)
            yield Comparison(country, chosen, reference, treated, people, arm, contexts)


def _blocks(cells: pd.DataFrame, study: Study) -> Iterator[tuple[str, str, str, tuple[str, ...], np.ndarray]]:
    """Yield (attribute, reference, treated level, held attributes, positions) of the rows that share these."""
    names = list(study.attributes)
    held = cells[names].notna().to_numpy()
    keys = pd.DataFrame({name: cells[name].to_numpy() for name in ("attribute", "reference", "treated")})
    keys["held"] = held @ (2 ** np.arange(len(names)))
    for rows in keys.groupby(list(keys.columns), sort=False).indices.values():
        first = keys.iloc[rows[0]]
        fixed = tuple(name for name, one in zip(names, held[rows[0]], strict=True) if one)
        yield str(first["attribute"]), str(first["reference"]), str(first["treated"]), fixed, np.asarray(rows)


def _sizes(survey: Survey, held: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(len(survey.study.attributes[name].levels) for name in held)


def _places(toggles: pd.DataFrame, rows: np.ndarray, survey: Survey, held: tuple[str, ...]) -> np.ndarray:
    """Return the row of each (country, context, question), -1 for none."""
    study, sizes = survey.study, _sizes(survey, held)
    contexts = int(np.prod(sizes))
    place = np.full((len(survey.countries), contexts, len(study.questions)), MISSING, dtype=np.int64)
    levels = [_index(toggles[name], list(study.attributes[name].levels)) for name in held]
    context = np.ravel_multi_index(levels, sizes) if held else np.zeros(len(rows), dtype=np.int64)
    country, question = _index(toggles["country"], survey.countries), _index(toggles["question"], study.questions)
    place[country, context, question] = rows
    return place


def _index(values: pd.Series, order: Collection[str]) -> np.ndarray:
    found = pd.Index(list(order), dtype=object).get_indexer(pd.Index(values, dtype=object))
    assert (found >= 0).all(), "the cell rows are another survey's"
    return found


def _group(survey: Survey, held: tuple[str, ...], people: np.ndarray) -> np.ndarray:
    if not held:
        return np.zeros(len(people), dtype=np.int64)
    names = list(survey.study.attributes)
    columns = [survey.levels[people, names.index(name)].astype(np.int64) for name in held]
    return np.ravel_multi_index(columns, _sizes(survey, held))


def question_chunks(people: int, questions: int, options: int = 1) -> Iterator[slice]:
    """Yield runs of questions whose arrays over (people, questions, options) stay small."""
    step = max(1, CHUNK // max(people * options, 1))
    for start in range(0, questions, step):
        yield slice(start, min(start + step, questions))


def features(survey: Survey, comparison: Comparison) -> np.ndarray:
    """Return what is adjusted for as numbers, standardised, without a constant column.

    Levels and categories become indicators, numbers a cubic spline basis.

    Returns
    -------
    ndarray, shape (people, features)
        Each column has mean 0 and standard deviation 1 among these people; columns that do not vary are left out.
    """
    people, names = comparison.people, list(survey.study.attributes)
    blocks = [indicators(survey.levels[people, names.index(name)]) for name in comparison.adjustment.attributes]
    for name in comparison.adjustment.covariates:
        values = survey.covariates[name][people]
        blocks.append(spline(values) if values.dtype.kind == "f" else indicators(values))
    joined = np.concatenate([np.empty((len(people), 0)), *blocks], axis=1)
    spread = joined.std(axis=0)
    varies = spread > 1e-9 * np.abs(joined).max(axis=0, initial=1)
    return (joined[:, varies] - joined[:, varies].mean(axis=0)) / spread[varies]


def indicators(values: np.ndarray) -> np.ndarray:
    """One column for each distinct value but the first."""
    return (values[:, None] == np.unique(values)[1:]).astype(float)


def spline(values: np.ndarray) -> np.ndarray:
    distinct = np.unique(values)
    if len(distinct) <= KNOTS:
        return indicators(values)
    from sklearn.preprocessing import SplineTransformer

    knots = np.unique(np.quantile(values, np.linspace(0, 1, KNOTS)))
    return SplineTransformer(knots=knots[:, None], include_bias=False).fit_transform(values[:, None])
