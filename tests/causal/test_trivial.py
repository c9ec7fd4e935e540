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
from causal.tables import read_distributions, read_effects, validate_distributions
from causal.trivial import (
    TEMPERATURES,
    best_temperature,
    country_shares,
    marginal,
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


def audited(folder: Path, **fit: object) -> Run:
    level = {"home": {"levels": {"city": {"codes": [0], "persona": "c"}, "farm": {"codes": [1], "persona": "f"}}}}
    study = Study.from_dict(
        {
            "name": "small",
            "survey": {"source": "x.csv", "country": {"constant": "A"}},
            "attributes": level,
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "perhaps", 3: "yes"}}},
            "effects": {"granularity": "all"},
            "fit": fit,
        }
    )
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"home": rng.integers(0, 2, 301), "q": rng.integers(1, 4, 301)})
    run = Run.for_study(study, folder)
    audit_survey(read_survey(study, data), run)
    return run


def test_learnt_tables_are_the_training_halfs_where_there_is_one(tmp_path: Path) -> None:
    whole = audited(tmp_path / "whole")
    assert (whole.learnt_distributions, whole.learnt_effects) == (whole.survey_distributions, whole.survey_effects)
    half = audited(tmp_path / "half", held_out={"respondents": "half"})
    people = [
        read_distributions(path).query("granularity == 0")["n"].iloc[0]
        for path in (whole.learnt_distributions, half.learnt_distributions, half.survey_distributions)
    ]
    assert people[0] == 301 == people[1] + people[2]
    learnt = country_shares(read_distributions(half.learnt_distributions))
    assert not np.allclose(learnt["p"], country_shares(read_distributions(half.survey_distributions))["p"])
    ends = read_effects(half.learnt_effects)
    assert int(ends["n_reference"].iloc[0] + ends["n_treated"].iloc[0]) == people[1]
