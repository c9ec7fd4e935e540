"""Ceilings against exact sums over every possible small survey."""

from __future__ import annotations

from math import comb

import numpy as np

from diagnostics.alignment import shift_correlation
from diagnostics.ceiling import mean_shift, perfect_cells, perfect_correlation, perfect_toggles


def _exact(p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and probabilities of the second of two options among n respondents."""
    k = np.arange(n + 1)
    return k / n, np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in k])


def test_alignment_ceiling_of_two_options_is_the_binomial_mean_deviation() -> None:
    """With K=2, S = 100 (1 - |share - p|); n_eff of 11.6 is 12 respondents. The padded third option is never drawn."""
    share, weight = _exact(0.3, 12)
    expected = 100 * (1 - (weight * np.abs(share - 0.3)).sum())
    found = perfect_cells(np.array([[0.7, 0.3, 0.0]]), np.array([2]), np.array([11.6]), replicates=20_000)
    np.testing.assert_allclose(found.score, [expected], atol=0.2)
    hit = weight[share < 0.5].sum() + weight[share == 0.5].sum()
    np.testing.assert_allclose(found.modal, [hit], atol=0.01)
    np.testing.assert_allclose(found.error, [(weight * np.abs(share - 0.3)).sum()], atol=0.002)


def test_toggle_ceilings_of_two_options_by_enumeration() -> None:
    """Draws of both ends are independent; shift = share_b - share_a; d_CDF = |shift - truth| / 2."""
    (low, at_low), (high, at_high) = _exact(0.4, 15), _exact(0.5, 20)
    shift = high[None, :] - low[:, None]
    weight = at_low[:, None] * at_high[None, :]
    error = np.abs(shift - 0.1)
    tau = 0.0523  # clear of every possible shift, so that no tie hangs on rounding
    aligned = error <= tau
    flipped = ~aligned & (shift < 0)
    stereotyped = ~aligned & ~flipped & (np.abs(shift) < 0.1)
    expected = [(weight * part).sum() for part in (aligned, ~aligned & ~flipped & ~stereotyped, stereotyped, flipped)]
    found = perfect_toggles(
        np.array([[0.6, 0.4]]),
        np.array([[0.5, 0.5]]),
        np.array([15.0]),
        np.array([20.0]),
        np.array([2]),
        tau,
        replicates=20_000,
    )
    np.testing.assert_allclose(found.distance, [(weight * error).sum() / 2], atol=0.002)
    np.testing.assert_allclose(found.classes[0], expected, atol=0.012)


def test_larger_surveys_have_higher_ceilings_and_seeds_repeat() -> None:
    p = np.tile([0.2, 0.5, 0.3], (2, 1))
    found = perfect_cells(p, np.array([3, 3]), np.array([10.0, 1000.0]), seed=4).score
    assert found[0] < found[1] < 100
    np.testing.assert_array_equal(found, perfect_cells(p, np.array([3, 3]), np.array([10.0, 1000.0]), seed=4).score)


def test_mean_shift_by_hand() -> None:
    """K=3: effect (-.2, 0, .2) moves the mean option by .4, which is .2 of the scale."""
    np.testing.assert_allclose(mean_shift(np.array([[-0.2, 0, 0.2]]), np.array([3])), [0.2])


def test_the_range_of_a_perfect_model_is_that_of_noise() -> None:
    """Two groups of one cell each, K=2, p=.5, n=1: a share is 0 or 1, so the error is always .5 and the range 0. With
    n=2 a share is 0, .5 or 1 with 1/4, 1/2, 1/4: errors .5 or 0 with 1/2 each, so they differ half of the time."""
    p, two = np.full((2, 2), 0.5), np.array([2, 2])
    groups = {("all", "one each"): np.array([0, 1]), ("all", "together"): np.array([0, 0])}
    none = perfect_cells(p, two, np.array([1.0, 1.0]), groups)
    assert none.ranges["all", "one each"]["error"] == 0
    assert np.isnan(none.ranges["all", "together"]["score"])
    some = perfect_cells(p, two, np.array([2.0, 2.0]), groups, replicates=20_000).ranges["all", "one each"]
    np.testing.assert_allclose([some["error"], some["score"]], [0.25, 25], rtol=0.03)


def test_correlation_of_a_perfect_model() -> None:
    """K=2: shift .4, variances .25/10 and .09/20; sqrt(.16 / (.16 + .0295)). A simulation of many agrees."""
    one = perfect_toggles(
        np.array([[0.5, 0.5, 0.0]]),
        np.array([[0.1, 0.9, 0.0]]),
        np.array([10.0]),
        np.array([20.2]),
        np.array([2]),
        0.05,
    )
    np.testing.assert_allclose((one.shift, one.noise), ([0.4], [0.0295]))
    assert perfect_correlation(one.shift, one.noise) == np.sqrt(0.16 / 0.1895)
    assert np.isnan(perfect_correlation(np.zeros(2), np.ones(2)))
    rng = np.random.default_rng(0)
    low, high = rng.dirichlet([2, 2, 2], 4000), rng.dirichlet([2, 2, 2], 4000)
    n, options = np.full(4000, 15.0), np.full(4000, 3)
    many = perfect_toggles(low, high, n, n, options, 0.05, replicates=1)
    drawn = [rng.multinomial(15, p) / 15 for p in (low, high)]
    found = shift_correlation(many.shift, mean_shift(drawn[1] - drawn[0], options))
    assert abs(perfect_correlation(many.shift, many.noise) - found) < 0.01
