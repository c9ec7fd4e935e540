"""What a perfect model would score against a survey that is itself a sample.

The survey's distribution is taken as the truth, which the perfect model answers with. A survey of the same
size is drawn again and again, and the model is scored against each. Every published score is a mean over
cells or toggles, so its ceiling is the mean of the expected values that these functions return.
"""

from __future__ import annotations

import numpy as np

from causal.closeness import alignment_score, effect_distance

REPLICATES = 200


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
