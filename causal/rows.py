"""Estimates to rows of the effects table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from causal.estimators.result import Estimates
from causal.multiplicity import with_q_values
from causal.study import Study

_NUMBERS = ("shift", "std_error", "conf_low", "conf_high", "p_value", "wald_statistic", "wald_df", "wald_p_value")
_LISTS = ("p_reference", "p_treated", "effect_low", "effect_high", "cdf_low", "cdf_high")


def beside(
    cells: pd.DataFrame, found: Estimates, estimator: str, estimand: Sequence[str], study: Study
) -> pd.DataFrame:
    """Return another estimator's rows beside the ``cell`` rows, with their own q-values.

    Parameters
    ----------
    cells : DataFrame
        The effects table's ``cell`` rows; toggles, respondents and support are theirs.
    found : Estimates
        One toggle for each of them.
    estimator : str
        What the rows are called.
    estimand : sequence of str
        Estimand of each.
    study : Study
        Number of options of each question.
    """
    sizes = {name: len(question.options) for name, question in study.questions.items()}
    options = cells["question"].map(sizes).to_numpy(dtype=int)
    columns = estimate_columns(found, options)
    table = cells.assign(**columns, estimator=estimator, estimand=np.asarray(estimand, dtype=object))
    return with_q_values(table)


def estimate_columns(found: Estimates, options: np.ndarray) -> dict[str, Any]:
    """Return an estimator's columns of the effects table.

    Parameters
    ----------
    found : Estimates
        One toggle for each row.
    options : ndarray of int, shape (toggles,)
        Number of options K of each.
    """
    columns: dict[str, Any] = {name: getattr(found, name) for name in _NUMBERS}
    return columns | {name: lists(getattr(found, name), options) for name in _LISTS}


def lists(values: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return one array of length K per row, as Parquet gives lists back, None where the row begins with NaN."""
    found = np.full(len(values), None, dtype=object)
    known = ~np.isnan(values[:, 0])
    for k in np.unique(options):
        rows = np.flatnonzero(known & (options == k))
        found[rows] = np.fromiter(values[rows, :k], dtype=object, count=len(rows))
    return found
