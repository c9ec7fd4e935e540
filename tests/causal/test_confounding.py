"""What is said about unmeasured confounding and about leaving covariates out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.adjustment import Adjustment
from causal.confounding import left_out_check, sensitivity_check
from causal.graph import CausalGraph
from causal.regressions import Regression
from causal.sensitivity import robustness_value, times_as_strong
from causal.study import Study
from causal.survey import Survey, read_survey

GRAPH = CausalGraph.from_edges(["sex", "age"], [("age", "sex")], [])


def fit(**changes: Any) -> Regression:
    """One attribute on two questions, adjusted for age; 400 degrees of freedom."""
    parts: dict[str, Any] = {
        "adjustment": Adjustment("sex", (), ("age",)),
        "reference": "male",
        "treated": "female",
        "lacking": (),
        "overlaps": True,
        "estimate": np.array([0.1, 0.2]),
        "partial_r2": np.array([0.03, 0.2]),
        "dof": np.array([400.0, 400.0]),
        "deviation": np.array([0.3, 0.3]),
        "with_attribute": np.array([0.05]),
        "with_answer": np.array([[0.05, 0.05]]),
        "left_out": np.array([[0.105, 0.215]]),
    }
    return Regression(**(parts | changes))


def test_rows_by_hand_and_the_most_fragile_is_named() -> None:
    (found,) = sensitivity_check([fit()], ["q1", "q2"], GRAPH)
    rows = {row["question"]: row for row in found.details}
    f = np.sqrt(0.03 / 0.97)
    assert rows["q1"]["robustness"] == pytest.approx((np.sqrt(f**4 + 4 * f**2) - f**2) / 2, rel=1e-4)
    assert rows["q1"]["robustness_alpha"] == pytest.approx(float(robustness_value(f * 20, 400, alpha=0.05)), rel=1e-4)
    ratio = np.exp(0.91 * 0.1 / 0.3)
    assert rows["q1"]["e_value"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)), rel=1e-4)
    times = times_as_strong(0.05, 0.05, f)
    assert times > 1
    assert f"The most fragile, sex on q1, needs a confounder {times:.1f} times as strong" in found.meaning
    assert "(age)" in found.meaning
    assert found.meaning.startswith("2 of 2 effects")
    assert [row["question"] for row in found.details] == ["q2", "q1"]
    assert (found.verdict, found.statistic) == ("pass", 0)


def test_what_a_measured_covariate_could_explain_away_warns() -> None:
    strong = fit(with_attribute=np.array([0.3]), with_answer=np.array([[0.3, 0.01]]))
    (found,) = sensitivity_check([strong], ["q1", "q2"], GRAPH)
    assert (found.verdict, found.statistic) == ("warn", 0.5)
    assert "1 effect would be explained away by a confounder no stronger than the strongest thing" in found.meaning
    assert "was not measured" in found.advice


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partial_r2": np.array([1e-6, 1e-6])}, "0 of 2 effects"),
        ({"partial_r2": np.array([1e-6, 1e-6])}, "nothing that a confounder would have to explain away"),
        ({"with_attribute": np.array([0.0])}, "No confounder however many times as strong"),
        ({"estimate": np.array([0.1, np.nan])}, "1 of 1 effect "),
    ],
)
def test_nothing_to_say_is_said_in_words(changes: dict[str, Any], words: str) -> None:
    (found,) = sensitivity_check([fit(**changes)], ["q1", "q2"], GRAPH)
    assert words in found.meaning
    assert found.verdict == "pass"
    assert "inf" not in found.meaning
    assert "nan" not in found.meaning


def test_values_of_what_is_not_identified_are_said_to_be_about_associations() -> None:
    hidden = CausalGraph.from_edges(["sex", "age"], [("u", "sex"), ("u", "answer")], ["u"])
    (found,) = sensitivity_check([fit()], ["q1", "q2"], hidden)
    assert found.verdict == "warn"
    assert found.meaning.startswith("Of sex no effect is identified")
    assert "2 of 2 associations" in found.meaning
    assert "about associations: they do not say that there is an effect" in found.meaning
    assert "effects (one" not in found.meaning
    assert found.advice.startswith("First identify")
    assert {row["estimand"] for row in found.details} == {"not_identified"}


def test_what_lacks_overlap_is_left_out_or_an_association() -> None:
    (found,) = sensitivity_check([fit(lacking=("Borduria",))], ["q1", "q2"], GRAPH)
    assert found.meaning.endswith("Left out for lack of overlap: sex female in Borduria.")
    assert found.meaning.startswith("2 of 2 effects")
    (found,) = sensitivity_check([fit(overlaps=False)], ["q1", "q2"], GRAPH)
    assert found.verdict == "warn"
    assert found.meaning.startswith("Of sex no effect is identified")
    assert {row["estimand"] for row in found.details} == {"not_identified"}


def test_without_a_single_regression_there_is_no_check(one_question: Callable[..., Study]) -> None:
    unknown = np.array([np.nan, np.nan])
    nothing = {"estimate": unknown, "partial_r2": unknown, "dof": unknown, "left_out": unknown[None]}
    none = fit(adjustment=Adjustment("a", (), ("age",)), **nothing)
    survey = survey_of(one_question, [])
    assert sensitivity_check([none], ["q1", "q2"], survey.study.causal_graph) == left_out_check(survey, [none]) == []


EDGES = {"needed": [["age", "a"]], "not needed": []}


def survey_of(one_question: Callable[..., Study], edges: list[list[str]], estimator: object = "cell") -> Survey:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": np.arange(400) % 2, "b": np.arange(400) // 2 % 2, "age": rng.normal(50, 9, 400)})
    study = one_question(("a", "b"), covariates={"age": {}}, graph={"edges": edges}, effects={"estimator": estimator})
    return read_survey(study, data.assign(q=rng.integers(1, 4, 400)))


def moved(
    age: tuple[float, float] = (0.09, 0.22), b: tuple[float, float] = (0.101, 0.2), share: float = 0.1
) -> Regression:
    return fit(
        adjustment=Adjustment("a", ("b",), ("age",)),
        left_out=np.array([b, age]),
        with_attribute=np.array([share, share]),
    )


def test_what_adjusting_does_is_told_and_is_no_fault(one_question: Callable[..., Study]) -> None:
    (found,) = left_out_check(survey_of(one_question, EDGES["needed"]), [moved()])
    assert found.verdict == "pass"
    assert found.statistic == pytest.approx(0.015)
    assert "age matters most: without it the effects of a (female) move by 0.015 on average" in found.meaning
    assert "their mean size goes from 0.150 to 0.155" in found.meaning
    assert "That is what adjusting is for." in found.meaning
    assert "adjust for age with effects.estimator: [cell, aipw]" in found.advice
    assert "persona" not in found.advice
    assert [row["left_out"] for row in found.details] == ["age", "b"]
    (asked,) = left_out_check(survey_of(one_question, EDGES["needed"], ["cell", "aipw"]), [moved()])
    assert asked.advice == "Nothing to do."


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "warn"),
        ({"age": (0.105, 0.215)}, "pass"),  # .010 is little
        ({"share": 0.002}, "pass"),  # chance leaves as much: 400 * .002 is .8, of seven columns
    ],
)
def test_what_the_graph_calls_needless_and_moves_effects_warns(
    one_question: Callable[..., Study], changes: dict[str, Any], verdict: str
) -> None:
    (found,) = left_out_check(survey_of(one_question, EDGES["not needed"]), [moved(**changes)])
    assert found.verdict == verdict
    said = "By the graph, effects of a need not be adjusted for age, but without it" in found.meaning
    assert said == ("Draw an arrow" in found.advice) == (verdict == "warn")


def test_only_an_attribute_is_put_in_the_persona(one_question: Callable[..., Study]) -> None:
    edges = [["b", "a"], ["age", "a"]]
    (found,) = left_out_check(survey_of(one_question, edges), [moved(age=(0.101, 0.2), b=(0.05, 0.3))])
    assert (found.verdict, found.statistic) == ("pass", pytest.approx(0.075))
    assert "hold b in the persona, or adjust for b with" in found.advice


def test_where_the_graph_identifies_nothing_it_needs_no_covariate_either(one_question: Callable[..., Study]) -> None:
    survey = survey_of(one_question, [])
    latent = {"edges": [["u", "a"], ["u", "answer"]], "latent": ["u"]}
    blind = read_survey(
        Study.from_dict(survey.study.model_dump(exclude_none=True) | {"graph": latent}),
        pd.DataFrame({"a": [0, 1] * 200, "b": [0, 0, 1, 1] * 100, "age": range(400), "q": [1, 2] * 200}),
    )
    assert left_out_check(blind, [moved()])[0].verdict == "pass"
