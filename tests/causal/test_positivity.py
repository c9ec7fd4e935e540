"""The rule for overlap: by hand, in small countries, and in contexts that hold what decides the attribute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from causal.adjustment import Comparison, adjustment
from causal.positivity import Positivity, kinds, most_apart, positivity
from causal.propensities import Propensities
from causal.study import Study
from causal.survey import Survey, read_survey

Maker = Callable[..., Study]


def survey_of(one_question: Maker, data: pd.DataFrame, **sections: object) -> Survey:
    plain = {"covariates": {"z": {"kind": "category"}}} | sections
    return read_survey(one_question(**plain), data.assign(q=np.arange(len(data)) % 3 + 1))


def comparison(survey: Survey) -> Comparison:
    chosen, arm = adjustment(survey.study, "a", ()), survey.levels[:, 0].astype(np.int8)
    return Comparison(0, chosen, "l0", "l1", np.arange(len(arm)), arm, ())


def judged(survey: Survey, raw: np.ndarray | None = None, group: np.ndarray | None = None) -> Positivity:
    one = comparison(survey)
    own = np.zeros(len(one.people), dtype=np.int64) if group is None else group
    chances = np.full(len(own), one.arm.mean()) if raw is None else raw
    return positivity(survey, one, chances, own, int(own.max()) + 1)


def test_propensities_at_even_odds_by_hand(one_question: Maker) -> None:
    """Twenty of eighty treated: odds of 4 to 1 against, which even odds multiply by 4."""
    data = pd.DataFrame({"a": [1] * 20 + [0] * 80, "z": 0})
    found = judged(survey_of(one_question, data), np.linspace(0.005, 0.9, 100))
    raw = np.linspace(0.005, 0.9, 100)
    np.testing.assert_allclose(found.even, 4 * raw / (4 * raw + 1 - raw))
    np.testing.assert_array_equal(found.common, (found.even >= 0.05) & (found.even <= 0.95))
    assert found.share[0] == pytest.approx(found.common.mean())


@pytest.mark.parametrize(("alone", "common"), [(8, 1.0), (10, 0.9)])
def test_a_kind_found_at_one_level_only_by_hand(one_question: Maker, alone: int, common: float) -> None:
    """Of 50 at each level, 10 of a kind at one only: .5 / (.5 + 10.5) = .045 with half a person added; 8: .056."""
    kind = [1] * alone + [0] * (50 - alone) + [0] * 50
    data = pd.DataFrame({"a": [1] * 50 + [0] * 50, "z": kind})
    assert judged(survey_of(one_question, data)).share[0] == pytest.approx(common)


def test_what_decides_the_attribute_in_a_small_country_is_seen(one_question: Maker) -> None:
    """A penalised logistic regression of 60 people alone would not say so."""
    a = np.arange(60) % 2
    survey = survey_of(one_question, pd.DataFrame({"a": a, "z": a}))
    ready = Propensities(survey).of(comparison(survey))
    assert ready is not None
    assert 0.05 < ready.propensity.raw.min() < ready.propensity.raw.max() < 0.95
    found = judged(survey, ready.propensity.raw)
    assert (found.share[0], found.lacks[0]) == (0, True)
    assert not judged(survey_of(one_question, pd.DataFrame({"a": a, "z": np.arange(60) // 30}))).lacks[0]


def test_a_number_is_looked_at_by_fifths(one_question: Maker) -> None:
    number = {"covariates": {"z": {}}}
    data = pd.DataFrame({"a": np.r_[np.tile([0, 1], 80), np.ones(40, int)], "z": np.arange(200.0)})
    survey = survey_of(one_question, data, **number)
    np.testing.assert_array_equal(np.bincount(kinds(survey, "z", np.arange(200))), [40] * 5)
    found = judged(survey)
    np.testing.assert_array_equal(found.common, np.arange(200) < 160)
    few = survey_of(one_question, data.assign(z=np.arange(200) % 4 * 1.5), **number)
    np.testing.assert_array_equal(kinds(few, "z", np.arange(200)), np.arange(200) % 4)


def test_people_count_by_their_weights(one_question: Maker) -> None:
    data = pd.DataFrame({"a": [1] * 60 + [0] * 40, "z": [1] * 20 + [0] * 80, "w": [4.0] * 20 + [1.0] * 80})
    survey = survey_of(one_question, data, survey={"weight": "w"})
    assert judged(survey).share[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("apart", "lacks"), [(0, False), (15, False), (16, True), (30, True)])
def test_chance_is_allowed_for(one_question: Maker, apart: int, lacks: bool) -> None:
    """Wilson's 95% interval of 85 in 100 ends at .907, of 84 at .899 (statsmodels' ``proportion_confint``)."""
    raw = np.where(np.arange(100) < apart, 0.01, 0.5)
    data = pd.DataFrame({"a": np.arange(100) % 2, "z": 0})
    found = judged(survey_of(one_question, data), raw)
    assert found.share[0] == pytest.approx(1 - apart / 100)
    assert found.lacks[0] == lacks


def test_a_context_that_holds_what_decides_lacks_nothing(one_question: Maker) -> None:
    """One half of the country all but decides a; within either half everybody is alike, however rare a level."""
    half = np.repeat([0, 1], 500)
    a = np.where(half == 1, np.arange(1000) % 25 == 0, np.arange(1000) % 25 != 0).astype(int)
    survey = survey_of(one_question, pd.DataFrame({"a": a, "z": half}))
    raw = np.where(half == 1, 0.04, 0.96)
    assert judged(survey, raw).lacks[0]
    within = judged(survey, raw, half)
    np.testing.assert_allclose(within.share, 1)
    assert not within.lacks.any()


def test_a_large_psu_does_not_look_like_people_unlike_the_others(one_question: Maker) -> None:
    """Most of the level lives in one PSU, so that all other folds are fitted to far too many of it."""
    sizes = [300, 2, 2, 2, *[20] * 15]
    psu = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": (psu < 4).astype(int), "c": psu, "z": rng.integers(0, 3, len(psu))})
    survey = survey_of(one_question, data, survey={"psu": "c"})
    ready = Propensities(survey).of(comparison(survey))
    assert ready is not None
    found = judged(survey, ready.propensity.raw)
    assert found.common.all()
    assert not found.lacks[0]


def test_people_unlike_each_other_are_seen_where_psus_are_large(one_question: Maker) -> None:
    """Two PSUs at either level, and six numbers whose mean separates the levels: a model that left out a whole PSU
    would learn from the other ones who is at which level, and no one number tells."""
    sizes = [600, 20, 400, 20]
    psu, rng = np.repeat(np.arange(4), sizes), np.random.default_rng(0)
    a = (psu < 2).astype(int)
    u = rng.normal(size=(len(a), 6))
    x = u - u.mean(axis=1, keepdims=True) + np.where(a == 1, 0.7, -0.7)[:, None] + rng.normal(0, 0.1, (len(a), 1))
    names = [f"x{i}" for i in range(6)]
    data = pd.DataFrame(x, columns=names).assign(a=a, c=psu, z=0)
    survey = survey_of(one_question, data, survey={"psu": "c"}, covariates={name: {"kind": "number"} for name in names})
    ready = Propensities(survey).of(comparison(survey))
    assert ready is not None
    assert judged(survey, ready.propensity.raw).lacks[0]


def test_what_differs_most_is_named(one_question: Maker) -> None:
    rng = np.random.default_rng(0)
    a = np.arange(400) % 2
    data = pd.DataFrame(
        {"a": a, "z": rng.integers(0, 3, 400), "u": np.where(a == 1, 50 + rng.choice([-30, 30], 400), 50)}
    )
    survey = survey_of(one_question, data, covariates={"z": {"kind": "category"}, "u": {}})
    one = comparison(survey)
    everybody = np.ones(400, dtype=bool)
    assert most_apart(survey, one, everybody) == "u"  # its means are the same
    assert (
        most_apart(
            survey_of(
                one_question, data.assign(z=a, u=a * (data["z"] == 1)), covariates={"z": {"kind": "category"}, "u": {}}
            ),
            one,
            everybody,
        )
        == "z"
    )


def test_where_nothing_is_adjusted_for_nobody_lacks_their_like(one_question: Maker) -> None:
    """Propensities may be far apart all the same: cross-fitting over two PSUs of 100 and 2 people makes them so."""
    data = pd.DataFrame({"a": [1] * 102 + [0] * 100})
    raw = np.where(np.arange(202) < 100, 0.01, 0.5)
    assert not judged(survey_of(one_question, data, covariates={}), raw).lacks[0]
    assert judged(survey_of(one_question, data.assign(z=0)), raw).lacks[0]
