"""The rows of estimators that adjust for covariates, beside the ``cell`` rows of the effects table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from causal.adjustment import Choice, adjustment, comparisons, estimands, question_chunks
from causal.backdoor import identified_adjustment
from causal.counttable import AnySurvey, CountTable
from causal.encoding import MISSING
from causal.errors import InputError
from causal.estimators.result import Estimates
from causal.extras import require
from causal.overlap import Lack, lacks
from causal.propensities import Propensities
from causal.rows import beside
from causal.sections import ECONML
from causal.survey import Survey
from causal.tables import estimated_by

_SIZES = ("n_reference", "n_treated", "n_eff_reference", "n_eff_treated")
_ROUNDING = 1e-9


def adjusted_rows(survey: AnySurvey, cells: pd.DataFrame, propensities: Propensities | None = None) -> pd.DataFrame:
    """Return the rows of every adjusting estimator that the study asks for, none if it asks for none.

    n and n_eff count the respondents that the estimate rests on: those of whom everything adjusted for is known.
    ``supported`` asks of them what it asks of cells. The estimand of a supported row that lacks overlap (see
    `causal.positivity`) is ``not_identified``: its value stays, and is an association.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    propensities : Propensities, optional
        The survey's, if something else in the same audit needs them too.

    Raises
    ------
    InputError
        The survey is a count table, which has no respondents to adjust for anything.
    """
    require_respondents(survey)
    study = survey.study
    if not study.effects.adjusting:
        return cells.iloc[:0]
    assert isinstance(survey, Survey)
    shared = propensities or Propensities(survey)
    tables = []
    for estimator in study.effects.adjusting:
        choose = _choice(estimator)
        sizes, named = used(survey, cells, choose), estimands(cells, study, choose)
        counted = cells.assign(**{name: sizes[:, i] for i, name in enumerate(_SIZES)})
        counted = counted.astype({"n_reference": "Int64", "n_treated": "Int64"})
        enough = (sizes >= study.effects.support - _ROUNDING).all(axis=1)
        found = _estimates(estimator, survey, cells, shared)
        known = counted.assign(supported=enough & ~np.isnan(found.shift))
        for lack in _lacks(estimator, survey, cells, shared, known["supported"].to_numpy(dtype=bool)):
            named[lack.rows] = "not_identified"
        tables.append(beside(known, found, estimator, list(named), study))
    return pd.concat(tables, ignore_index=True)


def _choice(estimator: str) -> Choice:
    return identified_adjustment if estimator in ECONML else adjustment


def without_overlap(survey: Survey, effects: pd.DataFrame, propensities: Propensities) -> list[Lack]:
    """Return what `adjusted_rows` calls not identified for lack of overlap, with its supported rows only.

    Parameters
    ----------
    survey : Survey
        Respondents.
    effects : DataFrame
        The effects table, adjusted rows included.
    propensities : Propensities
        The survey's.
    """
    return [
        lack
        for estimator in survey.study.effects.adjusting
        for supported in [estimated_by(effects, estimator)["supported"].to_numpy(dtype=bool)]
        for lack in _lacks(estimator, survey, estimated_by(effects), propensities, supported)
    ]


def _lacks(
    estimator: str, survey: Survey, cells: pd.DataFrame, propensities: Propensities, supported: np.ndarray
) -> Iterator[Lack]:
    for lack in lacks(survey, cells, propensities, _choice(estimator)):
        rows = lack.rows[supported[lack.rows]]
        if len(rows):
            yield replace(lack, rows=rows)


def require_respondents(survey: AnySurvey) -> None:
    """Refuse a count table where an adjusting estimator is asked for, and estimators that are not installed.

    Raises
    ------
    InputError
        Says which estimator, and what to do.
    """
    asked = survey.study.effects.adjusting
    if named := [name for name in asked if name in ECONML]:
        require(f"effects.estimator: {', '.join(named)}", ("dowhy", "econml"), "econml")
    if asked and isinstance(survey, CountTable):
        raise InputError(
            f"effects.estimator: {', '.join(asked)} adjusts each respondent's answer for other characteristics, and a "
            "count table has no respondents; remove it, or give the survey's file of respondents"
        )


def _estimates(estimator: str, survey: Survey, cells: pd.DataFrame, propensities: Propensities) -> Estimates:
    if estimator == "aipw":
        from causal.estimators import aipw

        return aipw.estimates(survey, cells, propensities)
    from causal.estimators import dml

    return dml.estimates(estimator, survey, cells)


def used(survey: Survey, cells: pd.DataFrame, choose: Choice = adjustment) -> np.ndarray:
    """Count the respondents that each adjusted toggle rests on.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.
    choose : callable
        What a toggle is adjusted for.

    Returns
    -------
    ndarray, shape (toggles, 4)
        Respondents at the reference and at the treated level, then Kish's effective numbers of the two.
    """
    sizes = np.zeros((len(cells), 4))
    for comparison in comparisons(survey, cells, choose):
        weight = np.ones(len(comparison.people)) if survey.weight is None else survey.weight[comparison.people]
        for chunk in question_chunks(len(comparison.people), len(survey.study.questions)):
            answered = (survey.answers[comparison.people, chunk] != MISSING).astype(float)
            for contexts in comparison.contexts:
                rows = contexts.place[:, chunk]
                found = _counted(contexts.group * 2 + comparison.arm, len(rows), weight, answered)
                sizes[rows[rows != MISSING]] = found[rows != MISSING]
    return sizes


def _counted(cell: np.ndarray, contexts: int, weight: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Return n and n_eff at the two levels, shape (contexts, questions, 4)."""
    place = (cell, np.arange(len(cell)))
    n, w, w2 = (
        (sparse.csr_array((power, place), shape=(2 * contexts, len(cell))) @ answered).reshape(contexts, 2, -1)
        for power in (np.ones_like(weight), weight, weight**2)
    )
    n_eff = np.divide(w**2, w2, out=np.zeros_like(w), where=w2 > 0)
    return np.concatenate([n, n_eff], axis=1).swapaxes(1, 2)
