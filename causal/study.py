"""The study: one strict configuration, read from one YAML file that serves every command."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from causal import examples
from causal.codes import Code, code_key
from causal.crosschecks import cross_problems
from causal.graph import ANSWER, CausalGraph, find_cycle
from causal.yamlfile import (
    Located,
    Problem,
    line_of,
    nearest_key,
    raise_problems,
    read_yaml,
    set_key,
    write_yaml,
)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int | float) else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, min_length=1)]
Codes = Annotated[tuple[Code, ...], BeforeValidator(_as_list)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConstantCountry(_Strict):
    """A survey of one country that has no country column."""

    constant: Text


class CountColumns(_Strict):
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


class SurveySource(_Strict):
    """Where the respondents or their counts come from and how the file is read."""

    source: str
    country: str | ConstantCountry
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    counts: CountColumns | None = None
    countries: dict[Text, Text] = Field(default_factory=dict)
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


class Level(_Strict):
    """One level of an attribute: its codes in the data and the words that put it in a persona."""

    codes: Annotated[Codes, Field(min_length=1)]
    persona: Text


class Attribute(_Strict):
    """A demographic attribute; its first level is the reference (A=0)."""

    levels: Annotated[dict[Text, Level], Field(min_length=2)]
    column: str | None = None
    missing: Codes = ()

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


class Question(_Strict):
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


def _estimators(value: object) -> object:
    """Accept ``cell`` or a list that begins with it; a list of one is the same as the word."""
    asked = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if asked not in (["cell"], ["cell", "pooled"]):
        raise ValueError(
            f"give cell, or [cell, pooled] for the pooled estimates beside the cells' own (given: {value!r})"
        )
    return "cell" if asked == ["cell"] else tuple(asked)


class EffectsSettings(_Strict):
    """How effects are estimated."""

    estimator: Annotated[Literal["cell"] | tuple[Literal["cell", "pooled"], ...], BeforeValidator(_estimators)] = "cell"
    support: int = Field(default=10, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    granularity: Annotated[
        tuple[Literal["full", "all"] | StrictInt, ...], BeforeValidator(_as_list), Field(min_length=1)
    ] = ("full",)

    @property
    def pools(self) -> bool:
        """Whether pooled estimates are asked for, beside the cells' own."""
        return "pooled" in self.estimator


class GraphSettings(_Strict):
    """The declared DAG. Every attribute points at the answer without being told to."""

    edges: tuple[tuple[str, str], ...] = ()
    latent: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _acyclic(self) -> GraphSettings:
        if cycle := find_cycle(self.edges):
            raise ValueError(f"the graph has a cycle: {' -> '.join(cycle)}; a DAG has none, remove one of these edges")
        if ANSWER in {tail for tail, _ in self.edges}:
            raise ValueError(f"{ANSWER!r} has an outgoing edge; the answer is the outcome and causes nothing here")
        return self


class ModelSettings(_Strict):
    """Which language model answers: ``smollm2``, a local folder, or a hub id."""

    name: Text


class PromptSettings(_Strict):
    """How persona and question become a prompt. The layout is part of the model under audit."""

    layout: Literal["question-first", "persona-first"] = "question-first"
    options: Literal["letters", "labels"] = "letters"


class LoraSettings(_Strict):
    """LoRA as in the paper: r=8, alpha=16, dropout .05."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class HeldOut(_Strict):
    """What training never sees."""

    questions: tuple[str, ...] = ()


class FitSettings(_Strict):
    """Training. ``paper`` spends the first half of the epochs on the anchor, the second on the effect."""

    epochs: int = Field(default=2, ge=1)
    schedule: Literal["paper", "anchor", "effect"] = "paper"
    learning_rate: float = Field(default=2e-5, gt=0)
    seed: int = Field(default=0, ge=0)
    lora: LoraSettings = LoraSettings()
    held_out: HeldOut = HeldOut()

    @model_validator(mode="after")
    def _two_stages(self) -> FitSettings:
        if self.schedule == "paper" and self.epochs % 2:
            raise ValueError(
                f"schedule paper halves the epochs (anchor, then effect); {self.epochs} is odd, give an even number"
            )
        return self


class DiagnosisSettings(_Strict):
    """The threshold below which a model's shift counts as aligned, in units of the shift."""

    tau: float = Field(default=0.05, gt=0, lt=1)


