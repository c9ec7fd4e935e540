"""Grids to the distributions table: one row per country, question, persona and option."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from causal.grid import Grid, option_counts, scores
from causal.linearisation import quadratic
from causal.study import Study

NO_SPREAD = 1e-12
"""Variance of a score below which everybody in a cell gave the same answer."""


def distributions_table(grids: Sequence[Grid], study: Study, countries: Sequence[str]) -> pd.DataFrame:
    """Lay grids out as the distributions table.

    Parameters
    ----------
    grids : sequence of Grid
        One per attribute subset.
    study : Study
        Names of levels and questions.
    countries : sequence of str
        Names along the grids' first axis.

    Returns
    -------
    DataFrame
        Columns as in the contract; cells that nobody answered have no rows. ``deff`` is a cell's design effect,
        the variance of its mean score over that of as many respondents drawn one by one with equal chances
        (``deff="replace"`` in R's survey package); null where answers do not vary. ``std_error`` is 0 and
        ``n``, ``n_eff``, ``deff`` are null where the distribution is a model's.
    """
    return pd.concat([_rows(grid, study, countries) for grid in grids], ignore_index=True)


def _rows(grid: Grid, study: Study, countries: Sequence[str]) -> pd.DataFrame:
    own = np.arange(grid.p.shape[-1]) < option_counts(study)[:, None]
    place = np.nonzero(~np.isnan(grid.p) & own)
    p, cell = grid.p[place], tuple(axis for axis in place[:-1])
    columns: dict[str, object] = {
        "country": np.array(countries, dtype=object)[place[0]],
        "question": np.array(list(study.questions), dtype=object)[place[-2]],
    }
    for name, attribute in study.attributes.items():
        known = name in grid.attributes
        levels = np.array(list(attribute.levels), dtype=object)
        columns[name] = levels[place[1 + grid.attributes.index(name)]] if known else np.full(len(p), None, dtype=object)
    columns["granularity"] = np.full(len(p), len(grid.attributes))
    columns["option"] = place[-1] + 1
    columns["p"] = p
    columns["std_error"] = np.sqrt(_variance(grid, place))
    columns["n"] = pd.array(grid.n[cell], dtype="Int64")
    columns["n_eff"] = grid.n_eff[cell]
    columns["deff"] = _design_effect(grid, scores(study))[cell]
    return pd.DataFrame(columns)


def _variance(grid: Grid, place: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the variance of each option's share."""
    if grid.design is not None:
        return np.maximum(grid.design.covariance[(*place, place[-1])], 0)
    p, v, total = grid.p[place], grid.v[place], grid.v.sum(axis=-1)[place[:-1]]
    return np.maximum(v * (1 - p) ** 2 + (total - v) * p**2, 0)


def _design_effect(grid: Grid, score: np.ndarray) -> np.ndarray:
    """Return each cell's design effect; NaN where answers do not vary, one person answered, or nobody is counted."""
    mean = (grid.p * score).sum(axis=-1)
    deviation = (score - mean[..., None]) ** 2
    spread = (grid.p * deviation).sum(axis=-1)
    design = grid.design
    variance = (grid.v * deviation).sum(axis=-1) if design is None else quadratic(design.covariance, score)
    known = (spread > NO_SPREAD) & (grid.n > 1)
    return np.where(known, variance * (grid.n - 1) / np.where(known, spread, 1), np.nan)
