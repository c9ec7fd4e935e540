from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from align.fit import fit_inputs, prepare
from align.models import load_model
from align.training import Stage, evaluate, stages, train
from causal.errors import RunError
from causal.sections import FitSettings


def settings(**changes) -> FitSettings:
    return FitSettings.model_validate({"epochs": 2, "learning_rate": 1e-2, **changes})


def lora(study, seed=0, rank=2, dropout=0.1):
    from peft import LoraConfig, get_peft_model

    model = load_model(study.model.name).model
    torch.manual_seed(seed)
    return get_peft_model(
        model, LoraConfig(r=rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def test_papers_schedule_anchors_then_aligns():
    anchor, effect = Stage(1.0, 0.0), Stage(0.0, 1.0)
    assert stages(settings()) == [anchor, effect]
    assert stages(settings(epochs=4)) == [anchor, anchor, effect, effect]
    assert stages(settings(schedule="effect")) == [effect, effect]
    assert stages(settings(schedule="anchor", epochs=1)) == [anchor]


@pytest.fixture
def items(study, run, tiny):
    return prepare(study, run, tiny, ["trust", "taxes"])


def test_each_item_once_per_epoch_in_an_order_of_its_own(study, items, tmp_path):
    train(lora(study), items, settings(epochs=4), tmp_path, "x", lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 17))
    orders = [[(r["country"], r["question"]) for r in log if r["epoch"] == epoch] for epoch in range(1, 5)]
    assert all(sorted(order) == sorted((i.target.country, i.target.question) for i in items) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert {(r["alpha"], r["beta"]) for r in log if r["epoch"] <= 2} == {(1.0, 0.0)}


def test_effect_training_brings_the_effects_closer(study, items, tmp_path):
    model = lora(study, rank=8, dropout=0.0)
    before = evaluate(model, items)
    effect_only = settings(schedule="effect", epochs=25, learning_rate=3e-3)
    train(model, items, effect_only, tmp_path, "x", lambda *_: None)
    assert evaluate(model, items).effect_distance < 0.8 * before.effect_distance


def test_evaluate_equals_the_definition(study, items):
    from align.scoring import option_logprobs

    model = load_model(study.model.name).model
    distances, scores = [], {}
    for item in items:
        with torch.no_grad():
            p = option_logprobs(model, item.asked.trie, item.asked.options).exp().double().numpy()
        t = item.target
        for r, s, p0, p1 in zip(t.reference, t.treated, t.p_reference, t.p_treated, strict=True):
            distances.append(np.abs(np.cumsum(p[s] - p[r]) - np.cumsum(p1 - p0)).mean())
            for position, q in ((r, p0), (s, p1)):
                w1 = np.abs(np.cumsum(p[position] - q)).sum()
                scores[(t.country, t.question, position)] = 100 * (1 - w1 / (len(q) - 1))
    found = evaluate(model, items)
    assert found.effect_distance == pytest.approx(np.mean(distances), abs=1e-6)
    assert found.alignment == pytest.approx(np.mean(list(scores.values())), abs=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_killed_run_resumes_to_the_same_bits(study, items, tmp_path, at):
    whole = lora(study)
    train(whole, items, settings(), tmp_path / "whole", "x", lambda *_: None)

    def kill(step, loss):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(lora(study), items, settings(), tmp_path / "cut", "x", kill)
    (tmp_path / "cut" / "train.jsonl").open("a").write('{"step": "a line whose checkpoint was never written"}\n')
    resumed = lora(study)
    steps = []
    train(resumed, items, settings(), tmp_path / "cut", "x", lambda step, loss: steps.append(step))
    assert steps == list(range(at + 1, 9))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert (tmp_path / "cut" / "train.jsonl").read_text() == (tmp_path / "whole" / "train.jsonl").read_text()


def test_another_runs_checkpoint_is_not_resumed(study, items, tmp_path):
    train(lora(study), items, settings(), tmp_path, "x", lambda *_: None)
    steps = []
    train(lora(study), items, settings(), tmp_path, "y", lambda step, loss: steps.append(step))
    assert steps == list(range(1, 9))


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_intact(study, items, tmp_path):
    train(lora(study), items, settings(), tmp_path, "x", lambda *_: None)
    kept = tmp_path / "kept.safetensors"
    shutil.copy(tmp_path / "checkpoint" / "state.safetensors", kept)
    broken = lora(study)
    next(p for p in broken.parameters() if p.requires_grad).data.fill_(float("nan"))
    with pytest.raises(RunError, match="loss is nan at step 1"):
        train(broken, items, settings(), tmp_path, "z", lambda *_: None)
    assert (tmp_path / "checkpoint" / "state.safetensors").read_bytes() == kept.read_bytes()


def test_inputs_of_a_fit_change_with_what_it_depends_on(study, run):
    base = fit_inputs(study, run, "m", "w")
    faster = study.model_copy(update={"fit": study.fit.model_copy(update={"learning_rate": 1.0})})
    assert fit_inputs(faster, run, "m", "w") != base
    assert fit_inputs(study, run, "m", "other weights") != base
    renamed = study.survey.model_copy(update={"countries": {"NO": "Norge", "SE": "Sverige"}})
    assert fit_inputs(study.model_copy(update={"survey": renamed}), run, "m", "w") != base, "prompts name the country"
