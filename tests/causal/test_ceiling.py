"""Ceilings against exact sums over every possible small survey."""

from __future__ import annotations

from math import comb

import numpy as np

from causal.ceiling import perfect_alignment, perfect_distance, redraw


def _exact(p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and probabilities of the second of two options among n respondents."""
    k = np.arange(n + 1)
    return k / n, np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in k])


def test_alignment_of_two_options_is_the_binomial_mean_deviation() -> None:
    """With K=2, S = 100 (1 - |share - p|); n_eff of 11.6 is 12 respondents. The padded third option is never drawn."""
    p, options, n_eff = np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0]]), np.array([2, 2]), np.array([11.6, 30.0])
    expected = []
    for second, n in ((0.3, 12), (0.8, 30)):
        share, weight = _exact(second, n)
        expected.append(100 * (1 - (weight * np.abs(share - second)).sum()))
    np.testing.assert_allclose(perfect_alignment(p, options, n_eff, replicates=20_000), expected, atol=0.2)


def test_distance_of_two_options_by_enumeration() -> None:
    """Draws of both ends are independent; d_CDF = |share_b - share_a - truth| / 2."""
    (low, at_low), (high, at_high) = _exact(0.4, 15), _exact(0.5, 20)
    weight = at_low[:, None] * at_high[None, :]
    expected = (weight * np.abs(high[None, :] - low[:, None] - 0.1)).sum() / 2
    reference, treated, sizes = np.array([[0.6, 0.4]]), np.array([[0.5, 0.5]]), (np.array([15.0]), np.array([20.0]))
    found = perfect_distance(reference, treated, *sizes, np.array([2]), replicates=20_000)
    np.testing.assert_allclose(found, [expected], atol=0.002)


def test_seeds_repeat_and_differ() -> None:
    p, options, n = np.array([[0.2, 0.5, 0.3]]), np.array([3]), np.array([10.0])
    for found in (
        lambda seed: perfect_alignment(p, options, n, seed=seed),
        lambda seed: perfect_distance(p, p[:, ::-1], n, n, options, seed=seed),
    ):
        assert found(1) == found(1) != found(2)


def test_a_redrawn_cell_has_whole_respondents_and_at_least_one() -> None:
    p = np.tile([0.2, 0.5, 0.3], (500, 1))
    for n_eff, n in ((0.2, 1), (7.4, 7)):
        drawn = redraw(np.random.default_rng(0), p, np.full(500, n_eff)) * n
        np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-12)
        np.testing.assert_allclose(drawn.sum(axis=1), n)
        # four standard errors of the mean of 500 n respondents
        np.testing.assert_allclose(drawn.mean(axis=0) / n, [0.2, 0.5, 0.3], atol=4 * np.sqrt(0.25 / 500 / n))
