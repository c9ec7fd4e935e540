"""The score tables: every answerer in every cell and toggle. Each published number is a mean of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from causal.ceiling import cell_sizes, toggle_sizes
from causal.closeness import alignment_score, effect_distance
from causal.effects import ROUNDING
from causal.heldout import HELD_OUT, TRAINED, VALIDATION
from causal.tables import read_distributions
from causal.trivial import country_shares
from diagnostics.alignment import Cells, cells, matching_rows, mean_error, modal_accuracy, padded
from diagnostics.ceiling import perfect_cells, perfect_toggles, true_share
from diagnostics.classify import CLASSES, certain_class, class_probabilities, classify, indicators, interval_error
from diagnostics.equity import PERSONAS, TIERS, Groups, persona_groups, tier_groups
from diagnostics.inputs import Inputs, Measured, toggle_key

PERFECT = "perfect model"
UNIFORM = "uniform answers"
MARGINAL = "country marginal"
NO_EFFECT = "no effect at all"
BEST_FIRST = (*HELD_OUT, VALIDATION, TRAINED, "all")
"""Parts of the survey, those first on which trained labels are compared most cleanly."""
Q = 0.05
"""q-value below which an effect stands out from sampling noise."""


@dataclass(frozen=True)
class Diagnosis:
    """Every answerer's score in every supported cell and toggle.

    Attributes
    ----------
    cells : DataFrame
        ``label``, the cell's keys, ``topic``, ``split``, ``score`` (S), ``modal`` (modal accuracy) and ``error`` (of
        the expected answer). Labels are those of all models, `PERFECT` (the ceiling), `UNIFORM` and `MARGINAL`.
    toggles : DataFrame
        ``label``, the toggle's keys, ``topic``, ``split``, ``distance`` (d_CDF) and one column per class with
        its share (0 or 1; for `PERFECT` an expectation), ``delta_m`` and ``certain_class`` (none for `PERFECT`).
        Labels are the models', `PERFECT`, whose survey has the variance ``noise``, and `NO_EFFECT`.
    models : DataFrame
        What ``diagnosis.parquet`` holds: one row per model and toggle, with both shifts, the survey's interval,
        the class, its probabilities and the certain class.
    ranges : mapping
        For (split, groups) the expected range over groups of the perfect model's ``score``, ``modal`` and ``error``.
    """

    cells: pd.DataFrame
    toggles: pd.DataFrame
    models: pd.DataFrame
    ranges: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)


def diagnose(inputs: Inputs) -> Diagnosis:
    """Score and classify every model against the survey, beside the ceilings and the trivial rivals."""
    models = [_model_toggles(inputs, model) for model in inputs.everyone]
    if not models:
        empty = pd.DataFrame()
        return Diagnosis(empty, empty, empty)
    toggles = [_score_rows(rows) for rows in models] + _reference_toggles(inputs)
    survey = supported_cells(inputs)
    keys = _with_groups(inputs, survey.keys)
    perfect = perfect_cells(survey.p, survey.options, cell_sizes(survey.keys), cell_groups(inputs, keys))
    scored = [keys.assign(label=PERFECT, score=perfect.score, modal=perfect.modal, error=perfect.error)]
    scored += [keys.assign(label=label, **_cell_scores(p, survey)) for label, p in _answers(inputs, survey).items()]
    return Diagnosis(
        pd.concat(scored, ignore_index=True),
        pd.concat(toggles, ignore_index=True),
        pd.concat(models, ignore_index=True),
        perfect.ranges,
    )


def cell_groups(inputs: Inputs, keys: pd.DataFrame) -> dict[tuple[str, str], Groups]:
    """Return the groups of cells over which scores are compared, by split.

    They are the personas, compared within country and question, and the tiers of countries, within question and
    persona.
    """
    names, found = list(inputs.study.attributes), {}
    for split in splits_shown(inputs):
        inside = (keys["split"] == split).to_numpy() | (split == "all")
        for name, groups, alike in (
            (PERSONAS, persona_groups(keys[inside], names), ["country", "question"]),
            (TIERS, tier_groups(keys[inside], inputs.study.survey.tiers), ["question", *names]),
        ):
            everywhere = np.full(len(keys), -1)
            everywhere[inside] = groups
            found[split, name] = Groups.of(everywhere, keys[alike])
    return found


def supported_cells(inputs: Inputs) -> Cells:
    """Return the survey's cells that have the study's minimum of respondents, n and n_eff."""
    found = cells(inputs.distributions, list(inputs.study.attributes))
    enough = inputs.study.effects.support - ROUNDING
    keep = ((found.keys["n"] >= enough) & (found.keys["n_eff"] >= enough)).to_numpy(dtype=bool)
    return Cells(found.keys[keep].reset_index(drop=True), found.p[keep], found.options[keep])


def _answers(inputs: Inputs, survey: Cells) -> dict[str, np.ndarray]:
    """Return everybody's distributions in the survey's cells: the models', and two that need no model."""
    names = list(inputs.study.attributes)
    found = {}
    for model in inputs.everyone:
        theirs = cells(model.distributions, names)
        place = matching_rows(survey.keys, theirs.keys, ["country", "question", *names], f"label {model.label}")
        found[model.label] = theirs.p[place][:, : survey.p.shape[1]]  # a question that nobody answered may be wider
    inside = np.arange(survey.p.shape[1]) < survey.options[:, None]
    found[UNIFORM] = inside / survey.options[:, None]
    shares = country_shares(read_distributions(inputs.run.learnt_distributions)).pivot_table(
        "p", ["country", "question"], "option", fill_value=0.0
    )
    cell = pd.MultiIndex.from_frame(survey.keys[["country", "question"]])
    found[MARGINAL] = shares.reindex(cell).reindex(columns=range(1, survey.p.shape[1] + 1), fill_value=0.0).to_numpy()
    return found


