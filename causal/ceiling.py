"""What a perfect model would score against a survey that is itself a sample.

The survey's distribution is taken as the truth, which the perfect model answers with. A survey of the same
size is drawn again and again, and the model is scored against each. Every published score is a mean over
cells or toggles, so its ceiling is the mean of the expected values that these functions return.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from causal.closeness import alignment_score, effect_distance

REPLICATES = 200
LEAST = 0.5
"""Ratio of variances below which a cell is not worth more than its n_eff says: strata rarely do that much."""


def perfect_alignment(
    p: np.ndarray, options: np.ndarray, n_eff: np.ndarray, replicates: int = REPLICATES, seed: int = 0
) -> np.ndarray:
    """Expected alignment score of a perfect model in each cell.

    Parameters
    ----------
    p : ndarray, shape (cells, options)
        The survey's distributions, taken as the truth.
    options : ndarray of int, shape (cells,)
        K of each cell's question.
    n_eff : ndarray, shape (cells,)
        Effective respondents of each cell.
    replicates, seed : int
        Surveys drawn, and the seed of the generator.

    Returns
    -------
    ndarray, shape (cells,)
        On the 0 to 100 scale of `alignment_score`.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(len(p))
    for _ in range(replicates):
        total += alignment_score(p, redraw(rng, p, n_eff), options)
    return total / replicates


def perfect_distance(
    reference: np.ndarray,
    treated: np.ndarray,
    n_reference: np.ndarray,
    n_treated: np.ndarray,
    options: np.ndarray,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> np.ndarray:
    """Expected effect distance of a perfect model in each toggle.

    Parameters
    ----------
    reference, treated : ndarray, shape (toggles, options)
        The survey's distributions at both ends, taken as the truth; both ends are drawn anew.
    n_reference, n_treated : ndarray, shape (toggles,)
        Effective respondents at both ends.
    options : ndarray of int, shape (toggles,)
        K of each toggle's question.
    replicates, seed : int
        Surveys drawn, and the seed of the generator.

    Returns
    -------
    ndarray, shape (toggles,)
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(len(reference))
    for _ in range(replicates):
        drawn = redraw(rng, treated, n_treated) - redraw(rng, reference, n_reference)
        total += effect_distance(treated - reference, drawn, options)
    return total / replicates


def redraw(rng: np.random.Generator, p: np.ndarray, n_eff: np.ndarray) -> np.ndarray:
    """Return the shares in a new sample of n_eff respondents from each distribution, shape (cells, options)."""
    n = np.maximum(np.rint(n_eff), 1).astype(int)
    return rng.multinomial(n, p / p.sum(axis=-1, keepdims=True)) / n[:, None]


def cell_sizes(keys: pd.DataFrame) -> np.ndarray:
    """Return as many independent respondents as each cell is worth under the survey's weights and clusters.

    That is ``n_eff`` over how much larger the linearised variance is than n_eff stands for, ``deff n_eff / (n - 1)``,
    on average (by n) over the cells of the same country and granularity: in one small cell the ratio is mostly noise.

    Parameters
    ----------
    keys : DataFrame
        One row per cell: country, granularity, n, n_eff, deff (null where answers do not vary).
    """
    n, n_eff, deff = (keys[name].to_numpy(dtype=float) for name in ("n", "n_eff", "deff"))
    known = ~np.isnan(deff) & (n > 1)
    ratio = np.where(known, deff * n_eff / np.where(known, n - 1, 1), 0.0)
    return n_eff / _by_group(keys[["country", "granularity"]], n * ratio, n * known)


def toggle_sizes(effects: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return as many independent respondents as either end of each toggle is worth.

    That is the ends' ``n_eff`` over how much larger ``std_error`` squared is than the variance that they stand for, of
    all toggles of the same country, attribute and granularity together. What the ends of a toggle share because both
    are in the same clusters is in it.

    Parameters
    ----------
    effects : DataFrame
        Rows of the effects table, with values.

    Returns
    -------
    tuple of ndarray, shape (toggles,)
        Of the reference and of the treated end.
    """
    sizes = effects[["n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float).T
    plain = np.zeros(len(effects))
    for name, size in zip(("p_reference", "p_treated"), sizes, strict=True):
        plain += np.array([_spread(np.asarray(p, dtype=float)) for p in effects[name]]) / size
    variance = effects["std_error"].to_numpy(dtype=float) ** 2
    known = ~np.isnan(variance)
    groups = effects[["country", "attribute", "granularity"]]
    reference, treated = sizes / _by_group(groups, np.where(known, variance, 0.0), plain * known)
    return reference, treated


def _spread(p: np.ndarray) -> float:
    """Return the variance of the score (k-1)/(K-1)."""
    score = np.linspace(0, 1, len(p))
    return float(p @ score**2 - (p @ score) ** 2)


def _by_group(keys: pd.DataFrame, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the ratio of the groups' sums, in each row, at least `LEAST`; 1 where there is nothing to divide."""
    group = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    total, by = (np.bincount(group, values, group.max(initial=-1) + 1) for values in (above, below))
    return np.maximum(np.divide(total, by, out=np.ones(len(total)), where=(total > 0) & (by > 0)), LEAST)[group]
