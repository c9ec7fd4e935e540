"""Ceilings against exact sums over every possible small survey."""

from __future__ import annotations

from math import comb

import numpy as np

from causal.ceiling import perfect_alignment
from diagnostics.ceiling import mean_shift, perfect_toggles


def _exact(p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and probabilities of the second of two options among n respondents."""
    k = np.arange(n + 1)
    return k / n, np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in k])


def test_alignment_ceiling_of_two_options_is_the_binomial_mean_deviation() -> None:
    """With K=2, S = 100 (1 - |share - p|); n_eff of 11.6 is 12 respondents. The padded third option is never drawn."""
    share, weight = _exact(0.3, 12)
    expected = 100 * (1 - (weight * np.abs(share - 0.3)).sum())
    found = perfect_alignment(np.array([[0.7, 0.3, 0.0]]), np.array([2]), np.array([11.6]), replicates=20_000)
    np.testing.assert_allclose(found, [expected], atol=0.2)


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
    found = perfect_alignment(p, np.array([3, 3]), np.array([10.0, 1000.0]), seed=4)
    assert found[0] < found[1] < 100
    np.testing.assert_array_equal(found, perfect_alignment(p, np.array([3, 3]), np.array([10.0, 1000.0]), seed=4))


def test_mean_shift_by_hand() -> None:
    """K=3: effect (-.2, 0, .2) moves the mean option by .4, which is .2 of the scale."""
    np.testing.assert_allclose(mean_shift(np.array([[-0.2, 0, 0.2]]), np.array([3])), [0.2])
