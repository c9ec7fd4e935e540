from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from align.fit import fit_inputs, prepare
from align.models import load_model
from align.training import evaluate, objectives, train
from causal.errors import RunError
from causal.fitsettings import OBJECTIVES, FitSettings, Stage
from causal.heldout import TRAINED


def settings(**changes) -> FitSettings:
    return FitSettings.model_validate({"learning_rate": 1e-2, **changes})


JOINT = [{"epochs": 1, "anchor": 0.5, "level_w1": 2}, {"epochs": 2, "level_kl": 1, "effect": 100}]


def lora(study, seed=0, rank=2, dropout=0.1):
    from peft import LoraConfig, get_peft_model

    model = load_model(study.model.name).model
    torch.manual_seed(seed)
    return get_peft_model(
        model, LoraConfig(r=rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def items(study, run, tiny):
    return prepare(study, run, tiny)[TRAINED]


def test_each_item_once_per_epoch_in_an_order_of_its_own(study, items, tmp_path):
    train(lora(study), items, settings(epochs=4), tmp_path, "x", lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 17))
    orders = [[(r["country"], r["question"]) for r in log if r["epoch"] == epoch] for epoch in range(1, 5)]
    assert all(sorted(order) == sorted((i.target.country, i.target.question) for i in items) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [r["weights"] for r in log] == [{"anchor": 1.0}] * 8 + [{"effect": 1.0}] * 8
    assert all(set(r["objectives"]) == set(r["weights"]) for r in log)


def test_stages_of_unequal_length_follow_one_another(study, items, tmp_path):
    train(lora(study), items, settings(schedule=JOINT), tmp_path, "x", lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in log] == [1] * 4 + [2] * 4 + [3] * 4
    assert [r["weights"] for r in log] == [{"anchor": 0.5, "level_w1": 2.0}] * 4 + [
        {"effect": 100.0, "level_kl": 1.0}
    ] * 8
    for r in log:
        assert r["loss"] == pytest.approx(sum(w * r["objectives"][name] for name, w in r["weights"].items()), rel=1e-5)


def test_a_joint_loss_takes_one_forward_pass(study, items, tmp_path, monkeypatch):
    import align.training

    calls, scored = [], align.training.option_logprobs
    monkeypatch.setattr(align.training, "option_logprobs", lambda *a: calls.append(a) or scored(*a))
    everything = [{"epochs": 1, **dict.fromkeys(OBJECTIVES, 1.0)}]
    train(lora(study), items, settings(schedule=everything), tmp_path, "x", lambda *_: None)
    assert len(calls) == len(items)


def test_objectives_of_an_item_equal_the_definitions(study, items):
    from align.scoring import option_logprobs

    model = load_model(study.model.name).model
    items = [replace(item, target=weighted(item.target)) for item in items]
    for item in items:
        t = item.target
        with torch.no_grad():
            found = objectives(model, item, Stage(epochs=1, **dict.fromkeys(OBJECTIVES, 1.0)))
            logp = option_logprobs(model, item.asked.trie, item.asked.options).double().numpy()
        expected = {name: [] for name in OBJECTIVES}
        for i, (r, s) in enumerate(zip(t.reference, t.treated, strict=True)):
            levels = [(logp[r], t.p_reference[i]), (logp[s], t.p_treated[i])]
            shift = np.cumsum(np.exp(logp[s]) - np.exp(logp[r]) - t.effect[i])
            expected["anchor"].append(-sum(q[p.argmax()] for q, p in levels))
            expected["effect"].append(np.abs(shift).mean())
            expected["level_kl"].append(np.mean([entropy(p, np.exp(q)) for q, p in levels]))
            apart = [np.abs(np.cumsum(np.exp(q) - p)).sum() / (len(p) - 1) for q, p in levels]
            expected["level_w1"].append(np.mean(apart))
        for name, values in expected.items():
            assert found[name].item() == pytest.approx(np.average(values, weights=t.weight), rel=1e-4), name


def weighted(target):
    """A target whose weights differ, and whose effects are not those of its levels."""
    weight = np.arange(1.0, len(target.reference) + 1)
    return replace(target, weight=weight / weight.mean(), effect=target.effect * 0.5)


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
    moved = [replace(item, target=weighted(item.target)) for item in items]
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
    assert evaluate(model, moved) == found, "neither weights nor pooled effects flatter the scores"
    one = [replace(item, target=replace(item.target, belongs=np.arange(4) == 2)) for item in items]
    only = [score for (_, _, position), score in scores.items() if position == 2]
    assert evaluate(model, one).alignment == pytest.approx(np.mean(only), abs=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("at", "fit"),
    [(1, settings()), (4, settings()), (7, settings()), *((at, settings(schedule=JOINT)) for at in (2, 4, 5, 11))],
)
def test_a_killed_run_resumes_to_the_same_bits(study, items, tmp_path, at, fit):
    """Within a stage, at its end, and in the next one."""
    whole, steps_in_all = lora(study), 4 * sum(stage.epochs for stage in fit.stages)
    train(whole, items, fit, tmp_path / "whole", "x", lambda *_: None)

    def kill(step, loss):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(lora(study), items, fit, tmp_path / "cut", "x", kill)
    (tmp_path / "cut" / "train.jsonl").open("a").write('{"step": "a line whose checkpoint was never written"}\n')
    resumed = lora(study)
    steps = []
    train(resumed, items, fit, tmp_path / "cut", "x", lambda step, loss: steps.append(step))
    assert steps == list(range(at + 1, steps_in_all + 1))
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
    base, seen = fit_inputs(study, run, "m", "w"), []
    faster = study.model_copy(update={"fit": study.fit.model_copy(update={"learning_rate": 1.0})})
    assert fit_inputs(faster, run, "m", "w") != base
    assert fit_inputs(study, run, "m", "other weights") != base
    for change in (
        {"schedule": JOINT},
        {"schedule": [*JOINT[:1], JOINT[1] | {"effect": 99}]},
        {"weights": "precision"},
        {"held_out": {"countries": ["SE"]}},
    ):
        changed = study.model_copy(update={"fit": FitSettings.model_validate(change)})
        assert fit_inputs(changed, run, "m", "w") not in (base, *seen)
        seen.append(fit_inputs(changed, run, "m", "w"))
    renamed = study.survey.model_copy(update={"countries": {"NO": "Norge", "SE": "Sverige"}})
    assert fit_inputs(study.model_copy(update={"survey": renamed}), run, "m", "w") != base, "prompts name the country"
