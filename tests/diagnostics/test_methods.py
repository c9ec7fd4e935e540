"""The methods paragraph says what was done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from causal.runs import Run
from causal.study import Study
from diagnostics.estimators import adjusted_sentences
from diagnostics.inputs import load_inputs
from diagnostics.methods import answered, joined, methods_paragraph, question_table


def test_halved_respondents_are_said_to_be_so(audited: Run) -> None:
    inputs = load_inputs(str(audited.path))
    assert "half of the respondents" not in methods_paragraph(inputs)
    held_out = inputs.study.fit.held_out.model_copy(update={"respondents": "half"})
    survey = inputs.study.survey.model_copy(update={"psu": "village"})
    fit = inputs.study.fit.model_copy(update={"held_out": held_out})
    halved = replace(inputs, study=inputs.study.model_copy(update={"fit": fit, "survey": survey}))
    assert "These are half of the respondents: primary sampling units were dealt out at random" in (
        methods_paragraph(halved)
    )


def test_facts_of_a_plain_run(audited: Run) -> None:
    text = methods_paragraph(load_inputs(str(audited.path)))
    for part in (
        "answers to 6 survey questions shift with gender (male, female) and home (city, farm).",
        "n = 1,600 answers per question",
        "unweighted",
        "(0, 1 and 2 attributes specified)",
        "at least 10 respondents",
        "36 of 36",  # 6 questions, 2 toggles at G=1 and 4 at G=2
        "(95%)",
        "without arrows between attributes",
        "the 36 contrasts measure total effects (36).",
        "ace-align ",
    ):
        assert part in text


def test_weights_design_graph_and_estimators_are_named(toy: SimpleNamespace, tmp_path: Path) -> None:
    survey = {"source": "x.csv", "country": {"constant": "USA"}, "weight": "w", "psu": "village"}
    graph = {"edges": [["gender", "home"], ["wealth", "home"]], "latent": ["wealth"]}
    estimator = {"granularity": "all", "estimator": ["cell", "pooled"], "confidence": 0.9}
    study = Study.from_dict(toy.raw(survey=survey, graph=graph, effects=estimator))
    data = toy.answers().assign(w=1.0, village=np.arange(1600) % 40)
    text = methods_paragraph(load_inputs(str(toy.make_run(tmp_path / "run", study, data).path)))
    for part in (
        "take account of the survey weights (w) and primary sampling units (village)",
        "and, beside that, shrunken across contexts by empirical Bayes",
        "(90%)",
        "with the arrows gender → home, wealth → home and the unmeasured wealth",
        # gender: 6 total, 12 direct; home: 12 total where gender is held, 6 associations
        "total effects (18), controlled direct effects (12) and associations that are not identified as effects (6)",
    ):
        assert part in text
    assert "unweighted" not in text


def test_answers_are_counted_once(toy: SimpleNamespace, tmp_path: Path) -> None:
    data = toy.answers()
    data.loc[:99, "q0"] = None
    data.loc[:9, "gender"] = None
    study = Study.from_dict(toy.raw(effects={"granularity": [1]}))
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", study, data).path))
    assert answered(inputs.distributions, study) == (1500, 1600)  # by home, which is known of all


def test_question_table_has_the_wording_and_both_ends(audited: Run) -> None:
    table = question_table(load_inputs(str(audited.path)))
    assert table.rows[0] == ("q0", "How about thing 0?", "goods", "too much", "too little", "3")


@pytest.mark.parametrize(("names", "said"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_joined(names: list[str], said: str) -> None:
    assert joined(names) == said


def test_what_lacks_overlap_is_said_and_nothing_else(toy: SimpleNamespace, tmp_path: Path) -> None:
    data = toy.answers().assign(c=np.repeat(["A", "B"], 800), age=np.random.default_rng(0).uniform(20, 70, 1600))
    sections = {
        "survey": {"source": "x.csv", "country": "c", "countries": {"A": "Aldova", "B": "Borduria"}},
        "covariates": {"age": {}},
        "graph": {"edges": [["age", "home"]]},
        "effects": {"estimator": ["cell", "aipw"], "granularity": [1]},
    }
    study = Study.from_dict(toy.raw(**sections))
    clean = load_inputs(str(toy.make_run(tmp_path / "clean", study, data).path))
    assert "overlap" not in methods_paragraph(clean)
    assert "overlap" not in " ".join(adjusted_sentences(clean))
    there = data["c"] == "B"
    data.loc[there, "home"] = (data.loc[there, "age"] > 45).astype(int)
    lacking = load_inputs(str(toy.make_run(tmp_path / "lacking", study, data).path))
    text = methods_paragraph(lacking)
    assert "6 adjusted contrasts (home in Borduria) are reported as associations for lack of overlap" in text
    assert "significantly fewer than 90%" in text
    assert "where people do not overlap: home in Borduria." in adjusted_sentences(lacking)[-1]


def test_what_the_graph_does_not_identify_is_not_laid_to_overlap(toy: SimpleNamespace, tmp_path: Path) -> None:
    graph = {"edges": [["wealth", "home"], ["wealth", "answer"]], "latent": ["wealth"]}
    effects = {"estimator": ["cell", "aipw"], "granularity": [1]}
    study = Study.from_dict(toy.raw(graph=graph, effects=effects))
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", study).path))
    assert (inputs.others["estimand"] == "not_identified").any()
    assert "overlap" not in methods_paragraph(inputs)
