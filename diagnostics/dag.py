"""The declared DAG as a picture: where each node stands, and which arrows lie on open back-door paths."""

from __future__ import annotations

import math
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx

from causal.graph import ANSWER, Edge
from causal.study import Study
from diagnostics.inputs import Inputs

CONTEXT, INTERACTION = "country", "E"
SWEEPS = 8
NOTE_WIDTH = 19
"""Characters of a line beneath a node's name."""
COLUMN = 2.9
"""Distance of two columns, in units of the distance of two rows of nodes without notes."""
CHARACTER, LINE = 0.115, 0.27
"""Width of a character and height of a line, in the same units."""
BENDS = (0.0, 0.12, -0.12, 0.2, -0.2, 0.3, -0.3, 0.4, -0.4, 0.5, -0.5)
"""How far an arrow may bow, over its length; tried in this order."""


@dataclass(frozen=True)
class Picture:
    """A DAG ready to be drawn.

    Attributes
    ----------
    places : dict of str to tuple of float
        Where every node stands: causes left of what they cause, the answer rightmost.
    bends : dict of (cause, effect) to float
        Every arrow, and how far it bows to its right over its length so as to pass other nodes by.
    latent : frozenset of str
        Nodes that nothing measures.
    open : frozenset
        Edges on paths that stay open in the finest toggles.
    labels : dict of str to str
        A node's name and what is said beneath it, in lines.
    """

    places: dict[str, tuple[float, float]]
    bends: dict[Edge, float]
    latent: frozenset[str]
    open: frozenset[Edge]
    labels: dict[str, str]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of nodes and arrows."""
        ends = [(self.places[tail], self.places[head], rad) for (tail, head), rad in self.bends.items()]
        points = [*self.places.values(), *(point for end in ends for point in curve(*end))]
        xs, ys = zip(*points, strict=True)
        return min(xs), max(xs), min(ys), max(ys)


def picture(inputs: Inputs) -> Picture:
    """Return the study's graph with what the identification check found; the paper's where none is declared."""
    study, graph = inputs.study, inputs.study.causal_graph
    edges, latent = list(graph.edges), set(graph.latent)
    if by_default(study):
        measured = dict.fromkeys([*study.attributes, *study.covariates, CONTEXT])
        between = INTERACTION if INTERACTION not in measured else f"{INTERACTION}*"
        edges = [(node, head) for node in measured for head in (between, ANSWER)] + [(between, ANSWER)]
        latent = {between}
    found = finest(identified(inputs))
    notes = _notes(found) | ({node: ["interaction"] for node in latent} if by_default(study) else {})
    labels = {
        node: _label(node, node in latent, notes.get(node, []))
        for node in dict.fromkeys([*graph.nodes, *sum(edges, ())])
    }
    places = layout(labels, edges)
    bends = {edge: bend(edge, places, labels) for edge in edges}
    return Picture(places, bends, frozenset(latent), open_edges(found, edges), labels)


def _label(node: str, hidden: bool, notes: Sequence[str]) -> str:
    lines = [*notes, *(["not measured"] if hidden else [])]
    return "\n".join([node, *(part for line in lines for part in textwrap.wrap(line, NOTE_WIDTH))])


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


def _notes(found: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    notes: dict[str, list[str]] = defaultdict(list)
    for kind, word in (("mediators", "mediator of"), ("colliders", "collider for")):
        named: dict[str, list[str]] = defaultdict(list)
        for row in found:
            for node in row[kind]:
                named[node].append(row["attribute"])
        for node, attributes in named.items():
            notes[node].append(f"{word} {', '.join(dict.fromkeys(attributes))}")
    return dict(notes)


def layout(labels: Mapping[str, str], edges: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """Place causes left of what they cause, the answer last, with few crossings.

    Columns are longest paths from a root, roots moved next to what they cause first; within columns nodes are sorted by
    the mean height of their neighbours a few times over (the barycentre heuristic of Sugiyama, Tagawa & Toda 1981).
    """
    dag: nx.DiGraph = nx.DiGraph()
    dag.add_nodes_from(labels)
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
    row = max(1.0, *(LINE * (2 + label.count("\n")) + 0.2 for label in labels.values()))
    return {node: (COLUMN * column[node], row * height[node] + _stagger(column[node], node)) for node in dag}


def _middle(dag: nx.DiGraph, node: str, height: dict[str, float]) -> float:
    near = [height[other] for other in (*dag.predecessors(node), *dag.successors(node)) if other in height]
    return sum(near) / len(near) if near else 0.0


def _stagger(column: int, node: str) -> float:
    """Raise every other column a little, so that an arrow past a column does not run through its nodes."""
    return 0.0 if node == ANSWER else 0.22 * (-1) ** column


def bend(edge: Edge, places: Mapping[str, tuple[float, float]], labels: Mapping[str, str]) -> float:
    """Return the smallest bend with which an arrow passes all other nodes by, or meets as little of them as can be."""

    def met(rad: float) -> int:
        points = curve(places[edge[0]], places[edge[1]], rad)
        return sum(
            _inside(point, places[node], labels[node]) for node in places if node not in edge for point in points
        )

    return min(BENDS, key=met)


def curve(start: tuple[float, float], end: tuple[float, float], rad: float) -> list[tuple[float, float]]:
    """Return points along the quadratic curve that matplotlib's ``arc3`` draws."""
    (x0, y0), (x2, y2) = start, end
    x1, y1 = (x0 + x2) / 2 + rad * (y2 - y0), (y0 + y2) / 2 - rad * (x2 - x0)
    weights = [((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in (i / 40 for i in range(41))]
    return [(a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2) for a, b, c in weights]


def _inside(point: tuple[float, float], place: tuple[float, float], label: str) -> bool:
    lines = label.split("\n")
    wide, high = CHARACTER * max(map(len, lines)) / 2 + 0.1, LINE * len(lines) / 2 + 0.12
    return math.fabs(point[0] - place[0]) < wide and math.fabs(point[1] - place[1]) < high
