from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from causal.errors import InputError
from causal.graphtext import parse_graph
from causal.study import Study

DAGITTY = """dag {
bb="-2.1,-1.5,2.2,1.1"
"years of age" [pos="-1.2,0.4"]
wealth [latent,pos="0.1,-1"]
trust [outcome,pos="1,0"]
gender [exposure]
wealth -> {gender education}   // what no column holds
gender -> trust <- education
gender <-> trust
"years of age" -> trust
}"""
DOT = """strict digraph "my graph" {
  rankdir=LR; node [shape=box]
  U [latent=true, label="wealth -> everything"]; "a b" [observed="no"];
  U -> gender -> answer [color=red];
  age -> {gender; answer}
  subgraph cluster { z -> answer }
  # z is free
  /* and U
     hidden */
}"""


def test_dagitty() -> None:
    found = parse_graph(DAGITTY)
    hidden = "cause of gender and answer"
    assert found.nodes == ("years of age", "wealth", "answer", "gender", "education", hidden)
    assert found.latent == ("wealth", hidden)
    assert set(found.edges) == {
        ("wealth", "gender"),
        ("wealth", "education"),
        ("gender", "answer"),
        ("education", "answer"),
        (hidden, "gender"),
        (hidden, "answer"),
        ("years of age", "answer"),
    }


def test_dot() -> None:
    found = parse_graph(DOT)
    assert found.latent == ("U", "a b")
    assert set(found.edges) == {
        ("U", "gender"),
        ("gender", "answer"),
        ("age", "gender"),
        ("age", "answer"),
        ("z", "answer"),
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not readable as a graph"),
        ("gender -> answer", "not readable as a graph"),
        ("graph { a -- answer }", "not readable as a graph"),
        ("dag { gender -> answer", "not readable as a graph"),
        ("dag { gender -> }", "'the end'"),
        ("dag { { a b -> answer }", "{ is not closed"),
        ("dag { a [latent -> answer }", "[ is not closed"),
        ("digraph { a -- answer }", "has no direction"),
        ("dag { a @-@ answer }", "has no direction"),
        ("dag { a -> b }", "no node 'answer'"),
        ("dag { a [outcome] b [outcome] a -> b }", "one node can be the outcome"),
        ("dag { y [outcome] y -> answer }", "keep one of them"),
        ("digraph { :e -> answer }", "a node was expected where ':e' stands"),
        ("dag { a -> -> answer }", "a node was expected where '->' stands"),
    ],
)
def test_what_is_no_dag_is_said(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"graph|outcome|direction") as error:
        parse_graph(text)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ('digraph { gender:e -> answer:w; age:"a b":n -> gender }', {("gender", "answer"), ("age", "gender")}),
        (
            "digraph { gender -> answer # age -> gender\n age -> answer; #done\n}",
            {("gender", "answer"), ("age", "answer")},
        ),
        ('digraph { "a # b:c" -> answer }', {("a # b:c", "answer")}),
        (
            "digraph { a -> b -> {c d} -> answer }",
            {("a", "b"), *((x, y) for z in "cd" for x, y in [("b", z), (z, "answer")])},
        ),
        ("digraph { a -> subgraph s { b; c } b -> answer }", {("a", "b"), ("a", "c"), ("b", "answer")}),
        ('dag { u [unobserved, pos="-1,0.5"] u -> {a answer} answer [pos="1,2"] }', {("u", "a"), ("u", "answer")}),
    ],
)
def test_ports_comments_chains_groups_and_positions(text: str, edges: set[tuple[str, str]]) -> None:
    assert set(parse_graph(text).edges) == edges


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=("Cc", "Cs")), min_size=1)


@example([("a//b", "/* c */")])
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=6))
def test_quoted_names_come_back_as_they_were(pairs: list[tuple[str, str]]) -> None:
    lines = [f'"{tail}" -> "{head}"' for tail, head in pairs]
    found = parse_graph("dag { answer\n" + "\n".join(lines) + "}")
    assert set(found.edges) == set(pairs)
    assert set(found.nodes) == {"answer", *(name for pair in pairs for name in pair)}