def _cell_scores(p: np.ndarray, survey: Cells) -> dict[str, np.ndarray]:
    return {
        "score": alignment_score(p, survey.p, survey.options),
        "modal": modal_accuracy(p, survey.p),
        "error": mean_error(p, survey.p, survey.options),
    }


def _with_groups(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    split = inputs.split_of(rows) if inputs.splits else np.full(len(rows), None, dtype=object)
    topic = rows["question"].map({name: question.topic for name, question in inputs.study.questions.items()})
    return rows.assign(topic=topic, split=pd.Series(split, index=rows.index, dtype=object))


def supported_toggles(inputs: Inputs) -> pd.DataFrame:
    """Return the survey's supported toggles with their topic and split."""
    return _with_groups(inputs, inputs.effects[inputs.effects["supported"]].reset_index(drop=True))


def _model_toggles(inputs: Inputs, model: Measured) -> pd.DataFrame:
    study = inputs.study
    survey = supported_toggles(inputs)
    theirs = model.effects.iloc[matching_rows(survey, model.effects, toggle_key(study), f"label {model.label}")]
    options = survey["p_reference"].map(len).to_numpy(dtype=int)
    width = options.max(initial=2)
    ours = padded(survey["p_treated"], width) - padded(survey["p_reference"], width)
    effect = padded(theirs["p_treated"], width) - padded(theirs["p_reference"], width)
    delta_m, delta_d = theirs["shift"].to_numpy(dtype=float), survey["shift"].to_numpy(dtype=float)
    low, high = survey["conf_low"].to_numpy(dtype=float), survey["conf_high"].to_numpy(dtype=float)
    error = interval_error(low, high, study.effects.confidence)
    probabilities = class_probabilities(delta_m, delta_d, error, study.diagnosis.tau)
    columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)}
    rows = survey[[*toggle_key(study), "granularity", "estimand", "topic", "split"]].copy()
    rows.insert(0, "label", model.label)
    return rows.assign(
        delta_m=delta_m,
        delta_d=delta_d,
        conf_low=low,
        conf_high=high,
        q_value=survey["q_value"].to_numpy(dtype=float),
        distance=effect_distance(effect, ours, options),
        **{"class": classify(delta_m, delta_d, study.diagnosis.tau)},
        **columns,
        certain_class=certain_class(probabilities),
    )


def _score_rows(rows: pd.DataFrame) -> pd.DataFrame:
    shares = indicators(rows["class"].to_numpy(dtype=str))
    kept = rows.drop(columns=[name for name in rows.columns if name.startswith("p_") or name == "class"])
    return kept.assign(**{name: shares[:, i] for i, name in enumerate(CLASSES)})


def _reference_toggles(inputs: Inputs) -> list[pd.DataFrame]:
    tau = inputs.study.diagnosis.tau
    survey = supported_toggles(inputs)
    options = survey["p_reference"].map(len).to_numpy(dtype=int)
    width = options.max(initial=2)
    low, high = padded(survey["p_reference"], width), padded(survey["p_treated"], width)
    shift, noise = survey["shift"].to_numpy(dtype=float), survey["std_error"].to_numpy(dtype=float) ** 2
    share = _true_shares(survey["attribute"], shift, noise)
    perfect = perfect_toggles(low, high, *toggle_sizes(survey), options, tau, share)
    keys = survey[[*toggle_key(inputs.study), "granularity", "topic", "split"]]
    none = np.zeros_like(shift)
    distance = effect_distance(np.zeros_like(low), high - low, options)
    bottom, top = (survey[name].to_numpy(dtype=float) for name in ("conf_low", "conf_high"))
    error = interval_error(bottom, top, inputs.study.effects.confidence)
    certain = certain_class(class_probabilities(none, shift, error, tau))
    return [
        _reference_rows(keys, PERFECT, perfect.distance, perfect.classes).assign(delta_m=shift, noise=noise),
        _reference_rows(keys, NO_EFFECT, distance, indicators(classify(none, shift, tau))).assign(
            delta_m=none, delta_d=shift, certain_class=certain
        ),
    ]


def _true_shares(attribute: pd.Series, shift: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return what part of each toggle's shift is true: attributes differ in how far they reach beyond noise."""
    found = np.ones(len(shift))
    for place in attribute.groupby(attribute, sort=False).indices.values():
        found[place] = np.nan_to_num(true_share(shift[place], noise[place]))
    return found


def _reference_rows(keys: pd.DataFrame, label: str, distance: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    return keys.assign(label=label, distance=distance, **{name: shares[:, i] for i, name in enumerate(CLASSES)})


def in_split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split; ``all`` is every row."""
    return rows if split == "all" else rows[rows["split"] == split]


def splits_shown(inputs: Inputs) -> Sequence[str]:
    """Return the splits that exist in a run: only ``all`` if nothing is held out."""
    return "all", *inputs.splits
