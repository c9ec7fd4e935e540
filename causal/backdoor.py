"""The adjustment set of a toggle: found by DoWhy in the declared graph, checked by the graph's own criterion."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache

from causal.adjustment import Adjustment
from causal.errors import InputError
from causal.graph import ANSWER, CausalGraph, find_cycle
from causal.study import Study


def backdoor_sets(graph: CausalGraph, attribute: str, held: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return DoWhy's largest back-door sets, sorted; none where nothing measured closes every back door.

    What the attribute causes and the persona holds fixed is set together with it, so that the joint intervention
    is the controlled direct effect. DoWhy is given the whole graph, latent nodes as unobserved, and no list of
    common causes, which it would adjust for even if they are mediators.

    Parameters
    ----------
    graph : CausalGraph
        The DAG.
    attribute : str
        The toggled attribute.
    held : collection of str
        The attributes held fixed.

    Raises
    ------
    InputError
        The graph has a cycle; DoWhy accepts some of these.
    """
    return _backdoor_sets(graph, attribute, frozenset(held))


@cache
def _backdoor_sets(graph: CausalGraph, attribute: str, held: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    if cycle := find_cycle(graph.edges):
        raise InputError(f"the graph has a cycle: {' -> '.join(cycle)}; a DAG has none, remove one of these edges")
    import networkx as nx
    from dowhy.causal_identifier import BackdoorAdjustment, EstimandType, identify_effect_auto

    dag = nx.DiGraph(list(graph.edges))
    dag.add_nodes_from(graph.nodes)
    with _without("Adjustment set identification failed."):
        found = identify_effect_auto(
            dag,
            [attribute, *sorted(held & graph.caused_by(attribute))],
            [ANSWER],
            [name for name in graph.nodes if name not in graph.latent],
            EstimandType.NONPARAMETRIC_ATE,
            backdoor_adjustment=BackdoorAdjustment.BACKDOOR_MAX,
        )
    sets = {tuple(sorted(names)) for names in (found.backdoor_variables or {}).values() if names is not None}
    return tuple(sorted(sets, key=lambda names: (-len(names), names)))


@contextmanager
def _without(message: str) -> Iterator[None]:
    """Keep one of DoWhy's messages off stderr: the row's estimand says it."""
    log = logging.getLogger("dowhy.causal_identifier.auto_identifier")

    def other(record: logging.LogRecord) -> bool:
        return record.getMessage() != message

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def identified_adjustment(study: Study, attribute: str, held: Collection[str]) -> Adjustment | None:
    """Return what a toggle is adjusted for: what is held and one of DoWhy's sets, in the study's order.

    DoWhy does not know what is held. Of its sets, largest first, the first is taken that identifies the effect
    together with what is held by `CausalGraph.estimand`, so that both must agree.

    Returns
    -------
    Adjustment or None
        None where there is no such set: the effect is not identified.
    """
    graph = study.causal_graph
    for found in backdoor_sets(graph, attribute, held):
        chosen = {*held, *found}
        if graph.estimand(attribute, chosen) != "not_identified":
            return Adjustment(
                attribute,
                tuple(name for name in study.attributes if name in chosen),
                tuple(name for name in study.covariates if name in chosen),
            )
    return None
