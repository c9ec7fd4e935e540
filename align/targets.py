"""The survey's effects as training targets: each persona once per question, toggles as index pairs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from causal.ceiling import toggle_sizes
from causal.errors import InputError
from causal.estimators.pooled import noise_variance
from causal.heldout import PARTS, TRAINED, VALIDATION, parts
from causal.multilevel import Cells, Components, fit_components, partially_pool
from causal.runs import Run
from causal.study import Study
from causal.tables import estimated_by, read_effects

RESPONDENTS = "held_out_respondents"
"""Part of a run's targets, beside `causal.heldout.PARTS`: no row of a table is of it, only people are."""
WEIGHT_BOUND = 4.0
"""By how much, at most, a toggle's precision weight may exceed or fall short of that of mean precision."""
Persona = tuple[tuple[str, str], ...]  # a persona's levels by attribute, in the study's order
_ENDS = ["p_reference", "p_treated"]


@dataclass(frozen=True)
class Target:
    """The supported toggles of one (country, question) in one part of the survey.

    Attributes
    ----------
    country, question : str
        Where and what.
    personas : tuple of dict
        The personas at either end of some toggle, each once.
    belongs : ndarray of bool, shape (personas,)
        Whether a persona is of the part itself: a toggle held out for one end may have the other trained on.
    reference, treated : ndarray of int, shape (toggles,)
        Positions in ``personas`` of the two ends.
    p_reference, p_treated : ndarray, shape (toggles, K)
        The survey's distributions at the two ends, the cells' own: what a model is judged by.
    n_reference, n_treated : ndarray, shape (toggles,)
        As many independent respondents as the two ends are worth (`causal.ceiling.toggle_sizes`).
    goal_reference, goal_treated : ndarray, shape (toggles, K)
        The distributions to learn, whose difference is the effect to learn: the cells' own, or partially pooled.
    weight : ndarray, shape (toggles,)
        Of each toggle in a loss, mean 1.
    """

    country: str
    question: str
    personas: tuple[dict[str, str], ...]
    belongs: np.ndarray
    reference: np.ndarray
    treated: np.ndarray
    p_reference: np.ndarray
    p_treated: np.ndarray
    n_reference: np.ndarray
    n_treated: np.ndarray
    goal_reference: np.ndarray
    goal_treated: np.ndarray
    weight: np.ndarray


def run_targets(study: Study, run: Run) -> dict[str, list[Target]]:
    """Return the targets of a run folder by part, those that training sees from the respondents that it may see.

    Where the study halves the respondents, `TRAINED` and `VALIDATION` are from the training half, and every other part
    from the evaluation half: also `RESPONDENTS`, what is trained on as the other people answered it.
    """
    found = targets(study, read_effects(run.survey_effects))
    if not study.fit.held_out.respondents:
        return found
    learnt = targets(study, read_effects(run.training_effects))
    seen = {part: learnt[part] for part in (TRAINED, VALIDATION)}
    return {**found, **seen, RESPONDENTS: found[TRAINED]}


def targets(study: Study, effects: pd.DataFrame) -> dict[str, list[Target]]:
    """Return the targets by part (`causal.heldout.PARTS`), from the finest granularity in the effects table.

    What is learnt is as the study says (`FitSettings.learnt`): the cells' own distributions (estimator ``cell``), or
    those partially pooled (`causal.multilevel`) over the cells of the same part and question, with variance components
    from what is trained on, so that nothing held out is in what is learnt. A (country, question) without a supported
    toggle in a part has no target there. Validation questions are left out in held-out countries and for held-out
    personas, which must not choose the epoch.

    Raises
    ------
    InputError
        A held-out country is not in the table.
    """
    cells = estimated_by(effects)
    _require_countries(study, cells)
    rows = cells[(cells["granularity"] == cells["granularity"].max()) & cells["supported"]].reset_index(drop=True)
    part = parts(rows, study.fit.held_out, study, study.fit.validation)
    kept = (part != VALIDATION) | (parts(rows, study.fit.held_out, study) == TRAINED)
    rows, part = rows[kept].reset_index(drop=True), part[kept]
    sizes = np.stack(toggle_sizes(rows), axis=1)
    for own in (part == name for name in (TRAINED, VALIDATION)):  # what is learnt knows the design from itself alone
        sizes[own] = np.stack(toggle_sizes(rows[own]), axis=1)
    order = {name: i for i, name in enumerate(study.questions)}
    groups = rows.groupby([part, rows["country"], rows["question"]], sort=False).indices
    found: dict[str, list[Target]] = {name: [] for name in PARTS}
    for key in sorted(groups, key=lambda key: (key[1], order[key[2]])):
        place = groups[key]
        found[key[0]].append(_target(study, key[0], rows.iloc[place], sizes[place]))
    return _partially_pooled(study, found) if study.fit.learnt == "multilevel" else found


