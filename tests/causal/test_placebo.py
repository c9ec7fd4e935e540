"""Placebos and halves on surveys whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from causal.placebo import _alternate, halves, shuffled
from causal.placebochecks import control_check, halves_check, placebo_check
from causal.study import Study
from causal.survey import read_survey

Maker = Callable[..., Study]


def people(n: int = 1200, seed: int = 0, psus: int = 40) -> pd.DataFrame:
    """Everything moves the answers: the attributes, and the PSU by a lot."""
    rng = np.random.default_rng(seed)
    psu = rng.integers(0, psus, n)
    a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    home = rng.normal(0, 2, psus)[psu]
    a = np.where(rng.random(n) < 0.8, (home > 0).astype(int), a)
    latent = 1.5 * a + b + home + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "q": 1 + np.digitize(latent, [0, 1]), "psu": psu, "s": psu % 7})


def test_shuffled_levels_have_no_effect(one_question: Maker) -> None:
    study = one_question(("a", "b"), effects={"granularity": "all"})
    found = shuffled(read_survey(study, people()))
    assert found.toggles == 6
    assert found.times == 20
    assert found.value < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 120)  # every toggle of the survey itself is significant
    assert found.error == pytest.approx(np.sqrt(0.05 * 0.95 / 120), abs=0.02)
    assert found == shuffled(read_survey(study, people()))


def test_levels_are_shuffled_within_countries_only(one_question: Maker) -> None:
    """Between countries levels and answers go together completely; within them nothing is left."""
    data = people()
    country = np.arange(len(data)) % 2
    data = data.assign(c=country, a=country, q=1 + 2 * country)
    study = one_question(("a",), survey={"country": "c"}, effects={"support": 1})
    assert shuffled(read_survey(study, data)).toggles == 0


def test_halves_differ_by_what_the_standard_errors_say(one_question: Maker) -> None:
    alone = halves(read_survey(one_question(("a", "b")), people(seed=1)))
    assert abs(alone.value - 1) < max(4 * alone.error, 0.3)
    assert alone.same_sign == 1.0


@pytest.mark.parametrize("survey", [{"psu": "psu"}, {"psu": "psu", "strata": "s"}])
def test_clusters_stay_whole(one_question: Maker, survey: dict[str, str]) -> None:
    """An attribute of places: halved by respondents, shifts would vary far less than clustered standard errors say."""
    data = people(seed=2)
    data["a"] = data["psu"] % 2
    found = halves(read_survey(one_question(("a",), survey=survey), data))
    assert 0.5 < found.value < 1.8


@pytest.mark.parametrize(("psus", "toggles"), [(2, 0), (3, 0), (4, 2), (6, 2)])
def test_few_psus_do_not_crash(one_question: Maker, psus: int, toggles: int) -> None:
    study = one_question(("a", "b"), survey={"psu": "psu", "strata": "s"})
    data = people(psus=psus).assign(a=np.arange(1200) % 2, b=np.arange(1200) // 2 % 2)
    survey = read_survey(study, data)
    assert halves(survey).toggles == toggles
    assert len(halves_check(survey)) == (toggles > 0)
    assert np.isfinite(shuffled(survey).value)


@pytest.mark.parametrize("survey", [{}, {"strata": "s"}, {"psu": "psu"}])
def test_a_country_too_small_to_halve_leaves_the_others_alone(one_question: Maker, survey: dict[str, str]) -> None:
    study = one_question(("a", "b"), survey={"country": "c"} | survey)
    data = people(seed=3)
    small = data.head(3).assign(psu=[900, 900, 901], s=0)
    alone = halves(read_survey(study, data.assign(c="M")))
    with_small = pd.concat([small.assign(c="A"), data.assign(c="M"), small.assign(c="Z", psu=small["psu"] + 9)])
    assert halves(read_survey(study, with_small)) == alone


def test_each_country_is_halved() -> None:
    home = np.array([0, 2, 0, 2, 2, 0, 0, 2, 0])  # five units and four, a country without any
    for seed in range(20):
        half = _alternate(np.random.default_rng(seed), home)
        assert [abs(int(2 * half[home == country].sum()) - size) for country, size in ((0, 5), (2, 4))] == [1, 0]
    assert len({tuple(_alternate(np.random.default_rng(seed), home)) for seed in range(20)}) > 5


def test_checks_say_what_they_found(one_question: Maker) -> None:
    study = one_question(("a", "b"))
    (placebo,), (both,) = (check(read_survey(study, people())) for check in (placebo_check, halves_check))
    assert placebo.verdict == both.verdict == "pass"
    assert "of 4 toggles then have p < .05" in placebo.meaning
    assert "20 shuffles" in placebo.meaning
    assert "20 splits" in both.meaning
    assert "have the same sign in the other" in both.meaning
    few = read_survey(study, people(12))
    assert placebo_check(few) == halves_check(few) == []


@pytest.mark.parametrize(
    ("q_values", "verdict", "words"),
    [
        ([0.2] * 40, "pass", "None of 40 toggles does"),
        ([0.01] + [0.2] * 39, "warn", "1 of 40 toggles does (q < 0.05), most a in X, by a shift of +0.000"),
        ([0.01] * 3 + [0.2] * 37, "fail", "3 of 40 toggles do (q < 0.05), most a in X, by a shift of -0.200"),
    ],
)
def test_negative_controls(one_question: Maker, q_values: list[float], verdict: str, words: str) -> None:
    study = one_question(checks={"negative_controls": ["q"]})
    shift = [0.0, -0.2, 0.1, *[0.9] * 37]
    cells = pd.DataFrame(
        {"question": "q", "supported": True, "q_value": q_values, "attribute": "a", "country": "X", "shift": shift}
    )
    (found,) = control_check(study, cells)
    assert (found.verdict, found.statistic) == (verdict, pytest.approx(np.mean(np.array(q_values) < 0.05)))
    assert words in found.meaning
    assert control_check(study, cells.assign(supported=False)) == []
    assert control_check(one_question(), cells) == []
