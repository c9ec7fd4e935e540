from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal.encoding import MISSING, as_number, level_indices, rows_by_code
from causal.sections import Attribute

AGES = {"young": [None, 35], "middle": [35, 60], "old": [60, None]}


def attribute(ranges: dict[str, Any] | None = None, **keys: Any) -> Attribute:
    levels = {name: {"range": span, "persona": name} for name, span in (ranges or AGES).items()}
    return Attribute.model_validate({"levels": levels} | keys)


def encoded(values: list[Any], binned: Attribute, everywhere: set[str] | None = None) -> tuple[list[int], list[str]]:
    problems: list[str] = []
    found = level_indices(pd.Series(values, name="age"), "age", binned, everywhere or set(), problems)
    return found.tolist(), problems


def test_low_ends_are_inside_and_high_ends_outside() -> None:
    assert encoded([34, 34.999, 35, 59, 59.5, 60, 99, -3], attribute()) == ([0, 0, 1, 1, 1, 2, 2, 0], [])


def test_numbers_count_however_they_are_stored() -> None:
    assert encoded(["34", "35.0", " 60 ", 34.0, np.int8(35), np.nan, None, ""], attribute())[0] == [
        *(0, 1, 2, 0, 1),
        *([MISSING] * 3),
    ]


def test_missing_codes_are_taken_out_before_binning() -> None:
    binned = attribute(missing=[998, "dk"])
    assert encoded([20, 998, "998.0", "dk", -1, 70], binned, {"-1"}) == ([0, -1, -1, -1, -1, 2], [])


def test_a_number_in_no_range_and_what_is_no_number_are_problems() -> None:
    found, problems = encoded([20, 40, 40, 41, "old", "1_0", "inf", 70], attribute({"a": [None, 35], "b": [60, 80]}))
    assert found == [0, -1, -1, -1, -1, -1, -1, 1]
    assert problems[0].startswith(
        "  attribute age (column age): 3 rows hold a value that is no number and not missing: old (1 rows), 1_0 (1"
    )
    assert problems[1].startswith(
        "  attribute age (column age): 3 rows hold a value that is in no level's range and not missing: "
        "40 (2 rows), 41 (1 rows). Widen the ranges"
    )


def test_a_high_end_is_in_no_range() -> None:
    assert len(encoded([20, 80], attribute({"a": [None, 35], "b": [60, 80]}))[1]) == 1


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_ranges_are_pandas_half_open_intervals(values: list[float], cuts: list[float]) -> None:
    ends = [None, *cuts, None]
    ranges = {f"l{i}": [low, high] for i, (low, high) in enumerate(pairwise(ends))}
    expected = pd.cut(values, [-np.inf, *cuts, np.inf], right=False, labels=False)
    assert encoded(values, attribute(ranges)) == (expected.tolist(), [])


def test_order_of_levels_is_the_studys_not_the_numbers() -> None:
    assert encoded([20, 70], attribute({"old": [60, None], "young": [None, 60]}))[0] == [1, 0]


def test_a_levels_own_code_is_kept_though_it_is_missing_everywhere() -> None:
    levels = {"no": {"codes": [0], "persona": "no"}, "unsure": {"codes": [8], "persona": "unsure"}}
    coded = Attribute.model_validate({"levels": levels})
    assert encoded([0, 8, 9], coded, {"8", "9"}) == ([0, 1, -1], [])


def test_contrasts_are_with_the_first_level_or_the_one_before() -> None:
    assert attribute().pairs == ((0, 1), (0, 2))
    assert attribute(contrasts="adjacent").pairs == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    "ranges",
    [
        {"a": [0, 10], "b": [9, 20]},
        {"a": [None, None], "b": [9, 20]},
        {"a": [5, 6], "b": [0, 10]},
        {"a": [0, 10], "b": [0, 10]},
        {"a": [10, 0], "b": [20, 30]},
    ],
)
def test_ranges_that_overlap_or_hold_nothing_are_refused(ranges: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"overlap; a number belongs to one level|holds nothing"):
        attribute(ranges)


def test_rows_by_code_join_what_is_one_code() -> None:
    assert rows_by_code(pd.Series([8, "8", 8.0, None, "", "dk"], dtype=object)) == {"8": 3, "": 2, "dk": 1}


@pytest.mark.parametrize("key", ["nan", "inf", "-inf", "1_0", "one", "", "1,5", "0x10"])
def test_what_is_no_number(key: str) -> None:
    assert np.isnan(as_number(key))
