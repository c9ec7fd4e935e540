"""How near a model's distributions and effects come to a survey's: alignment score and effect distance."""

from __future__ import annotations

import numpy as np


def alignment_score(model: np.ndarray, survey: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Score distributions against a survey's: S = 100 * (1 - W1 / (K - 1)) (paper eq. 15).

    Parameters
    ----------
    model, survey : ndarray, shape (..., cells, options)
        Probabilities over ordered options, 0 beyond a question's own.
    options : ndarray, shape (cells,)
        K of each cell's question.

    Returns
    -------
    ndarray, shape (..., cells)
        100 if the two are equal, 0 if one has everybody on the first and the other on the last option.
        W1 is the Wasserstein distance, the sum of absolute differences of the two CDFs.
    """
    return 100 * (1 - np.abs(np.cumsum(model - survey, axis=-1)).sum(axis=-1) / (options - 1))


def effect_distance(model: np.ndarray, survey: np.ndarray, options: np.ndarray) -> np.ndarray:
    """Mean over the K levels of the absolute difference of two CDF shifts: d_CDF (paper eq. 11).

    Parameters
    ----------
    model, survey : ndarray, shape (..., toggles, options)
        Effects p(y|A=1,Z) - p(y|A=0,Z) over ordered options, 0 beyond a question's own.
    options : ndarray, shape (toggles,)
        K of each toggle's question.

    Returns
    -------
    ndarray, shape (..., toggles)
    """
    return np.abs(np.cumsum(model - survey, axis=-1)).sum(axis=-1) / options
