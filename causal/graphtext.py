"""DAGs written as text: DOT (Graphviz, DoWhy) and dagitty, whose grammars share all that a DAG needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from causal.graph import ANSWER, Edge

_HEADS = {"dag": "dag { cause -> effect ... }", "digraph": "digraph { cause -> effect; ... }"}
_ARROWS = {"->", "<-", "<->"}
_UNDIRECTED = {"--", "@-@", "@->", "<-@"}
_NO = {"no", "false", "0"}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_COMMENT = re.compile(rf"({_QUOTED})|//[^\n]*|/\*.*?\*/|(?:^|(?<=[\s;{{}}\],]))#[^\n]*", re.DOTALL)
_TOKEN = re.compile(
    rf"""\s*(?:
    {_QUOTED}                     # a name in quotes
    |<->|->|<-@|<-|--|@-@|@->     # edges
    |[{{}}\[\];,=]
    |:\s*(?:{_QUOTED}|\w+)        # a port of the node before it
    |(?:[^\s{{}}\[\];,="<>@:-]|-(?![->]))+  # a bare name, which may hold hyphens
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class GraphText:
    """What a text says: nodes, (cause, effect) pairs and the nodes marked latent; the outcome is ``answer``."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    latent: tuple[str, ...]


def parse_graph(text: str) -> GraphText:
    """Read a DAG in DOT or dagitty.

    A node is latent with ``[latent]``, ``[unobserved]`` or ``[observed=no]``. The outcome is the node ``answer``, or
    the one marked ``[outcome]``. ``a <-> b`` stands for a latent common cause. Everything else in brackets (labels,
    positions, exposure, adjusted) and all settings of the drawing are ignored.

    Parameters
    ----------
    text : str
        ``digraph { u [latent=true]; u -> gender; gender -> answer }`` or
        ``dag { u [latent] u -> {gender education} gender -> answer <- education }``.

    Raises
    ------
    ValueError
        The text is neither, an edge has no direction, or there is no outcome.
    """
    head, _, body = _COMMENT.sub(lambda found: found[1] or " ", text).strip().partition("{")
    words = [word for word in re.sub(_QUOTED, "named", head).lower().split() if word != "strict"]
    if not words or words[0] not in _HEADS or len(words) > 2 or not body.endswith("}"):
        raise ValueError(f"not readable as a graph: write {' or '.join(_HEADS.values())}")
    tokens = _tokens(body[:-1])
    built = _Builder()
    while tokens:
        _statement(tokens, built)
    return built.finish()


def _tokens(text: str) -> list[str]:
    found, place, text = [], 0, text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"not readable as a graph near {text[place : place + 30].strip()!r}")
        found.append(match.group().strip())
        place = match.end()
    return found


def _statement(tokens: list[str], built: _Builder) -> list[str]:
    """Take a separator, or a chain of nodes or groups with arrows between, off the tokens; return the names in it."""
    if tokens[0] in (";", ","):
        tokens.pop(0)
        return []
    left = named = _group(tokens, built)
    while tokens and tokens[0] in _ARROWS | _UNDIRECTED:
        arrow = tokens.pop(0)
        if arrow in _UNDIRECTED:
            raise ValueError(f"the edge {arrow} after {', '.join(left)} has no direction; a DAG needs ->, <- or <->")
        right = _group(tokens, built)
        for one in left:
            for other in right:
                built.edge(one, arrow, other)
        named = [*named, *right]
        left = right
    return named


def _group(tokens: list[str], built: _Builder) -> list[str]:
    """Take one node with its flags, or several in braces, off the tokens; return their names."""
    word = tokens.pop(0) if tokens else ""
    if word == "subgraph":
        while word not in ("{", ""):
            word = tokens.pop(0) if tokens else ""
    if word == "{":
        return _braces(tokens, built)
    if not word or word[0] == ":" or word in _ARROWS | _UNDIRECTED | set("}[],=;"):
        raise ValueError(f"not readable as a graph: a node was expected where {word or 'the end'!r} stands")
    if tokens[:1] == ["="]:  # a setting of the drawing, such as bb="0,0,1,1"
        del tokens[:2]
        return []
    name = _unquoted(word)
    while tokens[:1] and tokens[0].startswith(":"):  # a port: where on the node's outline an arrow is drawn
        tokens.pop(0)
    flags = _flags(tokens)
    if name in ("node", "edge", "graph"):
        return []
    hidden = any(flags.get(word, "no") not in _NO for word in ("latent", "unobserved"))
    hidden = hidden or flags.get("observed", "yes") in _NO
    built.node(name, latent=hidden, outcome=flags.get("outcome", "no") not in _NO)
    return [name]


def _braces(tokens: list[str], built: _Builder) -> list[str]:
    named: list[str] = []
    while tokens and tokens[0] != "}":
        named += _statement(tokens, built)
    if not tokens:
        raise ValueError("not readable as a graph: a { is not closed")
    tokens.pop(0)
    return list(dict.fromkeys(named))


def _flags(tokens: list[str]) -> dict[str, str]:
    """Take ``[latent, observed=no]`` off the tokens; a word without a value has the value "yes"."""
    flags: dict[str, str] = {}
    while tokens[:1] == ["["]:
        if "]" not in tokens:
            raise ValueError("not readable as a graph: a [ is not closed")
        end = tokens.index("]")
        inside = [word for word in tokens[1:end] if word not in (",", ";")]
        del tokens[: end + 1]
        while inside:
            flag, value = inside.pop(0).lower(), "yes"
            if inside[:1] == ["="]:
                value = _unquoted(inside[1]).lower() if len(inside) > 1 else ""
                del inside[:2]
            flags[flag] = value
    return flags


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if len(name) > 1 and name[0] == name[-1] == '"' else name


@dataclass
class _Builder:
    """Collects nodes and edges in the order in which they are written."""

    nodes: dict[str, None] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], None] = field(default_factory=dict)
    latent: dict[str, None] = field(default_factory=dict)
    outcomes: dict[str, None] = field(default_factory=dict)

    def node(self, name: str, latent: bool, outcome: bool) -> None:
        self.nodes[name] = None
        if latent:
            self.latent[name] = None
        if outcome:
            self.outcomes[name] = None

    def edge(self, one: str, arrow: str, other: str) -> None:
        self.edges[(other, "->", one) if arrow == "<-" else (one, arrow, other)] = None

    def finish(self) -> GraphText:
        """Name the outcome ``answer``, and give each two-headed arrow its latent cause."""
        if len(self.outcomes) > 1:
            raise ValueError(f"one node can be the outcome, not {', '.join(self.outcomes)}")
        outcome = next(iter(self.outcomes), ANSWER)
        if outcome not in self.nodes:
            raise ValueError(f"the graph has no node {ANSWER!r}; call the survey's answer so, or mark it [outcome]")
        if outcome != ANSWER and ANSWER in self.nodes:
            raise ValueError(f"the graph has a node {ANSWER!r} and marks {outcome!r} as the outcome; keep one of them")
        edges: list[Edge] = []
        hidden: list[str] = []
        for tail, arrow, head in self.edges:
            tail, head = (ANSWER if name == outcome else name for name in (tail, head))
            if arrow == "<->":
                hidden.append(f"cause of {tail} and {head}")
                edges += [(hidden[-1], tail), (hidden[-1], head)]
            else:
                edges.append((tail, head))
        nodes = (*(ANSWER if name == outcome else name for name in self.nodes), *hidden)
        return GraphText(nodes, tuple(edges), (*self.latent, *hidden))
