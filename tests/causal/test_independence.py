"""Tests of independence against textbook tests, and their size and power on planted graphs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.contingency_tables import StratifiedTable

from causal.implications import Independence, implied
from causal.independence import Finding, findings
from causal.study import Study
from causal.survey import read_survey

FORK = [["z", "a"], ["z", "b"]]  # a and b are independent given z


def study(edges: list[list[str]], survey: dict[str, str] | None = None, default_edges: bool = True) -> Study:
    def attribute(levels: int) -> dict[str, object]:
        return {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(levels)}}

    return Study.from_dict(
        {
            "name": "planted",
            "survey": {"source": "x.csv", "country": {"constant": "X"}} | (survey or {}),
            "attributes": {"a": attribute(2), "b": attribute(2), "z": attribute(3)},
            "covariates": {"age": {}},
            "questions": {"q": {"text": "?", "options": {0: "no", 1: "yes"}}},
            "graph": {"edges": edges, "default_edges": default_edges},
        }
    )


def people(rng: np.random.Generator, n: int, direct: float = 0.0) -> pd.DataFrame:
    z = rng.integers(0, 3, n)
    a = (rng.random(n) < np.array([0.2, 0.5, 0.8])[z]).astype(int)
    b = (rng.random(n) < np.array([0.3, 0.5, 0.7])[z] + direct * (a - 0.5)).astype(int)
    return pd.DataFrame({"a": a, "b": b, "z": z, "age": rng.normal(50, 10, n), "q": rng.integers(0, 2, n)})


def found(drawn: Study, data: pd.DataFrame) -> dict[tuple[str, str], Finding]:
    return {(one.claim.one, one.claim.other): one for one in findings(read_survey(drawn, data))}


def test_implications_worked_by_hand() -> None:
    assert list(implied(study(FORK).causal_graph)) == [
        Independence("a", "b", ("z",)),
        Independence("a", "age", ()),
        Independence("b", "age", ()),
        Independence("z", "age", ()),
    ]


def test_a_pair_that_only_a_latent_node_separates_implies_nothing() -> None:
    drawn = Study.from_dict(
        study([]).model_dump(exclude_none=True) | {"graph": {"edges": [("u", "a"), ("u", "b")], "latent": ["u"]}}
    )
    assert ("a", "b") not in {(claim.one, claim.other) for claim in implied(drawn.causal_graph)}


def test_given_levels_it_is_the_mantel_haenszel_test() -> None:
    data = people(np.random.default_rng(1), 3000, direct=0.06)
    ours = found(study(FORK), data)["a", "b"]
    tables = [pd.crosstab(part["a"], part["b"]).to_numpy() for _, part in data.groupby("z")]
    theirs = StratifiedTable(tables).test_null_odds(correction=False)
    assert ours.df == 1
    assert ours.statistic == pytest.approx(theirs.statistic, rel=0.06)
    assert ours.statistic > 5


def test_given_nothing_it_is_the_chi_squared_test_and_cramers_v() -> None:
    data = people(np.random.default_rng(2), 4000)
    ours = found(study([]), data)["a", "z"]  # the graph has no edge between them
    table = pd.crosstab(data["a"], data["z"]).to_numpy()
    theirs = chi2_contingency(table, correction=False)
    assert ours.df == 2
    assert ours.strength**2 == pytest.approx((theirs.statistic - 2) / len(data), rel=0.01)
    weak = data.assign(z=np.random.default_rng(3).permutation(data["z"]))
    assert found(study([]), weak)["a", "z"].statistic == pytest.approx(
        chi2_contingency(pd.crosstab(weak["a"], weak["z"]), correction=False).statistic, rel=0.02
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_chance_gives_is_no_strength(seed: int) -> None:
    data = people(np.random.default_rng(seed), 1000)
    data["z"] = np.random.default_rng(seed + 50).permutation(data["z"])
    ours = found(study([]), data)["a", "z"]
    assert ours.strength**2 == pytest.approx(max(ours.statistic - 2, 0) / 1000, abs=2e-4)


def test_a_missing_edge_is_found_and_the_true_graph_is_not_blamed() -> None:
    rng = np.random.default_rng(4)
    planted, quiet = [], []
    for _ in range(40):
        planted.append(found(study(FORK), people(rng, 1500, direct=0.15))["a", "b"].q_value < 0.05)
        quiet += [one.q_value < 0.05 for one in found(study(FORK), people(rng, 1500)).values()]
    assert np.mean(planted) > 0.9
    assert np.mean(quiet) < 0.06


@pytest.mark.parametrize("survey", [{}, {"weight": "w"}, {"weight": "w", "psu": "psu"}])
def test_it_holds_its_size_under_weights_and_clusters(survey: dict[str, str]) -> None:
    rng = np.random.default_rng(5)
    drawn, p = study([["age", "a"], ["age", "b"], ["z", "a"], ["z", "b"]], survey), []
    for _ in range(200):
        data, psu = people(rng, 500), rng.integers(0, 25, 500)
        home = (0.3 if "psu" in survey else 0.0) * rng.normal(0, 1, (25, 2))[psu]
        for i, name in enumerate("ab"):  # both move with age and with where people live, each for itself
            push = home[:, i] + (data["age"].to_numpy() - 50) / 50
            flipped = rng.random(500) < np.abs(push).clip(0, 1)
            data[name] = np.where(flipped, (push > 0).astype(int), data[name])
        one = found(drawn, data.assign(w=rng.lognormal(0, 0.5, 500), psu=psu))["a", "b"]
        p.append(one.p_value)
    error = np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(p) < 0.05) < 0.05 + 3 * error


def test_an_arrow_that_is_not_drawn_to_the_answer_is_tested_with_each_question() -> None:
    rng = np.random.default_rng(6)
    data = people(rng, 2000)
    data["q"] = (rng.random(2000) < 0.3 + 0.3 * data["a"]).astype(int)
    drawn = study([["a", "answer"], ["b", "answer"], ["z", "a"], ["z", "b"], ["z", "answer"]], default_edges=False)
    ours = [one for one in findings(read_survey(drawn, data)) if one.claim.other == "answer"]
    assert [(one.claim.one, one.question) for one in ours] == [("age", "q")]
    wrong = study([["b", "answer"], ["z", "a"], ["z", "answer"], ["a", "b"]], default_edges=False)
    missed = [one for one in findings(read_survey(wrong, data)) if one.claim == Independence("a", "answer", ("b", "z"))]
    assert missed[0].q_value < 1e-6
    assert missed[0].strength == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(("psu", "theirs"), [({}, 0.0013438), ({"psu": "psu"}, 0.0403540)])
def test_given_nothing_it_is_the_survey_packages_rao_scott_test(psu: dict[str, str], theirs: float) -> None:
    # R survey 4.x: svychisq(~a + z, svydesign(~psu or ~1, weights = ~w), statistic = "F")
    rng = np.random.default_rng(11)
    village = np.arange(600) % 24
    home, (u, v) = rng.random((24, 2))[village], rng.random((2, 600))
    z = np.minimum(3 * (0.6 * u + 0.4 * home[:, 0]), 2.99).astype(int)
    a = (0.6 * v + 0.4 * home[:, 1] + 0.1 * z > 0.6).astype(int)
    data = pd.DataFrame({"a": a, "b": a, "z": z, "q": a, "age": 50.0 + village, "w": 0.4 + 1.6 * rng.random(600)})
    ours = found(study([], {"weight": "w"} | psu), data.assign(psu=village))["a", "z"]
    assert ours.p_value == pytest.approx(theirs, rel=0.15)


def _small(kind: str, rng: np.random.Generator, n: int) -> pd.DataFrame:
    """A small weighted survey in which a and z (or b) are independent given what the graph says."""
    data = people(rng, n).assign(w=rng.lognormal(0, 1.0 if kind == "rare levels" else 0.3, n))
    if kind == "rare levels":
        return data.assign(a=(rng.random(n) < 0.06).astype(int), b=(rng.random(n) < 0.1).astype(int))
    z = rng.integers(0, 24, n)
    return data.assign(z=z, a=(rng.random(n) < 0.3 + 0.4 * (z > 11)), b=(rng.random(n) < 0.3 + 0.4 * (z > 11)))


@pytest.mark.parametrize("kind", ["rare levels", "many levels held"])
def test_small_weighted_surveys_do_not_blame_the_true_graph(kind: str) -> None:
    rng, p = np.random.default_rng(8), []
    raw = study([] if kind == "rare levels" else FORK, {"weight": "w"}).model_dump(exclude_none=True)
    levels = {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(24)}
    raw["attributes"]["z"]["levels"] = levels if kind != "rare levels" else raw["attributes"]["z"]["levels"]
    drawn = Study.from_dict(raw)
    for _ in range(400):
        data = _small(kind, rng, 300 if kind == "rare levels" else 100).astype({"a": int, "b": int})
        p.append(found(drawn, data)["a", "b"].p_value)
    error = np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(np.array(p) < 0.05) < 0.05 + 2 * error
