"""The model card that goes with an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.targets import RESPONDENTS, Target
from align.training import Scores
from causal.fitsettings import FitSettings, HeldOut, Stage
from causal.heldout import COUNTRIES, PERSONAS, QUESTIONS, TRAINED
from causal.study import Study


@dataclass(frozen=True)
class Compared:
    """Scores of the base and of the tuned model on one part of the survey (`causal.heldout.PARTS`)."""

    part: str
    toggles: int
    before: Scores
    after: Scores


@dataclass(frozen=True)
class Training:
    """What a card says about one training: data, splits, scores before and after."""

    study: Study
    base: str
    data_hash: str
    trained: Sequence[Target]
    compared: Sequence[Compared]


_PARTS = {
    TRAINED: "what it was trained on itself",
    RESPONDENTS: "what it was trained on, as the other half of the respondents answered",
    QUESTIONS: "held-out questions",
    COUNTRIES: "held-out countries, questions trained on",
    PERSONAS: "held-out personas, questions and countries trained on",
}


def model_card(training: Training) -> str:
    """Return the card as Markdown with the metadata block that model hubs read."""
    fit, study = training.study.fit, training.study
    toggles = sum(len(target.reference) for target in training.trained)
    questions = dict.fromkeys(target.question for target in training.trained)
    countries = dict.fromkeys(study.country_name(target.country) for target in training.trained)
    rows = "\n".join(line for item in training.compared for line in _rows(item))
    return f"""---
library_name: peft
base_model: {training.base}
tags: [lora, ace-align, survey]
---

# LoRA adapter: effects of the survey `{study.name}` for `{training.base}`

**Target.** The effects of {", ".join(study.attributes)} on the answers to {len(questions)} survey questions,
{toggles} supported toggles at the finest persona granularity. {_objectives(fit)}
AdamW at learning rate {fit.learning_rate:g}, LoRA rank {fit.lora.rank}, alpha {fit.lora.alpha},
dropout {fit.lora.dropout:g}, seed {fit.seed}.

**Data.** Survey effects table, SHA-256 `{training.data_hash}`.
Trained on: {", ".join(questions)}; in {", ".join(countries)}.
Held out: {_held_out(fit.held_out, study)}.

**Before and after**, at the finest persona granularity{_whose(fit)}:

| on | who answers | toggles | effect distance (0 is best) | alignment score S (100 is best) |
| --- | --- | --- | --- | --- |
{rows}

The survey itself is a sample, so even a perfect model would not reach 0 and 100; the run's report gives that ceiling.

**Prompt.** Layout `{study.prompt.layout}`, options as `{study.prompt.options}`.
Other prompts are another model under audit.

**Intended use.** Studying how well a model reproduces a survey's attribute effects.

**Limits.** It speaks for group averages of one survey at one time, not for any person; it must not replace asking
people.
"""


def _whose(fit: FitSettings) -> str:
    return ", against the half of the respondents that training never saw" if fit.held_out.respondents else ""


def _rows(item: Compared) -> list[str]:
    return [
        f"| {_PARTS[item.part]} | {who} | {item.toggles} | {scores.effect_distance:.4f} | {scores.alignment:.1f} |"
        for who, scores in (("base model", item.before), ("with this adapter", item.after))
    ]


def _objectives(fit: FitSettings) -> str:
    named = f" (`{fit.schedule}`)" if isinstance(fit.schedule, str) else ""
    goals = "the survey's pooled effects" if fit.targets == "pooled" else "the survey's raw effects"
    weights = "weighted by how well the survey knows them" if fit.weights == "precision" else "weighted equally"
    return f"Schedule{named}: {', then '.join(map(_stage, fit.stages))}. Targets: {goals}, toggles {weights}."


def _stage(stage: Stage) -> str:
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    return f"{epochs} of " + " + ".join(f"{weight:g} x `{name}`" for name, weight in stage.weights.items())


def _held_out(held_out: HeldOut, study: Study) -> str:
    named = {
        "questions": held_out.questions,
        "countries": [study.country_name(code) for code in held_out.country_codes],
        "personas": [" and ".join(f"{name} {level}" for name, level in p.items()) for p in held_out.personas],
    }
    lines = [f"{what} {', '.join(values)}" for what, values in named.items() if values]
    return "; ".join([*lines, *(["half of the respondents"] if held_out.respondents else [])]) or "nothing"
