"""Ceilings against exact sums over every possible small survey."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from diagnostics.alignment import shift_correlation
from diagnostics.ceiling import mean_shift, perfect_cells, perfect_toggles, true_share
from diagnostics.classify import classify, indicators
from diagnostics.equity import Groups


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
    one = pd.DataFrame({"question": ["q", "q"]})
    groups = {
        ("all", "one each"): Groups.of(np.array([0, 1]), one),
        ("all", "together"): Groups.of(np.array([0, 0]), one),
    }
    none = perfect_cells(p, two, np.array([1.0, 1.0]), groups)
    assert none.ranges["all", "one each"]["error"] == 0
    assert np.isnan(none.ranges["all", "together"]["score"])
    some = perfect_cells(p, two, np.array([2.0, 2.0]), groups, replicates=20_000).ranges["all", "one each"]
    np.testing.assert_allclose([some["error"], some["score"]], [0.25, 25], rtol=0.03)


def test_the_true_share_of_a_shift_by_hand() -> None:
    """Shifts of .4 and .2 with variances of .03 and .02: sqrt(1 - .05 / .2)."""
    assert true_share(np.array([0.4, -0.2]), np.array([0.03, 0.02])) == pytest.approx(np.sqrt(0.75))
    assert true_share(np.array([0.1]), np.array([0.02])) == 0, "no more than noise"
    assert np.isnan(true_share(np.zeros(2), np.ones(2)))


@pytest.mark.parametrize(("spread", "n"), [(0.05, 30), (0.05, 100), (0.1, 30), (0.1, 100)])
def test_a_perfect_model_is_known_by_a_survey_alone(spread: float, n: int) -> None:
    """Two options, true shares around .5, one survey: what a model that knows the truth gets against that survey is
    foretold from the survey. Taking its shifts for true foretells half as many flipped ones where n is 30."""
    rng, toggles = np.random.default_rng(0), 4000
    tau = {30: 0.05, 100: 0.055}[n]  # half way between two shifts of such samples, so that no tie hangs on rounding
    low = np.clip(0.5 + rng.normal(0, spread / np.sqrt(2), toggles), 0, 1)
    high = np.clip(0.5 + rng.normal(0, spread / np.sqrt(2), toggles), 0, 1)
    seen_low, seen_high = rng.binomial(n, low) / n, rng.binomial(n, high) / n
    shift, truth = seen_high - seen_low, high - low
    noise = seen_low * (1 - seen_low) / (n - 1) + seen_high * (1 - seen_high) / (n - 1)
    share = true_share(shift, noise)
    assert share == pytest.approx(shift_correlation(truth, shift), abs=0.05)
    ends = [np.column_stack([1 - p, p]) for p in (seen_low, seen_high)]
    sizes, options = np.full(toggles, float(n)), np.full(toggles, 2)
    found = perfect_toggles(*ends, sizes, sizes, options, tau, np.full(toggles, share), replicates=20)
    really = indicators(classify(truth, shift, tau)).mean(axis=0)
    np.testing.assert_allclose(found.classes.mean(axis=0), really, atol=0.045)
    naive = perfect_toggles(*ends, sizes, sizes, options, tau, replicates=20).classes.mean(axis=0)
    if n == 30:
        assert np.abs(naive - really).max() > 0.07
