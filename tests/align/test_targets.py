from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from align.targets import RESPONDENTS, WEIGHT_BOUND, precision_weights, run_targets, targets
from causal.audit import audit_survey
from causal.counts import count
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts
from causal.heldout import COUNTRIES, PARTS, PERSONAS, QUESTIONS, TRAINED, VALIDATION, parts
from causal.multilevel import Cells, fit_components, partially_pool
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey
from causal.tables import read_distributions, read_effects


def test_each_persona_once_and_both_ends_of_every_toggle(study, run):
    effects, cells = read_effects(run.survey_effects), read_distributions(run.survey_distributions)
    found = targets(study, effects)[TRAINED]
    assert [(t.country, t.question) for t in found] == [(c, q) for c in ("NO", "SE") for q in ("trust", "taxes")]
    for target in found:
        assert len(target.personas) == 4
        assert len(target.reference) == 4, "two attributes in two contexts each"
        np.testing.assert_array_equal(target.goal_reference, target.p_reference)
        np.testing.assert_array_equal(target.goal_treated, target.p_treated)
        np.testing.assert_array_equal(target.weight, np.ones(4))
        assert target.belongs.all()
        for position, p in zip(
            [*target.reference, *target.treated], [*target.p_reference, *target.p_treated], strict=True
        ):
            persona = target.personas[position]
            own = (cells["country"] == target.country) & (cells["question"] == target.question)
            for name, level in persona.items():
                own &= cells[name] == level
            np.testing.assert_allclose(cells[own].sort_values("option")["p"], p)
        ends = [(target.personas[r], target.personas[t]) for r, t in zip(target.reference, target.treated, strict=True)]
        for reference, treated in ends:
            changed = [name for name in reference if reference[name] != treated[name]]
            assert len(changed) == 1
            assert reference[changed[0]] == next(iter(study.attributes[changed[0]].levels))


def test_unsupported_toggles_are_no_targets(study, run):
    effects = read_effects(run.survey_effects)
    none = effects.assign(supported=False)
    assert not any(targets(study, none).values())
    some = effects.assign(supported=(effects["attribute"] == "gender") & (effects["country"] == "NO"))
    assert [(t.question, len(t.reference)) for t in targets(study, some)[TRAINED]] == [("trust", 2), ("taxes", 2)]


def test_pooled_effects_are_no_targets_unless_asked_for(study, run):
    effects = read_effects(run.survey_effects)
    both = pd.concat([effects, effects.assign(estimator="pooled", p_treated=effects["p_reference"])])
    for raw, with_pooled in zip(targets(study, effects)[TRAINED], targets(study, both)[TRAINED], strict=True):
        np.testing.assert_array_equal(with_pooled.p_treated, raw.p_treated)
        np.testing.assert_array_equal(with_pooled.goal_treated, raw.goal_treated)
        np.testing.assert_array_equal(with_pooled.treated, raw.treated)


