"""Which labels come from another base model or prompt than others, in words: training did not set these apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from causal.sections import PromptSettings
from diagnostics.inputs import Inputs, Measured


def unlike(before: Measured, after: Measured) -> str:
    """Say how a trained label's base model and prompt differ from those of the label before it.

    Returns
    -------
    str
        A clause without a full stop; empty for a label that was not trained, or where both are alike.
    """
    if not after.trained:
        return ""
    return ", and ".join(clause for clause in (_models_differ(before, after), _prompts_differ(before, after)) if clause)


def is_effect_of_training(before: Measured, after: Measured) -> bool:
    """Tell whether training alone sets two labels apart: the first is not trained, and both come from one model."""
    return after.trained and not before.trained and not unlike(before, after)


def not_of_training(before: Measured, after: Measured) -> str:
    """Return the sentence that what follows is not the effect of training, empty where it is."""
    models, prompts = _models_differ(before, after), _prompts_differ(before, after)
    what = " and ".join(word for word, there in (("two models", models), ("two prompts", prompts)) if there)
    alone = "" if models else " alone"
    clause = unlike(before, after)
    return f"{clause}: what follows compares {what} and is not the effect of training{alone}." if clause else ""


def origin_notes(inputs: Inputs) -> tuple[str, ...]:
    """Name the labels of the comparison by base model and by prompt, where these differ; rules have neither."""
    labels = [model for model in inputs.everyone if model.made_from]
    notes = []
    models = _grouped(labels, same_model)
    if len(models) > 1:
        named = "; ".join(_from(group, models) for group in models)
        notes.append(f"Not all come from one model: {named}. Differences between these are not of methods alone.")
    prompts = _grouped([model for model in labels if model.prompt], lambda one, two: not _changed(one, two))
    if len(prompts) > 1:
        first = prompts[0][0]
        keys = [key for key in _asked(first) if any(key in _changed(first, group[0]) for group in prompts)]
        asked = "; ".join(f"{_names(group)} with {_settings(group[0], keys)}" for group in prompts)
        notes.append(f"Not all were asked alike: {asked}.")
    trained = _grouped([model for model in labels if model.settings], lambda one, two: not _trained_unlike(one, two))
    if len(trained) > 1:
        first = trained[0][0]
        keys = [key for key in first.settings if any(key in _trained_unlike(first, group[0]) for group in trained)]
        how = "; ".join(
            f"{_names(group)} with {' and '.join(f'{key} {group[0].settings.get(key)}' for key in keys)}"
            for group in trained
        )
        notes.append(f"Not all were trained alike: {how}. Differences between these are not of methods alone.")
    return tuple(notes)


def same_model(one: Measured, two: Measured) -> bool:
    """Tell whether two labels come from the same base model: by its files, by its name where they are not recorded."""
    if one.weights and two.weights:
        return one.weights == two.weights
    return one.made_from == two.made_from


def _models_differ(before: Measured, after: Measured) -> str:
    if same_model(before, after):
        return ""
    if before.made_from == after.made_from:
        return f"{after.label} was trained from other files of {after.made_from} than {before.label}"
    return f"{after.label} was trained from {after.made_from}, {before.label} is {before.made_from or before.model}"


def _prompts_differ(before: Measured, after: Measured) -> str:
    keys = _changed(before, after)
    if not keys:
        return ""
    return f"{after.label} was asked with {_settings(after, keys)}, {before.label} with {_settings(before, keys)}"


def _asked(model: Measured) -> Mapping[str, Any]:
    """Return how a label was asked; what older records lack was the default then."""
    return PromptSettings().model_dump() | dict(model.prompt)


def _changed(one: Measured, two: Measured) -> list[str]:
    """Return the settings in which two prompts differ; none where one is not recorded."""
    if not (one.prompt and two.prompt):
        return []
    ours, theirs = _asked(one), _asked(two)
    return [key for key in ours if ours[key] != theirs.get(key)]


def _trained_unlike(one: Measured, two: Measured) -> list[str]:
    """Return the settings in which two trainings differ, the schedule apart."""
    return [key for key in one.settings if one.settings[key] != two.settings.get(key)]


def _settings(model: Measured, keys: Sequence[str]) -> str:
    return " and ".join(f"{key} {_asked(model)[key]}" for key in keys)


def _grouped(labels: Sequence[Measured], alike: Callable[[Measured, Measured], bool]) -> list[list[Measured]]:
    groups: list[list[Measured]] = []
    for model in labels:
        group = next((group for group in groups if alike(group[0], model)), None)
        if group is None:
            groups.append([model])
        else:
            group.append(model)
    return groups


def _names(group: Sequence[Measured]) -> str:
    return ", ".join(model.label for model in group)


def _from(group: Sequence[Measured], groups: Sequence[Sequence[Measured]]) -> str:
    name = group[0].made_from
    first = next(other for other in groups if other[0].made_from == name)
    return f"{_names(group)} from {'' if first is group else 'other files of '}{name}"
