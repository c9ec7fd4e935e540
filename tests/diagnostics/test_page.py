from __future__ import annotations

import pandas as pd

from causal.study import Study
from diagnostics.page import held_fixed


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
