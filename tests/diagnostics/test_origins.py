"""Labels made from other models, or asked with other prompts, are not called the effect of training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from causal.runs import Run, file_hash
from causal.study import Study
from diagnostics.diagnosis import diagnose
from diagnostics.inputs import load_inputs
from diagnostics.origins import origin_notes
from diagnostics.report import main
from diagnostics.scores import scores

QWEN, GPT2 = {"model": "m_qwen", "weights": "a" * 64}, {"model": "m_gpt2", "weights": "b" * 64}
TUNED = {"model": "m_gpt2", "weights": "b" * 64 + "c" * 64}
PLAIN = {"layout": "question-first", "options": "letters", "style": "plain"}


def record(run: Run, study: Study, step: str, **changes: Any) -> None:
    """Change what a step of a label recorded."""
    files = [run.model(step.split("/")[1]) / f"{name}.parquet" for name in ("distributions", "effects")]
    run.record(study, step, run.inputs(step) | changes, files if step.startswith("measure") else [])


def page(run: Run, *labels: str) -> str:
    assert main([str(run.path), "--quiet", *(["--compare", *labels] if labels else [])]) == 0
    return (run.path / "report.html").read_text(encoding="utf-8")


def headline(text: str) -> str:
    return text.split('class="headline">')[1].split("<")[0]


@pytest.fixture
def alike(compared: Run, study: Study) -> Run:
    """Labels ``base`` and ``ace``, both from m_gpt2 and asked alike."""
    record(compared, study, "measure/base", **GPT2, prompt=PLAIN)
    record(compared, study, "measure/ace", **TUNED, prompt=PLAIN)
    record(compared, study, "fit/ace", **GPT2)
    return compared


def test_the_same_base_model_is_the_effect_of_training(alike: Run, study: Study) -> None:
    text = page(alike)
    assert headline(text).startswith("Training (ace) brings the effects")
    assert "<h3>Before training</h3>" in text
    assert "<h3>After training: ace</h3>\n<ul><li>On the 2 questions" in text
    assert origin_notes(load_inputs(str(alike.path))) == ()
    record(alike, study, "measure/base", model="the/same/under/another/name")
    assert page(alike).count("Training (ace) brings the effects") == 1, "the same weights"
    record(alike, study, "measure/base", prompt={"layout": "question-first", "options": "letters"})
    assert headline(page(alike)).startswith("Training (ace)"), "an older record, without the style, is of the plain one"


def test_another_base_model_is_said_first_and_training_is_not_praised(alike: Run, study: Study) -> None:
    record(alike, study, "measure/base", **QWEN)
    text = page(alike)
    start = "ace was trained from m_gpt2, base is m_qwen:"
    said = f"{start} what follows compares two models and is not the effect of training."
    assert f"<h3>Against base: ace (m_gpt2)</h3>\n<ul><li>{said}</li><li>On the 2 questions" in text
    assert "Before training" not in text
    assert "After training" not in text
    assert headline(text).startswith(f"{start} what training did cannot be read from the two.")
    assert "brings the effects" not in text
    assert "base gets " in headline(text), "what base is like is still said"
    note = "one model: base from m_qwen; ace from m_gpt2. Differences between these are not of methods alone."
    assert text.index("All methods side by side") < text.index(note) < text.index("Scores in detail")


def test_scores_say_whether_a_change_is_the_effect_of_training(alike: Run, study: Study) -> None:
    def told() -> bool:
        inputs = load_inputs(str(alike.path))
        parts = scores(inputs, diagnose(inputs))["changes"]["ace"].values()
        assert len({part["effect_of_training"] for part in parts}) == 1
        return next(iter(parts))["effect_of_training"]

    assert told()
    record(alike, study, "measure/base", **QWEN)
    assert not told()


def test_of_two_trained_labels_the_first_is_not_before_training(alike: Run, study: Study, toy: SimpleNamespace) -> None:
    toy.add_label(alike, study, "other", toy.shrunk, trained=True)
    record(alike, study, "fit/other", **GPT2)
    record(alike, study, "measure/other", **TUNED, prompt=PLAIN)
    text = page(alike, "other", "ace")
    assert "Before training" not in text
    assert "After training" not in text
    assert "<h3>The model: other</h3>" in text
    assert "<h3>Against other: ace (m_gpt2)</h3>" in text
    assert headline(text).startswith("ace brings the effects of attributes nearer to the survey&#39;s than other")
    inputs = load_inputs(str(alike.path), ["other", "ace"])
    changes = scores(inputs, diagnose(inputs))["changes"]["ace"].values()
    assert not any(part["effect_of_training"] for part in changes)


def test_other_files_under_the_same_name_are_another_model(alike: Run, study: Study) -> None:
    record(alike, study, "measure/base", weights="d" * 64)
    text = page(alike)
    assert "ace was trained from other files of m_gpt2 than base: what follows compares two models" in text
    assert "base from m_gpt2; ace from other files of m_gpt2." in text


OTHER = {"layout": "persona-first", "options": "labels", "style": "anthropological"}


@pytest.mark.parametrize(("key", "value"), OTHER.items())
def test_another_prompt_is_said_first(alike: Run, study: Study, key: str, value: str) -> None:
    record(alike, study, "measure/base", prompt=PLAIN | {key: value})
    text = page(alike)
    asked = f"ace was asked with {key} {PLAIN[key]}, base with {key} {value}"
    assert f"<li>{asked}: what follows compares two prompts and is not the effect of training alone.</li>" in text
    assert headline(text).startswith(f"{asked}: what training did cannot be read from the two.")
    assert f"Not all were asked alike: base with {key} {value}; ace with {key} {PLAIN[key]}." in text


def test_another_model_and_another_prompt_are_one_sentence(alike: Run, study: Study) -> None:
    record(alike, study, "measure/base", **QWEN, prompt=PLAIN | {"layout": "persona-first", "style": "anthropological"})
    assert (
        "ace was trained from m_gpt2, base is m_qwen, and ace was asked with layout question-first and style plain, "
        "base with layout persona-first and style anthropological: what follows compares two models and two "
        "prompts and is not the effect of training." in page(alike)
    )


def test_of_two_trained_labels_only_the_unlike_one_is_kept_from_the_headline(
    alike: Run, study: Study, toy: SimpleNamespace
) -> None:
    toy.add_label(alike, study, "mine", toy.near, trained=True)
    record(alike, study, "fit/mine", **QWEN)
    record(alike, study, "measure/mine", model="m_qwen", prompt=PLAIN)
    text = page(alike)
    assert "Training (ace) brings the effects" in headline(text)
    assert "mine was trained from m_qwen, base is m_gpt2: what training did cannot" in headline(text)
    assert "Training (mine)" not in text
    assert "<h3>Before training</h3>" in text
    assert "base gets " not in headline(text)


def test_rivals_of_another_model_are_named_under_the_table(
    alike: Run, study: Study, toy: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """A temperature is of the model that ``base`` was when it was chosen; rules without a model are of none."""
    for label in ("anchor", "temperature", "uniform"):
        toy.add_label(alike, study, label, toy.near, trained=label == "anchor")
    record(alike, study, "fit/anchor", **QWEN)
    record(alike, study, "measure/anchor", model="m_qwen", prompt=PLAIN)
    tables = {
        "survey_distributions": file_hash(alike.survey_distributions),
        "learnt_distributions": file_hash(alike.learnt_distributions),
        "learnt_effects": file_hash(alike.learnt_effects),
    }
    base = alike.model("base") / "distributions.parquet"
    made = {"computed": "temperature", "model": "m_gpt2 at temperature 2", "base": file_hash(base), "prompt": PLAIN}
    record(alike, study, "measure/temperature", **tables, **made, held_out={"questions": ["q4", "q5"]})
    record(alike, study, "measure/uniform", **tables, computed="uniform", model="no model", prompt={})
    alike.record(study, "baselines", {"main": "ace", "rivals": ["base", "anchor", "temperature", "uniform"]}, [])
    assert main([str(alike.path)]) == 0
    start = "Not all come from one model: base, ace, temperature from m_gpt2; anchor from m_qwen."
    assert start in capsys.readouterr().out
    assert start in (alike.path / "report.html").read_text(encoding="utf-8")
    assert headline(page(alike)).startswith("Training (ace)")
    record(alike, study, "measure/temperature", base="of an earlier base")
    (note,) = origin_notes(load_inputs(str(alike.path)))
    assert "base, ace from m_gpt2; anchor from m_qwen; temperature from m_gpt2 at temperature 2." in note
    assert "uniform" not in note


def test_a_record_older_than_styles_is_of_the_plain_one(alike: Run, study: Study) -> None:
    record(alike, study, "measure/base", prompt={"layout": "question-first", "options": "letters"})
    record(alike, study, "measure/ace", prompt=PLAIN | {"style": "anthropological"})
    (note,) = origin_notes(load_inputs(str(alike.path)))
    assert note == "Not all were asked alike: base with style plain; ace with style anthropological."
