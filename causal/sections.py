"""The sections of the study file: one strict model each, with its defaults and its own rules."""

from __future__ import annotations

import codecs
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)

from causal import examples
from causal.codes import Code, code_key
from causal.graph import ANSWER, find_cycle
from causal.graphtext import parse_graph


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int | float) else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, min_length=1)]
Codes = Annotated[tuple[Code, ...], BeforeValidator(_as_list)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConstantCountry(Strict):
    """A survey of one country that has no country column."""

    constant: Text


class CountColumns(Strict):
    """The columns of a count table: one row per country, persona, question and option.

    Either ``count``, or ``proportion`` with the number ``n`` of those who answered the question in the cell.
    """

    question: str
    option: str
    count: str | None = None
    proportion: str | None = None
    n: str | None = None

    @model_validator(mode="after")
    def _count_or_proportion(self) -> CountColumns:
        if (self.count is None) == (self.proportion is None) or (self.proportion is None) != (self.n is None):
            raise ValueError("give either count, or proportion and n (respondents of the cell)")
        return self


def _known_encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError as error:
        raise ValueError(
            f"unknown encoding {value!r}; known are utf-8, cp1252, latin-1, utf-16 and the like"
        ) from error
    return value


def _by_code(found: dict[str, str]) -> dict[str, str]:
    """Return what belongs to countries by their codes as the tables have them."""
    keyed = {code_key(code): value for code, value in found.items()}
    if len(keyed) < len(found):
        raise ValueError("two of these codes are the same one, written in two ways; keep one of them")
    return keyed


ByCountry = Annotated[dict[Text, Text], AfterValidator(_by_code)]


class SurveySource(Strict):
    """Where the respondents or their counts come from and how the file is read."""

    source: str
    country: str | ConstantCountry
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    counts: CountColumns | None = None
    countries: ByCountry = Field(default_factory=dict)
    id: str | None = None
    keep: Annotated[tuple[Text, ...], BeforeValidator(_as_list)] = ()
    tiers: ByCountry = Field(default_factory=dict)
    weight: str | None = None
    strata: str | None = None
    psu: str | None = None
    missing: Codes = ()

    @property
    def counted(self) -> bool:
        """Whether the source is a count table: ``counts`` says so, and JSON always is one."""
        built_in = self.source.startswith(examples.PREFIX)
        return bool(self.counts) or (
            not built_in and (self.source.lower().endswith(".json") or Path(self.source).is_dir())
        )


Bound = Annotated[float, Field(allow_inf_nan=False)] | None


class Level(Strict):
    """One level of an attribute: its codes in the data, or the numbers it spans, and its words in a persona."""

    codes: Codes = ()
    range: tuple[Bound, Bound] | None = None
    persona: Text

    @model_validator(mode="after")
    def _codes_or_range(self) -> Level:
        if bool(self.codes) == (self.range is not None):
            raise ValueError("give either codes, or range: [low, high] (low is inside, high outside, null is open)")
        if self.range is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"range {list(self.range)} holds nothing; give the smaller number first")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The range, infinite where it is open."""
        assert self.range is not None
        low, high = self.range
        return -math.inf if low is None else low, math.inf if high is None else high


class Attribute(Strict):
    """A demographic attribute; its first level is the reference (A=0)."""

    levels: Annotated[dict[Text, Level], Field(min_length=2)]
    column: str | None = None
    missing: Codes = ()
    contrasts: Literal["reference", "adjacent"] = "reference"

    @property
    def binned(self) -> bool:
        """Whether the levels are ranges of a column of numbers."""
        return all(level.range is not None for level in self.levels.values())

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Each contrast's two levels, as (reference, treated) positions."""
        return tuple((i - 1 if self.contrasts == "adjacent" else 0, i) for i in range(1, len(self.levels)))

    @model_validator(mode="after")
    def _ranges_apart(self) -> Attribute:
        spans = sorted((level.bounds, name) for name, level in self.levels.items() if level.range is not None)
        if 0 < len(spans) < len(self.levels):
            raise ValueError("some levels have codes and some a range; give codes to all of them, or a range to all")
        for (lower, first), (upper, second) in pairwise(spans):
            if upper[0] < lower[1]:
                raise ValueError(f"the ranges of {first!r} and {second!r} overlap; a number belongs to one level")
        return self

    @model_validator(mode="after")
    def _codes_belong_once(self) -> Attribute:
        taken: dict[str, str] = {code_key(code): "missing" for code in self.missing}
        for name, level in self.levels.items():
            for code in level.codes:
                if (key := code_key(code)) in taken:
                    raise ValueError(f"code {key} is in both {taken[key]!r} and {name!r}; give each code once")
                taken[key] = name
        said = [level.persona for level in self.levels.values()]
        if repeated := sorted({words for words in said if said.count(words) > 1}):
            raise ValueError(f"two levels are said as {', '.join(repeated)}; a model could not tell them apart")
        return self


