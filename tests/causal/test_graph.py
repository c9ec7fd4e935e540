from __future__ import annotations

import pytest

from causal.graph import ANSWER, CausalGraph, find_cycle

G, E, R = "gender", "education", "residence"
U, V = "u", "v"


def graph(*edges: tuple[str, str], latent: tuple[str, ...] = ()) -> CausalGraph:
    return CausalGraph.from_edges((G, E, R), edges, latent)


def test_every_attribute_points_at_the_answer() -> None:
    assert {(G, ANSWER), (E, ANSWER), (R, ANSWER)} == set(graph().edges)


@pytest.mark.parametrize(
    ("edges", "latent", "attribute", "held", "expected"),
    [
        # no edges: nothing confounds, nothing mediates
        ((), (), G, (), "total"),
        ((), (), G, (E, R), "total"),
        # gender -> education
        (((G, E),), (), G, (E,), "controlled_direct"),
        (((G, E),), (), G, (), "total"),
        (((G, E),), (), G, (R,), "total"),
        (((G, E),), (), E, (), "not_identified"),  # education <- gender -> answer is open
        (((G, E),), (), E, (G,), "total"),
        (((G, E),), (), R, (), "total"),
        # gender -> education -> residence
        (((G, E), (E, R)), (), G, (R,), "not_identified"),  # R <- E -> answer: those with the same R differ in E
        (((G, E), (E, R)), (), G, (E, R), "controlled_direct"),
        (((G, E), (E, R)), (), E, (G, R), "controlled_direct"),
        (((G, E), (E, R)), (), R, (G, E), "total"),
        (((G, E), (E, R)), (), R, (E,), "total"),  # R <- E is blocked by holding E
        (((G, E), (E, R)), (), R, (G,), "not_identified"),  # R <- E -> answer
        (((G, E), (E, R)), (), E, (R,), "not_identified"),  # E <- G -> answer
        # a latent common cause of education and the answer
        (((U, E), (U, ANSWER)), (U,), E, (), "not_identified"),
        (((U, E), (U, ANSWER)), (U,), E, (G, R), "not_identified"),
        (((U, E), (U, ANSWER)), (U,), G, (), "total"),
        (((U, E), (U, ANSWER)), (U,), G, (E,), "total"),  # gender and education are unrelated here
        # a latent common cause of the mediator and the answer: holding the mediator opens gender -> E <- U -> answer
        (((G, E), (U, E), (U, ANSWER)), (U,), G, (E,), "not_identified"),
        (((G, E), (U, E), (U, ANSWER)), (U,), G, (), "total"),
        # M-bias: gender <- u -> education <- v -> answer; education is a collider and also causes the answer
        (((U, G), (U, E), (V, E), (V, ANSWER)), (U, V), G, (E,), "not_identified"),
        (((U, G), (U, E), (V, E), (V, ANSWER)), (U, V), G, (), "not_identified"),  # gender <- u -> E -> answer
        # a collider that is held opens the path between its causes, one of them latent
        (((G, R), (U, R), (U, ANSWER)), (U,), G, (R,), "not_identified"),
        # a latent common cause of two attributes is blocked by holding the other one
        (((U, G), (U, E)), (U,), G, (), "not_identified"),
        (((U, G), (U, E)), (U,), G, (E,), "total"),
    ],
)
def test_estimand_worked_by_hand(
    edges: tuple[tuple[str, str], ...], latent: tuple[str, ...], attribute: str, held: tuple[str, ...], expected: str
) -> None:
    assert graph(*edges, latent=latent).estimand(attribute, held) == expected


def test_pure_collider_is_harmless_until_it_is_held() -> None:
    # gender <- u -> m <- v -> answer, where m does not cause the answer (built without the default arrow)
    edges = ((G, ANSWER), (U, G), (U, "m"), (V, "m"), (V, ANSWER))
    bare = CausalGraph((G, "m", U, V, ANSWER), edges, frozenset({U, V}))
    assert bare.estimand(G, ()) == "total"
    assert bare.estimand(G, ("m",)) == "not_identified"


@pytest.mark.parametrize(
    ("attribute", "held", "expected"),
    [(G, (E,), "controlled_direct"), (G, (), "total"), (E, (), "total"), (E, (G,), "total")],
)
def test_persona_edit_is_an_intervention_and_always_identified(
    attribute: str, held: tuple[str, ...], expected: str
) -> None:
    confounded = graph((G, E), (U, E), (U, ANSWER), latent=(U,))
    assert confounded.persona_edit(attribute, held) == expected


def test_order_of_what_is_held_does_not_matter() -> None:
    dag = graph((G, E), (E, R))
    assert dag.estimand(R, (G, E)) == dag.estimand(R, (E, G))


def test_cycle_is_named_with_its_first_node_repeated() -> None:
    cycle = find_cycle([("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")])
    assert cycle[0] == cycle[-1]
    assert sorted(cycle[1:]) == ["a", "b", "c"]
    assert find_cycle([("a", "b"), ("a", "c"), ("b", "c")]) == []
