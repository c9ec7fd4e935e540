"""The JSON shape of published evaluation files: one item per question and persona, with its answer distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from causal.errors import InputError
from causal.sections import CountColumns

JSON_COLUMNS = CountColumns(question="question_id", option="option", proportion="p_real", n="sample_count")
KEYS = ("question_id", "options", "demographics", "p_real", "sample_count")


def read_json_counts(path: Path) -> pd.DataFrame:
    """Return the items of a JSON file, or of every ``.json`` file below a folder, as one row per option.

    Returns
    -------
    DataFrame
        Columns ``question_id``, ``option``, ``p_real``, ``sample_count`` and one per demographic, null where
        an item does not specify it; the index names the file and item.

    Raises
    ------
    InputError
        A file is no list of such items; the message names the item.
    """
    rows: list[dict[str, Any]] = []
    labels: list[str] = []
    for where, item in read_items(path):
        shares = _shares(item, where)
        persona = {key: value for key, value in item["demographics"].items() if value not in (None, "")}
        fixed = persona | {"question_id": item["question_id"], "sample_count": item["sample_count"]}
        rows += [fixed | {"option": code, "p_real": share} for code, share in shares.items()]
        labels += [where] * len(shares)
    return pd.DataFrame(rows, index=labels)


def read_items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each item of a file or folder, with the words that name it."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"folder {path} has no .json file; a folder as survey.source holds count tables in JSON")
    for file in files:
        items = _load(file)
        if not isinstance(items, list) or not items:
            raise InputError(f"survey file {file} is no list of items; a JSON source is a list of {', '.join(KEYS)}")
        for i, item in enumerate(items, start=1):
            where = f"{file.name} item {i}"
            _check(item, where)
            yield where, item


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"survey file {file} is no readable JSON: {error}") from error


def _check(item: Any, where: str) -> None:
    if not isinstance(item, dict):
        raise InputError(f"{where} is no mapping with {', '.join(KEYS)}")
    if absent := [key for key in KEYS if item.get(key) is None]:
        raise InputError(f"{where} lacks {', '.join(absent)}; an item has {', '.join(KEYS)}")
    for key in ("options", "demographics"):
        if not isinstance(item[key], dict):
            raise InputError(f"{where}: {key} is no mapping of names to text")
    if taken := sorted({"question_id", "option", "p_real", "sample_count"} & set(item["demographics"])):
        raise InputError(f"{where}: a demographic may not be called {', '.join(taken)}")


def _shares(item: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the proportion by option code; a list follows the order of ``options``."""
    shares = item["p_real"]
    if isinstance(shares, list):
        if len(shares) != len(item["options"]):
            raise InputError(f"{where}: p_real has {len(shares)} proportions for {len(item['options'])} options")
        return dict(zip(item["options"], shares, strict=True))
    if not isinstance(shares, dict) or not shares:
        raise InputError(f"{where}: p_real is no mapping of option codes to proportions, and no list of them")
    return shares
