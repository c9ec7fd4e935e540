from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal.labelled import Labelled
from causal.presets.wvs7 import WVS7
from causal.scales import answer_codes, distinct_labels, looks_ordered, scale


def book(labels: dict[Any, str], ranges: list[tuple[Any, Any]] | None = None, column: str = "q") -> Labelled:
    return Labelled(pd.DataFrame(columns=[column]), {}, {column: labels}, {column: ranges} if ranges else {})


def test_codes_come_in_the_order_of_the_numbers_without_those_that_are_no_answer() -> None:
    labels = {3.0: "c", 1.0: " a\x00\n b ", 2.0: "", -1.0: "x", 8.0: "Can't choose", 9.0: "No answer", 7.0: "declared"}
    found = answer_codes(book(labels, [(7.0, 7.0)]), "q")
    assert list(found.items()) == [(1, "a b"), (2, ""), (3, "c")]
    assert list(answer_codes(book(labels, [(7.0, 7.0)]), "q", none=(2,))) == [1, 3]


@pytest.mark.parametrize(
    "label", ["Don't know", "DK", "Refused", "No answer", "NAP, other countries", "n/a", "Cannot choose"]
)
def test_labels_of_no_answer(label: str) -> None:
    assert list(answer_codes(book({1: "yes", 2: "no", 3: label}), "q")) == [1, 2]


@pytest.mark.parametrize("label", ["Napping", "Knows a lot", "No", "None at all", "Adkins"])
def test_labels_of_answers(label: str) -> None:
    assert list(answer_codes(book({1: "yes", 2: "no", 3: label}), "q")) == [1, 2, 3]


def test_statas_missing_letters_are_no_answer() -> None:
    assert list(answer_codes(book({1: "a", 2: "b", ".a": "c"}, [(".a", ".a")]), "q")) == [1, 2]


@pytest.mark.parametrize("labels", [{"a": "x", "b": "y"}, {1.5: "x", 2: "y"}])
def test_codes_that_are_no_whole_numbers_give_none(labels: dict[Any, str]) -> None:
    assert answer_codes(book(labels), "q") == {}


@pytest.mark.parametrize(
    ("labelled", "codes"),
    [
        ([1, 10], range(1, 11)),
        ([0, 10], range(11)),
        ([0, 5, 10], range(11)),
        ([1, 5], range(1, 6)),
        ([1, 4, 7], range(1, 8)),
        ([1, 4], [1, 4]),  # two options: too near to be the ends of a scale
        ([0, 1], [0, 1]),
        ([1, 2, 5], [1, 2, 5]),  # gaps, but not ends and middle
        ([1, 2, 3, 10], [1, 2, 3, 10]),
    ],
)
def test_a_scale_labelled_at_its_ends_has_its_middle_too(labelled: list[int], codes: range | list[int]) -> None:
    found = scale(book({code: f"label {code}" for code in labelled}), "q", WVS7)
    assert found is not None
    assert list(found.options) == list(codes)
    assert all(found.options[code] == (f"label {code}" if code in labelled else str(code)) for code in codes)


@pytest.mark.parametrize("labelled", [[], [1], [0, 11], [*range(12)], [1, 2, 566001]])
def test_what_is_no_scale(labelled: list[int]) -> None:
    assert scale(book({code: f"label {code}" for code in labelled}), "q", WVS7) is None


def test_missing_names_the_codes_that_the_preset_does_not_call_missing_everywhere() -> None:
    labels = {1: "yes", 2: "no", 8: "Don't know", 99: "No answer", -1: "Don't know", -7: "Refused"}
    found = scale(book(labels), "q", WVS7)
    assert found is not None
    assert found.missing == (-7, 8, 99)


def test_order_and_codes_off_the_scale_are_the_presets() -> None:
    compared = scale(book({1: "better", 2: "worse", 3: "same"}, column="Q56"), "Q56", WVS7)
    assert compared is not None
    assert list(compared.options.items()) == [(1, "better"), (3, "same"), (2, "worse")]
    essential = scale(book({code: str(code) for code in range(11)}, column="Q241"), "Q241", WVS7)
    assert essential is not None
    assert (list(essential.options), essential.missing) == (list(range(1, 11)), (0,))
    other = scale(book({1: "a", 2: "b"}, column="Q56"), "Q56", WVS7)
    assert other is not None
    assert list(other.options) == [1, 2]


def test_a_code_off_the_scale_is_missing_even_without_a_label() -> None:
    found = scale(book({1: "a", 2: "b"}, column="q"), "q", replace(WVS7, no_answer={"q": (3,)}))
    assert found is not None
    assert found.missing == (3,)


def test_labels_become_distinct_and_never_empty() -> None:
    assert distinct_labels({1: "a", 2: "a", 3: "", 4: "b"}) == {1: "a (1)", 2: "a (2)", 3: "3", 4: "b"}


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["Strongly agree", "Agree", "Neither agree nor disagree", "Disagree"], True),
        (["Very important", "Fairly important", "Not at all"], True),
        (["1, low end", "2", "3", "4, high end"], True),
        (["Kettle", "Lamp"], True),
        (["Kettle", "Lamp", "Spoon"], False),
        (["Health care", "Education", "Crime", "The environment", "Never mind"], False),
    ],
)
def test_order_is_seen_in_numbers_and_words_of_degree(labels: list[str], ordered: bool) -> None:
    assert looks_ordered(dict(enumerate(labels))) is ordered


@given(st.dictionaries(st.integers(-9, 14).map(float), st.text(max_size=6), max_size=14))
def test_whatever_the_labels_options_ascend_are_distinct_and_share_no_code_with_missing(labels: dict[Any, str]) -> None:
    found = scale(book(labels), "q", WVS7)
    if found is None:
        return
    codes = list(found.options)
    assert codes == sorted(set(codes))
    assert 2 <= len(codes) <= 11
    assert min(codes) >= 0
    assert max(codes) - min(codes) <= 10
    assert all(found.options.values())
    assert not set(codes) & set(found.missing)
    assert set(map(int, labels)) <= {*codes, *found.missing, *WVS7.missing}
