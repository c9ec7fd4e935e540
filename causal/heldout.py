"""Which part of a survey a cell or toggle belongs to: trained on, or held out, and why."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from causal.fitsettings import HeldOut
from causal.study import Study

TRAINED = "trained"
QUESTIONS, COUNTRIES, PERSONAS = "held_out", "held_out_countries", "held_out_personas"
HELD_OUT = (QUESTIONS, COUNTRIES, PERSONAS)
VALIDATION = "validation"
PARTS = (TRAINED, VALIDATION, *HELD_OUT)
"""Each cell and toggle is in exactly one part."""


def parts(rows: pd.DataFrame, held_out: HeldOut, study: Study, validation: Collection[str] = ()) -> np.ndarray:
    """Name the part of each row of a distributions or effects table.

    A row that is held out for several reasons counts for the first of: its question, its country, its persona. So
    `PERSONAS` holds new combinations on questions and in countries that were trained on. Validation questions, which
    choose the epoch, are a part of their own whatever the country and the persona: they are no longer unseen.

    Parameters
    ----------
    rows : DataFrame
        Cells (the attributes' columns), or toggles (with ``attribute``, ``reference``, ``treated``).
    held_out : HeldOut
        What training never sees.
    study : Study
        Names of the attributes.
    validation : collection of str
        The questions of early stopping.

    Returns
    -------
    ndarray of str, shape (rows,)
        `PARTS`. A cell is of a held-out persona if it has all the levels of one; a toggle if one of its ends has.
    """
    questions = rows["question"].isin(list(held_out.questions)).to_numpy(dtype=bool)
    countries = rows["country"].isin(list(held_out.country_codes)).to_numpy(dtype=bool)
    chosen = [
        questions,
        rows["question"].isin(list(validation)).to_numpy(dtype=bool),
        countries,
        _held_out_personas(rows, held_out, study),
    ]
    return np.select(chosen, [QUESTIONS, VALIDATION, COUNTRIES, PERSONAS], TRAINED)


def _held_out_personas(rows: pd.DataFrame, held_out: HeldOut, study: Study) -> np.ndarray:
    found = np.zeros(len(rows), dtype=bool)
    for end in _ends(rows):
        levels = {name: _levels(rows, name, end) for name in study.attributes}
        for persona in held_out.personas:
            found |= np.logical_and.reduce([levels[name] == level for name, level in persona.items()])
    return found


def _ends(rows: pd.DataFrame) -> tuple[str | None, ...]:
    return ("reference", "treated") if "attribute" in rows else (None,)


def _levels(rows: pd.DataFrame, name: str, end: str | None) -> np.ndarray:
    """Return each row's level of an attribute, at one end where it is the one toggled."""
    fixed = rows[name].to_numpy(dtype=object)
    if end is None:
        return fixed
    return np.where(rows["attribute"].to_numpy() == name, rows[end].to_numpy(dtype=object), fixed)