def test_adjacent_steps_pair_neighbours_and_each_persona_stands_once():
    levels = {name: {"codes": [i], "persona": name} for i, name in enumerate(("low", "middle", "high"))}
    study = Study.from_dict(
        {
            "name": "steps",
            "survey": {"source": "n.csv", "country": {"constant": "X"}},
            "attributes": {"a": {"levels": levels, "contrasts": "adjacent"}},
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
        }
    )
    people = pd.DataFrame({"a": np.repeat([0, 1, 2], 20), "q": [1] * 20 + [1, 2] * 10 + [2] * 20})
    survey = read_survey(study, people)
    effects = survey_effects([grid_from_counts(count(survey), study, ("X",), ("a",))], study, ("X",))
    (found,) = targets(study, effects)[TRAINED]
    assert found.personas == ({"a": "low"}, {"a": "middle"}, {"a": "high"})
    assert list(zip(found.reference, found.treated, strict=True)) == [(0, 1), (1, 2)]
    np.testing.assert_array_equal(found.p_reference, [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(found.p_treated, [[0.5, 0.5], [0, 1]])


def with_fit(study, **changes):
    return Study.from_dict(study.model_dump(exclude_none=True) | {"fit": changes})


def ends(target):
    """Each toggle's two personas, as sorted (attribute, level) pairs."""
    return [
        tuple(tuple(sorted(target.personas[i].items())) for i in pair)
        for pair in zip(target.reference, target.treated, strict=True)
    ]


WOMAN_CITY = (("gender", "woman"), ("place", "city"))


def test_no_toggle_that_touches_a_held_out_persona_is_trained_on(study, run):
    effects = read_effects(run.survey_effects)
    held = with_fit(study, held_out={"personas": [{"gender": "woman", "place": "city"}]})
    found = targets(held, effects)
    # of the four toggles of two binary attributes, two end at each persona
    assert [len(t.reference) for t in found[TRAINED]] == [2] * 6
    assert [len(t.reference) for t in found[PERSONAS]] == [2] * 6
    for target in found[TRAINED]:
        assert WOMAN_CITY not in [tuple(sorted(persona.items())) for persona in target.personas]
        assert target.belongs.all()
    for target in found[PERSONAS]:
        assert all(WOMAN_CITY in pair for pair in ends(target))
        assert [tuple(sorted(p.items())) == WOMAN_CITY for p in target.personas] == target.belongs.tolist()


def test_each_toggle_is_in_one_part(study, run):
    effects = read_effects(run.survey_effects)
    held = {"questions": ["work"], "countries": ["SE"], "personas": [{"gender": "woman", "place": "city"}]}
    found = targets(with_fit(study, held_out=held), effects)
    places = {part: [(t.country, t.question, len(t.reference)) for t in found[part]] for part in PARTS}
    assert places == {
        TRAINED: [("NO", "trust", 2), ("NO", "taxes", 2)],
        VALIDATION: [],
        QUESTIONS: [("NO", "work", 4), ("SE", "work", 4)],
        COUNTRIES: [("SE", "trust", 4), ("SE", "taxes", 4)],
        PERSONAS: [("NO", "trust", 2), ("NO", "taxes", 2)],
    }


def test_validation_questions_choose_without_what_is_held_out(study, run):
    effects, stop = read_effects(run.survey_effects), {"questions": ["taxes"]}
    fit = {"epochs": 4, "early_stopping": stop}
    found = targets(with_fit(study, **fit, held_out={"questions": ["work"]}), effects)
    assert [(t.country, t.question, len(t.reference)) for t in found[VALIDATION]] == [
        ("NO", "taxes", 4),
        ("SE", "taxes", 4),
    ]
    assert {t.question for t in found[TRAINED]} == {"trust"}
    held = {"countries": ["SE"], "personas": [{"gender": "woman", "place": "city"}]}
    found = targets(with_fit(study, **fit, held_out=held), effects)
    (chosen,) = found[VALIDATION]
    assert (chosen.country, len(chosen.reference)) == ("NO", 2), "no held-out country, no held-out persona"
    assert {"gender": "woman", "place": "city"} not in chosen.personas
    assert chosen.belongs.all()
    assert not [t for part in (COUNTRIES, PERSONAS) for t in found[part] if t.question == "taxes"]


def test_targets_know_how_many_answered(study, run):
    """Of simple random samples either end is worth its people, but for the n - 1 of a variance."""
    effects = read_effects(run.survey_effects)
    for target in targets(study, effects)[TRAINED]:
        own = effects[(effects["country"] == target.country) & (effects["question"] == target.question)]
        own = own[own["granularity"] == 2]
        np.testing.assert_allclose(target.n_reference, own["n_reference"], rtol=0.02)
        np.testing.assert_allclose(target.n_treated, own["n_treated"], rtol=0.02)


def test_impossible_held_out_countries_are_refused(study, run):
    effects = read_effects(run.survey_effects)
    unnamed = study.model_dump(exclude_none=True)
    unnamed["survey"]["countries"] = {}
    for codes, expected in ((["DK"], "the survey has no country DK; it has NO, SE"), (["NO", "SE"], "every country")):
        with pytest.raises(InputError, match=expected):
            targets(Study.from_dict(unnamed | {"fit": {"held_out": {"countries": codes}}}), effects)


def test_multilevel_goals_are_of_personas_and_what_judges_stays(study, run):
    """Each persona has one goal whichever toggle it is an end of, between its own cell and the others'."""
    effects = read_effects(run.survey_effects)
    raw = targets(with_fit(study), effects)
    pooled = targets(with_fit(study, targets="multilevel"), effects)
    components = fit_components([cells_of(study, target) for target in raw[TRAINED]])
    for own, other in zip(raw[TRAINED], pooled[TRAINED], strict=True):
        goals = partially_pool(cells_of(study, own), components)
        np.testing.assert_allclose(other.goal_reference, goals[own.reference])
        np.testing.assert_allclose(other.goal_treated, goals[own.treated])
        assert np.abs(other.goal_treated - own.p_treated).max() > 1e-3
        np.testing.assert_array_equal(other.p_treated, own.p_treated)
        np.testing.assert_array_equal(other.p_reference, own.p_reference)
        np.testing.assert_array_equal(other.n_treated, own.n_treated)


def cells_of(study, target):
    """A target's personas, each as some toggle shows it."""
    found = {}
    for place, p, n in [
        *zip(target.reference, target.p_reference, target.n_reference, strict=True),
        *zip(target.treated, target.p_treated, target.n_treated, strict=True),
    ]:
        found.setdefault(place, []).append((n, p))
    levels = [[persona[name] for name in study.attributes] for persona in target.personas]
    n = [np.mean([n for n, _ in found[i]]) for i in range(len(levels))]
    return Cells(np.array(levels), np.array(n), np.array([found[i][0][1] for i in range(len(levels))]))


def test_the_schedule_says_what_is_learnt_unless_the_study_does(study, run):
    effects = read_effects(run.survey_effects)
    cell, multilevel = (targets(with_fit(study, targets=name), effects)[TRAINED] for name in ("cell", "multilevel"))
    for changes, expected in (
        ({"schedule": "paper"}, cell),
        ({"schedule": "level_kl"}, cell),
        ({"schedule": [{"epochs": 1, "level_w1": 1, "effect": 10}]}, cell),
        ({"schedule": "best"}, multilevel),
        ({"schedule": "best", "targets": "cell"}, cell),
        ({"schedule": "effect", "targets": "multilevel"}, multilevel),
    ):
        for one, other in zip(targets(with_fit(study, **changes), effects)[TRAINED], expected, strict=True):
            np.testing.assert_array_equal(one.goal_treated, other.goal_treated)


def test_coarser_personas_are_pooled_by_the_levels_that_they_have(study, tmp_path):
    coarse = Study.from_dict(
        study.model_dump(exclude_none=True) | {"effects": {"granularity": [1]}, "fit": {"schedule": "best"}}
    )
    made = Run.for_study(coarse, tmp_path / "run")
    audit_survey(read_survey(coarse), made)
    for target in targets(coarse, read_effects(made.survey_effects))[TRAINED]:
        assert {tuple(persona) for persona in target.personas} == {("gender",), ("place",)}
        np.testing.assert_allclose(target.goal_treated.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("held_out", "of"),
    [
        ({"countries": ["SE"]}, COUNTRIES),
        ({"questions": ["work"]}, QUESTIONS),
        ({"personas": [{"gender": "man", "place": "village"}]}, PERSONAS),
    ],
)
def test_nothing_held_out_is_in_what_is_learnt(study, run, held_out, of):
    """Other answers from those held out leave what is learnt, and what chooses the epoch, as they were."""
    stop = {"early_stopping": {"questions": ["taxes"]}, "epochs": 4}
    pooled = with_fit(study, targets="multilevel", held_out=held_out, **stop)
    effects = read_effects(run.survey_effects)
    unseen = parts(effects, pooled.fit.held_out, pooled, pooled.fit.validation) == of
    assert 0 < unseen.sum() < len(effects)
    turned = effects.copy()
    turned.loc[unseen, ["p_reference", "p_treated"]] = effects.loc[unseen, ["p_treated", "p_reference"]].to_numpy()
    before, after = (targets(pooled, table) for table in (effects, turned))
    for part in (TRAINED, VALIDATION):
        assert before[part]
        for one, other in zip(before[part], after[part], strict=True):
            np.testing.assert_array_equal(one.goal_reference, other.goal_reference)
            np.testing.assert_array_equal(one.goal_treated, other.goal_treated)


def rows(errors, sizes):
    return pd.DataFrame({"std_error": errors, "n_eff_reference": sizes, "n_eff_treated": sizes})


def test_precision_is_inverse_variance_within_the_bounds():
    # Equal variance per respondent (std_error ** 2 is 2 s / n), so steadying changes nothing but n / (n - 1), and the
    # weights of 200 and 400 respondents are as 1 to 2: 2/3 and 4/3
    sizes = np.array([200.0, 400.0])
    found = precision_weights(rows(np.sqrt(2 * 0.1 / sizes), sizes))
    np.testing.assert_allclose(found, [2 / 3, 4 / 3], rtol=0.005)
    # 9 cells of 20 and one of 20,000: 1/v as 1 to 1000, mean 100.9, so 0.0099 and 9.91 of it; cut to 1/4 and 4,
    # whose mean is (9 / 4 + 4) / 10 = .625: .4 and 6.4
    sizes = np.array([20.0] * 9 + [20000.0])
    found = precision_weights(rows(np.sqrt(2 * 0.1 / sizes), sizes))
    np.testing.assert_allclose(found, [0.4] * 9 + [6.4], rtol=1e-9)
    assert found.max() / found.min() == pytest.approx(WEIGHT_BOUND**2)


def test_a_small_cell_that_happens_to_agree_is_not_taken_as_certain():
    sizes = np.array([10.0, 300.0, 300.0])
    found = precision_weights(rows([0.0, 0.03, 0.03], sizes))
    assert found[0] < 0.5 < found[1] == found[2]
    np.testing.assert_array_equal(precision_weights(rows([0.0, 0.0], np.array([1.0, 1.0]))), [1, 1])


def test_weights_follow_the_survey(study, run):
    effects = read_effects(run.survey_effects)
    for target in targets(with_fit(study, weights="precision"), effects)[TRAINED]:
        assert target.weight.mean() == pytest.approx(1)
        assert target.weight.std() > 0
        own = effects[(effects["country"] == target.country) & (effects["question"] == target.question)]
        np.testing.assert_array_equal(target.weight, precision_weights(own))


@pytest.fixture
def halved_run(folder, tmp_path):
    """The tiny study with halved respondents, and its run folder."""
    halved = Study.load(folder / "study.yaml", ["fit.held_out.respondents=half"])
    made = Run.for_study(halved, tmp_path / "halved")
    audit_survey(read_survey(halved), made)
    return halved, made


@pytest.mark.parametrize("goal", ["cell", "multilevel"])
def test_targets_are_of_one_half_and_what_is_scored_of_the_other(halved_run, goal):
    study, run = halved_run
    fit = study.fit.model_copy(update={"targets": goal, "weights": "precision"})
    study = study.model_copy(update={"fit": fit})
    found = run_targets(study, run)
    learnt, shown = read_effects(run.training_effects), read_effects(run.survey_effects)
    assert set(found) == {*PARTS, RESPONDENTS}
    for part, table in ((TRAINED, learnt), (RESPONDENTS, shown), (QUESTIONS, shown)):
        questions = ["work"] if part == QUESTIONS else ["trust", "taxes"]
        assert [target.question for target in found[part]] == questions * 2
        finest = table[(table["granularity"] == 2) & table["question"].isin(questions)]
        for target in found[part]:
            own = (finest["country"] == target.country) & (finest["question"] == target.question)
            rows = finest[own & finest["supported"]]
            np.testing.assert_array_equal(target.p_treated, np.stack(rows["p_treated"]))
            np.testing.assert_array_equal(target.weight, precision_weights(rows))
            if part != RESPONDENTS:  # nobody learns from those
                assert np.array_equal(target.goal_treated, target.p_treated) == (goal == "cell" or part == QUESTIONS)
    for one, other in zip(found[TRAINED], found[RESPONDENTS], strict=True):
        assert (one.p_treated != other.p_treated).any(axis=1).all(), "other people"


def test_validation_questions_are_answered_by_the_training_half(halved_run):
    """The evaluation half must not choose the epoch that it then scores."""
    study, run = halved_run
    stop = {"questions": ["taxes"]}
    study = Study.from_dict(
        study.model_dump(exclude_none=True)
        | {"fit": study.fit.model_dump(exclude_none=True) | {"epochs": 4, "early_stopping": stop}}
    )
    found = run_targets(study, run)
    assert [(t.country, t.question) for t in found[VALIDATION]] == [("NO", "taxes"), ("SE", "taxes")]
    assert not [t for part in (TRAINED, RESPONDENTS) for t in found[part] if t.question == "taxes"]
    learnt, shown = (read_effects(path) for path in (run.training_effects, run.survey_effects))
    for target in found[VALIDATION]:
        for table, same in ((learnt, True), (shown, False)):
            own = (table["country"] == target.country) & (table["question"] == target.question)
            rows = table[own & (table["estimator"] == "cell") & table["supported"] & (table["granularity"] == 2)]
            p = np.stack(rows["p_treated"])
            assert np.array_equal(target.p_treated, p) == same


def test_without_halves_the_survey_is_both_learnt_from_and_scored(study, run):
    found = run_targets(study, run)
    assert set(found) == set(PARTS)
    expected = targets(study, read_effects(run.survey_effects))[TRAINED]
    for one, other in zip(found[TRAINED], expected, strict=True):
        np.testing.assert_array_equal(one.p_treated, other.p_treated)