def _require_countries(study: Study, cells: pd.DataFrame) -> None:
    held_out, known = study.fit.held_out.country_codes, list(dict.fromkeys(cells["country"]))
    if unknown := [code for code in held_out if code not in known]:
        raise InputError(
            f"fit.held_out.countries: the survey has no country {', '.join(unknown)}; it has {', '.join(known)}"
        )
    if set(held_out) >= set(known):
        raise InputError("fit.held_out.countries: every country is held out; leave at least one to train on")


def _partially_pooled(study: Study, found: dict[str, list[Target]]) -> dict[str, list[Target]]:
    """Return the targets with other goals where goals matter: in training and in choosing the epoch."""
    if not found[TRAINED]:
        return found
    components = fit_components([_cells(study, target) for target in found[TRAINED]])
    learnt = {part: [_borrowing(study, one, components) for one in found[part]] for part in (TRAINED, VALIDATION)}
    return found | learnt


def _borrowing(study: Study, target: Target, components: Components) -> Target:
    goals = partially_pool(_cells(study, target), components)
    return replace(target, goal_reference=goals[target.reference], goal_treated=goals[target.treated])


def _cells(study: Study, target: Target) -> Cells:
    """Return a target's personas as cells; one of several toggles is worth the mean of what it is worth in each."""
    ends = np.concatenate([target.reference, target.treated])
    p = np.zeros((len(target.personas), target.p_reference.shape[1]))
    p[ends] = np.concatenate([target.p_reference, target.p_treated])
    n = np.bincount(ends, np.concatenate([target.n_reference, target.n_treated])) / np.bincount(ends)
    levels = [[persona.get(name, "") for name in study.attributes] for persona in target.personas]
    return Cells(np.array(levels), n, p)


def precision_weights(rows: pd.DataFrame) -> np.ndarray:
    """Return how well the survey knows each toggle of one (country, question), mean 1.

    With v the sampling variance of a toggle's shift, steadied as for pooling (`noise_variance`: a cell of ten that
    happens to agree would have variance 0), and m the mean of 1/v, the weight is 1/(v m), cut to
    [1/`WEIGHT_BOUND`, `WEIGHT_BOUND`] and then divided by its mean.

    Parameters
    ----------
    rows : DataFrame
        Supported ``cell`` rows.

    Returns
    -------
    ndarray, shape (rows,)
    """
    sizes = rows[["n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float)
    one_question = np.zeros(len(rows), dtype=int)
    # below two respondents a cell tells nothing of its variance
    variance = noise_variance(rows["std_error"].to_numpy(dtype=float), np.maximum(sizes, 2.0), one_question)
    weight = np.clip((1 / variance) / (1 / variance).mean(), 1 / WEIGHT_BOUND, WEIGHT_BOUND)
    return weight / weight.mean()


def _target(study: Study, part: str, rows: pd.DataFrame, sizes: np.ndarray) -> Target:
    country, question = str(rows["country"].iloc[0]), str(rows["question"].iloc[0])
    place: dict[Persona, int] = {}
    ends = []
    for row in rows.to_dict("records"):
        for end in ("reference", "treated"):
            persona = persona_of(study, row | {row["attribute"]: row[end]})
            ends.append(place.setdefault(persona, len(place)))
    pairs = np.array(ends).reshape(-1, 2)
    personas = tuple(dict(persona) for persona in place)
    reference, treated = (np.array(rows[name].tolist(), dtype=float) for name in _ENDS)
    return Target(
        country,
        question,
        personas,
        _belongs(study, country, question, part, personas),
        pairs[:, 0],
        pairs[:, 1],
        reference,
        treated,
        sizes[:, 0],
        sizes[:, 1],
        reference,
        treated,
        precision_weights(rows) if study.fit.weights == "precision" else np.ones(len(rows)),
    )


def persona_of(study: Study, row: Mapping[Hashable, Any]) -> Persona:
    """Return who a table's row is about: the levels that it specifies."""
    return tuple((name, row[name]) for name in study.attributes if isinstance(row[name], str))


def _belongs(study: Study, country: str, question: str, part: str, personas: Sequence[dict[str, str]]) -> np.ndarray:
    cells = pd.DataFrame(list(personas), columns=list(study.attributes), dtype=object)
    rows = cells.assign(country=country, question=question)
    return parts(rows, study.fit.held_out, study, study.fit.validation) == part
