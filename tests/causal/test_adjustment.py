"""What is adjusted for follows the graph; features are what the respondents say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.adjusted import adjusted_rows
from causal.adjustment import CHUNK, adjustment, comparisons, estimands, features, known, question_chunks
from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.study import Study
from causal.survey import Survey, read_survey
from causal.tables import estimated_by

COVARIATES = {"age": {}, "income": {}, "region": {"kind": "category"}}


def with_covariates(raw: dict[str, Any], edges: list[list[str]] | None = None, latent: tuple[str, ...] = ()) -> Study:
    graph = {"edges": edges or [], "latent": list(latent)}
    return Study.from_dict(raw | {"covariates": COVARIATES, "graph": graph})


def people(respondents: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = len(respondents)
    return respondents.assign(
        age=rng.integers(18, 90, n), income=rng.choice([1, 2, 3], n), region=rng.choice(["n", "s", "w"], n)
    )


def cell_rows(survey: Survey) -> pd.DataFrame:
    counts = count(survey)
    grids = [grid_from_counts(counts, survey.study, survey.countries, names) for names in subsets(survey.study)]
    return estimated_by(survey_effects(grids, survey.study, survey.countries))


def test_everything_but_mediators_is_adjusted_for(raw: dict[str, Any]) -> None:
    # gender -> education -> income: both are mediators of gender, income alone is one of education
    study = with_covariates(raw, [["gender", "education"], ["education", "income"], ["age", "education"]])
    assert adjustment(study, "gender", ()).names == ("residence", "age", "region")
    assert adjustment(study, "education", ()).names == ("gender", "residence", "age", "region")
    assert adjustment(study, "residence", ()).names == ("gender", "education", "age", "income", "region")


def test_a_mediator_that_is_held_is_conditioned_on(raw: dict[str, Any]) -> None:
    study = with_covariates(raw, [["gender", "education"], ["education", "income"]])
    assert adjustment(study, "gender", ("education",)).attributes == ("education", "residence")
    assert adjustment(study, "gender", ("education",)).covariates == ("age", "region")
    assert adjustment(study, "gender", ("residence",)) == adjustment(study, "gender", ())


def test_estimands_are_those_of_the_whole_set(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    # age causes gender's level and the answer: open in the plain contrast, closed by adjusting for it
    study = with_covariates(raw, [["age", "gender"], ["gender", "education"]])
    cells = cell_rows(read_survey(study, people(respondents)))
    named = pd.Series(estimands(cells, study))
    gender = cells["attribute"] == "gender"
    held = cells["education"].notna()
    assert set(cells["estimand"][gender]) == {"not_identified"}
    assert set(named[gender & ~held]) == {"total"}
    assert set(named[gender & held]) == {"controlled_direct"}
    assert set(named[~gender]) == {"total"}


def test_a_latent_cause_is_not_adjusted_away(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    study = with_covariates(raw, [["u", "gender"], ["u", "answer"]], ("u",))
    cells = cell_rows(read_survey(study, people(respondents)))
    named = pd.Series(estimands(cells, study))
    assert set(named[cells["attribute"] == "gender"]) == {"not_identified"}


def test_known_are_those_with_everything_adjusted_for(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    frame = people(respondents)
    frame["age"] = frame["age"].astype(float)
    frame.loc[:9, "age"] = np.nan
    frame.loc[5:14, "region"] = None
    study = with_covariates(raw, [["residence", "region"]])
    survey = read_survey(study, frame)
    of_gender = known(survey, adjustment(study, "gender", ()))
    np.testing.assert_array_equal(of_gender[:16], [False] * 15 + [True])
    of_residence = known(survey, adjustment(study, "residence", ()))  # region is caused by it; gender is adjusted for
    expected = frame["sex"].notna() & frame["age"].notna()
    np.testing.assert_array_equal(of_residence, expected)


def test_comparisons_place_every_toggle_once(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    study = with_covariates(raw, [["gender", "education"]])
    survey = read_survey(study, people(respondents))
    cells = cell_rows(survey)
    found = list(comparisons(survey, cells))
    # gender with and without education held, two contrasts of education, residence; in two countries
    assert len(found) == (2 + 2 + 1) * 2
    placed = np.concatenate([contexts.place.ravel() for one in found for contexts in one.contexts])
    assert sorted(placed) == list(range(len(cells)))
    names = list(study.attributes)
    for one in found:
        own = survey.levels[one.people, names.index(one.adjustment.attribute)]
        levels = np.array(list(study.attributes[one.adjustment.attribute].levels))
        np.testing.assert_array_equal(levels[own], np.where(one.arm == 1, one.treated, one.reference))
        for contexts in one.contexts:
            rows = cells.iloc[contexts.place[:, 1]]
            assert (rows["question"] == "vote").all()
            assert (rows["country"] == survey.countries[one.country]).all()
            assert (rows["treated"] == one.treated).all()
            for name in contexts.held:
                said = np.array(list(study.attributes[name].levels))[survey.levels[one.people, names.index(name)]]
                np.testing.assert_array_equal(rows[name].to_numpy()[contexts.group], said)


def test_levels_are_compared_as_the_rows_say(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    survey = read_survey(with_covariates(raw), people(respondents))
    cells = cell_rows(survey)
    steps = cells.assign(reference=cells["reference"].where(cells["treated"] != "low", "middle"))  # adjacent steps
    found = [one for one in comparisons(survey, steps) if one.treated == "low"]
    assert len(found) == 2
    for one in found:
        assert one.reference == "middle"
        own = survey.levels[one.people, 1]
        np.testing.assert_array_equal(own, np.where(one.arm == 1, 2, 1))


def test_features_hold_levels_categories_and_a_spline(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    study = with_covariates(raw)
    survey = read_survey(study, people(respondents))
    one = next(c for c in comparisons(survey, cell_rows(survey)) if c.adjustment.attribute == "gender")
    x = features(survey, one)
    # education 2, residence 1, age 5 knots and degree 3 without a constant 6, income 2 (three values), region 2
    assert x.shape == (len(one.people), 2 + 1 + 6 + 2 + 2)
    np.testing.assert_allclose(x.std(axis=0), 1)
    spanned = np.column_stack([np.ones(len(x)), x])
    age = survey.covariates["age"][one.people]
    for curve in (age, age**2, age**3):  # a cubic spline holds every cubic
        left = curve - spanned @ np.linalg.lstsq(spanned, curve, rcond=None)[0]
        assert np.abs(left).max() < 1e-6 * np.abs(curve).max()


def test_features_of_heaped_and_constant_numbers(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    frame = people(respondents)
    frame["age"] = np.where(np.arange(len(frame)) % 10 < 8, 30, frame["age"])
    frame["income"] = 7
    survey = read_survey(with_covariates(raw), frame)
    for one in comparisons(survey, cell_rows(survey)):
        x = features(survey, one)
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x.std(axis=0), 1)


@pytest.mark.parametrize(
    ("n", "questions", "options"), [(100, 7, 5), (10 * CHUNK, 3, 5), (CHUNK // 20, 33, 5), (0, 4, 2)]
)
def test_chunks_cover_every_question_once(n: int, questions: int, options: int) -> None:
    chunks = list(question_chunks(n, questions, options))
    assert [q for chunk in chunks for q in range(chunk.start, chunk.stop)] == list(range(questions))
    assert all((chunk.stop - chunk.start) * n * options <= CHUNK or chunk.stop - chunk.start == 1 for chunk in chunks)


def m_shaped(rng: np.random.Generator, n: int, a: np.ndarray | None = None) -> pd.DataFrame:
    """The two legs of an M: u moves attribute and m, v moves m and the answer; ``a`` sets the attribute."""
    u, v = rng.normal(size=(2, n))
    own = (rng.random(n) < 1 / (1 + np.exp(-2 * u))).astype(int) if a is None else a
    m, latent = u + v + 0.3 * rng.normal(size=n), 0.5 * own + 1.5 * v + rng.normal(size=n)
    return pd.DataFrame({"a": own, "m": m, "q": 1 + np.digitize(latent, [-0.5, 0.8])})


def test_aipw_leaves_a_collider_out_and_finds_the_truth(one_question: Any) -> None:
    rng, n = np.random.default_rng(0), 6000
    set_to = [m_shaped(rng, 400_000, np.full(400_000, level))["q"].mean() for level in (0, 1)]
    truth = (set_to[1] - set_to[0]) / 2
    data = m_shaped(rng, n)
    text = "dag { u [latent] v [latent] u -> a u -> m v -> m v -> answer a -> answer }"
    asked: dict[str, Any] = {"covariates": {"m": {}}, "effects": {"estimator": ["cell", "aipw"]}}
    drawn, default = (one_question(**asked, **more) for more in ({"graph": {"text": text}}, {}))

    def found(study: Study) -> pd.Series:
        survey = read_survey(study, data)
        return adjusted_rows(survey, cell_rows(survey)).iloc[0]

    right, wrong = found(drawn), found(default)
    assert right["estimand"] == "total"
    assert abs(right["shift"] - truth) < 3 * right["std_error"]
    assert abs(wrong["shift"] - truth) > 10 * wrong["std_error"]  # what adjusting for m would do
