"""Parts of the survey, worked out by hand on small tables."""

from __future__ import annotations

import pandas as pd
import pytest

from causal.fitsettings import HeldOut
from causal.heldout import parts
from causal.study import Study


@pytest.fixture
def study() -> Study:
    def levels(*names: str) -> dict:
        return {"levels": {name: {"codes": [i], "persona": name} for i, name in enumerate(names)}}

    return Study.from_dict(
        {
            "name": "x",
            "survey": {"source": "a.csv", "country": "land"},
            "attributes": {"a": levels("a0", "a1", "a2"), "b": levels("b0", "b1")},
            "questions": {name: {"text": "?", "options": {1: "a", 2: "b"}} for name in ("q1", "q2")},
        }
    )


HELD_OUT = HeldOut(questions=("q2",), countries=(8,), personas=({"a": "a1", "b": "b1"}, {"a": "a2"}))


def test_cells(study: Study) -> None:
    rows = [
        ("1", "q1", "a0", "b1", "trained"),
        ("1", "q1", "a1", "b0", "trained"),
        ("1", "q1", "a1", None, "trained"),  # not all of a combination's levels
        ("1", "q1", None, None, "trained"),
        ("1", "q1", "a1", "b1", "held_out_personas"),
        ("1", "q1", "a2", None, "held_out_personas"),  # more attributes than the combination needs none of
        ("1", "q1", "a2", "b0", "held_out_personas"),
        ("8", "q1", "a0", "b0", "held_out_countries"),
        ("8", "q1", "a1", "b1", "held_out_countries"),  # the country comes before the persona
        ("8", "q2", "a1", "b1", "held_out"),  # and the question before both
        ("1", "q2", "a0", "b0", "held_out"),
    ]
    table = pd.DataFrame(rows, columns=["country", "question", "a", "b", "expected"])
    assert parts(table, HELD_OUT, study).tolist() == table["expected"].tolist()
    assert set(parts(table, HeldOut(), study)) == {"trained"}


def test_a_toggle_is_held_out_if_either_end_is(study: Study) -> None:
    rows = [
        ("a", "a0", "a1", None, "b0", "trained"),
        ("a", "a0", "a1", None, "b1", "held_out_personas"),  # treated end a1 b1
        ("a", "a1", "a0", None, "b1", "held_out_personas"),  # reference end
        ("b", "b0", "b1", "a1", None, "held_out_personas"),
        ("b", "b0", "b1", "a0", None, "trained"),
        ("a", "a0", "a2", None, "b0", "held_out_personas"),
        ("a", "a0", "a1", None, None, "trained"),
    ]
    table = pd.DataFrame(rows, columns=["attribute", "reference", "treated", "a", "b", "expected"])
    found = parts(table.assign(country="1", question="q1"), HELD_OUT, study)
    assert found.tolist() == table["expected"].tolist()


def test_validation_questions_are_a_part_of_their_own(study: Study) -> None:
    rows = [
        ("1", "q1", "a0", "b1", "validation"),
        ("8", "q1", "a0", "b1", "validation"),
        ("1", "q1", "a2", "b1", "validation"),
        ("1", "q2", "a0", "b1", "held_out"),
    ]
    table = pd.DataFrame(rows, columns=["country", "question", "a", "b", "expected"])
    assert parts(table, HELD_OUT, study, ("q1",)).tolist() == table["expected"].tolist()
