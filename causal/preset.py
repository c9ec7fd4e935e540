"""``preset: wvs7``: what is known of a survey's official file, laid beneath the user's own keys."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from causal.labelled import Labelled, read_codebook
from causal.presetfile import (
    ARCHIVE_NUMBER,
    PRESETS,
    coded_otherwise,
    find_column,
    is_scale,
    module_of,
    preset_attributes,
    question_entry,
)
from causal.presets.definition import Preset, PresetAttribute
from causal.readers import LABELLED, checked_path
from causal.scales import scale
from causal.yamlfile import Located, Problem, line_of, raise_problems


def expand(located: Located, folder: Path) -> Located:
    """Return the study with its preset's values beneath the user's keys, and without the key ``preset``.

    Parameters
    ----------
    located : Located
        The study as the user wrote it; without ``preset`` it is returned as it is.
    folder : Path
        Where ``survey.source`` is looked up first.

    Returns
    -------
    Located
        Lines are still those of what the user wrote.

    Raises
    ------
    InputError
        The preset is unknown, or the survey file cannot be read, is another survey's or has no labels.
    """
    if not isinstance(located.data, dict) or "preset" not in located.data:
        return located
    user = {key: value for key, value in located.data.items() if key != "preset"}
    try:
        preset, topic = _named(located.data["preset"])
        data = _expanded(preset, topic, user, folder)
    except _Refused as error:
        place = error.place or ("preset",)
        key = ".".join(map(str, place))
        raise_problems(located, [Problem(line_of(located.data, place), key, str(error))])
    return replace(located, data=data, expanded_from=located.data)


class _Refused(Exception):
    """What is wrong with a study that uses a preset, and at which key."""

    def __init__(self, message: str, place: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.place = place


def _named(value: Any) -> tuple[Preset, str | None]:
    name, _, topic = str(value).partition("/")
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise _Refused(f"unknown preset {str(value)!r}{hint}; known are {', '.join(PRESETS)}")
    known = sorted(set(PRESETS[name].modules.values()))
    if topic and topic not in known:
        allowed = f"give {name}/ with one of {', '.join(known)}" if known else f"write {name} alone"
        raise _Refused(f"{value!r}: {allowed}")
    return PRESETS[name], topic or None


def _expanded(preset: Preset, topic: str | None, user: dict[str, Any], folder: Path) -> dict[str, Any]:
    survey = _section(user, "survey")
    if not isinstance(survey.get("source"), str):
        raise _Refused("this key is required and missing: the path of the survey's file", ("survey", "source"))
    path = folder / survey["source"]
    path = checked_path(str(path if path.exists() else survey["source"]))
    book = read_codebook(path, _encoding(survey)) if path.suffix.lower() in LABELLED else None
    held = None if book is None else [str(name) for name in book.frame.columns]
    ways = preset_attributes(preset, held, book)
    merged = user | {
        "survey": _merged_survey(preset, survey, held),
        "attributes": _merged_attributes(user, {name: entry for name, (_, entry) in ways.items()}),
    }
    if book is None:
        return merged | {"questions": _own_questions(preset, user, path)}
    _refuse_absent(preset, path, merged, user, book)
    kept = set(_section(merged, "attributes")) - set(_section(user, "attributes"))
    _refuse_other_codes(preset, book, {name: way for name, (way, _) in ways.items() if name in kept})
    return merged | {"questions": _merged_questions(preset, topic, user, path, book)}


def _encoding(survey: Mapping[str, Any]) -> str | None:
    """Return the encoding that the user names, unless it is none: that is said when the study is validated."""
    try:
        return codecs.lookup(str(survey["encoding"])).name
    except LookupError:  # no such key, or no such encoding
        return None


def _section(user: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = user.get(key)
    return value if isinstance(value, dict) else {}


def _merged(user: Mapping[str, Any], defaults: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Lay entries over the defaults of the same name, field by field; null takes one away."""
    if unknown := [str(name) for name, own in user.items() if own is None and name not in defaults]:
        raise _Refused(f"there is no {unknown[0]} to take away{_nearest(unknown[0], defaults)}", (section,))
    merged: dict[str, Any] = {}
    for name in [*defaults, *(name for name in user if name not in defaults)]:
        own = user.get(name, {})
        if own is None:
            continue
        default = defaults.get(name)
        merged[name] = {**default, **own} if isinstance(default, dict) and isinstance(own, dict) else own
    return merged


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _merged_attributes(user: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Return the attributes: the preset's with the user's over them, or those that a list names."""
    asked = user.get("attributes")
    if isinstance(asked, list):
        if unknown := [str(name) for name in asked if name not in defaults]:
            raise _Refused(
                f"unknown attribute {unknown[0]!r}{_nearest(unknown[0], defaults)}; the preset has "
                f"{', '.join(defaults)}",
                ("attributes",),
            )
        return {name: entry for name, entry in defaults.items() if name in asked}
    return _merged(asked or {}, defaults, "attributes") if isinstance(asked, dict | None) else asked


def _merged_survey(preset: Preset, user: dict[str, Any], held: Collection[str] | None) -> dict[str, Any]:
    country = find_column(preset.country, held)
    default: dict[str, Any] = {"source": None, "country": country}
    if "country" not in user and country.lower() == preset.country[0].lower():
        default |= {"countries": dict(preset.country_names), "tiers": dict(preset.tiers)}
    default |= {"weight": find_column(preset.weight, held), "missing": list(preset.missing)}
    merged = {**default, **user}
    if isinstance(user.get("countries"), dict):
        merged["countries"] = {**default.get("countries", {}), **user["countries"]}
    return {key: value for key, value in merged.items() if value is not None}


def _merged_questions(preset: Preset, topic: str | None, user: dict[str, Any], path: Path, book: Labelled) -> Any:
    asked = user.get("questions")
    asked = [asked] if isinstance(asked, str) else asked
    columns = [str(name) for name in book.frame.columns]
    found = [name for name in columns if is_scale(preset, book, name)]
    if not found:
        raise _Refused(f"{path.name} labels none of the questions of {preset.title}; give the official file")
    topic = topic or module_of(preset, path, columns)
    if preset.modules and topic is None:
        known = ", ".join(sorted(set(preset.modules.values())))
        raise _Refused(
            f"{path.name} does not say which module it is (no known archive number in "
            f"{', '.join(ARCHIVE_NUMBER[:2])} or its name); write preset: {preset.name}/ with one of {known}"
        )
    everything = {name: question_entry(preset, book, name, topic) for name in found}
    if isinstance(asked, list):
        return _subset(preset, everything, asked, columns)
    if not isinstance(asked, dict | None):
        return asked
    own = asked or {}
    named = {name: _column_of(name, entry) for name, entry in own.items()}
    extra = {
        name: question_entry(preset, book, column, topic) | ({"column": column} if column != name else {})
        for name, column in named.items()
        if column in columns and column not in found and scale(book, column, preset)
    }
    return _merged(own, everything | extra, "questions")


def _column_of(name: Any, entry: Any) -> str:
    return str((entry.get("column") if isinstance(entry, dict) else None) or name)


def _subset(preset: Preset, everything: dict[str, Any], asked: list[Any], columns: list[str]) -> dict[str, Any]:
    """Return the questions that a list names, by name or by topic."""
    topics = {str(entry.get("topic")) for entry in everything.values()}
    for name in map(str, asked):
        if name in everything or name in topics:
            continue
        if name in columns:
            raise _Refused(
                f"preset {preset.name} leaves {name} out: it has no labels, or its answers no order. To have it "
                f"nonetheless, write questions as a mapping, with {name} and its options in order",
                ("questions",),
            )
        raise _Refused(f"unknown question or topic {name!r}{_nearest(name, [*everything, *topics])}", ("questions",))
    wanted = set(map(str, asked))
    return {name: entry for name, entry in everything.items() if {name, entry.get("topic")} & wanted}


def _own_questions(preset: Preset, user: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the questions that the user wrote out, for a file that has no labels."""
    own = _section(user, "questions")
    if not own or not all(isinstance(entry, dict) and {"text", "options"} <= set(entry) for entry in own.values()):
        raise _Refused(
            f"{path.name} holds no wording and no labels, so preset {preset.name} cannot make its questions; give the "
            "SPSS (.sav) or Stata (.dta) file of the survey, or write questions out, each with text and options"
        )
    topics = {name: preset.topics.get(_column_of(name, entry)) for name, entry in own.items()}
    return {name: ({"topic": topics[name]} if topics[name] else {}) | entry for name, entry in own.items()}


def _refuse_absent(preset: Preset, path: Path, merged: dict[str, Any], user: dict[str, Any], book: Labelled) -> None:
    """Refuse a file that lacks columns of the preset which the user did not replace."""
    held = [str(name) for name in book.frame.columns]
    survey, attributes = _section(user, "survey"), _section(user, "attributes")
    needed = {key: merged["survey"].get(key) for key in ("country", "weight") if key not in survey}
    needed |= {
        name: entry["column"]
        for name, entry in _section(merged, "attributes").items()
        if name in preset.attributes and isinstance(entry, dict) and "column" not in (attributes.get(name) or {})
    }
    absent = [f"{what}: {column}" for what, column in needed.items() if column and column not in held]
    if not absent:
        return
    nearest = {line: difflib.get_close_matches(line.partition(": ")[2], held, n=1) for line in absent}
    shown = [line + (f" (nearest: {close[0]})" if close else "") for line, close in nearest.items()]
    raise _Refused(
        f"{path.name} does not look like the file of {preset.title}; it lacks {'; '.join(shown)}. Give the official "
        "file, or say under survey and attributes which columns take their place (null takes one away)"
    )


def _refuse_other_codes(preset: Preset, book: Labelled, ways: Mapping[str, PresetAttribute]) -> None:
    """Refuse attributes that the file codes in another way than the preset knows."""
    for name, way in ways.items():
        if labels := coded_otherwise(book, way):
            shown = ", ".join(f"{code} = {label}" for code, label in labels.items())
            raise _Refused(
                f"column {way.column} of this file has other codes than preset {preset.name} knows ({shown}); say "
                f"under attributes.{name}.levels which of them make {' and '.join(way.levels)}",
                ("attributes", name),
            )
