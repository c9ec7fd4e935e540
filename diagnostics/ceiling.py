"""What a perfect model would score in each toggle against a survey that is itself a sample (see `causal.ceiling`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from causal.ceiling import REPLICATES, redraw
from causal.closeness import alignment_score, effect_distance
from diagnostics.alignment import mean_error, modal_accuracy
from diagnostics.classify import CLASSES, classify, indicators
from diagnostics.equity import group_range

MEASURES = ("score", "modal", "error")
"""What every cell is scored by: S, modal accuracy, error of the expected answer."""


@dataclass(frozen=True)
class PerfectCells:
    """Expected scores of a perfect model, each of shape (cells,), and by grouping the expected range of each."""

    score: np.ndarray
    modal: np.ndarray
    error: np.ndarray
    ranges: dict[tuple[str, str], dict[str, float]]


@dataclass(frozen=True)
class PerfectToggles:
    """Expected effect distance, shape (toggles,), and class probabilities, (toggles, 4), of a perfect model.

    ``shift`` is its shift and ``noise`` the variance of the survey's around it, both of shape (toggles,).
    """

    distance: np.ndarray
    classes: np.ndarray
    shift: np.ndarray
    noise: np.ndarray


def perfect_correlation(shift: np.ndarray, noise: np.ndarray) -> float:
    """Return what a perfect model's shifts correlate with those of a survey, about 0.

    sqrt(sum(delta^2) / sum(delta^2 + v)), with delta the true shifts and v the survey's sampling variances: the
    correlation of `shift_correlation` with both of its sums at their expectations.

    Parameters
    ----------
    shift, noise : ndarray, shape (toggles,)
        From `perfect_toggles`.
    """
    size = np.square(shift).sum()
    return float(np.sqrt(size / (size + noise.sum()))) if size > 0 else np.nan


def perfect_cells(
    p: np.ndarray,
    options: np.ndarray,
    n_eff: np.ndarray,
    groupings: Mapping[tuple[str, str], np.ndarray] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> PerfectCells:
    """Expected scores of a perfect model in each cell, and how far they lie apart by group.

    Parameters
    ----------
    p : ndarray, shape (cells, options)
        The survey's distributions, taken as the truth.
    options : ndarray of int, shape (cells,)
        K of each cell's question.
    n_eff : ndarray, shape (cells,)
        Effective respondents of each cell.
    groupings : mapping of name to ndarray of int, shape (cells,)
        Groups over which the range of the scores is wanted, as for `group_range`.
    replicates, seed : int
        Surveys drawn, and the seed of the generator.
    """
    rng = np.random.default_rng(seed)
    names = dict(groupings or {})
    total, ranges = np.zeros((len(MEASURES), len(p))), {name: np.zeros(len(MEASURES)) for name in names}
    for _ in range(replicates):
        drawn = redraw(rng, p, n_eff)
        found = np.array([alignment_score(p, drawn, options), modal_accuracy(p, drawn), mean_error(p, drawn, options)])
        total += found
        for name, groups in names.items():
            ranges[name] += [group_range(values, groups) for values in found]
    means = {name: dict(zip(MEASURES, values / replicates, strict=True)) for name, values in ranges.items()}
    score, modal, error = total / replicates
    return PerfectCells(score, modal, error, means)


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
    noise = _mean_variance(reference, options, n_reference) + _mean_variance(treated, options, n_treated)
    return PerfectToggles(distance / replicates, classes / replicates, true_shift, noise)


def _mean_variance(p: np.ndarray, options: np.ndarray, n_eff: np.ndarray) -> np.ndarray:
    """Return the sampling variance of each cell's mean answer over K - 1."""
    k = np.arange(p.shape[-1])
    return (p @ k**2 - (p @ k) ** 2) / (options - 1) ** 2 / _respondents(n_eff)


def mean_shift(effect: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the shift delta of effects: the change of the mean option, divided by K - 1."""
    return effect @ np.arange(effect.shape[-1]) / (options - 1)


def _respondents(n_eff: np.ndarray) -> np.ndarray:
    return np.maximum(np.rint(n_eff), 1).astype(int)
