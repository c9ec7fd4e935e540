"""The ``fit`` section of the study file: objectives by stage, weights, targets, and what training never sees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

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


class LoraSettings(Strict):
    """LoRA as in the paper: r=8, alpha=16, dropout .05."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)


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


def _kind(value: Any) -> str:
    return "literal[name]" if isinstance(value, str) else "tuple[stages]"


Named = Literal["paper", "anchor", "effect"]
Schedule = Annotated[
    Annotated[Named, Tag("literal[name]")] | Annotated[tuple[Stage, ...], Tag("tuple[stages]")],
    Discriminator(_kind),
]


class FitSettings(Strict):
    """Training. ``paper`` spends the first half of the epochs on the anchor, the second on the effect."""

    epochs: int | None = Field(default=None, ge=1)
    schedule: Schedule = "paper"
    weights: Literal["equal", "precision"] = "equal"
    targets: Literal["cell", "pooled"] = "cell"
    learning_rate: float = Field(default=2e-5, gt=0)
    seed: int = Field(default=0, ge=0)
    lora: LoraSettings = LoraSettings()
    held_out: HeldOut = HeldOut()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule, a named one spelled out."""
        if not isinstance(self.schedule, str):
            return self.schedule
        assert self.epochs is not None
        if self.schedule == "paper":
            return Stage(epochs=self.epochs // 2, anchor=1.0), Stage(epochs=self.epochs // 2, effect=1.0)
        return (Stage.model_validate({"epochs": self.epochs, self.schedule: 1.0}),)

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
        return self
