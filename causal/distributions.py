"""Grids to the distributions table: one row per country, question, persona and option."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from causal.grid import Grid, option_counts
from causal.study import Study


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
        Columns as in the contract; cells that nobody answered have no rows. ``std_error`` is 0 and
        ``n``, ``n_eff`` are null where the distribution is a model's.
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
    return pd.DataFrame(columns)


def _variance(grid: Grid, place: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the variance of each option's share."""
    if grid.design is not None:
        return grid.design.option[place]
    p, v, total = grid.p[place], grid.v[place], grid.v.sum(axis=-1)[place[:-1]]
    return np.maximum(v * (1 - p) ** 2 + (total - v) * p**2, 0)
