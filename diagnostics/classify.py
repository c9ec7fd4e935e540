"""Flipped, stereotyped, erased or aligned: how a model's shift departs from the survey's."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

CLASSES = ("aligned", "erased", "stereotyped", "flipped")
"""The four classes, in the order of every column and figure."""
UNDETERMINED = "undetermined"
CERTAIN = 0.8
"""Probability from which a class counts as certain."""
_ROUNDING = 1e-12  # so that 0.3 - 0.25 counts as within 0.05


def classify(model: np.ndarray, survey: np.ndarray, tau: float) -> np.ndarray:
    """Name the class of each toggle.

    Aligned if the shifts differ by at most ``tau``; else flipped if their signs differ; else stereotyped if
    the model's is larger in size; else erased. A shift of exactly 0 has no sign, so it cannot be flipped.

    Parameters
    ----------
    model, survey : ndarray
        Shifts in [-1, 1].
    tau : float
        Largest difference that still counts as aligned.

    Returns
    -------
    ndarray of str
    """
    aligned = np.abs(model - survey) <= tau + _ROUNDING
    conditions = [aligned, model * survey < 0, np.abs(model) > np.abs(survey)]
    return np.select(conditions, ["aligned", "flipped", "stereotyped"], "erased")


def classify_flipped_first(model: np.ndarray, survey: np.ndarray, tau: float) -> np.ndarray:
    """Name the class of each toggle by the paper's literal definitions, which overlap: flipped comes first.

    Parameters and result are those of `classify`; shifts of opposite sign are flipped even where both are tiny.
    """
    return np.where(model * survey < 0, "flipped", classify(model, survey, tau))


def class_probabilities(model: np.ndarray, survey: np.ndarray, std_error: np.ndarray, tau: float) -> np.ndarray:
    """Probability of each class, given the survey's sampling error.

    The true survey shift is taken as Normal(survey, std_error), the model's shift as exact.

    Parameters
    ----------
    model, survey, std_error : ndarray, shape (toggles,)
        Shifts and the survey's standard error; where it is 0 the class of `classify` has probability 1.
    tau : float
        Largest difference that still counts as aligned.

    Returns
    -------
    ndarray, shape (toggles, 4)
        In the order of `CLASSES`; rows sum to 1.
    """
    sign = np.where(model < 0, -1.0, 1.0)  # mirror, so that the model's shift is never negative
    size, centre = np.abs(model), survey * sign
    safe = np.where(std_error > 0, std_error, 1.0)

    def below(value: np.ndarray | float) -> np.ndarray:
        return norm.cdf((value - centre) / safe)

    flipped = below(np.minimum(size - tau, 0))
    stereotyped = below(np.maximum(size - tau, 0)) - below(0.0)
    aligned = below(size + tau) - below(size - tau)
    erased = 1 - below(size + tau)
    still = size == 0  # a model that does not move has no sign: all that is not aligned is erased
    erased, flipped = np.where(still, erased + flipped, erased), np.where(still, 0.0, flipped)
    found = np.column_stack([aligned, erased, stereotyped, flipped])
    exact = indicators(classify(model, survey, tau))
    return np.clip(np.where((std_error > 0)[:, None], found, exact), 0, 1)


def indicators(classes: np.ndarray) -> np.ndarray:
    """Return 1.0 in each row's class and 0.0 elsewhere, shape (..., 4), in the order of `CLASSES`."""
    return (classes[..., None] == np.array(CLASSES)).astype(float)


def certain_class(probabilities: np.ndarray) -> np.ndarray:
    """Name the class whose probability reaches `CERTAIN`, else "undetermined"."""
    best = np.array(CLASSES)[probabilities.argmax(axis=1)]
    return np.where(probabilities.max(axis=1) >= CERTAIN, best, UNDETERMINED)


def interval_error(low: np.ndarray, high: np.ndarray, confidence: float) -> np.ndarray:
    """Return the standard error that a normal interval of this width would have."""
    return (high - low) / (2 * norm.ppf((1 + confidence) / 2))
