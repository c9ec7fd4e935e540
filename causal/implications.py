"""What the DAG says that the survey can contradict: conditional independencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from causal.graph import CausalGraph, digraph


@dataclass(frozen=True)
class Independence:
    """Two nodes that the graph says are independent given others, all of them measured."""

    one: str
    other: str
    given: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.one} and {self.other}" + (f", given {', '.join(self.given)}" if self.given else "")


def implied(graph: CausalGraph) -> Iterator[Independence]:
    """Yield one conditional independence for each pair of measured nodes that measured nodes separate.

    Without latent nodes these imply all others that the DAG implies (Pearl 1988, the pairwise basis); pairs that only
    a latent node separates imply nothing that can be tested.
    """
    import networkx as nx

    dag = digraph(graph)
    measured = [node for node in graph.nodes if node not in graph.latent]
    for one, other in combinations(measured, 2):
        if dag.has_edge(one, other) or dag.has_edge(other, one):
            continue
        given = nx.find_minimal_d_separator(dag, one, other, restricted=set(measured) - {one, other})
        if given is not None:
            yield Independence(one, other, tuple(node for node in measured if node in given))
