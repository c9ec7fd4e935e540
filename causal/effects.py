"""Grids to the effects table: every toggle with its support, estimand, uncertainty and q-value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.estimators import cell
from causal.grid import Grid, option_counts, scores
from causal.multiplicity import with_q_values
from causal.pooling import pooled_rows
from causal.rows import estimate_columns
from causal.study import Study
from causal.tables import effects_schema

ROUNDING = 1e-9
"""What sums of equal weights may lack of a whole effective number of respondents."""


@dataclass(frozen=True)
class _Toggles:
    """The toggles of one attribute, one contrast and one attribute subset, in arrays."""

    attribute: str
    reference: str
    treated: str
    place: tuple[np.ndarray, ...]  # (country, held attributes ..., question) of each toggle
    held: tuple[str, ...]
    low: cell.Cells
    high: cell.Cells
    crossed: np.ndarray | None


def survey_effects(grids: Sequence[Grid], study: Study, countries: Sequence[str]) -> pd.DataFrame:
    """Estimate every toggle of a survey with the ``cell`` estimator, and with ``pooled`` if the study asks for it.

    Parameters
    ----------
    grids : sequence of Grid
        One per attribute subset.
    study : Study
        Levels and what each is contrasted with, questions, support, confidence and DAG.
    countries : sequence of str
        Names along the grids' first axis.

    Returns
    -------
    DataFrame
        The effects table. Unsupported toggles stay in it, marked, without a q-value. The ``pooled`` rows, if any,
        follow the ``cell`` rows in the same order.
    """
    table = _table(grids, study, countries, "cell", study.causal_graph.estimand)
    sizes = table[["n_reference", "n_treated", "n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float)
    table["supported"] = _supported(sizes, study)
    table = with_q_values(table)
    return pd.concat([table, pooled_rows(table, study)], ignore_index=True) if study.effects.pools else table


@dataclass(frozen=True)
class ToggleShifts:
    """The shifts of all toggles, each of shape (toggles,): index of the country, whether supported, and the figures."""

    country: np.ndarray
    supported: np.ndarray
    found: cell.Shifts


def toggle_shifts(grids: Sequence[Grid], study: Study) -> ToggleShifts:
    """Estimate shifts, standard errors and intervals as `survey_effects` does, and nothing else, in its order."""
    parts = []
    for toggles in (toggles for grid in grids for toggles in _toggles(grid, study)):
        question = toggles.place[-1]
        score, options = scores(study)[question], option_counts(study)[question]
        found = cell.shifts(toggles.low, toggles.high, score, options, study.effects.confidence, toggles.crossed)
        ends = (toggles.low, toggles.high)
        sizes = np.column_stack([values for end in ends for values in (end.n, end.n_eff)])
        parts.append((toggles.place[0], _supported(sizes, study), *vars(found).values()))
    country, supported, *figures = (np.concatenate(values) for values in zip(*parts, strict=True))
    return ToggleShifts(country, supported, cell.Shifts(*figures))


def _supported(sizes: np.ndarray, study: Study) -> np.ndarray:
    """Return whether all sizes of each toggle, shape (toggles, sizes), reach the support."""
    return np.all(sizes >= study.effects.support - ROUNDING, axis=1)


def model_effects(grids: Sequence[Grid], study: Study, countries: Sequence[str]) -> pd.DataFrame:
    """Lay out every toggle of a model, whose distributions are exact.

    Returns
    -------
    DataFrame
        The effects table with ``estimator`` "model", zero standard errors, no n, no intervals of options and
        no tests. Editing a persona is an intervention, so every contrast is identified.
    """
    table = _table(grids, study, countries, "model", study.causal_graph.persona_edit)
    table["supported"] = table["shift"].notna()
    table[["conf_low", "conf_high"]] = table[["shift", "shift"]].to_numpy()
    table[["p_value", "q_value", "family_q_value"]] = np.nan
    return table


def _table(
    grids: Sequence[Grid],
    study: Study,
    countries: Sequence[str],
    estimator: str,
    estimand: Callable[[str, Sequence[str]], str],
) -> pd.DataFrame:
    blocks = [
        _block(toggles, study, countries, estimator, estimand(toggles.attribute, toggles.held))
        for grid in grids
        for toggles in _toggles(grid, study)
    ]
    if not blocks:
        raise ValueError("granularity 0 alone has no attribute to toggle")
    table = pd.DataFrame({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]})
    table = table.astype({"n_reference": "Int64", "n_treated": "Int64"})
    return table[effects_schema(list(study.attributes)).names]


def _toggles(grid: Grid, study: Study) -> Iterator[_Toggles]:
    for attribute in grid.attributes:
        axis = 1 + grid.attributes.index(attribute)
        held = tuple(name for name in grid.attributes if name != attribute)
        levels = list(study.attributes[attribute].levels)
        place = tuple(index.ravel() for index in np.indices(grid.n.shape[:axis] + grid.n.shape[axis + 1 :]))
        for i, (base, treated) in enumerate(study.attributes[attribute].pairs):
            ends = _slice(grid, axis, base), _slice(grid, axis, treated)
            yield _Toggles(attribute, levels[base], levels[treated], place, held, *ends, _crossed(grid, attribute, i))


def _slice(grid: Grid, axis: int, index: int) -> cell.Cells:
    def rows(values: np.ndarray, within: int) -> np.ndarray:
        """Return one level's cells as rows, whose values have ``within`` axes."""
        taken = np.take(values, index, axis=axis)
        return taken.reshape(-1, *taken.shape[taken.ndim - within :])

    found = grid.design
    design = None
    if found is not None:
        design = cell.CellDesign(rows(found.covariance, 2), rows(found.df, 0), rows(found.df_limit, 0))
    return cell.Cells(rows(grid.p, 1), rows(grid.v, 1), rows(grid.n, 0), rows(grid.n_eff, 0), design)


