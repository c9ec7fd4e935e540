from __future__ import annotations

from types import SimpleNamespace

import pytest

from causal.check import Check
from causal.study import Study
from diagnostics.balance import MOST, love_rows


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


def test_differences_are_averaged_over_countries(toy: SimpleNamespace) -> None:
    details = [_detail("A", "age", 0.4, 0.1), _detail("A", "home", 0.2, 0.0), _detail("B", "age", 0.2, 0.3)]
    first, second = love_rows(_inputs(toy, details)).to_dict(orient="records")  # type: ignore[arg-type]
    assert (first["variable"], first["contrast"]) == ("age", "gender: male vs female")
    assert (first["before"], first["after"]) == pytest.approx((0.3, 0.2))
    assert (second["variable"], second["before"], second["after"]) == ("home", 0.2, 0.0)


def test_of_very_many_the_least_balanced_are_kept_in_order(toy: SimpleNamespace) -> None:
    details = [_detail("A", f"v{i}", 0.5, i / 1000) for i in range(MOST + 5)]
    kept = love_rows(_inputs(toy, details))["variable"].tolist()  # type: ignore[arg-type]
    assert kept == [f"v{i}" for i in range(5, MOST + 5)]


def test_nothing_to_draw(toy: SimpleNamespace) -> None:
    assert love_rows(_inputs(toy, [])).empty  # type: ignore[arg-type]
