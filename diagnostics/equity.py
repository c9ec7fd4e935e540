"""How unequally groups are served: the range of a score over personas, and over tiers of countries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from diagnostics.alignment import key_index

PERSONAS, TIERS = "personas", "tiers"


def persona_groups(keys: pd.DataFrame, attributes: Sequence[str]) -> np.ndarray:
    """Number the personas that specify the most attributes, over all countries and questions.

    Parameters
    ----------
    keys : DataFrame
        One row per cell: the attributes and ``granularity``.
    attributes : sequence of str
        Their names.

    Returns
    -------
    ndarray of int, shape (cells,)
        -1 for the cells of coarser personas.
    """
    granularity = keys["granularity"].to_numpy(dtype=int)
    finest = granularity == granularity.max(initial=0)
    codes = np.full(len(keys), -1)
    codes[finest] = key_index(keys[finest], attributes).factorize()[0]
    return codes


def tier_groups(keys: pd.DataFrame, tiers: Mapping[str, str]) -> np.ndarray:
    """Number the tiers of the cells' countries, shape (cells,); -1 for a country without one."""
    return pd.factorize(keys["country"].map(dict(tiers)))[0]


def group_range(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the largest less the smallest of the groups' means.

    Parameters
    ----------
    values : ndarray, shape (cells,)
        A score of each cell.
    groups : ndarray of int, shape (cells,)
        Each cell's group; cells of groups below 0 do not count.

    Returns
    -------
    float
        0 or more; NaN with fewer than two groups.
    """
    inside = groups >= 0
    count = np.bincount(groups[inside])
    there = count > 0
    if there.sum() < 2:
        return np.nan
    means = np.bincount(groups[inside], weights=values[inside])[there] / count[there]
    return float(means.max() - means.min())
