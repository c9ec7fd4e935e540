from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal.codes import code_key
from causal.crosschecks import RESERVED
from causal.errors import InputError
from causal.study import Study
from causal.tables import distributions_schema, effects_schema

STUDY = """\
name: small
survey:
  source: x.csv
  country: c
attributes:
  gender:
    levels:
      m: {codes: [1], persona: a man}
      f: {codes: [2], persona: a woman}
  education:
    levels:
      hi: {codes: [1], persona: educated}
      lo: {codes: [0], persona: not educated}
questions:
  q1:
    text: one
    options: {1: low, 2: high}
  q2:
    text: two
    options: {no: against, yes: in favour}
"""


def load(tmp_path: Path, text: str, *overrides: str) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return Study.load(path, overrides)


def complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


def test_minimal_study_has_the_documented_defaults(tmp_path: Path) -> None:
    study = load(tmp_path, STUDY)
    assert (study.effects.support, study.effects.confidence, study.granularities) == (10, 0.95, (2,))
    assert (study.fit.lora.rank, study.fit.lora.alpha, study.fit.lora.dropout) == (8, 16, 0.05)
    assert study.model is None


def test_unknown_key_names_line_and_nearest_key(tmp_path: Path) -> None:
    message = complaint(tmp_path, STUDY.replace("    text: one", "    txt: one\n    text: one"))
    assert "line 16: questions.q1.txt: unknown key; did you mean 'text'?" in message


def test_unknown_key_without_a_near_one_lists_what_is_allowed(tmp_path: Path) -> None:
    message = complaint(tmp_path, STUDY + "diagnosis: {zzz: 1}\n")
    assert "line 21: diagnosis.zzz: unknown key; allowed here: tau" in message


def test_all_errors_come_at_once_each_with_its_line_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = STUDY.replace("source: x.csv", "sorce: x.csv").replace("persona: a man", "persona: ''")
    message = complaint(tmp_path, text + "effects: {support: 0, confidence: 2}\ngraph: {edges: [[gender, age]]}\n")
    lines = [line.split(":")[0].strip() for line in message.splitlines()[1:]]
    assert lines == ["line 2", "line 3", "line 8", "line 21", "line 21", "line 22"]
    assert "survey.source: this key is required and missing" in message
    assert message.startswith(f"{tmp_path / 'study.yaml'}: 6 problems")


def test_country_no_and_options_yes_no_stay_text(tmp_path: Path) -> None:
    study = load(tmp_path, STUDY.replace("country: c", "country: {constant: NO}\n  countries: {NO: Norway}"))
    assert study.survey.country.constant == "NO"  # type: ignore[union-attr]
    assert study.country_name("NO") == "Norway"
    assert study.country_name("NA") == "NA"
    assert list(study.questions["q2"].options) == ["no", "yes"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("codes: [2]", "codes: [1.0]"), "line 6: attributes.gender: code 1 is in both 'm' and 'f'"),
        (("{1: low, 2: high}", '{1: low, "1": high}'), "line 15: questions.q1: option code 1 is given more than once"),
        (("{1: low, 2: high}", "{1: low, 2: low}"), "option label low is given more than once"),
        (("text: one", "missing: [2]\n    text: one"), "line 15: questions.q1: code 2 is both an option and missing"),
        (("codes: [2]", "range: [1, 2]"), "line 6: attributes.gender: some levels have codes and some a range"),
        (("codes: [2]", "codes: [2], range: [1, 2]"), "attributes.gender.levels.f: give either codes, or range"),
        (("codes: [2], ", ""), "attributes.gender.levels.f: give either codes, or range: [low, high]"),
        (("codes: [2]", "range: [2, 2]"), "attributes.gender.levels.f: range [2.0, 2.0] holds nothing"),
        (("codes: [2]", "range: [2]"), "attributes.gender.levels.f.range.1: this key is required and missing"),
        (("codes: [2]", "range: [young, 2]"), "attributes.gender.levels.f.range.0: Input should be a valid number"),
        (("codes: [2]", "range: [.nan, 2]"), "attributes.gender.levels.f.range.0: Input should be a finite number"),
        (("f: {codes", "contrasts: adjacent\n      f: {codes"), "attributes.gender.levels.contrasts"),
        (("  gender:", "  shift:"), "line 6: attributes.shift: this name is taken by a column"),
        (("  gender:", "  answer:"), "line 6: attributes.answer: this name is taken"),
        (("{1: low, 2: high}", "{1: low}"), "line 17: questions.q1.options"),
        (("      f: {codes: [2], persona: a woman}\n", ""), "line 7: attributes.gender.levels"),
        (("text: one", "text: 2024-13-45"), "not valid YAML"),
        (("text: one", "text: one\n    text: two"), "line 17: not valid YAML: found duplicate key"),
    ],
)
def test_contradiction_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    assert change[0] in STUDY
    assert expected in complaint(tmp_path, STUDY.replace(*change)).replace('"', "")


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("{edges: [[gender, education], [education, gender]]}", "a cycle: gender -> education -> gender"),
        ("{edges: [[gender, gender]]}", "a cycle: gender -> gender"),
        ("{edges: [[gender, age]]}", "unknown node 'age'; known are answer, education, gender"),
        ("{edges: [[answer, gender]]}", "'answer' has an outgoing edge"),
        ("{latent: [gender]}", "'gender' is in the data, so it is not latent"),
        ("{edges: [[gender]]}", "graph.edges.0.1"),
        ("{edges: [[[gender], education]]}", "graph.edges.0.0"),
        ("{edges: 5}", "graph.edges"),
    ],
)
def test_graph_that_is_no_dag_of_known_nodes_is_refused(tmp_path: Path, graph: str, expected: str) -> None:
    message = complaint(tmp_path, f"{STUDY}graph: {graph}\n")
    assert expected in message
    assert "line 21" in message