def _crossed(grid: Grid, attribute: str, contrast: int) -> np.ndarray | None:
    """Return the covariance of the two ends' shares; None where nobody shares a PSU or stratum."""
    if grid.design is None:
        return None
    matrices = grid.design.crossed[attribute][contrast]
    return matrices.reshape(-1, *matrices.shape[-2:])


def _block(
    toggles: _Toggles, study: Study, countries: Sequence[str], estimator: str, estimand: str
) -> dict[str, np.ndarray]:
    question = toggles.place[-1]
    options = option_counts(study)[question]
    score, confidence = scores(study)[question], study.effects.confidence
    found = cell.contrast(toggles.low, toggles.high, score, options, confidence, toggles.crossed)
    rows = len(question)
    block: dict[str, np.ndarray] = {
        "country": np.array(countries, dtype=object)[toggles.place[0]],
        "question": np.array(list(study.questions), dtype=object)[question],
        "attribute": _repeat(toggles.attribute, rows),
        "reference": _repeat(toggles.reference, rows),
        "treated": _repeat(toggles.treated, rows),
    }
    for name, attribute in study.attributes.items():
        if name in toggles.held:
            levels = np.array(list(attribute.levels), dtype=object)
            block[name] = levels[toggles.place[1 + toggles.held.index(name)]]
        else:
            block[name] = _repeat(None, rows)
    return block | {
        "granularity": np.full(rows, len(toggles.held) + 1),
        "estimator": _repeat(estimator, rows),
        "estimand": _repeat(estimand, rows),
        "n_reference": toggles.low.n,
        "n_treated": toggles.high.n,
        "n_eff_reference": toggles.low.n_eff,
        "n_eff_treated": toggles.high.n_eff,
        "supported": np.zeros(rows, dtype=bool),
        "q_value": np.full(rows, np.nan),
        "family_q_value": np.full(rows, np.nan),
        **estimate_columns(found, options),
    }


def _repeat(value: object, rows: int) -> np.ndarray:
    return np.full(rows, value, dtype=object)
