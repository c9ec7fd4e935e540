from __future__ import annotations

from itertools import chain, combinations

import networkx as nx
import numpy as np
import pytest

from causal.adjustment import adjustment
from causal.backdoor import backdoor_sets, identified_adjustment
from causal.errors import InputError
from causal.graph import ANSWER, CausalGraph
from causal.study import Study


def graph(measured: str, edges: str, latent: str = "") -> CausalGraph:
    """Build a graph from one-letter nodes: ``graph("ab", "ba ua uy", "u")``, y being the answer."""
    pairs = [tuple(ANSWER if node == "y" else node for node in pair) for pair in edges.split()]
    return CausalGraph.from_edges(list(measured), pairs, list(latent))


@pytest.mark.parametrize(
    ("dag", "held", "expected"),
    [
        (graph("abc", "ba ca"), "", [("b", "c")]),  # two confounders
        (graph("am", "am"), "", [()]),  # a mediator is not adjusted for
        (graph("am", "am"), "m", [()]),  # held, it is set together with the attribute
        (graph("amc", "am cm"), "m", [("c",)]),  # and what confounds the mediator is adjusted for
        (graph("am", "am um uy", "u"), "", [()]),  # a hidden confounder of the mediator leaves the total effect alone
        (graph("am", "am um uy", "u"), "m", []),  # and takes the direct one
        (graph("ac", "ca ua uy", "u"), "", []),  # hidden confounder
        (graph("ac", "ca uc ua", "u"), "", [("c",)]),  # hidden cause of both, blocked by what it passes through
    ],
)
def test_dowhys_sets(dag, held, expected):
    assert list(backdoor_sets(dag, "a", held)) == expected


def m_bias() -> CausalGraph:
    """``c`` is a collider of two latent nodes that stands beside the answer, not before it."""
    edges = [("u", "a"), ("u", "c"), ("v", "c"), ("v", ANSWER), ("a", ANSWER)]
    return CausalGraph(("a", "c", "u", "v", ANSWER), tuple(edges), frozenset("uv"))


def test_m_bias_is_not_adjusted_for():
    assert backdoor_sets(m_bias(), "a", ()) == ((),)
    assert m_bias().estimand("a", ["c"]) == "not_identified"


def test_every_measured_node_points_at_the_answer_so_a_declared_m_is_not_identified():
    assert backdoor_sets(graph("ac", "ua uc vc vy", "uv"), "a", "") == ()


def random_graph(rng: np.random.Generator) -> CausalGraph:
    """Return a random DAG of an attribute, four other measured nodes and two latent ones."""
    order = [*rng.permutation([*"abcde", *"uv"]), ANSWER]
    edges = [pair for pair in combinations(order, 2) if rng.random() < 0.35]
    return CausalGraph((*"abcde", "u", "v", ANSWER), tuple({*edges, ("a", ANSWER)}), frozenset("uv"))


def test_dowhy_and_the_graph_agree_on_random_graphs():
    """DoWhy finds a set exactly where some set of measured non-descendants identifies the effect for us."""
    rng = np.random.default_rng(5)
    identified = 0
    for _ in range(150):
        dag = random_graph(rng)
        free = sorted(set("bcde") - nx.descendants(nx.DiGraph(dag.edges), "a"))
        every = chain.from_iterable(combinations(free, size) for size in range(len(free) + 1))
        ours = {names for names in every if dag.estimand("a", names) == "total"}
        found = backdoor_sets(dag, "a", ())
        assert set(found) <= ours
        assert bool(found) == bool(ours)
        identified += bool(ours)
    assert 30 < identified < 140


