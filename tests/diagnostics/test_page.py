from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from causal.runs import Run
from causal.study import Study
from causal.tables import read_effects
from diagnostics.inputs import load_inputs
from diagnostics.page import estimator_table, held_fixed


def test_what_is_held_fixed_is_said_with_its_attribute() -> None:
    level = {"yes": {"codes": [1], "persona": "so"}, "no": {"codes": [0], "persona": "not so"}}
    study = Study.from_dict(
        {
            "name": "s",
            "survey": {"source": "x.csv", "country": {"constant": "X"}},
            "attributes": {name: {"levels": level} for name in ("urban", "college", "church")},
            "questions": {"q": {"text": "?", "options": {0: "no", 1: "yes"}}},
        }
    )
    row = pd.Series({"urban": None, "college": "yes", "church": "no"}, dtype=object)
    assert held_fixed(row, study) == "college yes, church no"
    assert held_fixed(pd.Series({"urban": None, "college": None, "church": None}, dtype=object), study) == "nothing"


def test_other_estimators_stand_beside_the_cells(toy: SimpleNamespace, tmp_path: Path) -> None:
    study = Study.from_dict(toy.raw(effects={"granularity": "full", "estimator": ["cell", "pooled", "aipw"]}))
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", study).path))
    table = estimator_table(inputs)
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("gender", "pooled", "12"),
        ("home", "pooled", "12"),
        ("gender", "aipw", "12"),
        ("home", "aipw", "12"),
    ]
    both = read_effects(inputs.run.survey_effects).set_index(["attribute", "question", "gender", "home"])["shift"]
    gender = both[both.index.get_level_values(0) == "gender"].to_numpy().reshape(3, 12)  # cell, pooled, aipw
    assert table.rows[0][3] == f"{np.abs(gender[0]).mean():.3f}"
    assert table.rows[0][4] == f"{np.abs(gender[1]).mean():.3f}"
    assert table.rows[2][5] == f"{np.abs(gender[2] - gender[0]).mean():.3f}"
    assert table.rows[0][6] == "–"  # pooled rows are not tested
    assert int(table.rows[2][6]) > 0


def test_without_other_estimators_there_is_no_such_table(audited: Run) -> None:
    assert estimator_table(load_inputs(str(audited.path))) is None
