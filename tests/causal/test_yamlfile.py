from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal.errors import InputError
from causal.study import Study
from causal.yamlfile import Located, Problem, line_of, nearest_key, raise_problems, read_yaml, set_key, write_yaml

TEXT = """\
a:
  b:
    - x
    - y: 1
  # a comment counts as a line
  c: {d: 2,
      e: 3}
"""


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "b", 0), 3),
        (("a", "b", 1, "y"), 4),
        (("a", "c", "d"), 6),
        (("a", "c", "e"), 7),
        (("a", "c", "absent"), 6),
        (("a", "b", 9), 2),
        (("absent",), None),
        ((), None),
    ],
)
def test_line_of_the_deepest_part_that_is_there(tmp_path: Path, loc: tuple[Any, ...], line: int | None) -> None:
    (tmp_path / "t.yaml").write_text(TEXT)
    assert line_of(read_yaml(tmp_path / "t.yaml").data, loc) == line


def test_plain_data_have_no_lines() -> None:
    assert line_of({"a": 1}, ("a",)) is None


@pytest.mark.parametrize(
    ("loc", "hint"),
    [
        (("atributes",), "; did you mean 'attributes'?"),
        (("fit", "lora", "rnk"), "; did you mean 'rank'?"),
        (("attributes", "gender", "levels", "m", "code"), "; did you mean 'codes'?"),
        (("survey", "country", "ConstantCountry", "constnt"), "; did you mean 'constant'?"),
        (("model", "nme"), "; did you mean 'name'?"),
        (("fit", "held_out", "zzz"), "; allowed here: countries, personas, questions, respondents"),
    ],
)
def test_nearest_key_looks_where_the_key_stands(loc: tuple[str, ...], hint: str) -> None:
    assert nearest_key(Study, loc) == hint


def test_problems_come_once_in_the_order_of_the_file() -> None:
    problems = [
        Problem(9, "b", "late"),
        Problem(2, "a", "early"),
        Problem(9, "b", "late"),
        Problem(None, "c", "nowhere"),
    ]
    with pytest.raises(InputError) as caught:
        raise_problems(Located({}, "t.yaml", None), problems)
    assert str(caught.value) == "t.yaml: 3 problems\n  c: nowhere\n  line 2: a: early\n  line 9: b: late"


def test_words_that_yaml_1_1_takes_for_truth_survive_the_file(tmp_path: Path) -> None:
    data = {"country": ["NO", "no", "yes", "off", "1", "1.0", "null", "~", "", "2024-01-01"], "flag": True, "n": 1}
    write_yaml(data, tmp_path / "t.yaml")
    assert read_yaml(tmp_path / "t.yaml").data == data


KEYS = st.lists(st.text("abcxyz_", min_size=1, max_size=5), min_size=1, max_size=4)


@given(KEYS, st.one_of(st.integers(), st.booleans(), st.lists(st.integers()), st.none()))
def test_set_key_puts_the_value_where_the_key_says(path: list[str], value: Any) -> None:
    located = Located({}, "study", None)
    set_key(located, f"{'.'.join(path)}={json.dumps(value)}")
    node = located.data
    for part in path:
        assert list(node) == [part]
        node = node[part]
    assert node == value


@given(st.text(max_size=20))
def test_set_key_raises_input_errors_only(override: str) -> None:
    with contextlib.suppress(InputError):
        set_key(Located({"a": 1, "b": {"c": 2}}, "study", None), override)
