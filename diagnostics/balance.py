"""How unlike the people at two levels are, before and after weighting: the rows of the love plot."""

from __future__ import annotations

import pandas as pd

from diagnostics.inputs import Inputs

MOST = 40
"""Rows that are drawn; of more, those that differ most after weighting."""


def love_rows(inputs: Inputs) -> pd.DataFrame:
    """Return the standardised differences behind the balance check, averaged over countries.

    Returns
    -------
    DataFrame
        ``attribute``, ``contrast`` (attribute and levels in words), ``variable``, ``before``, ``after``; empty where
        the run does not hold them or nothing is adjusted for. In the order of the check, one attribute after the other.
    """
    rows = pd.DataFrame([row for check in inputs.checks if check.name == "balance" for row in check.details])
    if rows.empty:
        return rows
    key = ["attribute", "treated", "variable"]
    means = rows.groupby(key, sort=False)[["before", "after"]].mean().reset_index()
    kept = means.loc[sorted(means["after"].nlargest(MOST).index)]
    attributes = inputs.study.attributes
    contrast = [
        f"{name}: {next(iter(attributes[name].levels))} vs {treated}"
        for name, treated in zip(kept["attribute"], kept["treated"], strict=True)
    ]
    return kept.assign(contrast=contrast)[["attribute", "contrast", "variable", "before", "after"]]
