"""Figures on paper: their number, their captions, what is left out of them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.runs import Run
from causal.study import Study
from diagnostics.averages import question_effects
from diagnostics.inputs import load_inputs
from diagnostics.surveydrawings import draw_attributes, draw_balance, draw_graph, draw_topics


def test_captions_say_what_is_held_and_what_it_measures(toy: SimpleNamespace, tmp_path: Path) -> None:
    study = Study.from_dict(toy.raw(graph={"edges": [["gender", "home"]]}))
    gender, home = draw_attributes(load_inputs(str(toy.make_run(tmp_path / "run", study).path)))
    assert (gender.name, home.name) == ("attribute_1", "attribute_2")
    assert gender.caption.startswith(
        "gender (male → female; nothing else held fixed). Given the graph, this is its total"
    )
    assert "an association and not identified" in home.caption
    assert "countries" not in gender.caption
    assert "How about thing 3?" in gender.svg


def test_held_attributes_are_named_at_full_granularity(toy: SimpleNamespace, tmp_path: Path) -> None:
    study = Study.from_dict(toy.raw(effects={"granularity": "full"}))
    gender, _ = draw_attributes(load_inputs(str(toy.make_run(tmp_path / "run", study).path)))
    assert "(male → female; home held fixed)" in gender.caption
    assert "averaged in proportion to their respondents" in gender.caption


def test_what_only_adjusting_identifies_has_a_figure_of_its_own(toy: SimpleNamespace, tmp_path: Path) -> None:
    """Age drives home, and in SE decides it; so aipw's rows of NO are effects, and those of SE are not."""
    data = pd.concat([toy.answers(n=800).assign(country=name) for name in ("NO", "SE")], ignore_index=True)
    rng = np.random.default_rng(1)
    data["age"] = (rng.normal(0, 1, len(data)) + 0.8 * data["home"]).round(2)
    there = data["country"] == "SE"
    data["home"] = data["home"].mask(there, (data["age"] > 0).astype(int))
    raw = toy.raw(
        survey={"source": "nowhere.csv", "country": "country", "countries": {"NO": "Norway", "SE": "Sweden"}},
        covariates={"age": {}},
        graph={"edges": [["age", "home"]]},
        effects={"estimator": ["cell", "aipw"]},
    )
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", Study.from_dict(raw), data).path))
    drawings = {one.name: one for one in draw_attributes(inputs)}
    assert list(drawings) == ["attribute_1", "attribute_2", "attribute_2_adjusted"]
    cells, adjusted = drawings["attribute_2"], drawings["attribute_2_adjusted"]
    assert "an association and not identified" in cells.caption
    assert cells.caption.count("†") == 1
    assert "home †: city → farm" in cells.svg
    assert "Given the graph, this is its total effect. Estimated by aipw" in adjusted.caption
    assert "Adjusting identifies none in Sweden." in adjusted.caption
    assert "†" not in adjusted.caption + adjusted.svg
    rows = question_effects(inputs, "home", "aipw")
    assert [len(values) for values in rows["by_country"]] == [1] * 6
    norway = inputs.others[(inputs.others["attribute"] == "home") & (inputs.others["country"] == "NO")]
    assert set(norway["estimand"]) == {"total"}
    (first,) = rows.loc[rows["question"] == "q0", "shift"]
    own = norway[norway["question"] == "q0"]
    assert first == pytest.approx(np.average(own["shift"], weights=own["n_reference"] + own["n_treated"]))


def test_several_countries_and_many_questions(toy: SimpleNamespace, tmp_path: Path) -> None:
    raw = toy.raw(survey={"source": "nowhere.csv", "country": "cntry"}, effects={"granularity": [1]})
    one = raw["questions"]["q0"]
    raw["questions"] = {f"item{i}": one | {"column": f"q{i % 6}", "topic": f"t{i % 2}"} for i in range(45)}
    data = toy.answers(n=400)
    data = pd.concat([data.assign(cntry=name) for name in ("NO", "SE")])
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", Study.from_dict(raw), data).path))
    gender, _ = draw_attributes(inputs)
    assert "the pale dots are the countries" in gender.caption
    assert "Of 45 questions, the 40 furthest from 0 are drawn." in gender.caption
    assert len(re.findall(r"item\d+: How about", gender.svg)) == 40
    (topics,) = draw_topics(inputs)
    assert "country (columns)" in topics.caption
    assert topics.svg.count(">NO<") == 1  # columns are named once, beneath the last panel


def test_the_graphs_caption_explains_only_what_it_shows(audited: Run, toy: SimpleNamespace, tmp_path: Path) -> None:
    (plain,) = draw_graph(load_inputs(str(audited.path)))
    assert plain.caption.startswith("No arrows were declared")
    assert "Orange" not in plain.caption
    graph = {"edges": [["wealth", "gender"], ["wealth", "answer"]], "latent": ["wealth"]}
    study = Study.from_dict(toy.raw(graph=graph))
    (open_one,) = draw_graph(load_inputs(str(toy.make_run(tmp_path / "run", study).path)))
    assert "Orange arrows" in open_one.caption
    assert "dashed frame" in open_one.caption
    assert "mediator" not in open_one.caption


def test_no_support_leaves_only_the_graph(toy: SimpleNamespace, study: Study, tmp_path: Path) -> None:
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", study, toy.answers(n=12)).path))
    assert draw_attributes(inputs) == draw_topics(inputs) == []
    assert len(draw_graph(inputs)) == 1
    assert [drawing.name for drawing in draw_balance(inputs)] in ([], ["balance"])
