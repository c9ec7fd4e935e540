"""Covariates: characteristics that are adjusted for and are no part of a persona."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.encoding import MISSING, distinct_keys
from causal.study import Study


def read_covariates(
    study: Study, frame: pd.DataFrame, everywhere: set[str], problems: list[str]
) -> dict[str, np.ndarray]:
    """Return each covariate's values, and add to ``problems`` what is no number."""
    found = {}
    for name, covariate in study.covariates.items():
        column = covariate.column or name
        positions, keys = distinct_keys(frame[column])
        gone = everywhere | {code_key(code) for code in covariate.missing}
        known = [key for key in dict.fromkeys(keys) if key is not None and key not in gone]
        if covariate.kind == "category":
            place = {key: i for i, key in enumerate(sorted(known))}
            values = np.array([place.get(key or "", MISSING) for key in keys], dtype=np.int16)
        else:
            numbers = pd.to_numeric(pd.Series(known, dtype=object), errors="coerce").to_numpy(dtype=float)
            if bad := [key for key, number in zip(known, numbers, strict=True) if not np.isfinite(number)]:
                problems.append(
                    f"  covariate {name} (column {column}): {', '.join(bad[:8])} is no number; list what is no answer "
                    "under `missing`, or declare kind: category"
                )
            by_key = dict(zip(known, numbers, strict=True))
            values = np.array([by_key.get(key or "", np.nan) for key in keys], dtype=float)
        found[name] = values[positions]
    return found
