"""Which paths of the DAG matter for an attribute's effect, what each node is to it, and what to adjust for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from causal.graph import ANSWER, CausalGraph, Estimand, digraph

if TYPE_CHECKING:
    import networkx as nx

Role = Literal["confounder", "mediator", "collider", "descendant", "instrument", "neutral"]
SHOWN_PATHS = 3
"""Open paths that are spelled out, the shortest."""


@dataclass(frozen=True)
class AdjustmentSets:
    """What to hold fixed to get an attribute's total effect.

    Attributes
    ----------
    minimal : tuple of str or None
        A set from which nothing can be left out; None if no set of measured nodes will do.
    canonical : tuple of str or None
        All measured causes of the attribute or the answer that the attribute does not cause, likewise.
    """

    minimal: tuple[str, ...] | None
    canonical: tuple[str, ...] | None


@dataclass(frozen=True)
class Identification:
    """What toggling an attribute means, given what is held fixed, and why.

    Attributes
    ----------
    attribute : str
        The toggled attribute.
    held : tuple of str
        What is held fixed or adjusted for, sorted.
    estimand : {"total", "controlled_direct", "not_identified"}
        As in the effects table.
    open_paths : tuple of str
        The shortest paths that carry something else than the effect, such as "gender <- wealth -> answer"; none if the
        effect is identified.
    mediators : tuple of str
        Held nodes that the attribute causes: their share of its effect is taken out.
    colliders : tuple of str
        Held nodes that open a path by being held.
    sentence : str
        All of this in words.
    """

    attribute: str
    held: tuple[str, ...]
    estimand: Estimand
    open_paths: tuple[str, ...]
    mediators: tuple[str, ...]
    colliders: tuple[str, ...]
    sentence: str


def identify(graph: CausalGraph, attribute: str, held: Iterable[str]) -> Identification:
    """Say what toggling ``attribute`` while ``held`` is fixed measures, and which paths stay open if it is no effect.

    The estimand is that of `CausalGraph.estimand`; the paths are those that make its d-separation fail.
    """
    return _identify(graph, attribute, tuple(sorted(held)))


@cache
def _identify(graph: CausalGraph, attribute: str, held: tuple[str, ...]) -> Identification:
    import networkx as nx

    estimand = graph.estimand(attribute, held)
    caused = nx.descendants(digraph(graph), attribute)
    mediators = tuple(node for node in held if node in caused)
    paths = _open_paths(graph, attribute, held) if estimand == "not_identified" else []
    by_holding = [tuple(_opened(graph, path, held)) for path in paths]
    colliders = tuple(dict.fromkeys(node for nodes in by_holding for node in nodes))
    shown = tuple(spelled(graph, path) for path in paths[:SHOWN_PATHS])
    opened = tuple(path for path, nodes in zip(shown, by_holding, strict=False) if nodes)
    opens = _opens(colliders, opened, all(by_holding)) if colliders else ""
    words = _sentence(graph, attribute, held, estimand, shown, mediators, opens)
    return Identification(attribute, held, estimand, shown, mediators, colliders, words)


@cache
def roles(graph: CausalGraph, attribute: str) -> Mapping[str, tuple[Role, ...]]:
    """Return what every other node, the answer aside, is to the effect of an attribute on the answer.

    A confounder causes both; a mediator lies on a directed path between them; a collider is a common effect on a path
    that does not run along the arrows, closed unless it (or what it causes) is held; a descendant is caused by the
    attribute and causes no answer; an instrument causes the answer through the attribute only and shares no cause with
    it. A node can be more than one, and is neutral if it is none.

    Returns
    -------
    mapping of str to tuple of str
        By node, read-only.
    """
    import networkx as nx

    dag = digraph(graph)
    caused, causes = nx.descendants(dag, attribute), nx.ancestors(dag, attribute)
    without = dag.copy()
    without.remove_node(attribute)
    to_answer = nx.ancestors(without, ANSWER)
    cut = _cut(dag, [attribute])
    met = _colliders(dag, attribute)
    found: dict[str, tuple[Role, ...]] = {}
    for node in graph.nodes:
        if node in (attribute, ANSWER):
            continue
        own: list[Role] = []
        if node in causes and node in to_answer:
            own.append("confounder")
        if node in caused:
            own.append("mediator" if node in nx.ancestors(dag, ANSWER) else "descendant")
        if node in met:
            own.append("collider")
        if node in causes and nx.is_d_separator(cut, {node}, {ANSWER}, set()):
            own.append("instrument")
        found[node] = tuple(own) or ("neutral",)
    return MappingProxyType(found)


@cache
def adjustment_sets(graph: CausalGraph, attribute: str) -> AdjustmentSets:
    """Return a minimal and the canonical set that identify the total effect.

    By the adjustment criterion (Shpitser, VanderWeele & Robins 2010; van der Zander, Liskiewicz & Textor 2014): nothing
    on or below a causal path may be held, and with the causal paths' first arrows cut, the set must separate the
    attribute from the answer.
    """
    import networkx as nx

    dag = digraph(graph)
    on_path = nx.descendants(dag, attribute) & (nx.ancestors(dag, ANSWER) | {ANSWER})
    forbidden = set().union(*({node} | nx.descendants(dag, node) for node in on_path)) | {attribute} | graph.latent
    back_door = dag.copy()
    back_door.remove_edges_from([(attribute, node) for node in on_path if dag.has_edge(attribute, node)])
    allowed = set(dag) - forbidden
    canonical = (nx.ancestors(dag, attribute) | nx.ancestors(dag, ANSWER)) & allowed
    if not nx.is_d_separator(back_door, {attribute}, {ANSWER}, canonical):
        return AdjustmentSets(None, None)
    minimal = nx.find_minimal_d_separator(back_door, attribute, ANSWER, restricted=allowed)
    assert minimal is not None
    return AdjustmentSets(tuple(sorted(minimal)), tuple(sorted(canonical)))


@cache
def held_or_adjusted(graph: CausalGraph, attribute: str, held: frozenset[str]) -> frozenset[str]:
    """Return what to hold fixed with an attribute toggled: what is held, and all else measured that it does not cause.

    Where this opens a path (a collider such as the middle of an M is among it) and fewer nodes do not, only those are
    returned that cause the attribute, the answer or something held: if any set that has what is held in it separates
    them, this one does (van der Zander, Liskiewicz & Textor 2014, UAI).
    """
    import networkx as nx

    dag = digraph(graph)
    others = set(graph.nodes) - {attribute, ANSWER} - graph.latent - nx.descendants(dag, attribute)
    everything = held | others
    if graph.estimand(attribute, everything) != "not_identified":
        return everything
    near = set().union(*(nx.ancestors(dag, node) for node in {attribute, ANSWER} | held))
    fewer = held | (others & near)
    return fewer if graph.estimand(attribute, fewer) != "not_identified" else everything


def spelled(graph: CausalGraph, path: Iterable[str]) -> str:
    """Return a path with its arrows: ``gender <- wealth -> answer``."""
    nodes, edges = list(path), set(graph.edges)
    steps = [f" {'->' if (one, other) in edges else '<-'} {other}" for one, other in pairwise(nodes)]
    return nodes[0] + "".join(steps)


def _open_paths(graph: CausalGraph, attribute: str, held: Iterable[str]) -> list[list[str]]:
    """Return some of the shortest paths that tie the answer to the attribute otherwise than by its effect.

    One that begins at a held effect of the attribute is reached from it along the arrows, and opened by holding that.
    """
    import networkx as nx

    dag = digraph(graph)
    caused = set(held) & nx.descendants(dag, attribute)
    cut = _cut(dag, [attribute, *caused])
    found: list[list[str]] = []
    for length in range(2, len(graph.nodes) + 1):
        for start in (attribute, *sorted(caused)):
            avoid = frozenset(caused | {attribute}) - {start}
            paths = _paths(cut, start, length, frozenset(held) - caused, avoid)
            found += [_reached_from(dag, attribute, path) for path in islice(paths, SHOWN_PATHS)]
        if len(found) >= SHOWN_PATHS:
            break
    return sorted(found, key=len)


def _reached_from(dag: nx.DiGraph, attribute: str, path: list[str]) -> list[str]:
    """Return a path with the arrows from the attribute to its start before it, unless they meet it elsewhere."""
    import networkx as nx

    before = nx.shortest_path(dag, attribute, path[0])[:-1]
    return path if set(before) & set(path) else before + path


def _cut(dag: nx.DiGraph, nodes: Iterable[str]) -> nx.DiGraph:
    """Return the graph without the arrows out of some nodes."""
    cut = dag.copy()
    cut.remove_edges_from(list(dag.out_edges(nodes)))
    return cut


def _paths(
    cut: nx.DiGraph, start: str, length: int, fixed: frozenset[str], avoid: frozenset[str]
) -> Iterator[list[str]]:
    """Yield the open paths of so many nodes from a node to the answer, whichever way their arrows point.

    A path is open if no chain or fork on it is held, and every collider or its effect is.
    """
    import networkx as nx

    opened = fixed.union(*(nx.ancestors(cut, node) for node in fixed))
    near = {node: [*cut.predecessors(node), *cut.successors(node)] for node in cut}

    def passes(before: str, node: str, after: str) -> bool:
        meets = cut.has_edge(before, node) and cut.has_edge(after, node)
        return node in opened if meets else node not in fixed

    def walk(path: list[str]) -> Iterator[list[str]]:
        for node in near[path[-1]]:
            if node in path or node in avoid or (len(path) > 1 and not passes(path[-2], path[-1], node)):
                continue
            if node == ANSWER:
                if len(path) + 1 == length:
                    yield [*path, node]
            elif len(path) + 1 < length:
                yield from walk([*path, node])

    return walk([start])


def _opened(graph: CausalGraph, path: list[str], held: Iterable[str]) -> Iterator[str]:
    """Yield the held nodes that are colliders on a path, or are caused by one."""
    import networkx as nx

    dag = digraph(graph)
    for before, node, after in zip(path, path[1:], path[2:], strict=False):
        if dag.has_edge(before, node) and dag.has_edge(after, node):
            yield from sorted(({node} | nx.descendants(dag, node)) & set(held))


def _colliders(dag: nx.DiGraph, attribute: str) -> set[str]:
    """Return the nodes where two arrows meet on a path between the attribute and the answer."""
    return {node for node in dag if node not in (attribute, ANSWER) and _meets(dag, node, attribute)}


def _meets(dag: nx.DiGraph, node: str, attribute: str) -> bool:
    """Whether two paths lead from a node's causes to the attribute and to the answer that share no node (max-flow)."""
    import networkx as nx

    flow: nx.DiGraph = nx.DiGraph()
    for other in dag:
        flow.add_edge((other, "in"), (other, "out"), capacity=1)
    for tail, head in dag.edges:
        if node in (tail, head):
            continue
        flow.add_edge((tail, "out"), (head, "in"), capacity=1)
        flow.add_edge((head, "out"), (tail, "in"), capacity=1)
    for cause in dag.predecessors(node):
        flow.add_edge("from", (cause, "in"), capacity=1)
    for end in (attribute, ANSWER):
        flow.remove_edges_from(list(flow.out_edges((end, "out"))))
        flow.add_edge((end, "out"), "to", capacity=1)
    return "from" in flow and nx.maximum_flow_value(flow, "from", "to") == 2


