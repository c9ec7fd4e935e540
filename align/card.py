"""The model card that goes with an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.training import Scores
from causal.study import Study


@dataclass(frozen=True)
class Training:
    """What a card says about one training: data, splits, scores before and after."""

    study: Study
    base: str
    data_hash: str
    trained: Sequence[str]
    held_out: Sequence[str]
    toggles: int
    before: Scores
    after: Scores


def model_card(training: Training) -> str:
    """Return the card as Markdown with the metadata block that model hubs read."""
    fit, study = training.study.fit, training.study
    measured = (
        "held-out questions, never trained on"
        if training.held_out
        else "the training questions themselves (nothing was held out)"
    )
    return f"""---
library_name: peft
base_model: {training.base}
tags: [lora, ace-align, survey]
---

# LoRA adapter: effects of the survey `{study.name}` for `{training.base}`

**Target.** The effects of {", ".join(study.attributes)} on the answers to {len(training.trained)} survey questions,
{training.toggles} supported toggles at the finest persona granularity. Schedule `{fit.schedule}`, {fit.epochs} epochs,
AdamW at learning rate {fit.learning_rate:g}, LoRA rank {fit.lora.rank}, alpha {fit.lora.alpha},
dropout {fit.lora.dropout:g}, seed {fit.seed}.

**Data.** Survey effects table, SHA-256 `{training.data_hash}`.
Trained on: {", ".join(training.trained)}. Held out: {", ".join(training.held_out) or "none"}.

**Before and after**, on {measured}, at the finest persona granularity:

| | effect distance (0 is best) | alignment score S (100 is best) |
| --- | --- | --- |
| base model | {training.before.effect_distance:.4f} | {training.before.alignment:.1f} |
| with this adapter | {training.after.effect_distance:.4f} | {training.after.alignment:.1f} |

The survey itself is a sample, so even a perfect model would not reach 0 and 100; the run's report gives that ceiling.

**Prompt.** Layout `{study.prompt.layout}`, options as `{study.prompt.options}`.
Other prompts are another model under audit.

**Intended use.** Studying how well a model reproduces a survey's attribute effects.

**Limits.** It speaks for group averages of one survey at one time, not for any person; it must not replace asking
people.
"""
