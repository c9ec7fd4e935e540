"""q-values: what survives looking at many toggles at once, first by question and attribute, then toggle by toggle."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control


def with_q_values(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``q_value`` and ``family_q_value``, NaN where unsupported or without a p-value.

    A family is a question and an attribute, over all countries, contexts and contrasts; together its toggles ask
    whether this attribute matters to this question at all. At level q, Benjamini and Hochberg's procedure runs over
    the families' Simes p-values, and then at level q * R / m within each of the R that it selects out of m. This keeps
    the average false discovery proportion over the selected families at q (Benjamini and Bogomolov 2014, JRSS B 76,
    297; as a tree, Bogomolov, Peterson, Benjamini and Sabatti 2021, Biometrika 108, 575). A q-value is the smallest
    level at which the toggle, or the family, is rejected.

    Parameters
    ----------
    effects : DataFrame
        Rows of the effects table, all of one estimator.
    """
    toggles, families = np.full(len(effects), np.nan), np.full(len(effects), np.nan)
    tested = (effects["supported"] & effects["p_value"].notna()).to_numpy(dtype=bool)
    if tested.any():
        rows = effects.loc[tested]
        family = rows.groupby(["question", "attribute"], sort=False).ngroup().to_numpy()
        toggles[tested], families[tested] = hierarchical(rows["p_value"].to_numpy(dtype=float), family)
    return effects.assign(q_value=toggles, family_q_value=families)


def hierarchical(p: np.ndarray, family: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each hypothesis' q-value and that of its family.

    Parameters
    ----------
    p : ndarray, shape (hypotheses,)
        p-values.
    family : ndarray of int, shape (hypotheses,)
        Family of each, 0 to families - 1, none empty.
    """
    within = _adjusted(p, family)
    simes = np.full(int(family.max()) + 1, np.inf)
    np.minimum.at(simes, family, within)
    by_family = false_discovery_control(np.minimum(simes, 1.0))
    # a toggle's level selects its family too, but for rounding
    return np.maximum(_level(within * len(simes), np.sort(by_family)), by_family[family]), by_family[family]


def _adjusted(p: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Return p-values adjusted by Benjamini and Hochberg within families; the smallest of one is Simes' p-value."""
    order = np.lexsort((p, family))
    sizes = np.bincount(family)
    rank = np.arange(len(p)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    ratio = p[order] * np.repeat(sizes, sizes) / rank
    from_largest = pd.Series(ratio[::-1]).groupby(family[order][::-1]).cummin().to_numpy()
    adjusted = np.empty_like(p)
    adjusted[order] = from_largest[::-1]
    return adjusted


def _level(need: np.ndarray, sorted_families: np.ndarray) -> np.ndarray:
    """Return the smallest q with ``q * R(q) >= need``, R(q) counting the families' q-values up to q; at most 1.

    R is j between the j-th and the next of those values, so q * R(q) jumps there and rises in between.
    """
    j = np.arange(1, len(sorted_families))
    reached = sorted_families[1:] * j  # just below the next value
    count = np.searchsorted(reached, need, side="right") + 1
    return np.minimum(np.maximum(sorted_families[count - 1], need / count), 1.0)
