"""What a perfect model would score in each toggle against a survey that is itself a sample (see `causal.ceiling`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from causal.ceiling import REPLICATES, redraw
from causal.closeness import alignment_score, effect_distance
from diagnostics.alignment import mean_error, modal_accuracy
from diagnostics.classify import CLASSES, classify, indicators
from diagnostics.equity import Groups, group_range

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
    """Expected effect distance, shape (toggles,), and class probabilities, (toggles, 4), of a perfect model."""

    distance: np.ndarray
    classes: np.ndarray


def true_share(shift: np.ndarray, noise: np.ndarray) -> float:
    """Return by what a survey's shifts have to be multiplied to be as large, together, as the true ones.

    A survey's shift is the true one and noise, so its square is delta^2 + v on average, and
    sqrt(1 - sum(v) / sum(shift^2)) the share; 0 if they are no larger than noise alone makes them. It is also what the
    shifts of a perfect model correlate with the survey's, about 0 (`shift_correlation`, sums at their expectations).

    Parameters
    ----------
    shift, noise : ndarray, shape (toggles,)
        The survey's shifts, and their sampling variances.

    Returns
    -------
    float
        NaN if no shift differs from 0.
    """
    size = np.square(shift).sum()
    return float(np.sqrt(max(0.0, 1 - noise.sum() / size))) if size > 0 else np.nan


def perfect_cells(
    p: np.ndarray,
    options: np.ndarray,
    n_eff: np.ndarray,
    groupings: Mapping[tuple[str, str], Groups] | None = None,
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
    groupings : mapping of name to Groups
        Over which the range of the scores is wanted.
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
    share: np.ndarray | None = None,
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
    share : ndarray, shape (toggles,), optional
        What part of each shift is true (`true_share`), by which shifts are classified: the survey's own are larger
        than the true ones by its noise, and larger ones are easier to get right. By default all of it.
    replicates, seed : int
        Surveys drawn, and the seed of the generator.
    """
    rng = np.random.default_rng(seed)
    truth = treated - reference
    shift = mean_shift(truth, options)
    true_shift = shift if share is None else share * shift
    distance, classes = np.zeros(len(truth)), np.zeros((len(truth), len(CLASSES)))
    for _ in range(replicates):
        drawn = redraw(rng, treated, n_treated) - redraw(rng, reference, n_reference)
        distance += effect_distance(truth, drawn, options)
        classes += indicators(classify(true_shift, true_shift + mean_shift(drawn, options) - shift, tau))
    return PerfectToggles(distance / replicates, classes / replicates)


def mean_shift(effect: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Return the shift delta of effects: the change of the mean option, divided by K - 1."""
    return effect @ np.arange(effect.shape[-1]) / (options - 1)
