"""How unlike the people at two levels are, before and after weighting: the rows of the love plot."""

from __future__ import annotations

import pandas as pd

from causal.study import Study
from diagnostics.inputs import Inputs

MOST = 40
"""Rows that are drawn; of more, those that differ most after weighting."""
KEPT = 400
"""Rows from which on a check may hold only the worst; a variable that lacks a country then has no median."""


def love_rows(inputs: Inputs) -> pd.DataFrame:
    """Return the standardised differences behind the balance check: of the worst country, and the median country's.

    Returns
    -------
    DataFrame
        ``attribute``, ``contrast`` (attribute and levels in words), ``variable``, ``country`` (that with the largest
        difference after weighting), ``before`` and ``after`` (its), ``median`` (of the countries after weighting; NaN
        where there is one, or where not all are known); empty where the run does not hold them or nothing is adjusted
        for. By attribute and level as in the study, the largest difference after weighting first.
    """
    rows = pd.DataFrame([row for check in inputs.checks if check.name == "balance" for row in check.details])
    if rows.empty:
        return rows
    groups = rows.groupby(["attribute", "treated", "variable"], sort=False)["after"]
    count, median = groups.transform("size"), groups.transform("median")
    told = (count > 1) & ((len(rows) < KEPT) | (count == count.max()))
    kept = rows.assign(median=median.where(told)).loc[groups.idxmax()].nlargest(MOST, "after")
    references = _references(inputs.study)
    contrasts = list(zip(kept["attribute"], kept["treated"], strict=True))
    order = {contrast: i for i, contrast in enumerate(references)}
    kept = kept.assign(
        contrast=[f"{name}: {references[name, treated]} vs {treated}" for name, treated in contrasts],
        place=[order[contrast] for contrast in contrasts],
        rising=-kept["after"],
    ).sort_values(["place", "rising"], kind="stable", ignore_index=True)
    kept["country"] = kept["country"].map(inputs.study.country_name)
    return kept[["attribute", "contrast", "variable", "country", "before", "after", "median"]]


def _references(study: Study) -> dict[tuple[str, str], str]:
    """Return the level that each attribute's level is compared with, in the study's order."""
    found: dict[tuple[str, str], str] = {}
    for name, attribute in study.attributes.items():
        levels = list(attribute.levels)
        found |= {(name, levels[treated]): levels[reference] for reference, treated in attribute.pairs}
    return found
