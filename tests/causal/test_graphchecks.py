"""What is said about the graph: estimands, adjustment, and independencies that the survey contradicts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.adjusted import adjusted_rows, without_overlap
from causal.check import MOST_ROWS
from causal.counts import count
from causal.effects import survey_effects
from causal.graphchecks import identification_check, implications_check
from causal.grid import grid_from_counts, subsets
from causal.propensities import Propensities
from causal.study import Study
from causal.survey import read_survey


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 400
    a, age = rng.integers(0, 2, n), rng.normal(50, 10, n)
    b = (rng.random(n) < 0.2 + 0.5 * a).astype(int)
    return pd.DataFrame({"a": a, "b": b, "age": age, "m": rng.normal(size=n), "q": rng.integers(1, 4, n)})


def effects(study: Study, data: pd.DataFrame) -> pd.DataFrame:
    survey = read_survey(study, data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, names) for names in subsets(study) if names]
    cells = survey_effects(grids, study, survey.countries)
    return pd.concat([cells, adjusted_rows(survey, cells)], ignore_index=True)


@pytest.mark.parametrize(
    ("edges", "verdict", "share"),
    [
        ([], "pass", 0),
        ([["a", "b"]], "warn", 1 / 6),  # of a and b alone, and each at two levels of the other: b alone is open
        ([["u", "a"], ["u", "answer"]], "fail", 1 / 2),
        ([["a", "b"], ["u", "b"], ["u", "answer"]], "fail", 5 / 6),  # only a alone is identified
    ],
)
def test_it_fails_if_the_finest_granularity_is_open(
    one_question: Callable[..., Study], data: pd.DataFrame, edges: list[list[str]], verdict: str, share: float
) -> None:
    graph = {"edges": edges, "latent": ["u"] if any("u" in edge for edge in edges) else []}
    study = one_question(("a", "b"), graph=graph, effects={"granularity": "all"})
    found = identification_check(effects(study, data), study)
    assert (found.verdict, found.statistic) == (verdict, pytest.approx(share))
    assert (found.advice == "Nothing to do.") == (verdict == "pass")
    assert [row["estimand"] for row in found.details].count("not_identified") == {0: 0, 1: 1, 3: 2, 5: 3}[
        round(6 * share)
    ]


def test_what_adjusting_identifies_only_warns(one_question: Callable[..., Study], data: pd.DataFrame) -> None:
    sections: dict[str, Any] = {"covariates": {"age": {}}, "graph": {"edges": [["age", "a"]]}}
    plain = one_question(("a", "b"), **sections)
    found = identification_check(effects(plain, data), plain)
    assert (found.verdict, found.statistic) == ("fail", 0.5)
    assert "covariates are adjusted for with effects.estimator: [cell, aipw]" in found.advice
    adjusted = one_question(("a", "b"), effects={"estimator": ["cell", "aipw"]}, **sections)
    found = identification_check(effects(adjusted, data), adjusted)
    assert (found.verdict, found.statistic) == ("warn", 0)
    assert "a <- age -> answer stays open" in found.meaning
    assert "The rows of aipw close such paths" in found.meaning
    assert found.advice == "Read these cell rows as associations, and the adjusted rows as effects."


def test_the_advice_knows_what_adjusting_would_identify(one_question: Callable[..., Study], data: pd.DataFrame) -> None:
    """Holding b ties a to the latent u; without b the rows that adjust for age are a's total effect."""
    edges = [["age", "a"], ["a", "b"], ["u", "b"], ["u", "answer"]]
    sections: dict[str, Any] = {"covariates": {"age": {}}, "graph": {"edges": edges, "latent": ["u"]}}
    adjusted = one_question(("a", "b"), effects={"estimator": ["cell", "aipw"]}, **sections)
    found = identification_check(effects(adjusted, data), adjusted)
    assert found.verdict == "fail"
    assert found.advice == (
        "Read these rows as associations. Instead: for a read granularity 1 of aipw (nothing else held; add 1 to "
        "effects.granularity), which is its total effect."
    )
    plain = one_question(("a", "b"), **sections)
    assert "granularity" not in identification_check(effects(plain, data), plain).advice


def test_without_any_overlap_no_row_is_offered_as_an_effect(
    one_question: Callable[..., Study], data: pd.DataFrame
) -> None:
    sections: dict[str, Any] = {"covariates": {"age": {}}, "graph": {"edges": [["age", "a"]]}}
    study = one_question(("a",), effects={"estimator": ["cell", "aipw"]}, **sections)
    apart = data.assign(a=(data["age"] > 50).astype(int))
    survey, table = read_survey(study, apart), effects(study, apart)
    found = identification_check(table, study, without_overlap(survey, table, Propensities(survey)))
    assert found.verdict == "fail"
    assert found.advice.startswith("Read these cell rows as associations. Where people cannot be compared")


def test_the_advice_offers_nothing_that_cannot_be_had(one_question: Callable[..., Study], data: pd.DataFrame) -> None:
    hidden: dict[str, Any] = {"edges": [["u", "a"], ["u", "answer"]], "latent": ["u"]}
    study = one_question(("a", "b"), graph=hidden)
    assert "check sensitivity says how strong" in identification_check(effects(study, data), study).advice
    study = one_question(("a", "b"), graph={"edges": [["a", "b"]]}, effects={"granularity": [1]})
    assert identification_check(effects(study, data), study).advice == (
        "Read these rows as associations. Instead: for b read granularity 2 (with a held fixed; add 2 to "
        "effects.granularity), which is its total effect."
    )


