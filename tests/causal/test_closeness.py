"""Scores worked by hand."""

from __future__ import annotations

import numpy as np

from causal.closeness import alignment_score, effect_distance


def test_alignment_score_by_hand() -> None:
    """K=3. Opposite ends: W1 = |1| + |1| = 2, S = 0. Half moved one option: W1 = .5, S = 100 (1 - .5/2) = 75."""
    model = np.array([[1, 0, 0], [1, 0, 0], [0.2, 0.3, 0.5]])
    survey = np.array([[0, 0, 1], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(alignment_score(model, survey, np.array([3, 3, 3])), [0, 75, 100], atol=1e-12)


def test_alignment_score_of_a_shorter_question_ignores_the_padding() -> None:
    """K=2 padded to 4: moving .3 one option is W1 = .3, S = 70."""
    model, survey = np.array([[0.6, 0.4, 0, 0]]), np.array([[0.9, 0.1, 0, 0]])
    np.testing.assert_allclose(alignment_score(model, survey, np.array([2])), [70])


def test_effect_distance_by_hand() -> None:
    """K=3. Model effect (-.2, 0, .2): CDF shift (-.2, -.2, 0). Survey (.1, -.1, 0): (.1, 0, 0).
    Differences .3, .2, 0: mean over the three levels .5/3."""
    found = effect_distance(np.array([[-0.2, 0, 0.2]]), np.array([[0.1, -0.1, 0]]), np.array([3]))
    np.testing.assert_allclose(found, [0.5 / 3])


def test_effect_distance_uses_each_question_s_own_k() -> None:
    """K=2 padded to 3: CDF shifts .3 and .1 on the first level, 0 on the second: .2/2."""
    found = effect_distance(np.array([[0.3, -0.3, 0]]), np.array([[0.1, -0.1, 0]]), np.array([2]))
    np.testing.assert_allclose(found, [0.1])
