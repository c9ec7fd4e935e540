"""Tables of estimands and roles, from details as the identification check writes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from causal.ignorability import identification_check
from causal.study import Study
from diagnostics.identified import estimand_table, role_table


def _inputs(toy: SimpleNamespace, graph: dict[str, Any], **sections: Any) -> Any:
    study = Study.from_dict(toy.raw(graph=graph, **sections))
    names = ["attribute", "gender", "home"]
    held = [("gender", None, None), ("gender", None, "city"), ("home", None, None), ("home", "male", None)]
    estimands = [study.causal_graph.estimand(row[0], [n for n in names[1:] if row[names.index(n)]]) for row in held]
    rows = pd.DataFrame(held, columns=names).assign(granularity=[1, 2, 1, 2], estimand=estimands, estimator="cell")
    return SimpleNamespace(study=study, checks=[identification_check(rows, study)])


def test_contrasts_that_measure_the_same_share_a_row(toy: SimpleNamespace) -> None:
    inputs = _inputs(toy, {})
    table = estimand_table(inputs)
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("gender", "home; nothing", "total"),
        ("home", "gender; nothing", "total"),
    ]
    assert role_table(inputs) is None


def test_a_mediator_and_a_confounder_are_told_apart(toy: SimpleNamespace) -> None:
    inputs = _inputs(toy, {"edges": [["gender", "home"]]})
    table = estimand_table(inputs)
    assert table is not None
    assert [(*row[:3], row[4]) for row in table.rows] == [
        ("gender", "home", "controlled direct", "nothing"),
        ("gender", "nothing", "total", "nothing"),
        ("home", "gender", "total", "gender"),
        ("home", "nothing", "association only", "gender"),
    ]
    assert "home ← gender → answer" in table.rows[3][3]
    roles = role_table(inputs)
    assert roles is not None
    assert roles.head == ("", "for gender", "for home")
    assert set(roles.rows) == {("home", "mediator", "–"), ("gender", "–", "confounder")}


def test_where_no_set_will_do_the_table_says_so(toy: SimpleNamespace) -> None:
    graph = {"edges": [["wealth", "gender"], ["wealth", "answer"]], "latent": ["wealth"]}
    table = estimand_table(_inputs(toy, graph))
    assert table is not None
    assert table.rows[0][2:5:2] == ("association only", "no measured set will do")


def test_what_only_adjusting_identifies_has_its_sentence(toy: SimpleNamespace) -> None:
    """home goes with gender and, through age, with the answer; aipw adjusts for both, not for income, its effect."""
    edges = [["gender", "home"], ["age", "home"], ["home", "income"]]
    sections = {"covariates": {"age": {}, "income": {}}, "effects": {"estimator": ["cell", "aipw"]}}
    table = estimand_table(_inputs(toy, {"edges": edges}, **sections))
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("gender", "home", "association only"),
        ("gender", "nothing", "total"),
        ("gender", "home (aipw)", "controlled direct"),
        ("home", "gender", "association only"),
        ("home", "nothing", "association only"),
        ("home", "gender; nothing (aipw)", "total"),
    ]
    assert "the contrast of home with age and gender held fixed is its total effect" in table.rows[5][3]
    assert "hold for people who overlap" in table.caption
    hidden = {"edges": [*edges, ["wealth", "home"], ["wealth", "answer"]], "latent": ["wealth"]}
    unknown = estimand_table(_inputs(toy, hidden, **sections))
    assert unknown is not None
    assert not any("aipw" in row[1] for row in unknown.rows)
    cells = estimand_table(_inputs(toy, {"edges": edges}, covariates=sections["covariates"]))
    assert cells is not None
    assert not any("aipw" in value for row in cells.rows for value in row)
    assert "aipw" not in cells.caption


def test_without_details_there_is_no_table(toy: SimpleNamespace) -> None:
    inputs = _inputs(toy, {})
    inputs.checks = []
    assert estimand_table(inputs) is None
    assert role_table(inputs) is None
