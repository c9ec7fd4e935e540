"""Degrees of freedom of adjusted differences against those worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from causal.design import nest
from causal.domains import Domains
from causal.estimators.freedom import clustered_freedom


def freedom(
    psu: np.ndarray, arm: np.ndarray, values: np.ndarray, weight: np.ndarray | float = 1.0
) -> tuple[float, float]:
    people, group = np.arange(len(psu)), np.zeros(len(psu), dtype=int)
    domains = Domains.of(group, 1, people, group, nest(group, None, psu))
    n_eff = np.array([(arm == a).sum() for a in (0, 1)], dtype=float)[:, None, None]
    found = clustered_freedom(
        domains, values[:, None], arm, group, np.ones((len(psu), 1)) * np.reshape(weight, (-1, 1)), n_eff
    )
    assert found.limit == found.clustered
    return float(found.clustered[0, 0]), float(found.plain[0, 0])


def test_a_level_in_three_psus_has_two() -> None:
    """All the variance lies in the level that three of thirteen PSUs hold; alone its six people would have 5."""
    psu = np.repeat(np.arange(13), 2)
    arm = (psu < 3).astype(int)
    assert freedom(psu, arm, np.where(arm == 1, 1.0 - psu, 0.0)) == (2, 5)


def test_two_levels_with_equal_variances_by_welch() -> None:
    """Four PSUs at either level that add as much: Welch gives 3 + 3, and the design of eight PSUs would allow 7."""
    psu = np.repeat(np.arange(8), 2)
    arm = (psu < 4).astype(int)
    assert freedom(psu, arm, np.where(psu % 2 == 0, 1.0, -1.0))[0] == pytest.approx(6)


def test_a_luckily_small_variance_between_psus_counts_as_much_as_independent_people_would() -> None:
    """The two people of each PSU of level 1 cancel out, so its PSUs show no variance; alone they would have 6. The five
    PSUs of level 0 add 4 and four times -1, which sum to 0."""
    psu = np.repeat(np.arange(8), 2)
    arm, other = (psu < 3).astype(int), np.where(np.arange(16) % 2 == 0, 1.0, -1.0)
    values = np.where(arm == 1, other, np.where(psu == 3, 2.0, -0.5))
    low, high = 8 / 7 * (4.0**2 + 4 * 1.0**2), 6.0
    assert freedom(psu, arm, values)[0] == pytest.approx((low + high) ** 2 / (low**2 / 4 + high**2 / 2))


def test_psus_that_hold_both_levels_are_not_counted_twice() -> None:
    psu = np.repeat(np.arange(6), 2)
    arm = np.arange(12) % 2
    assert freedom(psu, arm, np.where(psu % 2 == 0, 1.0, -1.0))[0] == 5


def test_respondents_as_psus_have_as_many_with_clusters_as_without() -> None:
    arm = (np.arange(40) < 5).astype(int)
    values = np.where(np.arange(40) % 2 == 0, 1.0, -0.5)
    clustered, plain = freedom(np.arange(40), arm, values)
    assert clustered == pytest.approx(plain, rel=0.01)  # clusters' variance has the factor 40/39


def test_psus_count_by_the_weight_they_hold_of_a_level() -> None:
    """Three PSUs of weights 2, 2 and 8 hold all that varies: 12**2 / (4 + 4 + 64) = 2 of them, so one is left."""
    psu = np.repeat(np.arange(13), 2)
    arm = (psu < 3).astype(int)
    assert freedom(psu, arm, np.where(arm == 1, 1.0 - psu, 0.0), np.where(psu == 2, 4.0, 1.0))[0] == 1