class Question(Strict):
    """A survey item; ``options`` maps each code to its label, in the order of the scale."""

    text: Text
    options: Annotated[dict[Code, Text], Field(min_length=2)]
    column: str | None = None
    topic: Text = "other"
    missing: Codes = ()

    @model_validator(mode="after")
    def _options_distinct(self) -> Question:
        keys = [code_key(code) for code in self.options]
        labels = [label.strip() for label in self.options.values()]
        for what, values in (("code", keys), ("label", labels)):
            if repeated := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"option {what} {', '.join(repeated)} is given more than once; each must be distinct")
        if both := sorted(set(keys) & {code_key(code) for code in self.missing}):
            raise ValueError(f"code {', '.join(both)} is both an option and missing; keep one of the two")
        return self


class Covariate(Strict):
    """A characteristic that is adjusted for and is no part of a persona, such as age."""

    column: str | None = None
    kind: Literal["number", "category"] = "number"
    missing: Codes = ()


ECONML = ("econml.LinearDML", "econml.CausalForestDML", "econml.DRLearner")
"""Estimators of the econml package, by name."""
ADJUSTING = ("aipw", *ECONML)
"""Estimators that adjust for covariates."""
ESTIMATORS = ("cell", "pooled", *ADJUSTING)


def _estimators(value: object) -> object:
    """Accept ``cell`` or a list that begins with it; a list of one is the same as the word."""
    asked = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not asked or asked[0] != "cell" or not set(asked) <= set(ESTIMATORS) or len(set(asked)) < len(asked):
        raise ValueError(
            f"give cell, or a list that begins with cell, such as [cell, pooled], for further estimates beside the "
            f"cells' own; known are {', '.join(ESTIMATORS)} (given: {value!r})"
        )
    return "cell" if asked == ["cell"] else tuple(asked)


class EffectsSettings(Strict):
    """How effects are estimated."""

    estimator: Annotated[Literal["cell"] | tuple[str, ...], BeforeValidator(_estimators)] = "cell"
    support: int = Field(default=10, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    granularity: Annotated[
        tuple[Literal["full", "all"] | StrictInt, ...], BeforeValidator(_as_list), Field(min_length=1)
    ] = ("full",)

    @property
    def pools(self) -> bool:
        """Whether pooled estimates are asked for, beside the cells' own."""
        return "pooled" in self.estimator

    @property
    def adjusting(self) -> tuple[str, ...]:
        """The estimators asked for that adjust for covariates, in the order given."""
        return () if self.estimator == "cell" else tuple(name for name in self.estimator if name in ADJUSTING)


class GraphSettings(Strict):
    """The declared DAG: (cause, effect) pairs, or a text in DOT or dagitty, which is taken apart into them.

    With ``default_edges`` every attribute and covariate points at the answer without being told to; a text is taken
    as it stands.
    """

    edges: tuple[tuple[str, str], ...] = ()
    latent: tuple[str, ...] = ()
    default_edges: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        if not isinstance(given, dict) or "text" not in given:
            return given
        if len(given) > 1:
            raise ValueError("text is the whole graph; give either text, or edges and latent")
        if not isinstance(given["text"], str):
            raise ValueError("text is a graph in DOT or dagitty; see docs/study.md")
        found = parse_graph(given["text"])
        return {"edges": found.edges, "latent": found.latent, "default_edges": False}

    @model_validator(mode="after")
    def _acyclic(self) -> GraphSettings:
        if cycle := find_cycle(self.edges):
            raise ValueError(f"the graph has a cycle: {' -> '.join(cycle)}; a DAG has none, remove one of these edges")
        if caused := [head for tail, head in self.edges if tail == ANSWER]:
            raise ValueError(
                f"{ANSWER!r} has an outgoing edge, to {', '.join(caused)}; the answer is the outcome and causes nothing"
            )
        return self


class ChecksSettings(Strict):
    """What the checks of the survey should know: questions that no attribute can move."""

    negative_controls: tuple[str, ...] = ()


class ModelSettings(Strict):
    """Which language model answers: ``smollm2``, a local folder, or a hub id."""

    name: Text


class PromptSettings(Strict):
    """How persona and question become a prompt. The layout is part of the model under audit."""

    layout: Literal["question-first", "persona-first"] = "question-first"
    options: Literal["letters", "labels"] = "letters"
    style: Literal["plain", "anthropological"] = "plain"


class DiagnosisSettings(Strict):
    """The threshold below which a model's shift counts as aligned, in units of the shift."""

    tau: float = Field(default=0.05, gt=0, lt=1)
