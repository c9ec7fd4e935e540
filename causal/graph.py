"""The causal DAG: which estimand a toggle has, given what is held fixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import networkx as nx

ANSWER = "answer"
Estimand = Literal["total", "controlled_direct", "not_identified"]

Edge = tuple[str, str]


def find_cycle(edges: Iterable[Edge]) -> list[str]:
    """Return the nodes of one directed cycle, the first repeated at the end, or an empty list."""
    import networkx as nx

    try:
        found = nx.find_cycle(nx.DiGraph(list(edges)))
    except nx.NetworkXNoCycle:
        return []
    return [found[0][0], *(head for _, head in found)]


@dataclass(frozen=True)
class CausalGraph:
    """A DAG over attributes, covariates, latent nodes and the answer.

    Attributes
    ----------
    nodes, edges : tuple
        Names, and (cause, effect) pairs.
    latent : frozenset of str
        Nodes that no survey column measures and that nothing can hold fixed.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    latent: frozenset[str]

    @classmethod
    def from_edges(
        cls, measured: Sequence[str], edges: Iterable[Edge], latent: Iterable[str], default_edges: bool = True
    ) -> CausalGraph:
        """Build the graph; by default every measured node (attribute or covariate) points at the answer."""
        latent = frozenset(latent)
        default = [(node, ANSWER) for node in measured] if default_edges else []
        every = dict.fromkeys([*default, *edges])
        return cls((*measured, *sorted(latent), ANSWER), tuple(every), latent)

    def estimand(self, attribute: str, held: Iterable[str]) -> Estimand:
        """Name what toggling ``attribute`` while conditioning on ``held`` measures.

        With X the attribute and those of the held ones that it causes, and Z the other held ones, the
        conditional contrast equals the interventional one if the answer is d-separated from X given Z
        once the arrows out of X are cut (Pearl 2009, rule 2 of the do-calculus). It is then the total
        effect if nothing held is caused by the attribute, and a controlled direct effect otherwise.

        Parameters
        ----------
        attribute : str
            The toggled attribute.
        held : iterable of str
            The attributes held fixed by the persona.

        Returns
        -------
        {"total", "controlled_direct", "not_identified"}
        """
        return _estimand(self, attribute, frozenset(held))

    def caused_by(self, attribute: str) -> frozenset[str]:
        """Return everything that the attribute causes, directly or through others, the answer included."""
        import networkx as nx

        return frozenset(nx.descendants(digraph(self), attribute))

    def persona_edit(self, attribute: str, held: Iterable[str]) -> Estimand:
        """Name what editing one attribute of a model's persona does; an intervention is always identified."""
        return "controlled_direct" if self.caused_by(attribute) & set(held) else "total"


def digraph(graph: CausalGraph) -> nx.DiGraph:
    """Return the graph for networkx."""
    import networkx as nx

    built = nx.DiGraph(list(graph.edges))
    built.add_nodes_from(graph.nodes)
    return built


@cache
def _estimand(graph: CausalGraph, attribute: str, held: frozenset[str]) -> Estimand:
    import networkx as nx

    dag = digraph(graph)
    caused = held & nx.descendants(dag, attribute)
    intervened = {attribute} | caused
    cut = dag.copy()
    cut.remove_edges_from(list(dag.out_edges(intervened)))
    if not nx.is_d_separator(cut, {ANSWER}, intervened, held - caused):
        return "not_identified"
    return "controlled_direct" if caused else "total"