def test_latent_node_may_be_an_edge_end(tmp_path: Path) -> None:
    study = load(tmp_path, STUDY + "graph: {edges: [[wealth, education], [wealth, answer]], latent: [wealth]}\n")
    assert study.causal_graph.latent == {"wealth"}


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ("[q3]", "unknown question 'q3'; known are q1, q2"),
        ("[q1, q2]", "every question is held out"),
        ("5", "fit.held_out.questions"),
        ("[[q1]]", "fit.held_out.questions.0"),
    ],
)
def test_impossible_held_out_questions_are_refused(tmp_path: Path, held_out: str, expected: str) -> None:
    message = complaint(tmp_path, f"{STUDY}fit: {{held_out: {{questions: {held_out}}}}}\n")
    assert expected in message
    assert "line 21" in message


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("[3]", "3 is not possible with 2 attributes; give 0 to 2, full or all"),
        ("-1", "-1 is not possible"),
        ("[0]", "granularity 0 alone has no attribute to toggle"),
        ("0", "granularity 0 alone has no attribute to toggle"),
        ("[]", "effects.granularity"),
        ("[some]", "'full' or 'all'"),
        ("['7']", "given: '7'"),
        ("[true]", "given: True"),
    ],
)
def test_granularity_out_of_range_is_refused(tmp_path: Path, asked: str, expected: str) -> None:
    assert expected in complaint(tmp_path, f"{STUDY}effects: {{granularity: {asked}}}\n")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("full", (2,)), ("all", (0, 1, 2)), ("[full]", (2,)), ("1", (1,)), ("[0, full]", (0, 2)), ("[1, 1]", (1,))],
)
def test_granularities_asked_for(tmp_path: Path, asked: str, expected: tuple[int, ...]) -> None:
    assert load(tmp_path, f"{STUDY}effects: {{granularity: {asked}}}\n").granularities == expected


def test_paper_schedule_needs_an_even_number_of_epochs(tmp_path: Path) -> None:
    assert "3 is odd" in complaint(tmp_path, STUDY + "fit: {epochs: 3}\n")
    assert load(tmp_path, STUDY + "fit: {epochs: 3, schedule: effect}\n").fit.epochs == 3


def test_every_column_of_the_two_tables_is_reserved() -> None:
    assert {*distributions_schema(()).names, *effects_schema(()).names} <= RESERVED


def test_set_overrides_top_level_and_nested_keys_and_creates_sections(tmp_path: Path) -> None:
    study = load(tmp_path, STUDY, "name=other", "fit.lora.rank=16", "effects.granularity=[1, full]", "survey.weight=")
    assert (study.name, study.fit.lora.rank, study.granularities) == ("other", 16, (1, 2))
    assert study.survey.weight is None


def test_set_reads_values_as_yaml_1_2(tmp_path: Path) -> None:
    study = load(tmp_path, STUDY, "survey.country={constant: NO}")
    assert study.survey.country.constant == "NO"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("name", "give it as key=value"),
        ("=5", "give it as key=value"),
        ("name.first=x", "name is no section of the study"),
        ("effects.support=[", "the value is not valid YAML"),
        ("name=2024-13-45", "the value is not valid YAML"),
        ("effects.suport=5", "effects.suport: unknown key; did you mean 'support'?"),
        ("effects.support=0", "effects.support: Input should be greater than or equal to 1 (given: 0)"),
        ("attributes.age={}", "attributes.age.levels: this key is required"),
        ("graph.edges=[[gender, age]]", "unknown node 'age'"),
    ],
)
def test_bad_set_is_refused(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in complaint(tmp_path, STUDY, override)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "is no study"), ("- a\n", "is no study"), ("a: [\n", "line 2: not valid YAML"), ("5", "is no study")],
)
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_missing_and_latin_1_study_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Study.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        Study.load(tmp_path / "latin.yaml")


def test_relative_source_is_looked_up_beside_the_study(tmp_path: Path) -> None:
    assert load(tmp_path, STUDY).survey.source == "x.csv"
    (tmp_path / "x.csv").write_text("c\n")
    assert load(tmp_path, STUDY).survey.source == str((tmp_path / "x.csv").resolve())


