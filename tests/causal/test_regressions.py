"""Against statsmodels, question by question."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from causal.adjustment import Adjustment
from causal.regressions import regression
from causal.study import Study
from causal.survey import read_survey


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    n = 900
    country, edu, age = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.integers(0, 4, n)
    sex = (rng.random(n) < 0.3 + 0.1 * edu + 0.05 * country).astype(int)
    q = np.clip(np.round(1.5 + 0.6 * sex - 0.5 * edu + 0.3 * age + country + rng.normal(0, 1, n)), 0, 4)
    q[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame({"c": country, "sex": sex, "edu": edu, "age": age, "q": q, "w": rng.lognormal(0, 0.4, n)})


@pytest.fixture
def study() -> Study:
    def levels(count: int) -> dict[str, object]:
        return {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(count)}}

    return Study.from_dict(
        {
            "name": "regressed",
            "survey": {"source": "x.csv", "country": "c", "weight": "w"},
            "attributes": {"sex": levels(2), "edu": levels(3)},
            "covariates": {"age": {"kind": "category"}},
            "questions": {"q": {"text": "?", "options": {i: f"o{i}" for i in range(5)}}},
        }
    )


def test_it_is_weighted_least_squares(study: Study, data: pd.DataFrame) -> None:
    found = regression(read_survey(study, data), Adjustment("sex", ("edu",), ("age",)), "l0", "l1")
    kept = data.dropna()
    score, w = kept["q"] / 4, kept["w"]
    blocks = {
        "country": pd.get_dummies(kept["c"], prefix="c", dtype=float),
        "edu": pd.get_dummies(kept["edu"], prefix="e", drop_first=True, dtype=float),
        "age": pd.get_dummies(kept["age"], prefix="a", drop_first=True, dtype=float),
        "sex": kept[["sex"]].astype(float),
    }

    def fit(y: pd.Series, *names: str):
        return sm.WLS(y, pd.concat([blocks[name] for name in names], axis=1), w).fit()

    full = fit(score, "country", "edu", "age", "sex")
    assert found.estimate[0] == pytest.approx(full.params["sex"])
    assert found.partial_r2[0] == pytest.approx(1 - full.ssr / fit(score, "country", "edu", "age").ssr)
    assert found.deviation[0] ** 2 == pytest.approx(fit(score, "country").ssr / w.sum())
    assert found.with_answer[0, 0] == pytest.approx(1 - full.ssr / fit(score, "country", "age", "sex").ssr)
    assert found.with_answer[1, 0] == pytest.approx(1 - full.ssr / fit(score, "country", "edu", "sex").ssr)
    assert found.left_out[0, 0] == pytest.approx(fit(score, "country", "age", "sex").params["sex"])
    assert found.left_out[1, 0] == pytest.approx(fit(score, "country", "edu", "sex").params["sex"])
    assert found.dof[0] == pytest.approx(w.sum() ** 2 / (w**2).sum() - 2 - 1 - 2 - 3)


def test_what_explains_the_attribute(study: Study, data: pd.DataFrame) -> None:
    found = regression(read_survey(study, data), Adjustment("sex", ("edu",), ("age",)), "l0", "l1")
    x = {
        "edu": pd.get_dummies(data["edu"], prefix="e", drop_first=True, dtype=float),
        "age": pd.get_dummies(data["age"], prefix="a", drop_first=True, dtype=float),
    }
    country = pd.get_dummies(data["c"], prefix="c", dtype=float)
    both = sm.WLS(data["sex"], pd.concat([country, x["edu"], x["age"]], axis=1), data["w"]).fit().ssr
    for i, other in enumerate(("age", "edu")):
        alone = sm.WLS(data["sex"], pd.concat([country, x[other]], axis=1), data["w"]).fit().ssr
        assert found.with_attribute[i] == pytest.approx(1 - both / alone)


def test_countries_without_overlap_are_left_out_unless_that_leaves_none(study: Study, data: pd.DataFrame) -> None:
    chosen = Adjustment("sex", ("edu",), ("age",))
    survey = read_survey(study, data)
    without = regression(survey, chosen, "l0", "l1", ["1"])
    alone = regression(read_survey(study, data[data["c"] == 0]), chosen, "l0", "l1")
    assert (without.lacking, without.overlaps) == (("1",), True)
    assert without.estimate == pytest.approx(alone.estimate)
    assert without.dof == pytest.approx(alone.dof)
    nowhere = regression(survey, chosen, "l0", "l1", ["0", "1"])
    assert (nowhere.lacking, nowhere.overlaps) == ((), False)
    assert nowhere.estimate == pytest.approx(regression(survey, chosen, "l0", "l1").estimate)


def test_an_answer_that_does_not_vary_tells_nothing(study: Study, data: pd.DataFrame) -> None:
    found = regression(read_survey(study, data.assign(q=2.0)), Adjustment("sex", ("edu",), ("age",)), "l0", "l1")
    assert np.isnan(found.estimate[0])
    assert np.isnan(found.partial_r2[0])
    assert np.isnan(found.with_answer).all()
