from __future__ import annotations

import numpy as np

from align.parts import Parts

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


def test_removed_when_done(tmp_path):
    parts = Parts(tmp_path / "parts", {"model": "a"}, 700)
    parts.add([("NO", "trust")], [SCORES])
    parts.remove()
    assert not (tmp_path / "parts").exists()
