"""The ``pooled`` rows of the effects table, made from its ``cell`` rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.estimators import pooled
from causal.study import Study

_ESTIMATES = ["shift", "std_error", "conf_low", "conf_high"]
_TESTS = ["p_value", "q_value", "family_q_value", "wald_statistic", "wald_df", "wald_p_value"]
_BOUNDS = ["effect_low", "effect_high", "cdf_low", "cdf_high"]


@dataclass(frozen=True)
class Fit:
    """What was pooled together: one contrast of one attribute, with the same other attributes held.

    Its toggles (over countries, levels held and questions) rest on different respondents, except that the same
    people answer several questions.

    Attributes
    ----------
    attribute, reference, treated : str
        The contrast.
    granularity : int
        Attributes specified.
    place : ndarray of int
        Positions of its supported toggles among the cell rows.
    group : ndarray of int
        Question of each, 0 to questions - 1.
    noise : ndarray
        Sampling variance of each raw shift.
    components : pooled.Components
        The variance components.
    """

    attribute: str
    reference: str
    treated: str
    granularity: int
    place: np.ndarray
    group: np.ndarray
    noise: np.ndarray
    components: pooled.Components


def fits(cells: pd.DataFrame, study: Study) -> Iterator[Fit]:
    """Fit the variance components to the supported ``cell`` rows, once per contrast and set of held attributes.

    Parameters
    ----------
    cells : DataFrame
        The effects table's ``cell`` rows. Weights and design enter through their ``std_error`` and ``n_eff``.
    study : Study
        Names of the attributes.
    """
    held = cells[list(study.attributes)].notna().to_numpy() @ (2 ** np.arange(len(study.attributes)))
    blocks = pd.DataFrame({"held": held, **{name: cells[name].to_numpy() for name in ("attribute", "treated")}})
    chosen = (cells["supported"] & cells["shift"].notna()).to_numpy()
    for place in blocks[chosen].groupby(["attribute", "treated", "held"], sort=False).indices.values():
        place = np.flatnonzero(chosen)[place]
        rows = cells.iloc[place]
        group = pd.factorize(rows["question"])[0]
        noise = pooled.noise_variance(rows["std_error"].to_numpy(dtype=float), _sizes(rows), group)
        found = pooled.components(rows["shift"].to_numpy(dtype=float), noise, group)
        first = rows.iloc[0]
        yield Fit(
            first["attribute"],
            first["reference"],
            first["treated"],
            int(first["granularity"]),
            place,
            group,
            noise,
            found,
        )


def pooled_rows(cells: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return one ``pooled`` row beside each ``cell`` row.

    Toggles without support have no pooled value. There are no tests, and no intervals of options: the shift's
    intervals cover on average over toggles, which is no test of a single one. ``p_reference`` and ``p_treated`` are
    the distributions nearest to the raw ones that have the pooled shift.

    Parameters
    ----------
    cells : DataFrame
        The effects table's ``cell`` rows.
    study : Study
        Attributes, confidence and support.
    """
    table = cells.copy()
    table["estimator"] = "pooled"
    table[[*_ESTIMATES, *_TESTS]] = np.nan
    table[_BOUNDS] = None
    values = np.full((len(cells), len(_ESTIMATES)), np.nan)
    raw = cells["shift"].to_numpy(dtype=float)
    for fit in fits(cells, study):
        found = pooled.posterior(raw[fit.place], fit.noise, fit.group, fit.components, study.effects.confidence)
        values[fit.place] = np.column_stack([getattr(found, name) for name in _ESTIMATES])
    table[_ESTIMATES] = values
    table["p_reference"], table["p_treated"] = _distributions(cells, values[:, 0])
    return table


def _distributions(cells: pd.DataFrame, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = np.full(len(cells), None, dtype=object), np.full(len(cells), None, dtype=object)
    known = np.flatnonzero(~np.isnan(shift))
    lengths = cells["p_reference"].iloc[known].map(len).to_numpy(dtype=int)
    for k in np.unique(lengths):
        place = known[lengths == k]
        rows = cells.iloc[place]
        reference, treated = (np.array(rows[name].tolist(), dtype=float) for name in ("p_reference", "p_treated"))
        moved = pooled.tilted(reference, treated, _sizes(rows), np.linspace(0, 1, k), shift[place])
        for end, values in zip(ends, moved, strict=True):
            for i, row in zip(place, values.tolist(), strict=True):
                end[i] = row
    return ends


def _sizes(rows: pd.DataFrame) -> np.ndarray:
    return rows[["n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float)
