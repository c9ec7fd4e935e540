"""YAML with line numbers: read, override, and report every problem of a file at once."""

from __future__ import annotations

import difflib
import io
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from causal.errors import InputError


@dataclass(frozen=True)
class Located:
    """A parsed file: its data (ruamel mappings that know their lines), its name and its path."""

    data: Any
    name: str
    path: Path | None
    overridden: tuple[str, ...] = ()
    """Dotted keys that ``--set`` changed: their lines are not the file's."""
    expanded_from: Any = None
    """The data as the user wrote them, where a preset was laid beneath them."""

    @property
    def written(self) -> Any:
        """The data that know their lines."""
        return self.data if self.expanded_from is None else self.expanded_from


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file: 1-based line or None, dotted key, and what to do."""

    line: int | None
    key: str
    message: str


def read_yaml(path: Path) -> Located:
    """Parse a YAML 1.2 file whose top level is a mapping.

    Raises
    ------
    InputError
        The file is missing, unreadable, or no YAML mapping.
    """
    if not path.is_file():
        raise InputError(f"study file {path} does not exist; give the path of a study.yaml (see studies/ for examples)")
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise InputError(
            f"{path} is no study: its top level must be a mapping with name, survey, attributes, questions"
        )
    return Located(data, str(path), path)


def write_yaml(data: Any, path: Path) -> None:
    """Write plain data as YAML, in the order given."""
    stream = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 100
    yaml.dump(data, stream)
    path.write_text(stream.getvalue(), encoding="utf-8")


def set_key(located: Located, override: str) -> None:
    """Apply one ``key=value`` override in place; the value is read as YAML.

    Raises
    ------
    InputError
        There is no ``=``, or the path runs through something that is no mapping.
    """
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise InputError(f"--set {override!r}: give it as key=value, such as --set fit.lora.rank=16")
    node = located.data
    *parents, last = key.split(".")
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {override!r}: {part} is no section of the study")
    try:
        node[last] = YAML(typ="safe").load(value)
    except (YAMLError, ValueError) as error:
        raise InputError(f"--set {override!r}: the value is not valid YAML") from error


def line_of(data: Any, loc: Sequence[Any]) -> int | None:
    """Return the 1-based line of the deepest part of ``loc`` that the file holds."""
    line = None
    for part in loc:
        marks = getattr(data, "lc", None)
        if marks is None:
            break
        try:
            line = (marks.key(part) if isinstance(data, dict) else marks.item(part))[0] + 1
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return line


def nearest_key(model: type[BaseModel], loc: Sequence[Any]) -> str:
    """Return ``; did you mean ...`` or the list of keys allowed where ``loc`` points."""
    here: Any = model
    for part in loc[:-1]:
        here = _inside(here, part)
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return ""
    allowed = sorted(here.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), allowed, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed here: {', '.join(allowed)}"


def _inside(annotation: Any, part: Any) -> Any:
    """Return what stands at key ``part`` of an annotation: a field, a value or item, a union's model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(part)
        annotation = field.annotation if field else annotation
    elif typing.get_origin(annotation) is dict:
        annotation = typing.get_args(annotation)[1]
    elif typing.get_origin(annotation) is tuple and isinstance(part, int):
        annotation = typing.get_args(annotation)[0]
    while typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType):
        options = typing.get_args(annotation)
        annotation = next((option for option in options if _holds_model(option)), options[0])
    return annotation


def _holds_model(annotation: Any) -> bool:
    """Tell whether an annotation is a model, or a container or union of one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(map(_holds_model, typing.get_args(annotation)))


def raise_problems(located: Located, problems: Sequence[Problem]) -> NoReturn:
    """Raise one `InputError` that lists every problem in the order of the file."""
    ordered = sorted(set(problems), key=lambda p: (p.line or 0, p.key))
    lines = [f"  {_where(located, p)}{p.key}: {p.message}" for p in ordered]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    raise InputError("\n".join([f"{located.name}: {count}", *lines]))


def _where(located: Located, problem: Problem) -> str:
    if any(f"{problem.key}.".startswith(f"{key}.") for key in located.overridden):
        return "--set: "
    return f"line {problem.line}: " if problem.line else ""
