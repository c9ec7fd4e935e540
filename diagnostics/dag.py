"""The declared DAG as a picture: where each node stands, and which arrows lie on open back-door paths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx

from causal.graph import ANSWER, Edge
from causal.study import Study
from diagnostics.inputs import Inputs

CONTEXT, INTERACTION = "country", "E"
SWEEPS = 8


@dataclass(frozen=True)
class Picture:
    """A DAG ready to be drawn.

    Attributes
    ----------
    places : dict of str to tuple of float
        Column (0 is leftmost, the answer is last) and height of every node.
    edges : tuple
        (cause, effect) pairs.
    latent : frozenset of str
        Nodes that nothing measures.
    open : frozenset
        Edges on paths that stay open in the finest toggles.
    notes : dict of str to tuple of str
        What is said beneath a node's name.
    """

    places: dict[str, tuple[float, float]]
    edges: tuple[Edge, ...]
    latent: frozenset[str]
    open: frozenset[Edge]
    notes: dict[str, tuple[str, ...]]


def picture(inputs: Inputs) -> Picture:
    """Return the study's graph with what the identification check found; the paper's where none is declared."""
    study, graph = inputs.study, inputs.study.causal_graph
    edges, latent = list(graph.edges), set(graph.latent)
    if by_default(study):
        sources = [*study.attributes, *study.covariates, *([] if CONTEXT in study.attributes else [CONTEXT])]
        edges = [(node, head) for node in sources for head in (INTERACTION, ANSWER)] + [(INTERACTION, ANSWER)]
        latent = {INTERACTION}
    nodes = [node for node in graph.nodes if node != ANSWER]
    found = finest(identified(inputs))
    return Picture(
        layout(nodes, edges), tuple(edges), frozenset(latent), open_edges(found, edges), _notes(found)
    )


def by_default(study: Study) -> bool:
    """Whether the study declares no graph of its own."""
    graph = study.graph
    return not graph.edges and not graph.latent and graph.default_edges


def identified(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the rows behind the identification check; none where a run does not hold them."""
    return [row for check in inputs.checks if check.name == "identification" for row in check.details]


def finest(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each attribute's rows that hold the most fixed."""
    most: dict[str, int] = defaultdict(int)
    for row in found:
        most[row["attribute"]] = max(most[row["attribute"]], len(row["held"]))
    return [row for row in found if len(row["held"]) == most[row["attribute"]]]


def open_edges(found: Iterable[dict[str, Any]], edges: Iterable[Edge]) -> frozenset[Edge]:
    """Return the edges that lie on the open paths, which are spelled like ``gender <- wealth -> answer``."""
    steps: set[Edge] = set()
    for path in (path for row in found for path in row["open_paths"]):
        nodes = re.split(r" (?:->|<-) ", path)
        steps |= {pair for one, other in pairwise(nodes) for pair in ((one, other), (other, one))}
    return frozenset(edge for edge in edges if edge in steps)


def _notes(found: Iterable[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    notes: dict[str, list[str]] = defaultdict(list)
    for kind, word in (("mediators", "mediator of"), ("colliders", "collider for")):
        named: dict[str, list[str]] = defaultdict(list)
        for row in found:
            for node in row[kind]:
                if row["attribute"] not in named[node]:
                    named[node].append(row["attribute"])
        for node, attributes in named.items():
            notes[node].append(f"{word} {', '.join(attributes)}")
    return {node: tuple(lines) for node, lines in notes.items()}


def layout(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """Place causes left of what they cause, the answer last, with few crossings.

    Columns are longest paths from a root, roots moved next to what they cause first; within columns nodes are sorted by
    the mean height of their neighbours a few times over (the barycentre heuristic of Sugiyama, Tagawa & Toda 1981).
    """
    dag = nx.DiGraph()
    dag.add_nodes_from([*nodes, ANSWER])
    dag.add_edges_from(edges)
    column = {node: i for i, layer in enumerate(nx.topological_generations(dag)) for node in layer}
    column[ANSWER] = max([i for node, i in column.items() if node != ANSWER], default=-1) + 1
    for node in dag:
        if not dag.in_degree(node) and dag.out_degree(node):
            column[node] = min(column[head] for head in dag.successors(node)) - 1
    layers: dict[int, list[str]] = defaultdict(list)
    for node in dag:
        layers[column[node]].append(node)
    height: dict[str, float] = {}
    for _ in range(SWEEPS):
        for i in sorted(layers):
            layers[i].sort(key=lambda node: -_middle(dag, node, height))
            height |= {node: (len(layers[i]) - 1) / 2 - place for place, node in enumerate(layers[i])}
    return {node: (float(column[node]), height[node] + _stagger(column[node], node)) for node in dag}


def _middle(dag: nx.DiGraph, node: str, height: dict[str, float]) -> float:
    near = [height[other] for other in (*dag.predecessors(node), *dag.successors(node)) if other in height]
    return sum(near) / len(near) if near else 0.0


def _stagger(column: int, node: str) -> float:
    """Raise every other column a little, so that an arrow past a column does not run through its nodes."""
    return 0.0 if node == ANSWER else 0.22 * (-1) ** column
