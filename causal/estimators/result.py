"""What every estimator returns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Estimates:
    """What an estimator says of a set of toggles; NaN where it says nothing.

    Attributes
    ----------
    p_reference, p_treated : ndarray, shape (toggles, options)
        Answer distributions at the two ends; 0 beyond a question's own options.
    shift, std_error, conf_low, conf_high, p_value : ndarray, shape (toggles,)
        The shift with its uncertainty.
    effect_low, effect_high : ndarray, shape (toggles, options)
        Interval of each option's effect.
    cdf_low, cdf_high : ndarray, shape (toggles, options)
        Interval of each cumulative shift; the last, over all options, is 0.
    wald_statistic, wald_df, wald_p_value : ndarray, shape (toggles,)
        Joint test that no option's share changes.
    """

    p_reference: np.ndarray
    p_treated: np.ndarray
    shift: np.ndarray
    std_error: np.ndarray
    conf_low: np.ndarray
    conf_high: np.ndarray
    p_value: np.ndarray
    effect_low: np.ndarray
    effect_high: np.ndarray
    cdf_low: np.ndarray
    cdf_high: np.ndarray
    wald_statistic: np.ndarray
    wald_df: np.ndarray
    wald_p_value: np.ndarray

    @classmethod
    def unknown(cls, toggles: int, options: int) -> Estimates:
        """Return arrays of NaN, to be filled in where something is known."""
        lists = ("p_reference", "p_treated", "effect_low", "effect_high", "cdf_low", "cdf_high")
        shape = {item.name: (toggles, options) if item.name in lists else (toggles,) for item in fields(cls)}
        return cls(**{name: np.full(size, np.nan) for name, size in shape.items()})
