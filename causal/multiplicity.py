"""q-values: what survives looking at many toggles at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control


def q_values(effects: pd.DataFrame) -> np.ndarray:
    """Return the q-value of each row of one estimator, NaN where it is unsupported or has no p-value.

    Parameters
    ----------
    effects : DataFrame
        Rows of the effects table, all of one estimator.
    """
    q = np.full(len(effects), np.nan)
    tested = (effects["supported"] & effects["p_value"].notna()).to_numpy(dtype=bool)
    if tested.any():
        q[tested] = false_discovery_control(effects.loc[tested, "p_value"].to_numpy(dtype=float))
    return q
