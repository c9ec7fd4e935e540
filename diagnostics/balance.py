"""How unlike the people at two levels are, before and after weighting: the rows of the love plot."""

from __future__ import annotations

import pandas as pd

from diagnostics.inputs import Inputs

MOST = 40
"""Rows that are drawn; of more, those that differ most after weighting."""
KEPT = 400
"""Rows from which on a check may hold only the worst; variables that lack a country are then left out, not averaged."""


def love_rows(inputs: Inputs) -> pd.DataFrame:
    """Return the standardised differences behind the balance check, averaged over countries.

    Returns
    -------
    DataFrame
        ``attribute``, ``contrast`` (attribute and levels in words), ``variable``, ``before``, ``after``; empty where
        the run does not hold them or nothing is adjusted for. By attribute and level as in the study, the largest
        difference first.
    """
    rows = pd.DataFrame([row for check in inputs.checks if check.name == "balance" for row in check.details])
    if rows.empty:
        return rows
    groups = rows.groupby(["attribute", "treated", "variable"], sort=False)
    means = groups[["before", "after"]].mean()
    if len(rows) >= KEPT:
        count = groups.size()
        means = means[count == count.max()]
    kept = means.loc[means["after"].nlargest(MOST).index].reset_index()
    levels = {name: list(one.levels) for name, one in inputs.study.attributes.items()}
    contrasts = list(zip(kept["attribute"], kept["treated"], strict=True))
    order = {pair: i for i, pair in enumerate((name, level) for name, own in levels.items() for level in own)}
    kept = kept.assign(
        contrast=[f"{name}: {levels[name][0]} vs {treated}" for name, treated in contrasts],
        place=[order[contrast] for contrast in contrasts],
        rising=-kept["before"],
    ).sort_values(["place", "rising"], kind="stable", ignore_index=True)
    return kept[["attribute", "contrast", "variable", "before", "after"]]