class Study(_Strict):
    """Everything a run needs to know. Build it with `Study.load` or `Study.from_dict`."""

    name: Text
    survey: SurveySource
    attributes: Annotated[dict[Text, Attribute], Field(min_length=1)]
    questions: Annotated[dict[Text, Question], Field(min_length=1)]
    effects: EffectsSettings = EffectsSettings()
    graph: GraphSettings = GraphSettings()
    model: ModelSettings | None = None
    prompt: PromptSettings = PromptSettings()
    fit: FitSettings = FitSettings()
    diagnosis: DiagnosisSettings = DiagnosisSettings()

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Study:
        """Read and validate a study file.

        Parameters
        ----------
        path : str or Path
            The YAML file. A relative ``survey.source`` or model folder is looked up beside it first.
        overrides : sequence of str
            ``key=value`` pairs with dotted keys, as given to ``--set``.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            The file is missing, is no YAML, or breaks the schema; all errors come at once, with their lines.
        """
        path = Path(path)
        located = read_yaml(path)
        for override in overrides:
            set_key(located, override)
        located = replace(located, overridden=tuple(override.partition("=")[0] for override in overrides))
        study = _validated(cls, located)
        return study._with_paths_from(path.resolve().parent)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Study:
        """Validate a plain mapping with the shape of a study file.

        Raises
        ------
        InputError
            The mapping breaks the schema.
        """
        return _validated(cls, Located(_plain(raw), "study", None))

    def save(self, path: Path) -> None:
        """Write the study, with its defaults spelled out, as YAML; where the data lie on this machine stays out."""
        dumped = self.model_dump(mode="json", exclude_none=True)
        if Path(self.survey.source).is_absolute():
            dumped["survey"]["source"] = Path(self.survey.source).name
        write_yaml(dumped, path)

    def fingerprint(self, *sections: str) -> str:
        """Return a SHA-256 of the named top-level sections, order of levels and options included.

        Where the data lie does not count: what they hold is hashed on its own.
        """
        dumped = self.model_dump(mode="json", include=set(sections))
        if "survey" in dumped:
            del dumped["survey"]["source"]
        text = json.dumps({name: _pairs(dumped[name]) for name in sorted(dumped)}, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def granularities(self) -> tuple[int, ...]:
        """The numbers of specified attributes asked for, ascending; ``all`` includes 0, the country alone."""
        full = len(self.attributes)
        asked: set[int] = set()
        for item in self.effects.granularity:
            asked |= set(range(full + 1)) if item == "all" else {full if item == "full" else int(item)}
        return tuple(sorted(asked))

    @property
    def causal_graph(self) -> CausalGraph:
        """The study's DAG, attributes pointing at the answer included."""
        return CausalGraph.from_edges(tuple(self.attributes), self.graph.edges, self.graph.latent)

    def country_name(self, country: str) -> str:
        """Return the name of a country as it is said in a persona."""
        return self.survey.countries.get(country, country)

    def _with_paths_from(self, folder: Path) -> Study:
        changes: dict[str, Any] = {}
        if (beside := folder / self.survey.source).exists():
            changes["survey"] = self.survey.model_copy(update={"source": str(beside.resolve())})
        if self.model and (beside := folder / self.model.name).is_dir():
            changes["model"] = self.model.model_copy(update={"name": str(beside.resolve())})
        return self.model_copy(update=changes)


def _pairs(value: Any) -> Any:
    """Turn mappings into lists of pairs: their order means something here (levels, options)."""
    if isinstance(value, dict):
        return [[key, _pairs(item)] for key, item in value.items()]
    return [_pairs(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Turn any mapping into a dict and any sequence but text into a list, as a YAML file would give them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _validated(cls: type[Study], located: Located) -> Study:
    problems = []
    study = None
    try:
        study = cls.model_validate(located.data)
    except ValidationError as error:
        problems = [_problem(cls, located, item) for item in error.errors()]
    problems += list(cross_problems(located))
    if problems or study is None:
        raise_problems(located, problems)
    return study


_PYDANTIC = re.compile(r"str|int|float|bool|ConstantCountry|\[key\]|literal\[.*|function-.*")
"""Parts of pydantic's locations that are no keys of the file."""
_PLAIN_WORDS = {
    "valid dictionary": "section (key: value lines)",
    "valid string": "text",
    "valid list": "list",
    "valid tuple": "list",
    "at least 1 item after validation, not 0": "at least one character or item",
}


def _problem(cls: type[BaseModel], located: Located, item: Any) -> Problem:
    loc = tuple(part for part in item["loc"] if not _PYDANTIC.fullmatch(str(part)))
    message = item["msg"].removeprefix("Value error, ")
    for theirs, ours in _PLAIN_WORDS.items():
        message = message.replace(theirs, ours)
    if item["type"] == "extra_forbidden":
        message = "unknown key" + nearest_key(cls, item["loc"])
    elif item["type"] == "missing":
        message = "this key is required and missing"
    elif not isinstance(item.get("input"), dict | list) and item["type"] != "value_error":
        message += f" (given: {item.get('input')!r})"
    return Problem(line_of(located.data, loc), ".".join(map(str, loc)), message)
