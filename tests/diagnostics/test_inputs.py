"""What a run may show: unknown and stale labels are refused, splits follow the training record."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from causal.errors import InputError
from causal.runs import Run
from causal.study import Study
from causal.tables import effects_schema, read_effects, write_table
from diagnostics.diagnosis import diagnose
from diagnostics.inputs import Inputs, load_inputs
from diagnostics.scores import scores
from diagnostics.verdict import verdict


def _load(run: Run, *labels: str) -> list[str]:
    return [model.label for model in load_inputs(str(run.path), labels or None).models]


def test_base_comes_first_and_compare_picks(audited: Run, study: Study, toy: SimpleNamespace) -> None:
    toy.add_label(audited, study, "ace", toy.near, trained=True)
    toy.add_label(audited, study, "base", toy.shrunk)
    assert _load(audited) == ["base", "ace"]
    assert _load(audited, "ace") == ["ace"]
    assert load_inputs(str(audited.path)).models[0].held_out is None


def test_unknown_label_names_the_known_ones(compared: Run) -> None:
    with pytest.raises(InputError, match=r"no such label .* measured so far: base, ace"):
        _load(compared, "bsae")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        load_inputs(str(tmp_path))


def test_label_measured_for_other_questions_is_stale(tmp_path: Path, study: Study, toy: SimpleNamespace) -> None:
    run = toy.make_run(tmp_path / "run", study)
    toy.add_label(run, study, "base", toy.shrunk)
    changed = Study.from_dict(
        toy.raw(questions=toy.raw()["questions"] | {"q0": {"text": "New?", "options": {1: "a", 2: "b", 3: "c"}}})
    )
    toy.make_run(tmp_path / "run", changed)
    with pytest.raises(InputError, match=r"changed since label base was measured; run python -m align\.measure"):
        _load(run)
    kept = load_inputs(str(run.path), skip_stale=True)
    assert (kept.models, list(kept.left_out)) == ((), ["base"])


def test_label_trained_on_other_effects_is_stale(compared: Run, study: Study) -> None:
    table, schema = read_effects(compared.survey_effects), effects_schema(list(study.attributes))
    write_table(table.assign(q_value=0.5, estimand="total"), compared.survey_effects, schema)
    assert _load(compared) == ["base", "ace"], "no training learns these"
    finest = table["granularity"] == table["granularity"].max()
    write_table(
        table.assign(supported=table["supported"] & ~(finest & (table["question"] == "q1"))),
        compared.survey_effects,
        schema,
    )
    with pytest.raises(
        InputError, match=r"label ace was trained on survey effects that have changed since; run python -m align\.fit"
    ):
        _load(compared)
    assert _load(compared, "base") == ["base"]


def test_files_changed_by_hand_are_refused(compared: Run) -> None:
    path = compared.model("base") / "effects.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="not those that were recorded"):
        _load(compared)


def test_label_without_some_personas_must_be_measured_again(tmp_path: Path, toy: SimpleNamespace) -> None:
    coarse = Study.from_dict(toy.raw(effects={"granularity": [1]}))
    run = toy.make_run(tmp_path / "run", coarse)
    toy.add_label(run, coarse, "base", toy.shrunk)
    toy.make_run(tmp_path / "run", Study.from_dict(toy.raw()))
    with pytest.raises(InputError, match=r"label base lacks .* of the survey's .* rows.*align\.measure"):
        _load(run)


def splits_of_questions(inputs: Inputs) -> dict[str, str | None]:
    split = pd.Series(inputs.split_of(inputs.distributions), dtype=object)
    each = split.groupby(inputs.distributions["question"]).agg(lambda values: values.drop_duplicates().tolist())
    assert all(len(values) == 1 for values in each)
    return {name: values[0] for name, values in each.items()}


def test_splits(compared: Run, audited: Run) -> None:
    splits = splits_of_questions(load_inputs(str(compared.path)))
    assert [name for name, split in splits.items() if split == "held_out"] == ["q4", "q5"]
    assert splits["q0"] == "trained"
    assert load_inputs(str(compared.path), ["base"]).splits == ()  # the study itself holds nothing out


def test_a_question_that_only_some_labels_trained_on_is_in_no_split(
    compared: Run, study: Study, toy: SimpleNamespace
) -> None:
    toy.add_label(compared, study, "other", toy.near)
    fit = compared.inputs("fit/ace") | {"fit": {"held_out": {"questions": ["q5"]}}}
    compared.record(study, "fit/other", fit, [])
    splits = splits_of_questions(load_inputs(str(compared.path)))
    assert (splits["q0"], splits["q4"], splits["q5"]) == ("trained", None, "held_out")


def test_without_training_the_study_s_held_out_questions_count(tmp_path: Path, toy: SimpleNamespace) -> None:
    study = Study.from_dict(toy.raw(fit={"held_out": {"questions": ["q1"]}}))
    run = toy.make_run(tmp_path / "run", study)
    assert load_inputs(str(run.path)).splits == ()
    toy.add_label(run, study, "base", toy.shrunk)
    assert load_inputs(str(run.path)).splits == ("trained", "held_out")
    assert splits_of_questions(load_inputs(str(run.path)))["q1"] == "held_out"


def test_pooled_effects_change_nothing_in_the_report(tmp_path: Path, toy: SimpleNamespace) -> None:
    shown = []
    for name, effects in (("cell", {}), ("pooled", {"estimator": ["cell", "pooled"]})):
        study = Study.from_dict(toy.raw(effects={"granularity": "all"} | effects))
        run = toy.make_run(tmp_path / name, study)
        toy.add_label(run, study, "base", toy.shrunk)
        assert set(read_effects(run.survey_effects)["estimator"]) == {"cell", name}
        inputs = load_inputs(str(run.path))
        shown.append((inputs.effects, diagnose(inputs).toggles, [check.name for check in inputs.checks]))
    (cell, classes, checks), (cell_again, classes_again, more) = shown
    pd.testing.assert_frame_equal(cell, cell_again)
    pd.testing.assert_frame_equal(classes, classes_again)
    assert [name for name in more if name != "pooled variance components"] == checks
    assert len(more) == len(checks) + 1


def test_countries_and_personas_held_out_are_parts_of_their_own(compared: Run, study: Study) -> None:
    held = {"questions": ["q5"], "personas": [{"gender": "female", "home": "farm"}, {"home": "city"}]}
    compared.record(study, "fit/ace", compared.inputs("fit/ace") | {"fit": {"held_out": held}}, [])
    inputs = load_inputs(str(compared.path))
    assert inputs.splits == ("trained", "held_out", "held_out_personas")
    one = inputs.distributions[(inputs.distributions["option"] == 1) & (inputs.distributions["question"] == "q0")]
    found = dict(zip(zip(one["gender"], one["home"], strict=True), inputs.split_of(one), strict=True))
    new = {persona for persona, split in found.items() if split == "held_out_personas"}
    assert new == {("female", "farm"), ("male", "city"), ("female", "city"), (None, "city")}
    assert set(inputs.split_of(inputs.effects[inputs.effects["question"] == "q5"])) == {"held_out"}
    numbers = scores(inputs, diagnose(inputs))
    assert (numbers["held_out"], numbers["held_out_countries"]) == (["q5"], [])
    assert numbers["held_out_personas"] == held["personas"]
    splits = numbers["labels"]["ace"]["splits"]
    assert sum(splits[name]["toggles"] for name in inputs.splits) == splits["all"]["toggles"]
    said = verdict(inputs, diagnose(inputs), numbers)
    assert "on questions never seen in training" in said.headline
    sentences = [line for paragraph in said.paragraphs for line in paragraph.sentences]
    assert any(line.startswith("On the 5 questions with personas it never saw in training") for line in sentences)


def test_a_country_held_out_of_one_label_only_is_in_no_part(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    toy.add_label(compared, study, "other", toy.near)
    compared.record(study, "fit/other", compared.inputs("fit/ace") | {"fit": {"held_out": {"countries": ["USA"]}}}, [])
    inputs = load_inputs(str(compared.path))
    assert (inputs.splits, set(inputs.split_of(inputs.effects))) == ((), {None})
