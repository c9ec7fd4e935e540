from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.runs import Run
from causal.study import Study
from diagnostics.diagnosis import supported_toggles
from diagnostics.estimators import adjusted_only, adjusted_sentences, beside
from diagnostics.inputs import load_inputs


def confounded(answers: pd.DataFrame) -> pd.DataFrame:
    """Age raises answers to q0 and goes with living in the city; farms raise them too, by less."""
    rng = np.random.default_rng(3)
    age = rng.normal(size=len(answers)) - 1.25 * answers["home"]
    latent = 1.2 * age + 0.8 * answers["home"] + rng.normal(size=len(answers))
    return answers.assign(age=age, q0=1 + (latent > -1).astype(int) + (latent > 0.5).astype(int))


def test_an_effect_that_adjusting_turns_round_is_counted_and_said(toy: SimpleNamespace, tmp_path: Path) -> None:
    raw = toy.raw(effects={"granularity": [1], "estimator": ["cell", "aipw"]}, covariates={"age": {}})
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", Study.from_dict(raw), confounded(toy.answers())).path))
    (home,) = [one for one in beside(inputs) if one.attribute == "home"]
    q0 = (home.cells["question"] == "q0").to_numpy()
    assert home.cells.loc[q0, "shift"].item() < -0.1
    assert home.rows.loc[q0, "shift"].item() > 0.05
    assert home.turned >= 1
    assert sum(home.clear) >= 1
    (sentence,) = adjusted_sentences(inputs)
    assert f"{sum(one.turned for one in beside(inputs))} change direction by it" in sentence
    assert "stand out; 12 of the 12 are identified as effects. Of the" in sentence


def test_adjusted_rows_are_effects_only_where_the_graph_says_so(toy: SimpleNamespace, tmp_path: Path) -> None:
    graph = {"edges": [["wealth", "home"], ["wealth", "answer"]], "latent": ["wealth"]}
    raw = toy.raw(effects={"granularity": [1], "estimator": ["cell", "aipw"]}, covariates={"age": {}}, graph=graph)
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", Study.from_dict(raw), confounded(toy.answers())).path))
    (sentence,) = adjusted_sentences(inputs)
    assert "stand out; 6 of the 12 are identified as effects. Of the" in sentence


HIDDEN = [["w", "gender"], ["w", "home"], ["w", "answer"]]


@pytest.mark.parametrize(
    ("edges", "latent", "said"),
    [
        ([["age", "gender"], ["age", "home"]], [], True),
        ([["age", "gender"], ["age", "home"], *HIDDEN], ["w"], False),
        ([["age", "home"]], [], False),
    ],
    ids=["every effect by adjusting", "none at all", "one without"],
)
def test_the_headline_does_not_deny_what_adjusting_identifies(toy, tmp_path, edges, latent, said) -> None:
    changed = {"covariates": {"age": {}}, "graph": {"edges": edges, "latent": latent}}
    raw = toy.raw(effects={"granularity": [1], "estimator": ["cell", "aipw"]}, **changed)
    inputs = load_inputs(str(toy.make_run(tmp_path / "run", Study.from_dict(raw), confounded(toy.answers())).path))
    clear = (inputs.others["q_value"] < 0.05).sum()
    headline = adjusted_only(inputs, supported_toggles(inputs))
    assert headline.endswith(f"(aipw): {clear} of 12 stand out from sampling noise") == said
    assert bool(headline) == said


def test_there_is_nothing_to_say_without_such_an_estimator(audited: Run) -> None:
    assert adjusted_sentences(load_inputs(str(audited.path))) == []
