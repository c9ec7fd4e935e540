from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from causal.counts import count, on_grid
from causal.survey import read_survey

# a, b, answer, weight; None is missing
PEOPLE = [(0, 0, 1, 1.0), (0, 0, 1, 3.0), (0, 1, 2, 2.0), (1, None, 3, 4.0), (0, None, 1, 5.0), (0, 0, None, 9.0)]


def frame() -> pd.DataFrame:
    return pd.DataFrame(PEOPLE, columns=["a", "b", "q", "w"])


def test_counts_by_hand(one_question: Any) -> None:
    counts = count(read_survey(one_question(("a", "b"), survey={"weight": "w"}), frame()))
    cells = {tuple(levels): i for i, levels in enumerate(counts.levels.tolist())}
    assert set(cells) == {(0, 0), (0, 1), (1, -1), (0, -1)}
    assert counts.n[cells[0, 0], 0].tolist() == [2, 0, 0]
    assert counts.w[cells[0, 0], 0].tolist() == [4, 0, 0]
    assert counts.w2[cells[0, 0], 0].tolist() == [10, 0, 0]
    assert counts.w[cells[1, -1], 0].tolist() == [0, 0, 4]


def test_without_weights_everybody_counts_one(one_question: Any) -> None:
    counts = count(read_survey(one_question(("a", "b")), frame()))
    np.testing.assert_array_equal(counts.n, counts.w)
    np.testing.assert_array_equal(counts.n, counts.w2)


def test_coarser_grids_keep_respondents_whose_other_attributes_are_unknown(one_question: Any) -> None:
    counts = count(read_survey(one_question(("a", "b"), survey={"weight": "w"}), frame()))
    by_a = on_grid(counts, [0], [2], 1)
    assert by_a.n[:, 0].tolist() == [[3, 1, 0], [0, 0, 1]]
    assert by_a.w[:, 0].tolist() == [[9, 2, 0], [0, 0, 4]]
    assert by_a.w2[:, 0].tolist() == [[35, 4, 0], [0, 0, 16]]
    by_b = on_grid(counts, [1], [2], 1)
    assert by_b.n[:, 0].tolist() == [[2, 0, 0], [0, 1, 0]]
    everyone = on_grid(counts, [], [], 1)
    assert everyone.n[:, 0].tolist() == [[3, 1, 1]]


def test_full_grid_has_every_cell_in_order_the_empty_ones_too(one_question: Any) -> None:
    full = on_grid(count(read_survey(one_question(("a", "b")), frame())), [0, 1], [2, 2], 1)
    assert full.levels.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert full.n[:, 0].sum(axis=-1).tolist() == [2, 1, 0, 0]
