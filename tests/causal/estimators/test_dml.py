from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from causal import audit
from causal.adjusted import adjusted_rows, require_respondents
from causal.counts import count
from causal.counttable import read_count_table
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts, subsets
from causal.sections import ECONML
from causal.simulate import simulate
from causal.study import Study
from causal.survey import read_survey
from causal.tables import validate_effects
from causal.yamlfile import write_yaml

LINEAR, FOREST, DR = ECONML


def rows(study: Study, data: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cell rows and the adjusting estimators' rows, both valid."""
    survey = read_survey(study, data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    cells = survey_effects(grids, study, survey.countries)
    found = adjusted_rows(survey, cells)
    validate_effects(pd.concat([cells, found], ignore_index=True), list(study.attributes))
    return cells, found


def asking(study: Study, *estimators: str, **sections: Any) -> Study:
    """Return the study with these estimators beside the cells'."""
    raw = study.model_dump(exclude_none=True, mode="json")
    raw["effects"] = raw["effects"] | {"estimator": ["cell", *estimators]}
    raw["survey"] = raw["survey"] | sections.pop("survey", {})
    return Study.from_dict(raw | sections)


def people(n: int, seed: int = 0) -> pd.DataFrame:
    """Draw respondents of `one_question` with attributes a and b and age, which moves both a and the answer."""
    rng = np.random.default_rng(seed)
    age = rng.normal(0, 1, n)
    a = (rng.random(n) < 1 / (1 + np.exp(-age))).astype(int)
    b = rng.integers(0, 2, n)
    q = 1 + (rng.random((n, 2)) < 1 / (1 + np.exp(-(age + 0.8 * a * b)[:, None] + [[-0.5, 0.5]]))).sum(axis=1)
    return pd.DataFrame({"a": a, "b": b, "age": age.round(3), "q": q, "w": np.where(q == 3, 3, 1)})


@pytest.fixture
def confounded(one_question) -> Study:
    return one_question(("a", "b"), covariates={"age": {}}, graph={"edges": [["age", "a"]]})


def truth(b: int, n: int = 400_000) -> float:
    """Return the shift if ``a`` were set, of people with this ``b``, whose age is that of everybody."""
    age = np.random.default_rng(9).normal(0, 1, n)
    share = [1 / (1 + np.exp(-(age + 0.8 * a * b)[:, None] + [[-0.5, 0.5]])) for a in (0, 1)]
    return float((share[1] - share[0]).sum(axis=1).mean() / 2)


@pytest.mark.parametrize("learner", ECONML)
def test_a_covariate_that_dowhy_finds_is_adjusted_for(confounded, learner):
    cells, found = rows(asking(confounded, learner), people(2000))
    expected = np.array([truth(0), truth(1)])
    own = (cells["attribute"] == "a").to_numpy()
    naive, adjusted = cells.loc[own, "shift"] - expected, found.loc[own, "shift"] - expected
    assert found["estimator"].unique().tolist() == [learner]
    assert set(found["estimand"]) == {"total"}
    assert np.all(naive / cells.loc[own, "std_error"] > 5)
    assert np.all(np.abs(adjusted) < 3.3 * found.loc[own, "std_error"])
    assert found.loc[own, "std_error"].to_numpy() == pytest.approx([0.021, 0.021], rel=0.2)
    assert found["supported"].all()
    assert found["q_value"].notna().all()


def test_what_is_not_identified_has_no_value(confounded):
    graph = {"edges": [["age", "a"], ["u", "a"], ["u", "answer"]], "latent": ["u"]}
    cells, found = rows(asking(confounded, LINEAR, graph=graph), people(400))
    hidden = (found["attribute"] == "a").to_numpy()
    assert (found["estimand"] == "not_identified").tolist() == hidden.tolist()
    assert found["shift"].isna().tolist() == hidden.tolist()
    assert not found.loc[hidden, "supported"].any()
    assert (found.loc[hidden, ["n_reference", "n_treated"]] == 0).all(axis=None)
    assert cells.loc[hidden, "shift"].notna().all()


def test_what_the_attribute_causes_is_adjusted_for_only_where_it_is_held(one_question):
    """``b`` is most of what ``a`` does: total effect large, direct effect 0."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2, 2000)
    b = (rng.random(2000) < 0.1 + 0.8 * a).astype(int)
    q = 1 + 2 * (rng.random(2000) < 0.2 + 0.6 * b)
    study = one_question(("a", "b"), graph={"edges": [["a", "b"]]}, effects={"granularity": "all"})
    _, found = rows(asking(study, LINEAR, DR), pd.DataFrame({"a": a, "b": b, "q": q}))
    for _, own in found[found["attribute"] == "a"].groupby("estimator"):
        total, direct = own[own["b"].isna()], own[own["b"].notna()]
        assert total["estimand"].tolist() == ["total"]
        assert total["shift"].to_numpy() == pytest.approx([0.8 * 0.6], abs=0.06)
        assert direct["estimand"].tolist() == ["controlled_direct"] * 2
        assert direct["shift"].to_numpy() == pytest.approx([0, 0], abs=0.15)


@pytest.mark.parametrize("learner", [LINEAR, DR])
def test_integer_weights_are_copies_of_people(confounded, learner):
    """Folds differ, so that estimates agree only within a fraction of a standard error."""
    data = people(1500)
    _, weighted = rows(asking(confounded, learner, survey={"weight": "w"}), data)
    _, copied = rows(asking(confounded, learner), data.loc[data.index.repeat(data["w"])])
    _, ignored = rows(asking(confounded, learner), data)
    error = weighted["std_error"]
    assert np.all(np.abs(weighted["shift"] - copied["shift"]) < 0.3 * error)
    assert np.abs(weighted["shift"] - ignored["shift"]).max() > error.max()
    assert np.all(error > 1.2 * copied["std_error"])


@pytest.mark.parametrize("learner", ECONML)
def test_clusters_widen_standard_errors(confounded, learner):
    """Everybody stands in the file four times, each person a PSU: that tells no more than once."""
    data = people(400).assign(psu=np.arange(400))
    _, once = rows(asking(confounded, learner), data)
    fourfold = data.loc[data.index.repeat(4)]
    _, clustered = rows(asking(confounded, learner, survey={"psu": "psu"}), fourfold)
    _, alone = rows(asking(confounded, learner), fourfold)
    assert clustered["std_error"].to_numpy() == pytest.approx(once["std_error"].to_numpy(), rel=0.25)
    assert alone["std_error"].to_numpy() == pytest.approx(once["std_error"].to_numpy() / 2, rel=0.25)


def test_few_clusters_widen_intervals_beyond_their_standard_errors(one_question):
    """Six villages in which ``a`` does different things: Student's quantile with five degrees of freedom is 2.57.

    Wilson's interval is a little narrower than estimate plus or minus so many standard errors.
    """
    rng = np.random.default_rng(3)
    village, a = rng.integers(0, 6, 1500), rng.integers(0, 2, 1500)
    share = 0.5 + np.linspace(-0.4, 0.4, 6)[village] * a
    data = pd.DataFrame({"a": a, "q": 1 + 2 * (rng.random(1500) < share), "psu": village})
    _, found = rows(asking(one_question(("a",)), LINEAR, survey={"psu": "psu"}), data)
    half = (found["conf_high"] - found["conf_low"]) / 2
    assert 2.2 < (half / found["std_error"]).item() < 2.57


def test_the_two_ends_mix_to_what_is_seen(confounded):
    data = people(1500)
    _, found = rows(asking(confounded, LINEAR, survey={"weight": "w"}), data)
    own = found[(found["attribute"] == "a") & (found["b"] == "l1")].iloc[0]
    there = data[data["b"] == 1]
    share = np.average(there["a"], weights=there["w"])
    seen = [np.average(there["q"] == k, weights=there["w"]) for k in (1, 2, 3)]
    assert (1 - share) * np.array(own["p_reference"]) + share * np.array(own["p_treated"]) == pytest.approx(seen)


def test_rows_of_every_shape(study, respondents):
    """Two countries, three levels, questions of four and two options, missing answers, all granularities."""
    cells, found = rows(asking(study, LINEAR), respondents)
    assert len(found) == len(cells)
    some = found.dropna(subset=["shift"])
    assert (some["p_treated"].map(len) == some["question"].map({"trust": 4, "vote": 2})).all()
    assert found["shift"].notna().mean() > 0.9
    shift = found["shift"].to_numpy(dtype=float)
    known = ~np.isnan(shift)
    assert np.all(found["n_treated"].to_numpy(dtype=float) <= cells["n_treated"].to_numpy(dtype=float))
    assert np.corrcoef(shift[known], cells["shift"].to_numpy(dtype=float)[known])[0, 1] > 0.8


def test_a_context_without_one_of_the_levels_has_no_value(confounded):
    data = people(600)
    gone = data[~((data["a"] == 1) & (data["b"] == 1))]
    _, found = rows(asking(confounded, LINEAR), gone)
    own = found[found["attribute"] == "a"].set_index("b")["shift"]
    assert np.isnan(own["l1"])
    assert abs(own["l0"]) < 0.2


def test_too_few_to_cross_fit_have_no_value(one_question):
    data = pd.DataFrame({"a": [0] * 30 + [1], "q": [1, 2, 3] * 10 + [1]})
    _, found = rows(asking(one_question(("a",)), LINEAR), data)
    assert found["shift"].isna().all()


def test_fits_may_run_side_by_side(confounded):
    data = people(500)
    _, one = rows(asking(confounded, DR), data)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        _, two = rows(asking(confounded, DR), data)
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize(("learner", "surveys"), [(LINEAR, 8), (DR, 6), (FOREST, 4)])
def test_estimates_hold_the_interventional_truth(learner, surveys):
    """Age drives the first attribute and the answers; its cells are biased, the adjusted rows are not."""
    errors: dict[str, list[np.ndarray]] = {"cell": [], learner: []}
    inside = []
    for seed in range(surveys):
        made = simulate(1200, countries=1, attributes=2, questions=3, granularity="full", age=1.0, seed=seed)
        cells, found = rows(asking(made.study, learner), made.data)
        own = ((cells["attribute"] == cells["attribute"].iloc[0]) & found["supported"]).to_numpy(dtype=bool)
        wanted = made.effects["shift_do"].to_numpy()
        for name, table in (("cell", cells), (learner, found)):
            errors[name].append((table["shift"].to_numpy(dtype=float) - wanted)[own])
        inside.append(((found["conf_low"] <= wanted) & (wanted <= found["conf_high"])).to_numpy()[own])
    bias = {name: float(np.concatenate(found).mean()) for name, found in errors.items()}
    root = {name: float(np.sqrt((np.concatenate(found) ** 2).mean())) for name, found in errors.items()}
    assert abs(bias["cell"]) > 0.08
    assert abs(bias[learner]) < 0.03
    assert root[learner] < 0.75 * root["cell"]
    assert 0.9 < np.concatenate(inside).mean() <= 1


@pytest.mark.slow
def test_the_audit_writes_the_rows(tmp_path, confounded, capsys):
    people(300).to_csv(tmp_path / "none.csv", index=False)
    study = asking(confounded, LINEAR, DR)
    write_yaml(study.model_dump(exclude_none=True, mode="json"), tmp_path / "study.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ImportWarning)
        assert audit.main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    table = pd.read_parquet(tmp_path / "run" / "survey_effects.parquet")
    assert table["estimator"].value_counts().to_dict() == {"cell": 4, LINEAR: 4, DR: 4}


def test_rows_without_overlap_are_not_identified_and_keep_their_values(confounded):
    data = people(600)
    study = asking(confounded, LINEAR)
    _, found = rows(study, data)
    assert set(found["estimand"]) == {"total"}
    _, found = rows(study, data.assign(a=(data["age"] > 0).astype(int)))
    assert set(found.loc[found["attribute"] == "a", "estimand"]) == {"not_identified"}
    assert set(found.loc[found["attribute"] == "b", "estimand"]) == {"total"}
    assert found["supported"].all()
    assert found[["shift", "conf_low", "conf_high"]].notna().all(axis=None)


def test_count_tables_are_refused(confounded):
    data = people(200).groupby(["a", "b", "q"]).size().reset_index(name="count")
    long = data.rename(columns={"q": "option"}).assign(question="q")
    study = asking(
        confounded,
        LINEAR,
        covariates={},
        graph={},
        survey={"counts": {"question": "question", "option": "option", "count": "count"}},
    )
    with pytest.raises(InputError, match=r"econml\.LinearDML"):
        require_respondents(read_count_table(study, long))


def test_what_is_not_installed_is_named(confounded, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "econml" else found(name))
    survey = read_survey(confounded, people(50))
    require_respondents(survey)
    with pytest.raises(InputError, match=r"econml.DRLearner needs econml, .*pip install '.\[econml\]'"):
        require_respondents(replace(survey, study=asking(confounded, DR)))
