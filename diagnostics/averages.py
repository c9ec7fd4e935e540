"""An attribute's effects question by question, averaged over contexts and countries, and their size by topic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm

from diagnostics.diagnosis import Q
from diagnostics.inputs import Inputs
from diagnostics.marks import NOT_IDENTIFIED


def coarsest(inputs: Inputs, attribute: str, estimator: str = "cell") -> pd.DataFrame:
    """Return an attribute's supported toggles that hold the fewest other attributes fixed, with ``topic``.

    Of an estimator that adjusts, only those that it identifies.
    """
    rows = inputs.effects
    if estimator != "cell":
        rows = inputs.others[(inputs.others["estimator"] == estimator) & (inputs.others["estimand"] != NOT_IDENTIFIED)]
    rows = rows[(rows["attribute"] == attribute) & rows["supported"]]
    rows = rows[rows["granularity"] == rows["granularity"].min()].reset_index(drop=True)
    return rows.assign(topic=rows["question"].map({name: one.topic for name, one in inputs.study.questions.items()}))


def question_effects(inputs: Inputs, attribute: str, estimator: str = "cell") -> pd.DataFrame:
    """Average an attribute's shifts over contexts (in proportion to their respondents), then over countries (alike).

    Intervals are joined from those of the toggles by the method of variance estimates recovery (Zou & Donner 2008,
    Statistics in Medicine 27, 1693): root of the sum of squares of the weighted distances between estimate and bound.
    Contexts that share respondents or PSUs are not independent; there the distances are added up, which bounds the
    interval from outside. A single toggle keeps its own interval and p-value; a mean's p-value is two-sided and normal,
    by how often the distance to its bound fits between it and 0.

    Returns
    -------
    DataFrame
        One row per question and contrast, in the study's order: ``question``, ``reference``, ``treated``, ``shift``,
        ``conf_low``, ``conf_high``, ``found`` (differs from 0 with q < .05, Benjamini-Hochberg over these rows),
        ``by_country`` (array of the countries' own shifts).
    """
    rows = coarsest(inputs, attribute, estimator)
    shared = bool(inputs.study.survey.psu) or len(_held(rows, inputs)) > 1
    contrast = ["question", "reference", "treated"]
    n = (rows["n_reference"] + rows["n_treated"]).to_numpy(dtype=float)
    weight = n / rows.assign(n=n).groupby([*contrast, "country"], sort=False)["n"].transform("sum").to_numpy()
    below, above = ((rows["shift"] - rows["conf_low"]).clip(lower=0), (rows["conf_high"] - rows["shift"]).clip(lower=0))
    power = 1 if shared else 2
    parts = rows[[*contrast, "country"]].assign(
        shift=weight * rows["shift"], below=(weight * below) ** power, above=(weight * above) ** power
    )
    countries = parts.groupby([*contrast, "country"], sort=False).sum().reset_index()
    if shared:
        countries[["below", "above"]] **= 2
    means = countries.groupby(contrast, sort=False).agg(
        shift=("shift", "mean"),
        below=("below", "sum"),
        above=("above", "sum"),
        count=("shift", "size"),
        by_country=("shift", np.array),
    )
    low, high = (means["shift"] + side * np.sqrt(means[name]) / means["count"] for side, name in _SIDES)
    means = means.assign(conf_low=low, conf_high=high)
    groups = rows.groupby(contrast, sort=False)["p_value"]
    p = groups.first().where(groups.size() == 1, _p_value(means, inputs.study.effects.confidence)).fillna(1.0)
    means = means.assign(found=false_discovery_control(p.to_numpy(dtype=float)) < Q)
    return means.reset_index()[[*contrast, "shift", "conf_low", "conf_high", "found", "by_country"]]


_SIDES = ((-1, "below"), (1, "above"))


def _p_value(means: pd.DataFrame, confidence: float) -> np.ndarray:
    shift = means["shift"].to_numpy()
    towards = np.where(shift > 0, shift - means["conf_low"], means["conf_high"] - shift)
    z = norm.isf((1 - confidence) / 2) * np.abs(shift) / np.maximum(towards, 1e-12)
    return 2 * norm.sf(z)


def _held(rows: pd.DataFrame, inputs: Inputs) -> list[tuple[str, ...]]:
    """Return the different sets of attributes that some toggles hold fixed."""
    names = list(inputs.study.attributes)
    sets = rows[names].notna().drop_duplicates().to_numpy(dtype=bool)
    return [tuple(name for name, there in zip(names, one, strict=True) if there) for one in sets]


def held_in_words(inputs: Inputs, attribute: str, estimator: str = "cell") -> str:
    """Say what the toggles behind `question_effects` hold fixed."""
    sets = _held(coarsest(inputs, attribute, estimator), inputs)
    if not sets or sets == [()]:
        return "nothing else held fixed"
    if len(sets) == 1:
        return f"{', '.join(sets[0])} held fixed"
    return f"{len(sets[0])} other attribute{'s' if len(sets[0]) > 1 else ''} held fixed, by turns"


def sizes(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return how large shifts are in each group, whatever their sign, beside what sampling error alone gives.

    Parameters
    ----------
    rows : DataFrame
        Supported toggles.
    by : sequence of str
        Columns that make the groups.

    Returns
    -------
    DataFrame
        By group: ``toggles``; ``mean`` absolute shift; ``noise``, the mean absolute shift of toggles without any
        effect, ``sqrt(2 / pi) * std_error``; ``beyond``, the root of the mean of ``shift**2 - std_error**2``, the size
        with its sampling variance taken out (0 if that is negative); ``found``, the toggles with q < .05.
    """
    shift, error = rows["shift"].astype(float), rows["std_error"].astype(float)
    columns = rows[list(by)].assign(
        toggles=1,
        mean=shift.abs(),
        noise=np.sqrt(2 / np.pi) * error,
        beyond=shift**2 - error**2,
        found=(rows["q_value"] < Q).astype(int),
    )
    grouped = columns.groupby(list(by), sort=False)
    found = grouped[["mean", "noise", "beyond"]].mean().join(grouped[["toggles", "found"]].sum())
    return found.assign(beyond=np.sqrt(found["beyond"].clip(lower=0)))
