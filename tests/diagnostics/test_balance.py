from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from causal.check import Check
from causal.study import Study
from diagnostics.balance import KEPT, MOST, love_rows
from diagnostics.surveydrawings import draw_balance


def _inputs(toy: SimpleNamespace, details: list[dict[str, object]]) -> SimpleNamespace:
    check = Check("balance", 0.0, 0.25, "pass", "", "", details)
    return SimpleNamespace(study=Study.from_dict(toy.raw()), checks=[check])


def _detail(country: str, variable: str, before: float, after: float) -> dict[str, object]:
    return {
        "attribute": "gender",
        "treated": "female",
        "country": country,
        "variable": variable,
        "before": before,
        "after": after,
    }


def test_the_worst_country_is_shown_beside_the_median(toy: SimpleNamespace) -> None:
    details = [_detail("A", "age", 0.4, 0.1), _detail("A", "home", 0.2, 0.0), _detail("B", "age", 0.2, 0.3)]
    first, second = love_rows(_inputs(toy, [*details, _detail("C", "age", 0.5, 0.01)])).to_dict(orient="records")  # type: ignore[arg-type]
    assert (first["variable"], first["contrast"], first["country"]) == ("age", "gender: male vs female", "B")
    assert (first["before"], first["after"], first["median"]) == pytest.approx((0.2, 0.3, 0.1))
    assert (second["variable"], second["before"], second["after"]) == ("home", 0.2, 0.0)
    assert np.isnan(second["median"])  # of one country


def test_of_very_many_the_least_balanced_are_kept_in_order(toy: SimpleNamespace) -> None:
    details = [_detail("A", f"v{i}", 0.5, i / 1000) for i in range(MOST + 5)]
    kept = love_rows(_inputs(toy, details))["variable"].tolist()  # type: ignore[arg-type]
    assert set(kept) == {f"v{i}" for i in range(5, MOST + 5)}


def test_attributes_stand_as_in_the_study_and_the_largest_first(toy: SimpleNamespace) -> None:
    home = {"attribute": "home", "treated": "farm", "country": "A", "variable": "age", "before": 0.9, "after": 0.1}
    details = [home, _detail("A", "x", 0.1, 0.0), _detail("A", "y", 0.1, 0.05)]
    rows = love_rows(_inputs(toy, details))  # type: ignore[arg-type]
    assert rows[["attribute", "variable"]].to_numpy().tolist() == [["gender", "y"], ["gender", "x"], ["home", "age"]]


def test_a_variable_of_which_only_the_worst_countries_are_kept_has_no_median(toy: SimpleNamespace) -> None:
    details = [_detail(f"c{i}", "age", 0.1, 0.05) for i in range(KEPT - 2)]
    details += [_detail(country, "home", 0.9, 0.8) for country in ("c0", "c1")]
    rows = love_rows(_inputs(toy, details)).set_index("variable")  # type: ignore[arg-type]
    assert rows.loc["age", "median"] == 0.05
    assert np.isnan(rows.loc["home", "median"])
    assert rows.loc["home", "after"] == 0.8


def test_nothing_to_draw(toy: SimpleNamespace) -> None:
    assert love_rows(_inputs(toy, [])).empty  # type: ignore[arg-type]


def test_adjacent_levels_are_named_with_the_level_before(toy: SimpleNamespace) -> None:
    raw = toy.raw()
    ages = {name: {"codes": [i], "persona": name} for i, name in enumerate(("young", "middle", "old"))}
    for contrasts, first in (("adjacent", "middle"), ("reference", "young")):
        raw["attributes"]["age"] = {"contrasts": contrasts, "levels": ages}
        details = [_detail("A", "home", 0.2, 0.1) | {"attribute": "age", "treated": "old"}]
        check = Check("balance", 0.0, 0.25, "pass", "", "", details)
        rows = love_rows(SimpleNamespace(study=Study.from_dict(raw), checks=[check]))  # type: ignore[arg-type]
        assert rows["contrast"].tolist() == [f"age: {first} vs old"]


@pytest.mark.filterwarnings("error::UserWarning")
def test_long_names_leave_room_for_the_axes(toy: SimpleNamespace) -> None:
    raw = toy.raw()
    raw["survey"]["countries"] = {"A": "the United States of America in 2006", "B": "the United Kingdom in 2006"}
    raw["attributes"]["gender"]["levels"] = {
        "not_unemployed_at_all": {"codes": ["m"], "persona": "a man"},
        "unemployed_for_years": {"codes": ["f"], "persona": "a woman"},
    }
    details = [_detail(country, "highest_education", 0.4, 0.1) for country in ("A", "B")]
    details = [detail | {"treated": "unemployed_for_years"} for detail in details]
    check = Check("balance", 0.0, 0.25, "pass", "", "", details)
    (drawing,) = draw_balance(SimpleNamespace(study=Study.from_dict(raw), checks=[check]))  # type: ignore[arg-type]
    assert "unemployed_for_years" in drawing.svg
