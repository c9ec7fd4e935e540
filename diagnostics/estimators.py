"""Other estimators beside the cells' own contrasts, and what the verdict says of those that adjust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.adjustment import estimands
from causal.check import listed
from causal.sections import ADJUSTING, ECONML
from diagnostics.alignment import matching_rows
from diagnostics.diagnosis import Q
from diagnostics.inputs import Inputs, toggle_key
from diagnostics.marks import NOT_IDENTIFIED


@dataclass(frozen=True)
class Beside:
    """One estimator's toggles of one attribute beside the cells' own, where both have support.

    Attributes
    ----------
    attribute, estimator : str
        Whose.
    rows, cells : DataFrame
        The estimator's rows, and the ``cell`` rows of the same toggles.
    """

    attribute: str
    estimator: str
    rows: pd.DataFrame
    cells: pd.DataFrame

    @property
    def clear(self) -> np.ndarray:
        """Where either stands out from noise, shape (toggles,)."""
        return np.asarray((self.rows["q_value"] < Q).to_numpy() | (self.cells["q_value"] < Q).to_numpy(), dtype=bool)

    @property
    def turned(self) -> int:
        """Toggles that stand out either way and have the other sign."""
        signs = np.sign(self.rows["shift"].to_numpy()) != np.sign(self.cells["shift"].to_numpy())
        return int((signs & self.clear).sum())


def beside(inputs: Inputs) -> Iterator[Beside]:
    """Yield every other estimator's toggles, attribute by attribute."""
    key = toggle_key(inputs.study)
    for (attribute, estimator), part in inputs.others.groupby(["attribute", "estimator"], sort=False):
        own = inputs.effects.iloc[matching_rows(part, inputs.effects, key, "the cell rows")]
        both = part["supported"].to_numpy(dtype=bool) & own["supported"].to_numpy(dtype=bool)
        both &= part["shift"].notna().to_numpy()
        yield Beside(str(attribute), str(estimator), part[both], own[both])


def adjusted_sentences(inputs: Inputs) -> list[str]:
    """Say of each estimator that adjusts how many effects stand out, and how many change their direction."""
    found = list(beside(inputs))
    sentences = []
    for estimator in dict.fromkeys(one.estimator for one in found if one.estimator in ADJUSTING):
        parts = [one for one in found if one.estimator == estimator]
        rows = pd.concat([one.rows for one in parts])
        known = int((rows["estimand"] != NOT_IDENTIFIED).sum())
        turned, clear = sum(one.turned for one in parts), int(sum(one.clear.sum() for one in parts))
        sentences.append(
            f"Adjusted for covariates and the other attributes ({estimator}), {(rows['q_value'] < Q).sum()} of "
            f"{len(rows)} stand out; {known} of the {len(rows)} are identified as effects. "
            f"Of the {clear} that stand out with or without adjustment, {turned} change "
            "direction by it."
        )
    lacking = without_overlap(inputs)
    if len(lacking):
        sentences.append(
            f"Adjusting identifies no effect where people do not overlap: {named_comparisons(inputs, lacking)}."
        )
    return sentences


def adjusted_only(inputs: Inputs, cells: pd.DataFrame) -> str:
    """Count the effects that stand out where an estimator that adjusts identifies some and the cells' contrasts none.

    Parameters
    ----------
    inputs : Inputs
        The run.
    cells : DataFrame
        Its supported toggles.

    Returns
    -------
    str
        Empty where it is otherwise.
    """
    if (cells["estimand"] != NOT_IDENTIFIED).any():
        return ""
    for estimator in ADJUSTING:
        rows = inputs.others[(inputs.others["estimator"] == estimator) & inputs.others["supported"]]
        known = rows[rows["estimand"] != NOT_IDENTIFIED]
        if len(known):
            return (
                f"Effects are identified only by adjusting for covariates ({estimator}): "
                f"{(known['q_value'] < Q).sum()} of {len(known)} stand out from sampling noise"
            )
    return ""


def without_overlap(inputs: Inputs) -> pd.DataFrame:
    """Return the supported adjusted rows that are not identified although the graph would allow it."""
    rows = inputs.others[inputs.others["estimator"].isin(ADJUSTING)].reset_index(drop=True)
    if rows.empty:
        return rows
    by_graph = estimands(rows, inputs.study) == "not_identified"
    by_graph &= ~rows["estimator"].isin(ECONML).to_numpy()  # these have no value where the graph does not allow it
    return rows[rows["supported"] & (rows["estimand"] == "not_identified") & ~by_graph]


def named_comparisons(inputs: Inputs, rows: pd.DataFrame) -> str:
    """Return the countries and attributes of some rows in words."""
    keys = rows[["attribute", "country"]].drop_duplicates()
    return listed([f"{attribute} in {inputs.study.country_name(country)}" for attribute, country in keys.to_numpy()])
