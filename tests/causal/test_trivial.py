"""Distributions that need no model, worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal.audit import audit_survey
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey
from causal.tables import effects_schema, read_distributions, read_effects, validate_distributions, write_table
from causal.trivial import (
    TEMPERATURES,
    TRAINING_EFFECTS,
    best_temperature,
    country_shares,
    end_cells,
    marginal,
    run_shares,
    tempered,
    uniform,
)

NAMES = ["home"]


def table(*cells: tuple[str, str, str | None, int, list[float]]) -> pd.DataFrame:
    """Rows of cells given as (country, question, home, n, p)."""
    return pd.DataFrame(
        [
            {
                "country": country,
                "question": question,
                "home": home,
                "granularity": int(home is not None),
                "option": k,
                "p": share,
                "std_error": 0.1,
                "n": n,
                "n_eff": float(n),
            }
            for country, question, home, n, p in cells
            for k, share in enumerate(p, start=1)
        ]
    )


TWO = table(
    ("A", "q", "city", 30, [0.2, 0.8]),
    ("A", "q", "farm", 10, [0.6, 0.4]),
    ("B", "q", "city", 5, [1.0, 0.0]),
    ("B", "r", "city", 5, [0.5, 0.25, 0.25]),
)


def test_uniform_uses_each_question_s_own_options() -> None:
    found = uniform(TWO, NAMES)
    np.testing.assert_allclose(found["p"], [0.5] * 6 + [1 / 3] * 3)
    validate_distributions(found, NAMES)
    assert found["n"].isna().all()
    assert TWO["n"].notna().all(), "the caller's table is left alone"


def test_shares_pool_the_finest_cells_by_their_respondents() -> None:
    """A: (30 x .2 + 10 x .6) / 40 = .3; not the plain mean .4."""
    found = country_shares(TWO).set_index(["country", "question", "option"])["p"]
    np.testing.assert_allclose(found["A"], [0.3, 0.7])
    np.testing.assert_allclose(found["B"]["r"], [0.5, 0.25, 0.25])


def test_shares_are_those_of_the_country_alone_where_the_table_has_them() -> None:
    whole = pd.concat([TWO, table(("A", "q", None, 50, [0.34, 0.66]))], ignore_index=True)
    found = country_shares(whole).set_index(["country", "question", "option"])["p"]
    np.testing.assert_allclose(found["A"], [0.34, 0.66])
    assert "B" not in found.index.get_level_values("country")


def test_marginal_gives_every_persona_its_country_s_answers() -> None:
    found = marginal(TWO, country_shares(TWO))
    np.testing.assert_allclose(found["p"], [0.3, 0.7, 0.3, 0.7, 1, 0, 0.5, 0.25, 0.25])
    validate_distributions(found, NAMES)
    only_a = marginal(TWO, country_shares(TWO[TWO["country"] == "A"]))
    assert set(only_a["country"]) == {"A"}


def test_tempered_by_hand() -> None:
    """T=2 takes square roots: .8 and .2 have the ratio 4, so 2 to 1. T=1/2 squares: 16 to 1."""
    one = table(("A", "q", "city", 1, [0.8, 0.2]), ("A", "r", None, 1, [0.25, 0.25, 0.5]))
    np.testing.assert_allclose(tempered(one, NAMES, 2.0)["p"][:2], [2 / 3, 1 / 3])
    np.testing.assert_allclose(tempered(one, NAMES, 0.5)["p"], [16 / 17, 1 / 17, 1 / 6, 1 / 6, 4 / 6])
    np.testing.assert_allclose(tempered(one, NAMES, 1.0)["p"], one["p"])


def test_best_temperature_by_hand() -> None:
    """Odds 4 become 2 at T=2. A cell of weight 0 says nothing. The third, padded option is none."""
    model = np.array([[0.8, 0.2, 0.0], [0.9, 0.1, 0.0]])
    survey = np.array([[2 / 3, 1 / 3, 0.0], [0.1, 0.9, 0.0]])
    found = best_temperature(model, survey, np.array([2, 2]), np.array([1.0, 0.0]))
    assert found == pytest.approx(2, rel=1e-4)
    backwards = best_temperature(model[1:], survey[1:], np.array([2]), np.array([1.0]))
    assert backwards == pytest.approx(TEMPERATURES[1], rel=1e-3), "as flat as allowed"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 8.0))
def test_best_temperature_finds_the_one_that_made_the_answers(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    model = rng.dirichlet([1.0, 1.0, 1.0, 1.0], size=5)
    survey = model ** (1 / temperature)
    survey /= survey.sum(axis=1, keepdims=True)
    found = best_temperature(model, survey, np.full(5, 4), rng.uniform(0.5, 2, 5))
    assert found == pytest.approx(temperature, rel=1e-3)


def test_an_impossible_answer_of_the_model_does_not_hide_the_others() -> None:
    model = np.array([[1.0, 0.0], [0.8, 0.2]])
    survey = np.array([[0.999, 0.001], [2 / 3, 1 / 3]])
    assert np.isfinite(best_temperature(model, survey, np.array([2, 2]), np.array([1.0, 1.0])))


@pytest.fixture
def audited(tmp_path: Path) -> Run:
    level = {"home": {"levels": {"city": {"codes": [0], "persona": "c"}, "farm": {"codes": [1], "persona": "f"}}}}
    level["sex"] = {"levels": {"man": {"codes": [0], "persona": "m"}, "woman": {"codes": [1], "persona": "w"}}}
    study = Study.from_dict(
        {
            "name": "small",
            "survey": {"source": "x.csv", "country": {"constant": "A"}},
            "attributes": level,
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "perhaps", 3: "yes"}}},
        }
    )
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"home": rng.integers(0, 2, 300), "sex": rng.integers(0, 2, 300), "q": rng.integers(1, 4, 300)})
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(study, data), run)
    return run


def test_the_ends_of_the_toggles_are_the_finest_cells(audited: Run) -> None:
    names = ["home", "sex"]
    key = ["country", "question", *names, "option"]
    found = end_cells(read_effects(audited.survey_effects), names).sort_values(key, ignore_index=True)
    cells = read_distributions(audited.survey_distributions).sort_values(key, ignore_index=True)
    assert len(found) == 4 * 3
    assert found[key].to_numpy().tolist() == cells[key].to_numpy().tolist()
    np.testing.assert_allclose(found["p"], cells["p"])
    np.testing.assert_array_equal(found["n"].astype(int), cells["n"].astype(int))


def test_a_training_half_gives_the_shares(audited: Run) -> None:
    names = ["home", "sex"]
    whole = run_shares(audited, names)
    effects = read_effects(audited.survey_effects)
    ends = [(f"p_{end}", f"n_{end}") for end in ("reference", "treated")]
    half = effects.assign(shift=0.0, conf_low=0.0, conf_high=0.0, p_value=1.0)
    for p, n in ends:
        half[p] = [np.array([0.1, 0.2, 0.7])] * len(half)
        half[n] = effects[n] // 2
    lists = ["effect_low", "effect_high", "cdf_low", "cdf_high"]
    write_table(half.drop(columns=lists), audited.path / TRAINING_EFFECTS, effects_schema(names))
    assert not np.allclose(whole["p"], [0.1, 0.2, 0.7], atol=0.02)
    np.testing.assert_allclose(run_shares(audited, names)["p"], [0.1, 0.2, 0.7])
