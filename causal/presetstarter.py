"""What an official survey file holds, and the few lines of a study that its preset needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from causal.codes import code_key
from causal.inspection import Column, Inspection, plain
from causal.labelled import read_codebook
from causal.presetfile import find_column, is_scale, module_of, preset_attributes, question_entry, recognise
from causal.presets.definition import Preset
from causal.readers import LABELLED

MOST_NAMED = 80
"""Countries or questions that are named in one line."""


def preset_starter(found: Inspection) -> str | None:
    """Return the text of a study file that uses a preset, or None if no preset fits the file or it has no labels.

    What was recognised is said as comments: countries, levels and questions with their numbers, and what the
    preset leaves out. Questions without any answer in this file are taken away by name.
    """
    columns = {column.name: column for column in found.columns}
    preset = recognise(columns)
    if preset is None or Path(found.source).suffix.lower() not in LABELLED:
        return None
    path = Path(found.source)
    title = f"# {plain(found.source)}: {found.format}, {found.rows} rows; recognised as {preset.title}"
    module = module_of(preset, path, list(columns))
    name = preset.name if module or not preset.modules else f"{preset.name}/FILL-IN"
    lines = [f"{title}{f', module {module}' if module else ''}"]
    questions, silent = _questions(preset, columns, path, module)
    lines += [*_people(preset, columns), questions]
    if "FILL-IN" in name:
        lines.append(f"# FILL-IN: the module, one of {', '.join(sorted(set(preset.modules.values())))}")
    taken = f"questions: {{{', '.join(f'{question}: null' for question in silent)}}}  # nobody answered\n"
    return "\n".join(lines) + "\n" + _study(name, path, taken if silent else "")


def labels_wanted(found: Inspection) -> str:
    """Return the advice to take another format of a known survey's file that has no labels, else nothing."""
    preset = recognise([column.name for column in found.columns])
    if preset is None or Path(found.source).suffix.lower() in LABELLED:
        return ""
    return (
        f"# This looks like {preset.title}. {found.format} holds no wording and no labels: with the survey's SPSS\n"
        f"# (.sav) or Stata (.dta) file, three lines are enough: name, preset: {preset.name}, survey: {{source: ...}}\n"
    )


def _study(preset: str, path: Path, questions: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem) or "study"
    source = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'name: {name}\npreset: {preset}\nsurvey:\n  source: "{source}"\n'
        f"  # keep: [...]  # countries to keep, if not all\n{questions}"
    )


def _people(preset: Preset, columns: dict[str, Column]) -> Iterator[str]:
    country = columns[find_column(preset.country, columns)]
    shown = [f"{plain(code)} {rows}" for code, rows in sorted(country.rows.items())]
    yield f"# {len(shown)} countries ({country.name}): {_few(shown)}"
    missing = {code_key(code) for code in preset.missing}
    for name, (way, _) in preset_attributes(preset, columns).items():
        rows = columns[way.column].rows
        levels = {level: sum(rows.get(str(code), 0) for code in codes) for level, (codes, _) in way.levels.items()}
        other = {code for code in rows if code not in set(map(str, (*way.codes, *way.missing))) | missing}
        odd = f"; codes that are no level: {', '.join(sorted(other))}" if other else ""
        counts = ", ".join(f"{level} {count}" for level, count in levels.items())
        yield f"# {name} ({way.column}): {counts}{odd}"


def _questions(preset: Preset, columns: dict[str, Column], path: Path, module: str | None) -> tuple[str, list[str]]:
    """Return lines on the questions, and those that nobody answered."""
    book = read_codebook(path)
    asked = [name for name in columns if preset.is_question(name)]
    taken = {name: question_entry(preset, book, name, module) for name in asked if is_scale(preset, book, name)}
    silent = [
        name for name, entry in taken.items() if not {code_key(c) for c in entry["options"]} & set(columns[name].rows)
    ]
    topics = Counter(entry.get("topic", "topic unknown") for name, entry in taken.items() if name not in silent)
    by_topic = ", ".join(f"{topic} {count}" for topic, count in topics.items())
    lines = f"# {topics.total()} questions: {by_topic}"
    if left := [name for name in asked if name not in taken]:
        lines += f"\n# left out, no labels or no order seen in them: {_few(left)}"
    return lines, silent


def _few(items: list[str]) -> str:
    return ", ".join(items[:MOST_NAMED]) + (f" and {len(items) - MOST_NAMED} more" if len(items) > MOST_NAMED else "")
