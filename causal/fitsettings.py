"""The ``fit`` section of the study file: objectives by stage, weights, targets, and what training never sees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from causal.codes import code_key
from causal.sections import Codes, Strict, Text

OBJECTIVES = ("anchor", "effect", "level_kl", "level_w1")
"""The losses that a stage may weigh."""
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Stage(Strict):
    """Some epochs with one weight per objective; the loss is the weighted sum."""

    epochs: int = Field(ge=1)
    anchor: Weight = 0.0
    effect: Weight = 0.0
    level_kl: Weight = 0.0
    level_w1: Weight = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """The objectives that count, with their weights."""
        return {name: getattr(self, name) for name in OBJECTIVES if getattr(self, name) > 0}

    @model_validator(mode="after")
    def _something_to_learn(self) -> Stage:
        if not self.weights:
            raise ValueError(f"no objective has a weight above 0; give one of {', '.join(OBJECTIVES)}, as in effect: 1")
        return self


def _names(value: Any) -> Any:
    """One bare name is a list of one."""
    return (value,) if isinstance(value, str) and value != "all-linear" else value


def _target_kind(value: Any) -> str:
    return "literal[word]" if isinstance(value, str) else "tuple[modules]"


LoraTargets = Annotated[
    Annotated[Literal["all-linear"], Tag("literal[word]")]
    | Annotated[tuple[Text, ...], Field(min_length=1), Tag("tuple[modules]")],
    Discriminator(_target_kind),
    BeforeValidator(_names),
]


class LoraSettings(Strict):
    """LoRA as in the paper: r=8, alpha=16, dropout .05, on every linear layer but the output head."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: LoraTargets = "all-linear"


class HeldOut(Strict):
    """What training never sees: questions, combinations of levels, countries, half of the respondents."""

    questions: tuple[str, ...] = ()
    personas: tuple[Annotated[dict[Text, Text], Field(min_length=1)], ...] = ()
    countries: Codes = ()
    respondents: Literal["half"] | None = None

    @property
    def country_codes(self) -> tuple[str, ...]:
        """The countries as the tables name them."""
        return tuple(map(code_key, self.countries))


class EarlyStopping(Strict):
    """Questions never trained on that choose the epoch, and how many epochs without improvement end the training."""

    questions: tuple[str, ...] = Field(min_length=1)
    patience: int = Field(default=1, ge=1)


def _kind(value: Any) -> str:
    return "literal[name]" if isinstance(value, str) else "tuple[stages]"


Named = Literal["paper", "best", "anchor", "effect", "level_kl"]
BEST = {"level_w1": 1.0, "effect": 10.0}
"""Weights of the schedule ``best``, chosen on validation questions alone (``benchmarks/choosing.py``)."""
Schedule = Annotated[
    Annotated[Named, Tag("literal[name]")] | Annotated[tuple[Stage, ...], Tag("tuple[stages]")],
    Discriminator(_kind),
]


class FitSettings(Strict):
    """Training. ``paper`` spends the first half of the epochs on the anchor, the second on the effect; ``best`` weighs
    level and effect at once (`BEST`), and learns partially pooled cells where ``targets`` does not say otherwise."""

    epochs: int | None = Field(default=None, ge=1)
    schedule: Schedule = "paper"
    weights: Literal["equal", "precision"] = "equal"
    targets: Literal["cell", "multilevel"] | None = None
    learning_rate: float = Field(default=2e-5, gt=0, allow_inf_nan=False)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    batch: int = Field(default=1, ge=1)
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    checkpoint_activations: Literal["auto", "always", "never"] = "auto"
    seed: int = Field(default=0, ge=0, lt=2**64)
    lora: LoraSettings = LoraSettings()
    held_out: HeldOut = HeldOut()
    early_stopping: EarlyStopping | None = None

    @property
    def validation(self) -> tuple[str, ...]:
        """The questions that choose the epoch; none without early stopping."""
        return self.early_stopping.questions if self.early_stopping else ()

    @property
    def learnt(self) -> Literal["cell", "multilevel"]:
        """The distributions to learn: as ``targets`` says, else those of the schedule."""
        return self.targets or ("multilevel" if self.schedule == "best" else "cell")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule, a named one spelled out."""
        if not isinstance(self.schedule, str):
            return self.schedule
        assert self.epochs is not None
        if self.schedule == "paper":
            return Stage(epochs=self.epochs // 2, anchor=1.0), Stage(epochs=self.epochs // 2, effect=1.0)
        weights = BEST if self.schedule == "best" else {self.schedule: 1.0}
        return (Stage.model_validate({"epochs": self.epochs, **weights}),)

    @model_validator(mode="before")
    @classmethod
    def _two_epochs(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("epochs") is None and isinstance(raw.get("schedule", ""), str):
            return {**raw, "epochs": 2}
        return raw

    @model_validator(mode="after")
    def _epochs_once(self) -> FitSettings:
        if not self.schedule:
            raise ValueError("schedule is an empty list; give at least one stage, such as {epochs: 2, effect: 1}")
        if not isinstance(self.schedule, str) and self.epochs is not None:
            raise ValueError(
                f"epochs: {self.epochs} is given beside a list of stages, each of which has its own; remove fit.epochs"
            )
        if self.schedule == "paper" and self.epochs is not None and self.epochs % 2:
            raise ValueError(
                f"schedule paper halves the epochs (anchor, then effect); {self.epochs} is odd, give an even number"
            )
        if self.early_stopping and self.stages[-1].epochs == 1:
            raise ValueError(
                "early_stopping chooses among the epochs of the last stage, which has only one; give more epochs"
            )
        return self
