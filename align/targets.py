"""The survey's effects as training targets: each persona once per question, toggles as index pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.study import Study
from causal.tables import estimated_by


@dataclass(frozen=True)
class Target:
    """The supported toggles of one (country, question).

    Attributes
    ----------
    country, question : str
        Where and what.
    personas : tuple of dict
        The personas at either end of some toggle, each once.
    reference, treated : ndarray of int, shape (toggles,)
        Positions in ``personas`` of the two ends.
    p_reference, p_treated : ndarray, shape (toggles, K)
        The survey's distributions at the two ends.
    """

    country: str
    question: str
    personas: tuple[dict[str, str], ...]
    reference: np.ndarray
    treated: np.ndarray
    p_reference: np.ndarray
    p_treated: np.ndarray


def targets(study: Study, effects: pd.DataFrame, questions: Sequence[str]) -> list[Target]:
    """Return the targets of the given questions, from the finest granularity in the effects table.

    The targets are the raw effects (``cell``), whether or not pooled ones stand beside them.
    A question without a supported toggle has no target.
    """
    effects = estimated_by(effects)
    finest = effects["granularity"] == effects["granularity"].max()
    rows = effects[finest & effects["supported"] & effects["question"].isin(list(questions))]
    order = {name: i for i, name in enumerate(study.questions)}
    groups = sorted(rows.groupby(["country", "question"], sort=False), key=lambda item: (item[0][0], order[item[0][1]]))
    return [_target(study, str(country), str(question), group) for (country, question), group in groups]


def _target(study: Study, country: str, question: str, rows: pd.DataFrame) -> Target:
    place: dict[tuple[tuple[str, str], ...], int] = {}
    ends = []
    for row in rows.to_dict("records"):
        held = {name: row[name] for name in study.attributes if isinstance(row[name], str)}
        for level in (row["reference"], row["treated"]):
            whole = {**held, row["attribute"]: level}
            persona = tuple((name, whole[name]) for name in study.attributes if name in whole)
            ends.append(place.setdefault(persona, len(place)))
    pairs = np.array(ends).reshape(-1, 2)
    return Target(
        country,
        question,
        tuple(dict(persona) for persona in place),
        pairs[:, 0],
        pairs[:, 1],
        np.array(rows["p_reference"].tolist(), dtype=float),
        np.array(rows["p_treated"].tolist(), dtype=float),
    )
