"""How unequally groups are served: the range of a score over personas, and over tiers of countries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Groups:
    """Groups of cells to compare, like with like.

    Attributes
    ----------
    group : ndarray of int, shape (cells,)
        Each cell's group; -1 where it is not compared.
    block : ndarray of int, shape (cells,)
        Cells that ask for the same: groups are compared within blocks.
    inverse : ndarray, shape (groups, groups), or None
        Turns the groups' sums of deviations from the means of blocks into least-squares means, about 0. None where no
        two groups can be compared.
    """

    group: np.ndarray
    block: np.ndarray
    inverse: np.ndarray | None

    @classmethod
    def of(cls, group: np.ndarray, blocks: pd.DataFrame) -> Groups:
        """Set up the comparison.

        Parameters
        ----------
        group : ndarray of int, shape (cells,)
            As above.
        blocks : DataFrame
            Cells with the same values are a block; a missing value equals itself. Where no chain of blocks connects all
            groups, the largest set of groups that one connects is compared, and the others are not.
        """
        from scipy.sparse.csgraph import connected_components

        block = key_index(blocks, blocks.columns.astype(str).tolist()).factorize()[0]
        inside = group >= 0
        there, code = np.unique(group[inside], return_inverse=True)
        count = np.zeros((block.max(initial=-1) + 1, len(there)))
        np.add.at(count, (block[inside], code), 1.0)
        part = connected_components(count.T @ count)[1] if len(there) else np.empty(0, dtype=int)
        largest = part == np.bincount(part).argmax() if len(there) else np.empty(0, dtype=bool)
        code, inside = _numbered(largest, code, inside)
        count = count[:, largest]
        per_block = np.maximum(count.sum(axis=1), 1)
        cross = np.diag(count.sum(axis=0)) - count.T @ (count / per_block[:, None])
        renumbered = np.full(len(group), -1)
        renumbered[inside] = code
        return cls(renumbered, block, np.linalg.pinv(cross) if len(cross) > 1 else None)


def _numbered(kept: np.ndarray, code: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups that are kept; return their cells' numbers, and which cells they are."""
    number = np.cumsum(kept) - 1
    among = inside.copy()
    among[inside] = kept[code]
    return number[code][kept[code]], among


def group_range(values: np.ndarray, groups: Groups) -> float:
    """Return the largest less the smallest of the groups' least-squares means (a linear model of group and block).

    Where every group has a cell in every block these are the groups' plain means. Elsewhere a group that lacks the
    blocks that all groups find hard does not look well served for it.

    Parameters
    ----------
    values : ndarray, shape (cells,)
        A score of each cell.
    groups : Groups
        What is compared.

    Returns
    -------
    float
        0 or more; NaN where no two groups can be compared.
    """
    if groups.inverse is None:
        return np.nan
    inside = groups.group >= 0
    group, block, own = groups.group[inside], groups.block[inside], values[inside]
    level = np.bincount(block, own) / np.maximum(np.bincount(block), 1)
    means = groups.inverse @ np.bincount(group, own - level[block], len(groups.inverse))
    return float(means.max() - means.min())
