"""What a perfect model would score against a survey that is itself a sample.

The survey's distribution is taken as the truth, which the perfect model answers with. A survey of the same
size is drawn again and again, and the model is scored against each. Every published score is a mean over
cells or toggles, so its ceiling is the mean of the expected values that these functions return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnostics.alignment import alignment_score, effect_distance
from diagnostics.classify import CLASSES, classify, indicators

REPLICATES = 200


@dataclass(frozen=True)
class PerfectToggles:
    """Expected effect distance, shape (toggles,), and class probabilities, (toggles, 4), of a perfect model."""

    distance: np.ndarray
    classes: np.ndarray


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
        total += alignment_score(p, _draw(rng, p, n_eff), options)
    return total / replicates


def perfect_toggles(
    reference: np.ndarray,
    treated: np.ndarray,
    n_reference: np.ndarray,
    n_treated: np.ndarray,
    options: np.ndarray,
    tau: float,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> PerfectToggles:
    """Expected effect distance and class probabilities of a perfect model in each toggle.

    Parameters
    ----------
    reference, treated : ndarray, shape (toggles, options)
        The survey's distributions at both ends, taken as the truth; both ends are drawn anew.
    n_reference, n_treated : ndarray, shape (toggles,)
        Effective respondents at both ends.
    options : ndarray of int, shape (toggles,)
        K of each toggle's question.
    tau : float
        Threshold of `classify`.
    replicates, seed : int
        Surveys drawn, and the seed of the generator.
    """
    rng = np.random.default_rng(seed)
    truth = treated - reference
    true_shift = mean_shift(truth, options)
    distance, classes = np.zeros(len(truth)), np.zeros((len(truth), len(CLASSES)))
    for _ in range(replicates):
        drawn = _draw(rng, treated, n_treated) - _draw(rng, reference, n_reference)
        distance += effect_distance(truth, drawn, options)
        classes += indicators(classify(true_shift, mean_shift(drawn, options), tau))
    return PerfectToggles(distance / replicates, classes / replicates)


def mean_shift(effect: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the shift delta of effects: the change of the mean option, divided by K - 1."""
    return effect @ np.arange(effect.shape[-1]) / (options - 1)


def _draw(rng: np.random.Generator, p: np.ndarray, n_eff: np.ndarray) -> np.ndarray:
    n = np.maximum(np.rint(n_eff), 1).astype(int)
    return rng.multinomial(n, p / p.sum(axis=-1, keepdims=True)) / n[:, None]
