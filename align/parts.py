"""What a measurement has scored so far, on disk: a run that is killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align.parallel import note
from align.writing import writing
from causal.files import replace_file, write_json

Key = tuple[str, str]  # country and question


class Parts:
    """Scored questions, one file for each pack, each whole or not at all.

    Parameters
    ----------
    folder : Path
        Where the files are. Those of other inputs are removed, and all of them if one is damaged, which is said.
    inputs : mapping
        Everything the scores depend on.
    budget : int
        Tokens of a forward pass if the measurement begins here. One that goes on keeps the number it began with, so
        that its packs, and with them the last bits of its scores, are those of a run that was not killed; but not a
        number of which less than half fits into memory now, which is said: it may be what the run was killed for.

    Attributes
    ----------
    scores : dict
        Log-probabilities by (country, question), shape (personas, K).
    budget : int
        Tokens of a forward pass.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Any], budget: int) -> None:
        self.folder = folder
        self.scores: dict[Key, np.ndarray] = {}
        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        try:
            begun = _begun(folder / "begun.json")
            if begun.get("inputs") == digest:
                for path in sorted(folder.glob("[0-9]*.safetensors")):
                    self.scores |= _read(path)
        except _Damaged as damaged:
            note(f"{damaged} is damaged, so the measurement begins anew")
            begun, self.scores = {}, {}
        if begun.get("inputs") != digest:
            shutil.rmtree(folder, ignore_errors=True)
            begun = {"inputs": digest, "budget": budget}
            write_json(folder / "begun.json", begun)
        if 2 * budget < int(begun["budget"]):
            note(f"going on with {budget} tokens at once, as memory has room for; it began with {begun['budget']}")
            begun["budget"] = budget
            write_json(folder / "begun.json", begun)
        self.budget = int(begun["budget"])

    def add(self, keys: Sequence[Key], scores: Sequence[np.ndarray]) -> None:
        """Keep a pack's scores."""
        from safetensors.numpy import save_file

        arrays = {str(i): np.ascontiguousarray(array) for i, array in enumerate(scores)}
        path = self.folder / f"{len(self.scores)}.safetensors"
        with writing(path, "what was scored before is kept"), replace_file(path) as beside:
            save_file(arrays, beside, metadata={"keys": json.dumps(list(keys))})
        self.scores |= zip(keys, scores, strict=True)

    def remove(self) -> None:
        """Delete the files; the measurement is written as tables."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _Damaged(Exception):
    """A file that cannot be read as what it is."""


def _read(path: Path) -> dict[Key, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as held:
            keys = json.loads(held.metadata()["keys"])
            return {(country, question): held.get_tensor(str(i)) for i, (country, question) in enumerate(keys)}
    except SafetensorError as error:
        raise _Damaged(path) from error


def _begun(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _Damaged(path) from error
    if not isinstance(held, dict):
        raise _Damaged(path)
    return held
