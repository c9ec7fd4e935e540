from __future__ import annotations

import numpy as np
import pytest
from safetensors import SafetensorError

from align.parts import Parts
from causal.errors import RunError

SCORES = np.log(np.array([[0.25, 0.5], [0.125, 0.75]]))


def test_scores_are_found_again_bit_by_bit_with_the_budget_they_began_with(tmp_path):
    parts = Parts(tmp_path / "parts", {"model": "a"}, 700)
    parts.add([("NO", "trust"), ("SE", "work")], [SCORES, SCORES[:, :1] * 3])
    parts.add([("NO", "work")], [SCORES[:1]])
    again = Parts(tmp_path / "parts", {"model": "a"}, 9999)
    assert again.budget == 700
    assert list(again.scores) == [("NO", "trust"), ("SE", "work"), ("NO", "work")]
    assert again.scores["SE", "work"].tobytes() == (SCORES[:, :1] * 3).tobytes()
    assert again.scores["NO", "work"].tobytes() == SCORES[:1].tobytes()


def test_other_inputs_begin_anew(tmp_path):
    Parts(tmp_path / "parts", {"model": "a"}, 700).add([("NO", "trust")], [SCORES])
    other = Parts(tmp_path / "parts", {"model": "b"}, 800)
    assert (other.scores, other.budget) == ({}, 800)
    assert Parts(tmp_path / "parts", {"model": "a"}, 900).scores == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("begun.json", content) for content in (b"", b'{"inputs": "4', b"\xff\xfe", b"[]")),
        *((name, bytes(range(256)) * 9) for name in ("0.safetensors", "1.safetensors")),
        ("1.safetensors", b""),
    ],
)
def test_damaged_parts_begin_anew_and_it_is_said(tmp_path, capsys, name, content):
    """All of them, as the packs of a run that was not killed: the number of tokens they began with may be lost."""
    parts = Parts(tmp_path / "parts", {"model": "a"}, 700)
    parts.add([("NO", "trust")], [SCORES])
    parts.add([("NO", "work")], [SCORES])
    assert capsys.readouterr().err == ""
    (tmp_path / "parts" / name).write_bytes(content)
    again = Parts(tmp_path / "parts", {"model": "a"}, 800)
    assert (again.scores, again.budget) == ({}, 800)
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{name} is damaged" in said
    assert "begins anew" in said
    again.add([("SE", "trust")], [SCORES])
    kept = Parts(tmp_path / "parts", {"model": "a"}, 900)
    assert (list(kept.scores), kept.budget) == ([("SE", "trust")], 800)


def test_a_full_disk_is_one_message(tmp_path, monkeypatch):
    """safetensors has an error of its own for it, which is no OSError."""
    parts = Parts(tmp_path / "parts", {"model": "a"}, 700)
    parts.add([("NO", "trust")], [SCORES])

    def full(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.numpy.save_file", full)
        with pytest.raises(RunError, match=r"cannot write .*1\.safetensors: .*No space left .* is kept\. Make room"):
            parts.add([("NO", "work")], [SCORES])
    assert list(Parts(tmp_path / "parts", {"model": "a"}, 700).scores) == [("NO", "trust")]


def test_removed_when_done(tmp_path):
    parts = Parts(tmp_path / "parts", {"model": "a"}, 700)
    parts.add([("NO", "trust")], [SCORES])
    parts.remove()
    assert not (tmp_path / "parts").exists()
