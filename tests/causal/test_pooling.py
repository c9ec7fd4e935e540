"""The pooled rows of the effects table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.effects import survey_effects
from causal.errors import InputError
from causal.estimators import pooled
from causal.grid import grid_from_counts, subsets
from causal.ignorability import checks, pooled_check
from causal.pooling import fits, pooled_rows
from causal.simulate import simulate
from causal.study import Study
from causal.survey import read_survey
from causal.tables import effects_schema, estimated_by, read_effects, validate_effects, write_table


def pooling(study: Study, **effects: Any) -> Study:
    sections = study.model_dump(exclude_none=True)
    return Study.from_dict(sections | {"effects": sections["effects"] | {"estimator": ["cell", "pooled"]} | effects})


def effects_of(study: Study, people: pd.DataFrame) -> pd.DataFrame:
    survey = read_survey(study, people)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, names) for names in subsets(study)]
    return survey_effects(grids, study, survey.countries)


def test_pooled_rows_stand_beside_unchanged_cell_rows(study: Study, respondents: pd.DataFrame, tmp_path: Any) -> None:
    both, plain = effects_of(pooling(study), respondents), effects_of(study, respondents)
    names = list(study.attributes)
    validate_effects(both, names)
    pd.testing.assert_frame_equal(estimated_by(both), plain)
    added = estimated_by(both, "pooled")
    same = ["country", "question", "attribute", "treated", *names, "supported", "n_treated", "n_eff_reference"]
    pd.testing.assert_frame_equal(added[same], plain[same])
    assert len(both) == 2 * len(plain)
    write_table(both, tmp_path / "e.parquet", effects_schema(names))
    assert len(read_effects(tmp_path / "e.parquet")) == len(both)


def test_unsupported_toggles_have_no_pooled_value_and_nothing_has_a_test(
    study: Study, respondents: pd.DataFrame
) -> None:
    added = estimated_by(effects_of(pooling(study), respondents), "pooled")
    assert 0 < added["supported"].sum() < len(added)
    values = ["shift", "std_error", "conf_low", "conf_high"]
    assert added.loc[added["supported"], values].notna().all(axis=None)
    assert added.loc[~added["supported"], [*values, "p_reference", "p_treated"]].isna().all(axis=None)
    assert added[["p_value", "q_value", "family_q_value"]].isna().all(axis=None)
    assert added[["effect_low", "effect_high", "cdf_low", "cdf_high"]].isna().all(axis=None)
    assert added[["wald_statistic", "wald_df", "wald_p_value"]].isna().all(axis=None)


def test_a_fit_pools_one_contrast_with_the_same_attributes_held(study: Study, respondents: pd.DataFrame) -> None:
    table = effects_of(pooling(study, support=1, estimator="cell"), respondents)
    found = list(fits(table, study))
    # subsets of the three attributes and contrasts (1, 2, 1): G=1 4, G=2 3 + 2 + 3, G=3 4
    assert len(found) == 16
    places = np.concatenate([fit.place for fit in found])
    assert sorted(places) == np.flatnonzero(table["supported"]).tolist()
    for fit in found:
        rows = table.iloc[fit.place]
        assert set(rows["attribute"]) == {fit.attribute}
        assert set(rows["treated"]) == {fit.treated}
        assert rows[list(study.attributes)].notna().drop_duplicates().shape[0] == 1
        assert (rows.groupby(fit.group)["question"].agg(set).map(len) == 1).all()


def test_rows_are_the_estimators_numbers_in_place(study: Study, respondents: pd.DataFrame) -> None:
    table = effects_of(study, respondents)
    chosen = (table["attribute"] == "residence") & (table["granularity"] == 2) & table["gender"].notna()
    rows = table[chosen & table["supported"]]
    group = (rows["question"] == "vote").to_numpy().astype(int)
    noise = pooled.noise_variance(
        rows["std_error"].to_numpy(), rows[["n_eff_reference", "n_eff_treated"]].to_numpy(), group
    )
    shift = rows["shift"].to_numpy()
    expected = pooled.posterior(shift, noise, group, pooled.components(shift, noise, group), 0.95)
    found = pooled_rows(table, study).loc[rows.index]
    np.testing.assert_allclose(found["shift"], expected.shift)
    np.testing.assert_allclose(found["conf_low"], expected.conf_low)


def test_the_scale_of_weights_and_the_order_of_rows_do_not_matter(study: Study, respondents: pd.DataFrame) -> None:
    scaled = effects_of(pooling(study), respondents.assign(w=respondents["w"] * 7))
    table = effects_of(pooling(study), respondents)
    np.testing.assert_allclose(scaled["shift"], table["shift"], atol=1e-9)
    np.testing.assert_allclose(scaled["conf_low"], table["conf_low"], atol=1e-7)
    raw = estimated_by(table)
    mixed = raw.sample(frac=1, random_state=1)
    again = pooled_rows(mixed.reset_index(drop=True), study).set_axis(mixed.index).sort_index()
    np.testing.assert_allclose(again["shift"], estimated_by(table, "pooled")["shift"], atol=1e-9)


@pytest.mark.parametrize("answers", [[1, 2] * 20, [1] * 40])
def test_one_toggle_alone_and_unanimous_answers(one_question: Any, answers: list[int]) -> None:
    people = pd.DataFrame({"a": [0] * 20 + [1] * 20, "q": answers})
    study = pooling(one_question(("a",)))
    table = effects_of(study, people)
    validate_effects(table, ["a"])
    row = estimated_by(table, "pooled").iloc[0]
    assert row["shift"] == pytest.approx(0, abs=1e-12)
    assert row["conf_low"] < 0 < row["conf_high"]
    check = pooled_check(estimated_by(table), study)
    assert (check.verdict, check.statistic) == ("warn", 1)


def test_no_support_at_all(one_question: Any) -> None:
    people = pd.DataFrame({"a": [0] * 5 + [1] * 5, "q": [1, 2] * 5})
    study = pooling(one_question(("a",)))
    table = effects_of(study, people)
    validate_effects(table, ["a"])
    assert table.loc[1, ["shift", "p_reference"]].isna().all()
    assert "nothing was pooled" in pooled_check(estimated_by(table), study).meaning


def test_similar_contexts_halve_the_error_and_keep_coverage() -> None:
    truth, found = [], []
    for seed in range(12):
        made = simulate(700, questions=12, granularity="full", seed=seed)
        table = effects_of(pooling(made.study), made.data)
        truth.append(np.tile(made.effects["shift"], 2))
        found.append(table)
    table = pd.concat(found).assign(truth=np.concatenate(truth))
    table = table[table["supported"]]
    assert table[["n_reference", "n_treated"]].min(axis=1).median() < 50
    table["error"] = (table["shift"] - table["truth"]) ** 2
    table["inside"] = (table["conf_low"] <= table["truth"]) & (table["truth"] <= table["conf_high"])
    error, inside = table.groupby("estimator")["error"].mean() ** 0.5, table.groupby("estimator")["inside"].mean()
    assert error["pooled"] <= 0.5 * error["cell"]
    assert 0.93 <= inside["pooled"] <= 0.975


def test_the_check_names_the_components(study: Study) -> None:
    made = simulate(700, questions=12, granularity="full", seed=1)
    study = pooling(made.study)
    survey = read_survey(study, made.data)
    table = effects_of(study, made.data)
    check = checks(survey, table)[-1]
    assert (check.name, check.verdict, check.threshold) == ("pooled variance components", "pass", 20)
    fit = next(iter(fits(estimated_by(table), study)))
    assert f"gender (female) {fit.components.question**0.5:.3f} and {fit.components.context**0.5:.3f}" in check.meaning
    others = checks(survey, estimated_by(table))[:-1]
    assert checks(survey, table)[:-1] == others, "pooled rows count in no other check"


@pytest.mark.parametrize("given", ["cell", ["cell"], ["cell", "pooled"]])
def test_estimators_that_a_study_may_ask_for(raw: dict[str, Any], given: Any, tmp_path: Any) -> None:
    raw["effects"]["estimator"] = given
    study = Study.from_dict(raw)
    assert study.effects.pools == ("pooled" in given)
    study.save(tmp_path / "study.yaml")
    assert Study.load(tmp_path / "study.yaml") == study


def test_a_list_of_one_is_the_same_study(raw: dict[str, Any]) -> None:
    plain = Study.from_dict(raw)
    raw["effects"]["estimator"] = ["cell"]
    assert Study.from_dict(raw).fingerprint("effects") == plain.fingerprint("effects")
    raw["effects"]["estimator"] = ["cell", "pooled"]
    assert Study.from_dict(raw).fingerprint("effects") != plain.fingerprint("effects")


@pytest.mark.parametrize("given", ["pooled", ["pooled"], ["pooled", "cell"], ["cell", "cell"], ["cell", "ols"], 3, []])
def test_other_estimators_are_refused(raw: dict[str, Any], given: Any) -> None:
    raw["effects"]["estimator"] = given
    with pytest.raises(InputError, match=r"effects.estimator: give cell, or a list that begins with cell"):
        Study.from_dict(raw)
