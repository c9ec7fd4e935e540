from __future__ import annotations

import numpy as np
import pytest

from causal.design import nest

COUNTRY = np.array([0, 0, 0, 0, 1, 1, 1])


def test_ids_are_nested_in_country_and_stratum() -> None:
    strata = np.array([0, 0, 1, 1, 0, 0, 0])
    psu = np.array([5, 6, 5, 5, 5, 6, 6])  # 5 occurs in three strata: three PSUs
    design = nest(COUNTRY, strata, psu)
    assert design.psu.tolist() == [0, 1, 2, 2, 3, 4, 4]
    assert design.stratum.tolist() == [0, 0, 1, 2, 2]
    assert design.country.tolist() == [0, 0, 0, 1, 1]
    assert design.strata_sizes.tolist() == [2, 1, 2]
    assert design.lonely == 1


def test_without_strata_each_country_is_one_stratum() -> None:
    design = nest(COUNTRY, None, np.array([1, 1, 2, 3, 1, 2, 2]))
    assert design.stratum.tolist() == [0, 0, 0, 1, 1]
    assert design.lonely == 0


def test_without_psus_every_respondent_is_one() -> None:
    design = nest(COUNTRY, np.array([0, 1, 0, 1, 0, 0, 0]), None)
    assert sorted(design.psu.tolist()) == list(range(7))
    assert design.stratum[design.psu].tolist() == [0, 1, 0, 1, 2, 2, 2]
    assert design.country[design.psu].tolist() == COUNTRY.tolist()


@pytest.mark.parametrize(
    ("strata", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 0], [4 - 1, 3 - 1]),
        ([0, 0, 1, 1, 0, 0, 1], [4 - 2, 3 - 1]),  # the second country's lonely stratum is not centred
        ([0, 1, 2, 3, 0, 1, 2], [3, 2]),  # all lonely: centred once, at the mean of all
    ],
)
def test_degrees_of_freedom_are_psus_less_the_strata_that_are_centred(strata: list[int], expected: list[int]) -> None:
    assert nest(COUNTRY, np.array(strata), None).degrees_of_freedom.tolist() == expected
