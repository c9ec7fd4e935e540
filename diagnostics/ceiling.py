"""What a perfect model would score in each toggle against a survey that is itself a sample (see `causal.ceiling`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causal.ceiling import REPLICATES, redraw
from causal.closeness import effect_distance
from diagnostics.classify import CLASSES, classify, indicators


@dataclass(frozen=True)
class PerfectToggles:
    """Expected effect distance, shape (toggles,), and class probabilities, (toggles, 4), of a perfect model."""

    distance: np.ndarray
    classes: np.ndarray


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
        drawn = redraw(rng, treated, n_treated) - redraw(rng, reference, n_reference)
        distance += effect_distance(truth, drawn, options)
        classes += indicators(classify(true_shift, mean_shift(drawn, options), tau))
    return PerfectToggles(distance / replicates, classes / replicates)


def mean_shift(effect: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the shift delta of effects: the change of the mean option, divided by K - 1."""
    return effect @ np.arange(effect.shape[-1]) / (options - 1)