def test_a_held_collider_or_mediator_names_the_granularity_to_read(
    one_question: Callable[..., Study], data: pd.DataFrame
) -> None:
    edges = [["a", "b"], ["u", "b"], ["u", "answer"]]  # b is a's effect, and a collider of a and u
    asked = {"graph": {"edges": edges, "latent": ["u"]}, "effects": {"granularity": "all"}}
    study = one_question(("a", "b"), **asked)
    found = identification_check(effects(study, data), study)
    assert found.advice == (
        "Read these rows as associations. Instead: for a read granularity 1 (nothing else held), which is its total "
        "effect."
    )
    mediated = one_question(("a", "b"), graph={"edges": [["a", "b"]]}, effects={"granularity": [2]})
    found = identification_check(effects(mediated, data), mediated)
    assert found.verdict == "pass"
    assert found.advice == (
        "To report total effects: for a read granularity 1 (nothing else held; add 1 to effects.granularity), which "
        "gives its total effect."
    )


def test_many_contrasts_are_capped_and_quick(one_question: Callable[..., Study]) -> None:
    names = [f"a{i}" for i in range(8)]
    rng = np.random.default_rng(3)
    many = pd.DataFrame({name: rng.integers(0, 2, 400) for name in names} | {"q": rng.integers(1, 4, 400)})
    edges = [[one, other] for i, one in enumerate(names) for other in names[i + 1 :]] + [["u", "a3"], ["u", "answer"]]
    asked = {"graph": {"edges": edges, "latent": ["u"]}, "effects": {"granularity": "all"}}
    study = one_question(tuple(names), **asked)
    table = effects(study, many)
    start = time.perf_counter()
    found = identification_check(table, study)
    assert time.perf_counter() - start < 20  # about 3 s
    assert len(found.details) == MOST_ROWS
    assert "leave out 624 contrasts" in found.meaning  # 8 attributes times 2**7 sets, less 400
    assert {row["attribute"] for row in found.details if len(row["held"]) == 7} == set(names)


def test_what_is_not_adjusted_for_is_said_with_its_reason(
    one_question: Callable[..., Study], data: pd.DataFrame
) -> None:
    text = (
        "dag { u [latent] v [latent] a -> answer b -> answer v -> answer u -> a u -> m v -> m b -> age age -> answer }"
    )
    study = one_question(("a", "b"), covariates={"age": {}, "m": {}}, graph={"text": text})
    said = identification_check(effects(study, data), study).meaning
    assert (
        "The effect of a is not adjusted for m: that would open a path between causes whose common effect it is" in said
    )
    assert "The effect of b is not adjusted for age, which it causes" in said
    assert "Nor for" not in said
    both = one_question(
        ("a", "b"), covariates={"age": {}, "m": {}}, graph={"text": text.replace("b -> age", "a -> age")}
    )
    assert (
        "not adjusted for age, which it causes: that would take part of it away, or tie it to other causes. Nor for m"
        in (identification_check(effects(both, data), both).meaning)
    )


def test_many_open_contrasts_are_counted(one_question: Callable[..., Study], data: pd.DataFrame) -> None:
    graph = {"edges": [["u", "a"], ["u", "b"], ["u", "answer"]], "latent": ["u"]}
    study = one_question(("a", "b"), graph=graph, effects={"granularity": "all"})
    assert "have 1 more contrast." in identification_check(effects(study, data), study).meaning


def test_without_edges_a_contradiction_warns_and_with_edges_it_fails(
    one_question: Callable[..., Study], data: pd.DataFrame
) -> None:
    bare = implications_check(read_survey(one_question(("a", "b")), data))
    drawn = one_question(("a", "b"), covariates={"age": {}}, graph={"edges": [["age", "b"]]})
    wrong = implications_check(read_survey(drawn, data))
    assert (bare.verdict, wrong.verdict) == ("warn", "fail")
    assert bare.statistic > 0.4
    assert "No edges are declared" in bare.meaning
    assert "implies 1 independency that the survey can contradict; 1 does not hold" in bare.meaning
    assert "a and b (0." in bare.meaning
    assert "Declare under graph.edges" in bare.advice
    assert "No edges" not in wrong.meaning
    assert "Draw an arrow" in wrong.advice


def test_a_weak_contradiction_passes_and_is_said_to_be_weak(one_question: Callable[..., Study]) -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    a = rng.integers(0, 2, n)
    data = pd.DataFrame({"a": a, "b": (rng.random(n) < 0.5 + 0.03 * a).astype(int), "q": rng.integers(1, 4, n)})
    found = implications_check(read_survey(one_question(("a", "b")), data))
    assert found.verdict == "pass"
    assert 0.02 < found.statistic < 0.05  # by hand: .03 / 2 / .5
    assert "All are weak." in found.meaning
    assert found.advice == "Nothing to do."


def test_a_graph_that_implies_nothing_says_so(one_question: Callable[..., Study], data: pd.DataFrame) -> None:
    found = implications_check(read_survey(one_question(("a", "b"), graph={"edges": [["a", "b"]]}), data))
    assert (found.verdict, found.statistic, found.details) == ("pass", 0, [])
    assert "implies nothing that the survey could contradict" in found.meaning
