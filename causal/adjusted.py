"""The rows of estimators that adjust for covariates, beside the ``cell`` rows of the effects table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causal.adjustment import comparisons, estimands, question_chunks
from causal.counttable import CountTable
from causal.encoding import MISSING
from causal.errors import InputError
from causal.estimators.result import Estimates
from causal.multiplicity import q_values
from causal.rows import beside
from causal.survey import Survey

_SIZES = ("n_reference", "n_treated", "n_eff_reference", "n_eff_treated")
_ROUNDING = 1e-9


def adjusted_rows(survey: Survey | CountTable, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every adjusting estimator that the study asks for, none if it asks for none.

    n and n_eff count the respondents that the estimate rests on: those of whom everything adjusted for is known.
    ``supported`` asks of them what it asks of cells.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.

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
    named, sizes = estimands(cells, study), used(survey, cells)
    columns = {name: sizes[:, i] for i, name in enumerate(_SIZES)}
    enough = (sizes >= study.effects.support - _ROUNDING).all(axis=1)
    tables = []
    for estimator in study.effects.adjusting:
        found = _estimates(estimator, survey, cells)
        rows = beside(cells, found, estimator, named, study).assign(**columns)
        rows = rows.astype({"n_reference": "Int64", "n_treated": "Int64"})
        rows["supported"] = enough & rows["shift"].notna().to_numpy()
        tables.append(rows.assign(q_value=q_values(rows)))
    return pd.concat(tables, ignore_index=True)


def require_respondents(survey: Survey | CountTable) -> None:
    """Refuse a count table where an adjusting estimator is asked for.

    Raises
    ------
    InputError
        Says which estimator, and what to do.
    """
    asked = survey.study.effects.adjusting
    if asked and isinstance(survey, CountTable):
        raise InputError(
            f"effects.estimator: {', '.join(asked)} adjusts each respondent's answer for other characteristics, and a "
            "count table has no respondents; remove it, or give the survey's file of respondents"
        )


def _estimates(estimator: str, survey: Survey, cells: pd.DataFrame) -> Estimates:
    if estimator == "aipw":
        from causal.estimators import aipw

        return aipw.estimates(survey, cells)
    raise InputError(f"effects.estimator: {estimator} is not available")


def used(survey: Survey, cells: pd.DataFrame) -> np.ndarray:
    """Count the respondents that each adjusted toggle rests on.

    Parameters
    ----------
    survey : Survey
        Respondents.
    cells : DataFrame
        The effects table's ``cell`` rows.

    Returns
    -------
    ndarray, shape (toggles, 4)
        Respondents at the reference and at the treated level, then Kish's effective numbers of the two.
    """
    sizes = np.zeros((len(cells), 4))
    for comparison in comparisons(survey, cells):
        for chunk in question_chunks(len(comparison.people), len(survey.study.questions)):
            totals = _totals(survey, comparison.people, chunk)
            for contexts in comparison.contexts:
                rows = contexts.place[:, chunk]
                found = _counted(contexts.group * 2 + comparison.arm, len(rows), totals)
                sizes[rows[rows != MISSING]] = found[rows != MISSING]
    return sizes


def _totals(survey: Survey, people: np.ndarray, chunk: slice) -> list[np.ndarray]:
    """Return each respondent's 1, w and w**2 where the question is answered, each of shape (people, questions)."""
    answered = survey.answers[people, chunk] != MISSING
    weight = np.ones(len(people)) if survey.weight is None else survey.weight[people]
    return [answered * power[:, None] for power in (np.ones_like(weight), weight, weight**2)]


def _counted(cell: np.ndarray, contexts: int, totals: list[np.ndarray]) -> np.ndarray:
    """Return n and n_eff at the two levels, shape (contexts, questions, 4)."""
    member = (np.arange(2 * contexts)[:, None] == cell).astype(float)
    n, w, w2 = ((member @ total).reshape(contexts, 2, -1) for total in totals)
    n_eff = np.divide(w**2, w2, out=np.zeros_like(w), where=w2 > 0)
    return np.concatenate([n, n_eff], axis=1).swapaxes(1, 2)
