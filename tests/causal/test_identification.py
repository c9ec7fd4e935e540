"""Paths, roles and adjustment sets, worked by hand, and against DoWhy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from causal.graph import ANSWER, CausalGraph
from causal.identification import adjustment_sets, held_or_adjusted, identify, roles

G, E, R, U, V = "gender", "education", "residence", "u", "v"


def graph(*edges: tuple[str, str], latent: tuple[str, ...] = ()) -> CausalGraph:
    return CausalGraph.from_edges((G, E, R), edges, latent)


CONFOUNDED = graph((U, E), (U, ANSWER), latent=(U,))
M_BIAS = CausalGraph((G, "m", U, V, ANSWER), ((G, ANSWER), (U, G), (U, "m"), (V, "m"), (V, ANSWER)), frozenset({U, V}))


@pytest.mark.parametrize(
    ("dag", "attribute", "held", "paths", "colliders"),
    [
        (graph((G, E)), E, (), ("education <- gender -> answer",), ()),
        (CONFOUNDED, E, (G,), ("education <- u -> answer",), ()),
        (M_BIAS, G, ("m",), ("gender <- u -> m <- v -> answer",), ("m",)),
        # holding a mediator that shares a latent cause with the answer
        (graph((G, E), (U, E), (U, ANSWER), latent=(U,)), G, (E,), ("gender -> education <- u -> answer",), (E,)),
        # the same through an effect of the collider
        (
            graph((G, E), (E, R), (U, E), (U, ANSWER), latent=(U,)),
            G,
            (R,),
            ("residence <- education -> answer", "residence <- education <- u -> answer"),
            (),
        ),
        (graph((G, E), (U, G), (U, ANSWER), latent=(U,)), G, (E,), ("gender <- u -> answer",), ()),
    ],
)
def test_open_paths_are_named(
    dag: CausalGraph, attribute: str, held: tuple[str, ...], paths: tuple[str, ...], colliders: tuple[str, ...]
) -> None:
    found = identify(dag, attribute, held)
    assert (found.estimand, found.open_paths, found.colliders) == ("not_identified", paths, colliders)
    for path in paths:
        assert path in found.sentence


def test_an_identified_contrast_has_no_open_path_and_names_its_mediators() -> None:
    total, direct = identify(graph((G, E)), G, (R,)), identify(graph((G, E)), G, (R, E))
    assert (total.estimand, total.open_paths, total.mediators) == ("total", (), ())
    assert (direct.estimand, direct.open_paths, direct.mediators) == ("controlled_direct", (), (E,))
    assert "through education" in direct.sentence


def test_only_the_paths_that_holding_opens_are_laid_to_it() -> None:
    """gender <- residence -> answer is open whatever is held; only the path through u is opened by education."""
    edges = ((R, G), (G, E), (U, E), (U, ANSWER))
    mixed = identify(graph(*edges, latent=(U,)), G, (E,))
    assert set(mixed.open_paths) == {"gender <- residence -> answer", "gender -> education <- u -> answer"}
    assert "Holding education opens gender -> education <- u -> answer: among those" in mixed.sentence
    held_too = identify(graph(*edges, latent=(U,)), G, (E, R))
    assert held_too.open_paths == ("gender -> education <- u -> answer",)
    assert "Holding education is what opens it: among those" in held_too.sentence


def test_the_sentence_says_what_to_hold_instead() -> None:
    assert "Holding gender alone would identify" in identify(graph((G, E)), E, ()).sentence
    assert "No set of what the survey measures" in identify(CONFOUNDED, E, ()).sentence
    assert "With nothing held it would be" in identify(M_BIAS, G, ("m",)).sentence


def test_open_paths_exist_exactly_where_the_contrast_is_not_identified() -> None:
    rng = np.random.default_rng(4)
    nodes = (G, E, R, "age", U, ANSWER)
    for _ in range(150):
        edges = tuple(pair for pair in combinations(rng.permutation(nodes[:-1]).tolist(), 2) if rng.random() < 0.5)
        to_answer = tuple((node, ANSWER) for node in nodes[:-1] if rng.random() < 0.7)
        dag = CausalGraph(nodes, edges + to_answer, frozenset({U}))
        for held in [(), (E,), (E, R), (E, R, "age")]:
            found = identify(dag, G, held)
            assert bool(found.open_paths) == (found.estimand == "not_identified")


def test_roles_worked_by_hand() -> None:
    dag = CausalGraph(
        (G, "confounder", "mediator", "below", "instrument", "collider", U, V, "own", "alone", ANSWER),
        (
            (G, ANSWER),
            ("confounder", G),
            ("confounder", ANSWER),
            (G, "mediator"),
            ("mediator", ANSWER),
            (G, "below"),
            ("instrument", G),
            (U, G),
            (U, "collider"),
            (V, "collider"),
            (V, ANSWER),
            ("own", ANSWER),
        ),
        frozenset({U, V}),
    )
    assert roles(dag, G) == {
        "confounder": ("confounder",),
        "mediator": ("mediator",),
        "below": ("descendant",),
        "instrument": ("instrument",),
        "collider": ("collider",),
        U: ("instrument",),  # it moves gender and, nothing being held, the answer through gender only
        V: ("neutral",),
        "own": ("neutral",),
        "alone": ("neutral",),
    }


def test_a_confounder_of_an_instrument_makes_it_a_confounder() -> None:
    dag = graph((U, R), (R, G), (U, ANSWER), latent=(U,))
    assert roles(dag, G)[R] == ("confounder",)  # it causes the answer, by the default arrow
    bare = CausalGraph((G, "z", U, ANSWER), ((G, ANSWER), ("z", G), (U, "z"), (U, ANSWER)), frozenset({U}))
    assert roles(bare, G)["z"] == ("neutral",)  # tied to the answer through u, but no cause of it


@pytest.mark.parametrize(
    ("dag", "attribute", "minimal", "canonical"),
    [
        (graph((G, E)), E, (G,), (G, R)),
        (graph((G, E)), G, (), (R,)),
        (CONFOUNDED, E, None, None),
        (graph((U, G), (U, E), latent=(U,)), G, (E,), (E, R)),  # the measured one stands in for its latent cause
        (M_BIAS, G, (), ()),
        (graph((G, E), (E, R)), R, (E,), (E, G)),
    ],
)
def test_adjustment_sets_worked_by_hand(
    dag: CausalGraph, attribute: str, minimal: tuple[str, ...] | None, canonical: tuple[str, ...] | None
) -> None:
    found = adjustment_sets(dag, attribute)
    assert (found.minimal, found.canonical) == (minimal, canonical)


def test_adjustment_sets_identify_the_total_effect_and_nothing_less_does() -> None:
    rng = np.random.default_rng(5)
    nodes = (G, E, R, "age", U, ANSWER)
    for _ in range(100):
        edges = tuple(pair for pair in combinations(rng.permutation(nodes[:-1]).tolist(), 2) if rng.random() < 0.5)
        dag = CausalGraph(nodes, (*edges, *((node, ANSWER) for node in nodes[:-1])), frozenset({U}))
        found = adjustment_sets(dag, G)
        usable = [set(held) for size in range(4) for held in combinations((E, R, "age"), size)]
        total = [held for held in usable if dag.estimand(G, held) == "total"]
        if found.minimal is None or found.canonical is None:
            assert not total
            continue
        assert set(found.minimal) in total
        assert set(found.canonical) in total
        assert not any(held < set(found.minimal) for held in total)


@pytest.mark.slow
def test_the_same_is_identified_by_dowhy() -> None:
    import networkx as nx
    from dowhy.causal_identifier import EstimandType, identify_effect_auto

    rng = np.random.default_rng(6)
    nodes = (G, E, R, "age", U, ANSWER)
    agreed = []
    for _ in range(40):
        edges = tuple(pair for pair in combinations(rng.permutation(nodes[:-1]).tolist(), 2) if rng.random() < 0.5)
        dag = CausalGraph(nodes, (*edges, *((node, ANSWER) for node in nodes[:-1])), frozenset({U}))
        theirs = identify_effect_auto(
            nx.DiGraph(list(dag.edges)), [G], [ANSWER], [G, E, R, "age", ANSWER], EstimandType.NONPARAMETRIC_ATE
        )
        identified = theirs.estimands.get("backdoor") is not None
        assert (adjustment_sets(dag, G).minimal is not None) == identified
        agreed.append(identified)
    assert 5 < sum(agreed) < 35


def test_what_is_adjusted_for_identifies_wherever_anything_does() -> None:
    """By brute force over all sets that hold what is held."""
    rng = np.random.default_rng(7)
    nodes = (G, E, R, "age", U, V, ANSWER)
    fewer = 0
    for _ in range(150):
        order = [U, V, *rng.permutation([G, E, R, "age"]).tolist()]
        edges = [pair for pair in combinations(order, 2) if rng.random() < 0.25]
        edges += [(U, G), (U, E), (V, E), (V, ANSWER)] if rng.random() < 0.7 else []  # the legs of an M
        to_answer = [(node, ANSWER) for node in nodes[:-1] if node == G or rng.random() < 0.3]
        dag = CausalGraph(nodes, (*edges, *to_answer), frozenset({U, V}))
        free = {E, R, "age"} - dag.caused_by(G)
        for held in [frozenset(), frozenset({E}), frozenset({E, R})]:
            every = [held | set(more) for size in range(4) for more in combinations(sorted(free), size)]
            possible = any(dag.estimand(G, chosen) != "not_identified" for chosen in every)
            found = held_or_adjusted(dag, G, held)
            assert held <= found <= held | free
            assert (dag.estimand(G, found) != "not_identified") == possible
            fewer += found != held | free
    assert fewer > 10


def test_a_collider_is_left_out_and_what_is_harmless_stays() -> None:
    dag = CausalGraph(
        (G, "m", "age", U, V, ANSWER),
        ((G, ANSWER), ("age", ANSWER), (U, G), (U, "m"), (V, "m"), (V, ANSWER)),
        frozenset({U, V}),
    )
    assert held_or_adjusted(dag, G, frozenset()) == {"age"}
    assert held_or_adjusted(dag, G, frozenset({"m"})) == {"m", "age"}  # a persona that holds it opens the path
    assert held_or_adjusted(graph((G, E)), G, frozenset()) == {R}


def test_what_closes_a_path_that_the_held_one_opens_is_adjusted_for() -> None:
    """The persona holds a collider; w, which causes nothing but it, closes that path, and m must stay out."""
    edges = ((G, ANSWER), (U, G), (U, "m"), (V, "m"), (V, ANSWER), (U, E), ("w", E), (V, "w"))
    dag = CausalGraph((G, "m", E, "w", U, V, ANSWER), edges, frozenset({U, V}))
    assert held_or_adjusted(dag, G, frozenset({E})) == {E, "w"}


def test_an_open_path_that_holds_a_mediator_says_both() -> None:
    found = identify(graph((G, E), (U, E), (U, ANSWER), latent=(U,)), G, (E,))
    assert "What gender does through education, which it causes, is taken out as well" in found.sentence
    assert "Holding education is what opens it" in found.sentence
