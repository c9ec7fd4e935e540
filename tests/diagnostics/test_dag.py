"""The picture of the DAG: columns, open paths, notes, arrows that pass nodes by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from causal.ignorability import identification_check
from causal.study import Study
from diagnostics.dag import bend, curve, finest, layout, open_edges, picture


def _picture(toy: SimpleNamespace, graph: dict[str, Any]) -> Any:
    study = Study.from_dict(toy.raw(graph=graph))
    held = [("gender", None, "city"), ("gender", None, None), ("home", "male", None), ("home", None, None)]
    rows = pd.DataFrame(
        [
            {
                "attribute": attribute,
                "gender": gender,
                "home": home,
                "granularity": 1 + (gender is not None) + (home is not None),
                "estimand": "total",
                "estimator": "cell",
            }
            for attribute, gender, home in held
        ]
    )
    return picture(SimpleNamespace(study=study, checks=[identification_check(rows, study)]))  # type: ignore[arg-type]


def test_without_arrows_it_is_the_papers_graph(toy: SimpleNamespace) -> None:
    shown = _picture(toy, {})
    assert set(shown.bends) == {
        *((node, head) for node in ("gender", "home", "country") for head in ("E", "answer")),
        ("E", "answer"),
    }
    assert shown.latent == {"E"}
    assert shown.open == frozenset()
    assert shown.labels["E"] == "E\ninteraction\nnot measured"


def test_an_attribute_may_have_the_name_of_the_interaction(toy: SimpleNamespace) -> None:
    raw = toy.raw()
    raw["attributes"]["E"] = raw["attributes"].pop("gender")
    shown = picture(SimpleNamespace(study=Study.from_dict(raw), checks=[]))  # type: ignore[arg-type]
    assert set(shown.places) == {"E", "home", "country", "E*", "answer"}
    assert shown.latent == {"E*"}


def test_a_latent_cause_opens_its_path_and_only_that(toy: SimpleNamespace) -> None:
    edges = [["wealth", "gender"], ["wealth", "answer"]]
    shown = _picture(toy, {"edges": edges, "latent": ["wealth"]})
    assert shown.latent == {"wealth"}
    # holding gender, which wealth causes, opens nothing for home: the two do not meet
    assert shown.open == {("wealth", "gender"), ("wealth", "answer")}
    assert shown.labels["wealth"] == "wealth\nnot measured"
    assert shown.labels["home"] == "home"


def test_mediators_and_colliders_are_named(toy: SimpleNamespace) -> None:
    assert _picture(toy, {"edges": [["gender", "home"]]}).labels["home"] == "home\nmediator of gender"
    edges = [["gender", "home"], ["wealth", "home"], ["wealth", "answer"]]
    shown = _picture(toy, {"edges": edges, "latent": ["wealth"]})
    assert shown.labels["home"] == "home\nmediator of gender\ncollider for gender"
    assert ("wealth", "answer") in shown.open
    assert ("gender", "answer") not in shown.open


def test_causes_stand_left_of_effects_and_the_answer_last() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "answer"), ("c", "answer"), ("d", "answer")]
    places = layout({name: name for name in ("a", "b", "c", "d", "answer")}, edges)
    assert all(places[tail][0] < places[head][0] for tail, head in edges)
    assert max(places, key=lambda node: places[node][0]) == "answer"
    assert places["d"][0] == places["c"][0]  # a root stands next to what it causes
    assert len(set(places.values())) == 5


def test_an_arrow_passes_a_node_that_stands_in_its_way() -> None:
    places = {"a": (0.0, 0.0), "b": (3.0, 0.0), "c": (6.0, 0.0)}
    labels = {name: name for name in places}
    assert bend(("a", "b"), places, labels) == 0
    rad = bend(("a", "c"), places, labels)
    assert rad != 0
    assert abs(curve(places["a"], places["c"], rad)[20][1]) > 0.25  # half a line and its margin


def test_the_curve_is_matplotlibs() -> None:
    from matplotlib.patches import ConnectionStyle

    path = ConnectionStyle("arc3", rad=0.3)((1.0, 2.0), (5.0, 3.0), shrinkA=0, shrinkB=0)
    (x0, y0), (x1, y1), (x2, y2) = path.vertices
    middle = (x0 / 4 + x1 / 2 + x2 / 4, y0 / 4 + y1 / 2 + y2 / 4)
    found = curve((1.0, 2.0), (5.0, 3.0), 0.3)
    assert found[20] == tuple(middle)
    assert found[0] == (1.0, 2.0)
    assert found[-1] == (5.0, 3.0)


def test_open_edges_follow_either_direction() -> None:
    found = [{"open_paths": ["a <- u -> answer"]}, {"open_paths": []}]
    edges = [("u", "a"), ("u", "answer"), ("a", "answer")]
    assert open_edges(found, edges) == {("u", "a"), ("u", "answer")}


def test_finest_is_by_attribute() -> None:
    rows = [{"attribute": "a", "held": []}, {"attribute": "a", "held": ["b"]}, {"attribute": "b", "held": []}]
    assert finest(rows) == rows[1:]
