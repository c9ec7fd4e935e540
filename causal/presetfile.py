"""How a survey's file holds what its preset knows: columns, questions, the module, other codings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from causal.inspection import plain
from causal.labelled import Labelled, first_value
from causal.presets.definition import Preset, PresetAttribute
from causal.presets.issp import ISSP
from causal.presets.wvs7 import WVS7
from causal.scales import answer_codes, looks_ordered, scale, whole

PRESETS = {preset.name: preset for preset in (WVS7, ISSP)}
ARCHIVE_NUMBER = ("studyno", "za_nr", "v1")
"""Columns that hold a file's archive number, by lower-case name."""


def recognise(columns: Collection[str]) -> Preset | None:
    """Return the preset whose country, weight, attributes and questions a file holds."""
    for preset in PRESETS.values():
        ways = [way.column for way, _ in preset_attributes(preset, columns).values()]
        needed = [find_column(preset.country, columns), find_column(preset.weight, columns), *ways]
        if set(needed) <= set(columns) and any(map(preset.is_question, columns)):
            return preset
    return None


def find_column(candidates: Sequence[str], held: Collection[str] | None) -> str:
    """Return the first candidate that a file holds, in the file's own case; the first of all if it holds none."""
    by_lower = {name.lower(): name for name in held or ()}
    for name in candidates:
        if found := (name if held is None or name in held else by_lower.get(name.lower())):
            return found
    return candidates[0]


def preset_attributes(
    preset: Preset, held: Collection[str] | None, book: Labelled | None = None
) -> dict[str, tuple[PresetAttribute, dict[str, Any]]]:
    """Return, by attribute, the way in which a file holds it, and its entry of a study file.

    Codes that the file labels as no answer are missing beside the preset's own.
    """
    found = {}
    for name, ways in preset.attributes.items():
        column = find_column([way.column for way in ways], held)
        way = next((way for way in ways if way.column.lower() == column.lower()), ways[0])
        missing = sorted({*way.missing, *(_unanswered(preset, book, replace(way, column=column)) if book else ())})
        levels = {level: {"codes": list(codes), "persona": said} for level, (codes, said) in way.levels.items()}
        entry = {"column": column, "levels": levels} | ({"missing": missing} if missing else {})
        found[name] = (replace(way, column=column), entry)
    return found


def _unanswered(preset: Preset, book: Labelled, way: PresetAttribute) -> set[int]:
    """Return the codes of an attribute's column that the file labels, and that are no answer."""
    labelled = {number for code in book.labels.get(way.column, {}) if (number := whole(code)) is not None}
    return labelled - set(answer_codes(book, way.column)) - way.codes - set(preset.missing)


def is_scale(preset: Preset, book: Labelled, column: str) -> bool:
    """Return whether a column is a question that the preset takes: by its name, its labels and their order."""
    if not preset.is_question(column) or column in preset.nominal:
        return False
    found = scale(book, column, preset)
    return found is not None and (not preset.order_unknown or looks_ordered(found.options))


def question_entry(preset: Preset, book: Labelled, column: str, topic: str | None) -> dict[str, Any]:
    """Return a question's entry of a study file, with the file's own wording and labels."""
    found = scale(book, column, preset)
    assert found is not None
    entry = {"text": plain(book.wording.get(column, "")) or column, "options": found.options}
    named = preset.topics.get(column, topic)
    return entry | ({"topic": named} if named else {}) | ({"missing": list(found.missing)} if found.missing else {})


def module_of(preset: Preset, path: Path, columns: Sequence[str]) -> str | None:
    """Return the topic of a file by its archive number: in a column of its own, else in the file's name."""
    for column in [name for name in columns if name.lower() in ARCHIVE_NUMBER]:
        number = re.search(r"[0-9]+", str(first_value(path, column)).removesuffix(".0"))
        if number and int(number[0]) in preset.modules:
            return preset.modules[int(number[0])]
    named = re.search(r"ZA([0-9]{4,5})", path.name, re.IGNORECASE)
    return preset.modules.get(int(named[1])) if named else None


def coded_otherwise(book: Labelled, way: PresetAttribute) -> dict[int, str]:
    """Return the labels of a column whose codes are not the preset's: one too many, or a level without any."""
    labels = answer_codes(book, way.column, way.missing)
    bare = [level for level, (codes, _) in way.levels.items() if not set(codes) & set(labels)]
    return labels if labels and (bare or set(labels) - way.codes) else {}