def test_cross_checks_see_tuples_as_they_see_lists(raw: dict[str, Any]) -> None:
    raw["graph"] = {"edges": (("gender", "age"),), "latent": ()}
    with pytest.raises(InputError, match="unknown node 'age'"):
        Study.from_dict(raw)
    raw["graph"] = {"edges": (("gender", "education"),)}
    assert Study.from_dict(raw).graph.edges == (("gender", "education"),)


def test_fingerprint_changes_with_the_order_of_levels_and_of_options(raw: dict[str, Any]) -> None:
    before = Study.from_dict(raw).fingerprint("attributes", "questions")
    levels = copy.deepcopy(raw)
    levels["attributes"]["gender"]["levels"] = dict(reversed(raw["attributes"]["gender"]["levels"].items()))
    options = copy.deepcopy(raw)
    options["questions"]["vote"]["options"] = {"yes": "Yes", "no": "No"}
    changed = {Study.from_dict(one).fingerprint("attributes", "questions") for one in (raw, levels, options)}
    assert len(changed) == 3
    assert before in changed


def test_fingerprint_covers_the_named_sections_only(raw: dict[str, Any]) -> None:
    study = Study.from_dict(raw)
    other = Study.from_dict(raw | {"name": "other", "diagnosis": {"tau": 0.2}})
    assert study.fingerprint("questions", "effects") == other.fingerprint("effects", "questions")
    assert study.fingerprint("diagnosis") != other.fingerprint("diagnosis")


def test_saved_study_is_the_same_study(tmp_path: Path) -> None:
    text = STUDY.replace("{1: low, 2: high}", "{-1: low, 2.5: middle, true: high}").replace("country: c", "country: NO")
    study = load(tmp_path, text)
    study.save(tmp_path / "saved.yaml")
    again = Study.load(tmp_path / "saved.yaml")
    sections = ("survey", "attributes", "questions", "effects", "graph")
    assert again.fingerprint(*sections) == study.fingerprint(*sections)
    assert [code_key(c) for c in again.questions["q1"].options] == ["-1", "2.5", "true"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        ("1.0", "1"),
        (" 1.00 ", "1"),
        (-2.0, "-2"),
        ("-2.0", "-2"),
        (-0.0, "0"),
        ("-0.0", "0"),
        ("01", "01"),
        ("01.0", "01.0"),
        ("1.5", "1.5"),
        (1.5, "1.5"),
        ("1.", "1."),
        ("10.0", "10"),
        ("1.0.0", "1.0.0"),
        (True, "true"),
        ("True", "true"),
        ("TRUE", "true"),
        ("false", "false"),
        ("", ""),
    ],
)
def test_code_key(code: object, expected: str) -> None:
    assert code_key(code) == expected


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_have_one_key_however_they_are_written(number: int) -> None:
    same = {code_key(form) for form in (number, float(number), str(number), f"{number}.0", f" {number} ")}
    assert same == {str(number)}


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text()))
def test_code_key_is_idempotent(code: object) -> None:
    assert code_key(code_key(code)) == code_key(code)


def _paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at] * bool(at) + [path for key, value in items for path in _paths(value, (*at, key))]


JUNK = st.sampled_from([None, 5, -1, 1.5, True, "", "junk", [], [[]], [["a"]], {}, {"a": {"b": 1}}, [{}], {5: 5}])


@settings(max_examples=150)
@given(st.data())
def test_junk_anywhere_in_the_study_is_an_input_error_or_a_study(data: st.DataObject) -> None:
    from ruamel.yaml import YAML

    raw = YAML(typ="safe").load(
        STUDY + "graph: {edges: [[u, gender]], latent: [u]}\nfit: {held_out: {questions: [q1]}}\n"
        "effects: {granularity: [1]}\nmodel: {name: x}\n"
    )
    *parents, last = data.draw(st.sampled_from(_paths(raw)))
    node = raw
    for part in parents:
        node = node[part]
    node[last] = data.draw(JUNK)
    with contextlib.suppress(InputError):
        Study.from_dict(raw)


def test_two_levels_with_the_same_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 6: .*two levels are said as a man"):
        load(tmp_path, STUDY.replace("a woman", "a man"))


def test_a_bad_override_is_not_blamed_on_a_line_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--set: effects\.support") as caught:
        load(tmp_path, STUDY + "effects: {support: 20}\n", "effects.support=-3")
    assert "line" not in str(caught.value)


def test_messages_use_no_words_of_the_validator(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(
            tmp_path,
            STUDY.replace("text: one", "text: ''").replace("name: small", "name: [1]"),
            "effects.granularity=x",
        )
    for word in ("dictionary", "literal[", "[key]", "after validation"):
        assert word not in str(caught.value)


def test_where_the_study_lies_is_neither_fingerprinted_nor_saved(tmp_path: Path) -> None:
    studies = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("gender\n")
        studies.append(load(tmp_path / name, STUDY))
    assert studies[0].survey.source != studies[1].survey.source
    assert studies[0].fingerprint("survey") == studies[1].fingerprint("survey")
    studies[0].save(tmp_path / "saved.yaml")
    assert str(tmp_path) not in (tmp_path / "saved.yaml").read_text()
