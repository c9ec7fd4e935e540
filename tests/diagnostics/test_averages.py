"""Averages over contexts and countries, worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from causal.study import Study
from diagnostics.averages import coarsest, held_in_words, question_effects, sizes


def _row(country: str, gender: Any, home: Any, shift: float, half: float, n: int, **more: Any) -> dict[str, Any]:
    return {
        "country": country,
        "question": "q0",
        "attribute": "gender",
        "reference": "male",
        "treated": "female",
        "gender": gender,
        "home": home,
        "granularity": 1 if home is None else 2,
        "supported": True,
        "n_reference": n // 2,
        "n_treated": n - n // 2,
        "shift": shift,
        "std_error": half / 1.96,
        "conf_low": shift - half,
        "conf_high": shift + 2 * half,
        "p_value": 0.03,
        "q_value": 0.04,
    } | more


def _inputs(toy: SimpleNamespace, rows: list[dict[str, Any]], **survey: Any) -> Any:
    source = {"source": "nowhere.csv", "country": "country"} | survey
    return SimpleNamespace(study=Study.from_dict(toy.raw(survey=source)), effects=pd.DataFrame(rows))


CONTEXTS = [
    _row("A", None, "city", 0.10, 0.03, 300),
    _row("A", None, "farm", 0.30, 0.06, 100),
    _row("B", None, "city", -0.05, 0.04, 200),
]


def test_contexts_count_by_respondents_countries_alike_and_distances_add_in_squares(toy: SimpleNamespace) -> None:
    (row,) = question_effects(_inputs(toy, CONTEXTS), "gender").to_dict(orient="records")
    a = 0.75 * 0.10 + 0.25 * 0.30  # country A
    assert row["shift"] == pytest.approx((a - 0.05) / 2)
    np.testing.assert_allclose(row["by_country"], [a, -0.05])
    below = np.sqrt((0.75 * 0.03) ** 2 + (0.25 * 0.06) ** 2 + 0.04**2) / 2
    assert row["conf_low"] == pytest.approx(row["shift"] - below)
    assert row["conf_high"] == pytest.approx(row["shift"] + 2 * below)
    z = norm.isf(0.025) * row["shift"] / below
    assert row["found"] == (2 * norm.sf(z) < 0.05)


def test_contexts_that_share_psus_widen_the_interval(toy: SimpleNamespace) -> None:
    (row,) = question_effects(_inputs(toy, CONTEXTS, psu="village"), "gender").to_dict(orient="records")
    below = np.sqrt((0.75 * 0.03 + 0.25 * 0.06) ** 2 + 0.04**2) / 2
    assert row["conf_low"] == pytest.approx(row["shift"] - below)


def test_one_toggle_keeps_its_interval_and_its_p_value(toy: SimpleNamespace) -> None:
    inputs = _inputs(toy, [_row("A", None, None, 0.1, 0.2, 50), *CONTEXTS])
    assert coarsest(inputs, "gender")["shift"].tolist() == [0.1]
    (row,) = question_effects(inputs, "gender").to_dict(orient="records")
    assert (row["shift"], row["conf_low"], row["conf_high"]) == pytest.approx((0.1, -0.1, 0.5))
    assert row["found"]  # p = .03, although the interval would say otherwise
    assert held_in_words(inputs, "gender") == "nothing else held fixed"
    assert held_in_words(_inputs(toy, CONTEXTS), "gender") == "home held fixed"


def test_false_discoveries_count_over_the_questions_of_an_attribute(toy: SimpleNamespace) -> None:
    rows = [_row("A", None, None, 0.1, 0.2, 50, question=f"q{i}", p_value=p) for i, p in enumerate([0.01, 0.04, 0.9])]
    found = question_effects(_inputs(toy, rows), "gender")
    assert found["found"].tolist() == [True, False, False]  # q = .03, .06, .9


def test_unsupported_toggles_do_not_count(toy: SimpleNamespace) -> None:
    rows = [CONTEXTS[0], CONTEXTS[1] | {"supported": False}]
    (row,) = question_effects(_inputs(toy, rows), "gender").to_dict(orient="records")
    assert row["shift"] == pytest.approx(0.10)


def test_sizes_have_no_sign_and_give_noise_its_share() -> None:
    rows = pd.DataFrame(
        {
            "topic": ["a", "a", "b"],
            "shift": [0.3, -0.3, 0.01],
            "std_error": [0.1, 0.1, 0.1],
            "q_value": [0.01, np.nan, 0.2],
        }
    )
    found = sizes(rows, ["topic"])
    assert found.loc["a", "mean"] == pytest.approx(0.3)
    assert found.loc["a", "noise"] == pytest.approx(0.1 * np.sqrt(2 / np.pi))
    assert found.loc["a", "beyond"] == pytest.approx(np.sqrt(0.09 - 0.01))
    assert found.loc["b", "beyond"] == 0
    assert found["toggles"].tolist() == [2, 1]
    assert found["found"].tolist() == [1, 0]


def test_size_beyond_noise_finds_the_truth() -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    true, error = rng.normal(0, 0.05, n), rng.uniform(0.02, 0.1, n)
    rows = pd.DataFrame({"topic": "a", "shift": rng.normal(true, error), "std_error": error, "q_value": 1.0})
    assert sizes(rows, ["topic"])["beyond"].item() == pytest.approx(0.05, rel=0.02)
