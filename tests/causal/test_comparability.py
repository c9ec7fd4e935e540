"""Overlap and balance: by hand where nothing is adjusted for, and on surveys with planted faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from causal.balance import compared
from causal.comparability import balance_check, overlap_check
from causal.study import Study
from causal.survey import read_survey

Maker = Callable[..., Study]


def people(share: float = 0.5, n: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = (rng.random(n) < share).astype(int)
    return pd.DataFrame({"a": a, "age": rng.normal(50, 10, n), "q": rng.integers(1, 4, n), "w": 1 + 9 * a})


def test_a_rare_level_dealt_at_random_is_no_lack_of_overlap(one_question: Maker) -> None:
    survey = read_survey(one_question(covariates={"age": {}}), people(share=0.03))
    (pair,) = compared(survey)
    assert pair.propensity is not None
    assert np.median(pair.propensity.raw) < 0.05
    np.testing.assert_allclose(np.median(pair.even), 0.5, atol=0.05)
    found = overlap_check(survey, [pair])
    assert found.verdict == "pass"
    assert found.statistic > 0.95


def test_even_odds_by_hand(one_question: Maker) -> None:
    """With nothing adjusted for the propensity is the weighted share, which at even odds is one half."""
    data = people(share=0.2)
    survey = read_survey(one_question(survey={"weight": "w"}), data)
    (pair,) = compared(survey)
    share = np.average(data["a"], weights=data["w"])
    assert pair.propensity is not None
    np.testing.assert_allclose(pair.propensity.raw, share, atol=0.01)
    np.testing.assert_allclose(pair.even, 0.5, atol=0.01)
    row = overlap_check(survey, [pair]).details[0]
    smaller = min((data["a"] == 0).sum(), (data["a"] == 1).sum())
    assert row["smaller_side"] == smaller
    assert row["smaller_side_effective"] == pytest.approx(smaller, rel=0.01)


def test_apart_levels_are_named_with_their_share(one_question: Maker) -> None:
    data = people()
    data["a"] = (data["age"] + np.random.default_rng(1).normal(0, 1, len(data)) > 50).astype(int)
    survey = read_survey(one_question(covariates={"age": {}}), data)
    found = overlap_check(survey, list(compared(survey)))
    # nearly all who are more than a few years from 50 are at one level only
    assert found.verdict == "fail"
    assert 0.1 < found.statistic < 0.4
    assert f"a l1 in X ({found.statistic:.0%})" in found.meaning
    assert "read it as an association" in found.advice


def test_adjacent_contrasts_are_compared_as_declared(one_question: Maker) -> None:
    levels = {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(3)}
    study = Study.from_dict(
        one_question().model_dump(exclude_none=True)
        | {"attributes": {"a": {"levels": levels, "contrasts": "adjacent"}}}
    )
    data = people().assign(a=np.arange(4000) % 4 % 3)
    pairs = list(compared(read_survey(study, data)))
    assert [(pair.reference, pair.treated) for pair in pairs] == [("l0", "l1"), ("l1", "l2")]
    sizes = data["a"].value_counts()
    assert [len(pair.people) for pair in pairs] == [sizes[0] + sizes[1], sizes[1] + sizes[2]]
    assert [pair.arm.sum() for pair in pairs] == [sizes[1], sizes[2]]


def test_balance_says_what_is_apart_before_and_what_stays_apart(one_question: Maker) -> None:
    data, study = people(), one_question(covariates={"age": {}})
    calm = read_survey(study, data)
    found = balance_check(calm, list(compared(calm)))
    assert (found.verdict, found.advice) == ("pass", "Nothing to do.")
    assert "differ in other ways" not in found.meaning
    moved = read_survey(study, data.assign(age=data["age"] + 5 * data["a"]))
    found = balance_check(moved, list(compared(moved)))
    assert found.verdict == "pass"
    assert "age between levels of a (l1)" in found.meaning
    assert found.details[0]["before"] == pytest.approx(0.5, abs=0.08)  # five years of a standard deviation of ten
    assert "or use effects.estimator: [cell, aipw]" in found.advice
    far = read_survey(study, data.assign(age=data["age"] + 60 * data["a"]))
    found = balance_check(far, list(compared(far)))
    assert found.verdict == "fail"
    assert "(l1) (" in found.meaning
    assert "remains apart" in found.meaning
    assert "see overlap" in found.advice
