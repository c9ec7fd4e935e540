"""Overlap and balance: by hand where nothing is adjusted for, and on surveys with planted faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from causal.balance import Compared, compared
from causal.comparability import balance_check, hold_fixed, overlap_check
from causal.propensities import Propensities
from causal.study import Study
from causal.survey import Survey, read_survey

Maker = Callable[..., Study]


def people(share: float = 0.5, n: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = (rng.random(n) < share).astype(int)
    return pd.DataFrame({"a": a, "age": rng.normal(50, 10, n), "q": rng.integers(1, 4, n), "w": 1 + 9 * a})


def pairs_of(survey: Survey) -> list[Compared]:
    return list(compared(survey, Propensities(survey)))


def test_a_rare_level_dealt_at_random_is_no_lack_of_overlap(one_question: Maker) -> None:
    survey = read_survey(one_question(covariates={"age": {}}), people(share=0.03))
    (pair,) = pairs_of(survey)
    assert pair.propensity is not None
    assert pair.positivity is not None
    assert np.median(pair.propensity.raw) < 0.05
    np.testing.assert_allclose(np.median(pair.positivity.even), 0.5, atol=0.05)
    found = overlap_check(survey, [pair])
    assert found.verdict == "pass"
    assert found.statistic > 0.95


def test_even_odds_by_hand(one_question: Maker) -> None:
    """With nothing adjusted for the propensity is the weighted share, which at even odds is one half."""
    data = people(share=0.2)
    survey = read_survey(one_question(survey={"weight": "w"}), data)
    (pair,) = pairs_of(survey)
    share = np.average(data["a"], weights=data["w"])
    assert pair.propensity is not None
    assert pair.positivity is not None
    np.testing.assert_allclose(pair.propensity.raw, share, atol=0.01)
    np.testing.assert_allclose(pair.positivity.even, 0.5, atol=0.01)
    row = overlap_check(survey, [pair]).details[0]
    smaller = min((data["a"] == 0).sum(), (data["a"] == 1).sum())
    assert row["smaller_side"] == smaller
    assert row["smaller_side_effective"] == pytest.approx(smaller, rel=0.01)


def test_apart_levels_are_named_with_their_share(one_question: Maker) -> None:
    data = people()
    data["a"] = (data["age"] + np.random.default_rng(1).normal(0, 1, len(data)) > 50).astype(int)
    survey = read_survey(one_question(covariates={"age": {}}), data)
    found = overlap_check(survey, pairs_of(survey))
    # nearly all who are more than a few years from 50 are at one level only
    assert found.verdict == "fail"
    assert 0.1 < found.statistic < 0.4
    assert f"a l1 in X ({found.statistic:.0%}, mostly by age)" in found.meaning
    assert "smallest side" not in found.meaning  # the bound on propensities would make it look larger than it is
    assert "read these contrasts as associations" in found.advice


def test_adjacent_contrasts_are_compared_as_declared(one_question: Maker) -> None:
    levels = {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(3)}
    study = Study.from_dict(
        one_question().model_dump(exclude_none=True)
        | {"attributes": {"a": {"levels": levels, "contrasts": "adjacent"}}}
    )
    data = people().assign(a=np.arange(4000) % 4 % 3)
    pairs = pairs_of(read_survey(study, data))
    assert [(pair.reference, pair.treated) for pair in pairs] == [("l0", "l1"), ("l1", "l2")]
    sizes = data["a"].value_counts()
    assert [len(pair.people) for pair in pairs] == [sizes[0] + sizes[1], sizes[1] + sizes[2]]
    assert [pair.arm.sum() for pair in pairs] == [sizes[1], sizes[2]]


def test_the_smallest_side_is_that_of_a_comparison_that_overlaps(one_question: Maker) -> None:
    data = people(n=1200).assign(c=np.repeat(["X", "Y"], [900, 300]))
    there = data["c"] == "Y"
    data.loc[there, "a"] = (data.loc[there, "age"] > 50).astype(int)
    found = overlap_check(
        survey := read_survey(one_question(survey=IN_C, covariates={"age": {}}), data), pairs_of(survey)
    )
    rows = {row["country"]: row for row in found.details}
    assert rows["Y"]["smaller_side_effective"] < rows["X"]["smaller_side_effective"]
    assert f"counts for {rows['X']['smaller_side_effective']:.0f} of its" in found.meaning
    assert "(a l1 in X)" in found.meaning
    assert (rows["X"]["lacks"], rows["Y"]["lacks"], rows["Y"]["apart_by"]) == (False, True, "age")


IN_C = {"country": "c"}


def test_balance_says_what_is_apart_before_and_what_stays_apart(one_question: Maker) -> None:
    data, study = people(), one_question(covariates={"age": {}})
    calm = read_survey(study, data)
    found = balance_check(calm, pairs_of(calm))
    assert (found.verdict, found.advice) == ("pass", "Nothing to do.")
    assert "differ in other ways" not in found.meaning
    moved = read_survey(study, data.assign(age=data["age"] + 5 * data["a"]))
    found = balance_check(moved, pairs_of(moved))
    assert found.verdict == "pass"
    assert "differ in other ways too, most in age between levels of a (l1) in X" in found.meaning
    assert found.details[0]["before"] == pytest.approx(0.5, abs=0.08)  # five years of a standard deviation of ten
    assert "adjust for age with effects.estimator: [cell, aipw]" in found.advice
    assert "persona" not in found.advice  # no persona can hold an age
    far = read_survey(study, data.assign(age=data["age"] + 60 * data["a"]))
    found = balance_check(far, pairs_of(far))
    assert found.verdict == "fail"
    assert "1 difference of 0.1 or more is left" in found.meaning
    assert "see overlap" in found.advice


def test_the_worst_country_is_named_and_no_average_hides_it(one_question: Maker) -> None:
    data = people(n=6000).assign(c=np.repeat(["X", "Y", "Z"], 2000))
    data["age"] += 60 * data["a"] * (data["c"] == "Y")
    survey = read_survey(one_question(survey=IN_C, covariates={"age": {}}), data)
    found = balance_check(survey, pairs_of(survey))
    rows = {row["country"]: row for row in found.details}
    assert found.statistic == pytest.approx(rows["Y"]["after"], rel=1e-4)
    assert rows["Y"]["after"] > 1 > 0.2 > max(rows["X"]["after"], rows["Z"]["after"])
    named = f"age between levels of a (l1) in Y: {rows['Y']['after']:.2f} standard deviations "
    assert f"Weighted to be alike, they differ most in {named}({rows['Y']['before']:.2f} before)." in found.meaning
    first = f"most in age between levels of a (l1) in Y: {rows['Y']['before']:.2f} standard deviations."
    assert first in found.meaning


def test_chance_in_many_small_countries_is_no_imbalance(one_question: Maker) -> None:
    data = people(n=40 * 60, seed=2).assign(c=np.repeat([f"c{i}" for i in range(40)], 60))
    survey = read_survey(one_question(survey=IN_C, covariates={"age": {}}), data)
    found = balance_check(survey, pairs_of(survey))
    assert found.statistic > 0.25
    assert found.verdict == "pass"
    assert "Of so few people, chance alone leaves as much." in found.meaning


def test_what_goes_with_the_level_without_exception_is_apart(one_question: Maker) -> None:
    """Nobody varies within a level: a difference of 1 over the standard deviation of all, one half."""
    data = people(n=400).assign(a=np.arange(400) % 2)
    survey = read_survey(one_question(covariates={"z": {"kind": "category"}}), data.assign(z=data["a"]))
    row = balance_check(survey, pairs_of(survey)).details[0]
    assert (row["before"], row["after"]) == (pytest.approx(2), pytest.approx(2))


@pytest.mark.parametrize(
    ("estimator", "variables", "words"),
    [
        ("cell", ["b"], "leave b free mix in what it does: hold b in the persona, or adjust for b with"),
        (
            "cell",
            ["age", "b", "age"],
            "age and b free mix in what they do: hold b in the persona, or adjust for age and b",
        ),
        (["cell", "aipw"], ["age"], "does: read the rows of aipw, which adjust for age."),
    ],
)
def test_only_attributes_are_put_in_the_persona(
    one_question: Maker, estimator: object, variables: list[str], words: str
) -> None:
    study = one_question(("a", "b"), covariates={"age": {}}, effects={"estimator": estimator})
    assert words in hold_fixed(study, variables)


def test_the_rows_that_are_kept_have_the_worst_country_of_each(
    one_question: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest differences are of one variable; the other's worst country must not be lost to its better ones."""
    data = people(n=3000).assign(c=np.repeat(["X", "Y", "Z"], 1000))
    data = data.assign(u=np.random.default_rng(3).normal(size=3000), age=data["age"] + 20 * data["a"])
    survey = read_survey(one_question(survey=IN_C, covariates={"age": {}, "u": {}}), data)
    every = pd.DataFrame(balance_check(survey, pairs_of(survey)).details)
    monkeypatch.setattr("causal.check.MOST_ROWS", 2)
    kept = pd.DataFrame(balance_check(survey, pairs_of(survey)).details)
    assert sorted(kept["variable"]) == ["age", "u"]
    assert sorted(kept["after"]) == pytest.approx(sorted(every.groupby("variable")["after"].max()))
