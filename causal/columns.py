"""Columns of a survey as indices into their distinct codes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causal.codes import code_key


def column_keys(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """Return each row's index into the distinct values, and the code key of each (None = missing)."""
    positions, values = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    keys: list[str | None] = [code_key(value) or None for value in values]
    return np.where(positions < 0, len(keys), positions), [*keys, None]