def _sentence(
    graph: CausalGraph,
    attribute: str,
    held: tuple[str, ...],
    estimand: Estimand,
    paths: tuple[str, ...],
    mediators: tuple[str, ...],
    opens: str,
) -> str:
    fixed = f"with {_listed(held)} held fixed" if held else "with nothing else held fixed"
    if estimand == "total":
        return f"Given the graph, the contrast of {attribute} {fixed} is its total effect on the answer."
    if estimand == "controlled_direct":
        return (
            f"Given the graph, the contrast of {attribute} {fixed} is a controlled direct effect: what it does "
            f"through {_listed(mediators)}, which it causes, is taken out."
        )
    why = f"Given the graph, the contrast of {attribute} {fixed} is no causal effect but an association: " + (
        f"{_listed(paths)} stay{'s' if len(paths) == 1 else ''} open."
        if paths
        else "paths that do not run along its effect stay open."
    )
    if mediators:
        why += f" What {attribute} does through {_listed(mediators)}, which it causes, is taken out as well."
    why += opens
    needed = adjustment_sets(graph, attribute).minimal
    if needed is None:
        return why + " No set of what the survey measures identifies its total effect."
    return (
        why + f" Holding {_listed(needed)} alone would identify its total effect."
        if needed
        else (why + " With nothing held it would be its total effect.")
    )


def _opens(colliders: tuple[str, ...], opened: tuple[str, ...], every: bool) -> str:
    """Say which of the open paths what is held opens: every one, or those spelled out that it does."""
    if every:
        which = f"is what opens {'it' if len(opened) == 1 else 'them'}"
    else:
        which = f"opens {_listed(opened) if opened else 'a longer one'}"
    return f" Holding {_listed(colliders)} {which}: among those who share a common effect, its causes go together."


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