def _written(edges: list[tuple[str, str]], latent: set[str], style: str, port: str) -> str:
    """Write a graph as text, each edge with a comment that holds another edge."""
    names = {name: f'"{name}"' for edge in edges for name in edge}
    mark = {"dag": "latent", "digraph": "observed=no"}[style]
    lines = [f"{names[name]} [{mark}];  # {names[name]} -> x" for name in sorted(latent)]
    lines += [f"{names[tail]}{port} -> {names[head]}{port} // <- y" for tail, head in edges]
    return f"{style} {{ answer\n" + "\n".join(lines) + "\n}"


@given(
    st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=6, unique=True),
    st.sampled_from(["dag", "digraph"]),
    st.sampled_from(["", ":e", ': "a b":sw']),
    st.data(),
)
def test_a_graph_comes_back_from_its_text(
    edges: list[tuple[str, str]], style: str, port: str, data: st.DataObject
) -> None:
    latent = data.draw(st.sets(st.sampled_from([tail for tail, _ in edges])))
    found = parse_graph(_written(edges, latent, style, port))
    assert (set(found.edges), set(found.latent)) == (set(edges), latent)


@given(st.text(alphabet='ab:"{}[]-><=;,\\ \n/*#', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert "answer" in parse_graph("dag {" + text + "}").nodes


def study(graph: object) -> Study:
    levels = {"a": {"codes": [0], "persona": "one"}, "b": {"codes": [1], "persona": "other"}}
    return Study.from_dict(
        {
            "name": "drawn",
            "survey": {"source": "x.csv", "country": {"constant": "X"}},
            "attributes": {name: {"levels": levels} for name in ("gender", "education")},
            "covariates": {"age": {}},
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
            "graph": graph,
        }
    )


def test_a_study_takes_the_text_as_it_stands() -> None:
    drawn = study({"text": "dag { age -> gender -> answer <- education  u [latent] u -> answer }"})
    assert set(drawn.causal_graph.edges) == {
        ("age", "gender"),
        ("gender", "answer"),
        ("education", "answer"),
        ("u", "answer"),
    }
    assert drawn.causal_graph.latent == {"u"}


def test_a_saved_study_holds_the_same_graph(tmp_path) -> None:
    drawn = study({"text": "digraph { u [latent]; u -> education -> answer; gender -> education }"})
    drawn.save(tmp_path / "study.yaml")
    assert Study.load(tmp_path / "study.yaml").causal_graph == drawn.causal_graph


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        ({"text": "dag { gender -> answer }"}, "from attribute 'education' to 'answer'"),
        ({"text": "dag { gender -> x -> answer <- education }"}, "unknown node 'x'"),
        ({"text": "dag { gender -> answer <- education age [latent] age -> answer }"}, "'age' is in the data"),
        ({"text": "dag { gender -> answer -> education }"}, "outgoing edge"),
        ({"text": "dag { gender -> education -> gender -> answer }"}, "gender -> education -> gender"),
        ({"text": "dag { gender -> answer <- education }", "latent": ["u"]}, "give either text"),
        ({"text": 3}, "DOT or dagitty"),
        ({"text": "dag { gender"}, "not readable as a graph"),
        ({"text": "dag { gender -> answer <- education  u [latent] }"}, "latent node 'u' is declared but in no edge"),
        ({"edges": [["gender", "answer"]], "latent": ["u"]}, "latent node 'u' is declared but in no edge"),
        ({"edges": [["gender", "answer"]], "default_edges": False}, "from attribute 'education'"),
    ],
)
def test_a_bad_graph_is_named(graph: object, part: str) -> None:
    with pytest.raises(InputError) as error:
        study(graph)
    assert part in str(error.value)
