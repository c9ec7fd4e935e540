"""The heat map's panels: what stands where."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.runs import Run
from causal.study import Study
from diagnostics.averages import coarsest
from diagnostics.heat import panels, topic_table
from diagnostics.inputs import load_inputs


def test_one_country_has_attributes_as_columns(audited: Run) -> None:
    inputs = load_inputs(str(audited.path))
    (panel,) = panels(inputs)
    assert list(panel.size.index) == ["goods", "services"]
    assert list(panel.size.columns) == ["gender", "home"]
    own = coarsest(inputs, "home")
    own = own[own["topic"] == "services"]
    assert len(own) == 3
    expected = np.sqrt(np.mean(own["shift"] ** 2 - own["std_error"] ** 2))
    assert panel.size.loc["services", "home"] == pytest.approx(expected)
    assert panel.found.loc["services", "home"] == (own["q_value"] < 0.05).sum()
    table = topic_table(inputs)
    assert table is not None
    assert [row[:3] for row in table.rows[:2]] == [("gender", "goods", "3"), ("gender", "services", "3")]


def test_several_countries_have_a_panel_for_each_attribute(toy: SimpleNamespace) -> None:
    study = Study.from_dict(toy.raw(survey={"source": "x.csv", "country": "cntry", "countries": {"NO": "Zealand"}}))
    rows = pd.DataFrame(
        [
            {
                "country": country,
                "question": question,
                "attribute": attribute,
                "granularity": 1,
                "supported": supported,
                "estimand": "total" if attribute == "gender" else "not_identified",
                "shift": shift,
                "std_error": 0.0,
                "q_value": q,
            }
            for country, question, attribute, supported, shift, q in (
                ("NO", "q0", "gender", True, 0.3, 0.01),
                ("SE", "q0", "gender", True, -0.4, 0.5),
                ("SE", "q3", "gender", False, 0.9, 0.5),
                ("NO", "q3", "gender", True, 0.2, 0.5),
                ("NO", "q0", "home", True, 0.1, 0.5),
            )
        ]
    )
    gender, home = panels(SimpleNamespace(study=study, effects=rows))  # type: ignore[arg-type]
    assert (gender.title, home.title) == ("gender", "home †")
    assert list(gender.size.columns) == ["SE", "Zealand", "all"]
    np.testing.assert_allclose(gender.size.to_numpy(), [[0.4, 0.3, np.sqrt(0.125)], [np.nan, 0.2, 0.2]])
    np.testing.assert_array_equal(gender.found.to_numpy(), [[0, 1, 1], [np.nan, 0, 0]])
    assert home.size.isna().to_numpy().sum() == 4


def test_one_topic_in_one_country_is_no_map(toy: SimpleNamespace, audited: Run) -> None:
    inputs = load_inputs(str(audited.path))
    rows = inputs.effects[inputs.effects["question"].isin(["q0", "q1"])]
    few = SimpleNamespace(study=inputs.study, effects=rows)
    assert panels(few) == []  # type: ignore[arg-type]
    assert topic_table(few) is None  # type: ignore[arg-type]
