"""The study: one strict configuration, read from one YAML file that serves every command."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from causal.crosschecks import cross_problems
from causal.fitsettings import FitSettings
from causal.graph import CausalGraph
from causal.sections import (
    Attribute,
    ChecksSettings,
    Covariate,
    DiagnosisSettings,
    EffectsSettings,
    GraphSettings,
    ModelSettings,
    PromptSettings,
    Question,
    Strict,
    SurveySource,
    Text,
)
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


class Study(Strict):
    """Everything a run needs to know. Build it with `Study.load` or `Study.from_dict`."""

    name: Text
    preset: None = None  # laid beneath the other keys before they are validated, see causal.preset
    survey: SurveySource
    attributes: Annotated[dict[Text, Attribute], Field(min_length=1)]
    questions: Annotated[dict[Text, Question], Field(min_length=1)]
    covariates: dict[Text, Covariate] = Field(default_factory=dict)
    effects: EffectsSettings = EffectsSettings()
    graph: GraphSettings = GraphSettings()
    checks: ChecksSettings = ChecksSettings()
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
        folder = path.resolve().parent
        return _validated(cls, _expanded(located, folder))._with_paths_from(folder)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Study:
        """Validate a plain mapping with the shape of a study file.

        Raises
        ------
        InputError
            The mapping breaks the schema.
        """
        return _validated(cls, _expanded(Located(_plain(raw), "study", None), Path()))

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
        """The study's DAG, with the default edges if it has them."""
        measured = (*self.attributes, *self.covariates)
        graph = self.graph
        return CausalGraph.from_edges(measured, graph.edges, graph.latent, default_edges=graph.default_edges)

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


def _expanded(located: Located, folder: Path) -> Located:
    """Lay the study's preset, if it names one, beneath its own keys."""
    if not isinstance(located.data, dict) or "preset" not in located.data:
        return located
    from causal.preset import expand

    return expand(located, folder)


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


_PYDANTIC = re.compile(r"str|int|float|bool|ConstantCountry|\[key\]|literal\[.*|tuple\[.*|function-.*")
"""Parts of pydantic's locations that are no keys of the file."""
_PLAIN_WORDS = {
    "Dictionary should": "It should",
    " items after validation": " items",
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
    return Problem(line_of(located.written, loc), ".".join(map(str, loc)), message)