def test_direct_effects_agree_on_random_graphs():
    rng = np.random.default_rng(6)
    agreed = {True: 0, False: 0}
    for _ in range(150):
        drawn = random_graph(rng)  # as in a study, everything measured points at the answer; DoWhy asks for such a path
        dag = CausalGraph.from_edges("abcde", drawn.edges, "uv")
        caused = sorted(nx.descendants(nx.DiGraph(dag.edges), "a") - {ANSWER, "u", "v"})
        if not caused:
            continue
        held = caused[:1]
        below = nx.descendants(nx.DiGraph(dag.edges), "a") | nx.descendants(nx.DiGraph(dag.edges), held[0])
        free = sorted(set("bcde") - below)
        every = chain.from_iterable(combinations(free, size) for size in range(len(free) + 1))
        ours = {names for names in every if dag.estimand("a", [*held, *names]) == "controlled_direct"}
        found = backdoor_sets(dag, "a", held)
        assert set(found) <= ours
        assert bool(found) == bool(ours)
        agreed[bool(ours)] += 1
    assert min(agreed.values()) > 15


def test_a_cycle_is_refused():
    with pytest.raises(InputError, match="cycle"):
        backdoor_sets(CausalGraph(("a", "b", ANSWER), (("a", "b"), ("b", "a"), ("a", ANSWER)), frozenset()), "a", ())


def study(one_question, edges: list[list[str]], latent: tuple[str, ...] = ()) -> Study:
    return one_question(
        ("a", "b", "m"), covariates={"age": {}, "income": {}}, graph={"edges": edges, "latent": list(latent)}
    )


def test_an_adjustment_has_what_is_held_and_what_dowhy_finds(one_question):
    made = study(one_question, [["a", "m"], ["b", "a"], ["age", "a"], ["a", "income"]])
    total = identified_adjustment(made, "a", ("b",))
    assert (total.attributes, total.covariates) == (("b",), ("age",))
    direct = identified_adjustment(made, "a", ("b", "m"))
    assert (direct.attributes, direct.covariates) == (("b", "m"), ("age",))
    assert made.causal_graph.estimand("a", direct.names) == "controlled_direct"


def test_what_only_moves_the_answer_is_adjusted_for_too(one_question):
    """The empty set would do, and the largest is more precise."""
    chosen = identified_adjustment(study(one_question, []), "a", ())
    assert chosen.names == ("b", "m", "age", "income")


def test_the_graph_must_agree(one_question, monkeypatch):
    made = study(one_question, [["age", "a"]])
    monkeypatch.setattr("causal.backdoor.backdoor_sets", lambda *_: ((), ("age",)))
    assert identified_adjustment(made, "a", ()).names == ("age",)
    monkeypatch.setattr("causal.backdoor.backdoor_sets", lambda *_: ((),))
    assert identified_adjustment(made, "a", ()) is None


def test_what_is_identified_is_what_aipw_adjusts_for(one_question):
    """Everything measured points at the answer: a valid set stays valid with more that the attribute does not cause."""
    rng = np.random.default_rng(7)
    seen = {True: 0, False: 0}
    for _ in range(60):
        order = [*rng.permutation(["a", "b", "m", "age", "income", "u", "v"]), ANSWER]
        edges = [[str(a), str(b)] for a, b in combinations(order, 2) if rng.random() < 0.25]
        drawn = {name for edge in edges for name in edge}
        made = study(one_question, edges, tuple(name for name in ("u", "v") if name in drawn))
        for held in ((), ("b",), ("b", "m")):
            plain = adjustment(made, "a", held)
            identified = made.causal_graph.estimand("a", plain.names) != "not_identified"
            assert identified_adjustment(made, "a", held) == (plain if identified else None)
            seen[identified] += 1
    assert min(seen.values()) > 15


def test_nothing_identifies_a_hidden_confounder(one_question, caplog):
    made = study(one_question, [["u", "a"], ["u", "answer"]], ("u",))
    assert identified_adjustment(made, "a", ("b",)) is None
    assert identified_adjustment(made, "b", ("a",)) is not None
    assert not caplog.records  # DoWhy's own message; the estimand says it


def test_a_held_collider_is_not_identified(one_question):
    """DoWhy does not know what is held: ``b`` is a collider of two latent nodes, one of them behind the attribute."""
    edges = [["u", "a"], ["u", "b"], ["v", "b"], ["v", "answer"]]
    made = study(one_question, edges, ("u", "v"))
    assert identified_adjustment(made, "a", ("b",)) is None
