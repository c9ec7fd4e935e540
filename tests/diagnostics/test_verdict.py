"""A trained model shown alone is described by what it never saw."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from causal.runs import Run
from causal.study import Study
from causal.tables import read_effects
from diagnostics.diagnosis import diagnose
from diagnostics.inputs import load_inputs
from diagnostics.scores import scores
from diagnostics.verdict import verdict


def sentences(run: Run, *labels: str) -> tuple[str, str]:
    """The headline, and the first paragraph's text."""
    inputs = load_inputs(str(run.path), labels)
    found = diagnose(inputs)
    said = verdict(inputs, found, scores(inputs, found))
    return said.headline, " ".join(said.paragraphs[0].sentences)


def test_a_trained_model_alone_is_described_on_what_was_held_out(
    compared: Run, study: Study, toy: SimpleNamespace
) -> None:
    """It knows the four questions trained on by heart and is even on q4 and q5, which have 12 of the 36 toggles."""
    unseen = ["q4", "q5"]
    toy.add_label(
        compared, study, "learnt", lambda rows: rows["p"].where(~rows["question"].isin(unseen), 1 / 3), trained=True
    )
    survey = read_effects(compared.survey_effects)
    near = survey["shift"].abs()[survey["question"].isin(unseen)] <= 0.05
    assert near.sum() == 0
    headline, text = sentences(compared, "learnt")
    assert text.startswith("It is trained, so what follows is on the 12 toggles of questions held out from training. ")
    assert "in 0 of 12 toggles" in text
    assert "Its effect distance is" in text
    assert "not clearly different from that of a model without any effect" in text, "it is one there"
    assert "learnt gets 0% of attribute effects of questions held out from training about right" in headline


def test_one_question_cannot_tell_a_model_from_one_without_effect(compared: Run, study: Study) -> None:
    everything = load_inputs(str(compared.path), ["base"])
    tables = {name: getattr(everything, name) for name in ("effects", "distributions")}
    one = replace(everything, **{name: table[table["question"] == "q1"] for name, table in tables.items()})
    found = diagnose(one)
    text = " ".join(verdict(one, found, scores(one, found)).paragraphs[0].sentences)
    assert ", which one question alone cannot tell from that of a model without any effect (" in text


def test_a_model_that_is_not_trained_is_described_on_everything(compared: Run) -> None:
    headline, text = sentences(compared, "base")
    assert " of 36 toggles" in text
    assert "rained" not in text
    assert "base gets " in headline
    assert "held out" not in headline


def test_where_nothing_was_held_out_that_is_said(compared: Run, study: Study) -> None:
    record = compared.inputs("fit/ace")
    compared.record(study, "fit/ace", record | {"fit": record["fit"] | {"held_out": {}}}, [])
    assert sentences(compared, "ace")[1].startswith("It was trained, and nothing held out from it can be judged here")
