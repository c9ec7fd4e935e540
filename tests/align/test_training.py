from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from align.checkpoints import Checkpoint, adapter_weights, truncate_log
from align.evaluation import evaluate, objectives, validate
from align.fit import fit_inputs, prepare
from align.models import load_model
from align.training import learning_rate, train
from causal.errors import InputError, RunError
from causal.fitsettings import OBJECTIVES, FitSettings, Stage
from causal.heldout import QUESTIONS, TRAINED


def settings(**changes) -> FitSettings:
    return FitSettings.model_validate({"learning_rate": 1e-2, **changes})


def state(folder, **inputs) -> Checkpoint:
    return Checkpoint(folder / "checkpoint", json.dumps(inputs))


JOINT = [{"epochs": 1, "anchor": 0.5, "level_w1": 2}, {"epochs": 2, "level_kl": 1, "effect": 100}]


def lora(study, seed=0, rank=2, dropout=0.1, touched=False):
    """A model with LoRA; ``touched``, its B matrices are not 0, so that dropout shows from the first step."""
    from peft import LoraConfig, get_peft_model

    model = load_model(study.model.name).model
    torch.manual_seed(seed)
    made = get_peft_model(
        model, LoraConfig(r=rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    for name, parameter in made.named_parameters() if touched else ():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def items(study, run, tiny):
    return prepare(study, run, tiny)[TRAINED]


def test_each_item_once_per_epoch_in_an_order_of_its_own(study, items, tmp_path):
    train(lora(study), items, settings(epochs=4), state(tmp_path), lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "checkpoint" / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 17))
    orders = [[(r["country"], r["question"]) for r in log if r["epoch"] == epoch] for epoch in range(1, 5)]
    assert all(sorted(order) == sorted((i.target.country, i.target.question) for i in items) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [r["weights"] for r in log] == [{"anchor": 1.0}] * 8 + [{"effect": 1.0}] * 8
    assert all(set(r["objectives"]) == set(r["weights"]) for r in log)


def test_stages_of_unequal_length_follow_one_another(study, items, tmp_path):
    train(lora(study), items, settings(schedule=JOINT), state(tmp_path), lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "checkpoint" / "train.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in log] == [1] * 4 + [2] * 4 + [3] * 4
    assert [r["weights"] for r in log] == [{"anchor": 0.5, "level_w1": 2.0}] * 4 + [
        {"effect": 100.0, "level_kl": 1.0}
    ] * 8
    for r in log:
        assert r["loss"] == pytest.approx(sum(w * r["objectives"][name] for name, w in r["weights"].items()), rel=1e-5)


def test_a_stage_of_other_objectives_begins_with_adam_s_first_step(study, items, tmp_path):
    """Adam's first step moves a weight by the learning rate, whatever the gradient's size: m/(sqrt(v) + eps) = g/|g|.

    The anchor's gradients are a hundred times the effect's: with their moments the step would be tiny.
    """
    model, states = lora(study, dropout=0.0), []
    stages = [{"epochs": 1, "anchor": 1}, {"epochs": 1, "effect": 1}, {"epochs": 1, "effect": 1}]
    fit = settings(schedule=stages, learning_rate=1e-3)

    def snapshot(*_):
        states.append(torch.cat([p.detach().flatten().clone() for p in adapter_weights(model).values()]))

    train(model, items, fit, state(tmp_path), snapshot)
    first, again = len(items), 2 * len(items)
    moved = [(states[at] - states[at - 1]).abs() for at in (first, again)]
    assert moved[0].median().item() == pytest.approx(1e-3, rel=0.02)
    assert moved[1].median().item() < 0.9e-3, "the third stage weighs what the second does: one training"


def test_a_joint_loss_takes_one_forward_pass(study, items, tmp_path, monkeypatch):
    import align.evaluation

    calls, scored = [], align.evaluation.option_logprobs
    monkeypatch.setattr(align.evaluation, "option_logprobs", lambda *a: calls.append(a) or scored(*a))
    everything = [{"epochs": 1, **dict.fromkeys(OBJECTIVES, 1.0)}]
    train(
        lora(study),
        items,
        settings(schedule=everything, checkpoint_activations="never"),
        state(tmp_path),
        lambda *_: None,
    )
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
            levels = [(logp[r], t.goal_reference[i]), (logp[s], t.goal_treated[i])]
            shift = np.cumsum(np.exp(logp[s]) - np.exp(logp[r]) - t.goal_treated[i] + t.goal_reference[i])
            expected["anchor"].append(-sum(q[p.argmax()] for q, p in levels))
            expected["effect"].append(np.abs(shift).mean())
            expected["level_kl"].append(np.mean([entropy(p, np.exp(q)) for q, p in levels]))
            apart = [np.abs(np.cumsum(np.exp(q) - p)).sum() / (len(p) - 1) for q, p in levels]
            expected["level_w1"].append(np.mean(apart))
        for name, values in expected.items():
            assert found[name].item() == pytest.approx(np.average(values, weights=t.weight), rel=1e-4), name


def weighted(target):
    """A target whose weights differ, and whose goals are not its cells."""
    weight, options = np.arange(1.0, len(target.reference) + 1), target.p_treated.shape[1]
    goals = {f"goal_{end}": getattr(target, f"p_{end}") * 0.7 + 0.3 / options for end in ("reference", "treated")}
    return replace(target, weight=weight / weight.mean(), **goals)


def test_effect_training_brings_the_effects_closer(study, items, tmp_path):
    model = lora(study, rank=8, dropout=0.0)
    before = evaluate(model, items)
    effect_only = settings(schedule="effect", epochs=25, learning_rate=3e-3)
    train(model, items, effect_only, state(tmp_path), lambda *_: None)
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
    assert evaluate(model, moved) == found, "neither weights nor pooled goals flatter the scores"
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
    train(whole, items, fit, state(tmp_path / "whole"), lambda *_: None)

    def kill(step, loss):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(lora(study), items, fit, state(tmp_path / "cut"), kill)
    (tmp_path / "cut" / "checkpoint" / "train.jsonl").open("a").write(
        '{"step": "a line whose checkpoint was never written"}\n'
    )
    resumed = lora(study)
    steps = []
    train(resumed, items, fit, state(tmp_path / "cut"), lambda step, loss: steps.append(step))
    assert steps == list(range(at + 1, steps_in_all + 1))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert (tmp_path / "cut" / "checkpoint" / "train.jsonl").read_text() == (
        tmp_path / "whole" / "checkpoint" / "train.jsonl"
    ).read_text()


EVERYTHING = {"batch": 3, "warmup": 0.5, "clip": 0.1}
"""Four items in batches of three and one."""


def stopping(patience: int, **changes) -> FitSettings:
    return settings(early_stopping={"questions": ["work"], "patience": patience}, **changes)


def log_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "checkpoint" / "train.jsonl").read_text().splitlines()]


@pytest.fixture
def validation(study, run, tiny):
    """Four (country, question) to train on, two others to choose the epoch with."""
    return prepare(study, run, tiny)[QUESTIONS]


@pytest.mark.parametrize("at", range(1, 7))
def test_a_killed_run_with_batches_and_early_stopping_resumes_to_the_same_bits(study, items, validation, tmp_path, at):
    fit = stopping(2, epochs=4, schedule="effect", **EVERYTHING)
    whole = lora(study)
    best = train(whole, items, fit, state(tmp_path / "whole"), lambda *_: None, validation)

    def kill(step, loss):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(lora(study), items, fit, state(tmp_path / "cut"), kill, validation)
    (tmp_path / "cut" / "checkpoint" / "train.jsonl").open("a").write('{"step": ')
    (tmp_path / "cut" / "checkpoint" / ".state.1.safetensors").write_bytes(b"half")
    resumed = lora(study)
    assert train(resumed, items, fit, state(tmp_path / "cut"), lambda *_: None, validation) == best
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert not list((tmp_path / "cut" / "checkpoint").glob(".*"))


def test_the_gradient_of_a_batch_is_the_mean_of_its_items(study, items, tmp_path):
    """AdamW's first moment after one step is a tenth of the gradient."""
    first = [float(value) for value in log_gradients(study, items, tmp_path / "one", 4)]
    model = lora(study, dropout=0.0)
    stage = settings(schedule="effect").stages[0]
    sum(objectives(model, item, stage)["effect"] / 4 for item in items).backward()
    expected = [p.grad.norm().item() for p in model.parameters() if p.requires_grad]
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-9)


def log_gradients(study, items, folder, batch):
    from safetensors.torch import load_file

    model = lora(study, dropout=0.0)
    train(model, items, settings(schedule="effect", epochs=1, batch=batch), state(folder), lambda *_: None)
    stored = load_file(folder / "checkpoint" / "state.safetensors")
    return [stored[f"exp_avg/{name}"].norm() / 0.1 for name in weights(model)]


def test_each_item_once_per_epoch_in_batches(study, items, tmp_path):
    train(lora(study), items, settings(epochs=2, **EVERYTHING), state(tmp_path), lambda *_: None)
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == [1, 1, 1, 2, 3, 3, 3, 4]
    for epoch in (1, 2):
        seen = [(line["country"], line["question"]) for line in log if line["epoch"] == epoch]
        assert sorted(seen) == sorted((i.target.country, i.target.question) for i in items)


def test_dropout_differs_by_seed_step_and_item_and_by_nothing_else(study, items, tmp_path):
    """With a learning rate of nearly 0 the loss changes by dropout alone."""

    def losses(name, **changes) -> dict:
        fit = settings(schedule="effect", epochs=2, learning_rate=1e-12, **changes)
        train(lora(study, dropout=0.5, touched=True), items, fit, state(tmp_path / name), lambda *_: None)
        return {(r["country"], r["question"], r["epoch"]): r["loss"] for r in log_of(tmp_path / name)}

    first = losses("first", batch=4)
    assert losses("again", batch=4) == first
    assert all(first[(*key[:2], 1)] != first[(*key[:2], 2)] for key in first), "another step, another mask"
    other = losses("other", batch=4, seed=1)
    assert all(other[key] != first[key] for key in first)
    alone = losses("alone", batch=1)
    assert sum(alone[key] == first[key] for key in first) <= 2, "as a step of its own it has another number"
    twins = settings(schedule="effect", epochs=2, batch=2)
    train(lora(study, dropout=0.5, touched=True), items[:1] * 2, twins, state(tmp_path / "twins"), lambda *_: None)
    one, two, *_ = (line["loss"] for line in log_of(tmp_path / "twins"))
    assert one != two, "two items of a step have masks of their own"


def test_warm_up_rises_linearly_then_stays():
    fit = settings(warmup=0.3, learning_rate=1.0)
    assert [learning_rate(fit, step, 10) for step in range(1, 7)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    assert learning_rate(settings(learning_rate=0.5), 1, 10) == 0.5, "no warm-up by default"


def test_clipping_scales_the_whole_gradient(study, items, tmp_path):
    from safetensors.torch import load_file

    moments = {}
    for clip in (None, 0.01):
        model = lora(study, dropout=0.0)
        fit = settings(schedule="anchor", epochs=1, batch=4, clip=clip)
        train(model, items, fit, state(tmp_path / str(clip)), lambda *_: None)
        stored = load_file(tmp_path / str(clip) / "checkpoint" / "state.safetensors")
        moments[clip] = torch.cat([stored[f"exp_avg/{name}"].flatten() for name in weights(model)])
    norm = log_of(tmp_path / "None")[0]["gradient_norm"]
    assert norm > 0.1
    assert moments[None].norm().item() == pytest.approx(0.1 * norm, rel=1e-4)
    torch.testing.assert_close(moments[0.01], moments[None] * 0.01 / norm, rtol=1e-3, atol=1e-8)


def test_early_stopping_keeps_the_best_epoch(study, items, validation, tmp_path, monkeypatch):
    """Validation losses 3 2 5 2 4 with patience 2: epoch 2 is best, 4 (equal, not better) is the last."""
    import align.training

    adapters, losses = {}, iter([9.0, 3.0, 2.0, 5.0, 2.0, 4.0])

    def made_up(model, *_):
        adapters[len(adapters) + 1] = weights(model)
        found = validate(model, validation, fit.stages[-1])
        return replace(found, loss=next(losses))

    schedule = [{"epochs": 1, "anchor": 1}, {"epochs": 6, "effect": 1}]
    fit = stopping(2, schedule=schedule)
    monkeypatch.setattr(align.training, "_validate", made_up)
    model = lora(study)
    assert train(model, items, fit, state(tmp_path), lambda *_: None, validation) == 3
    log = log_of(tmp_path)
    told = [(line["epoch"], line["validation"]["loss"], line["best_epoch"]) for line in log if "validation" in line]
    assert told == [(1, 9.0, None), (2, 3.0, 2), (3, 2.0, 3), (4, 5.0, 3), (5, 2.0, 3)], "epoch 1 is another stage's"
    assert max(line["epoch"] for line in log) == 5
    for name, value in weights(model).items():
        assert torch.equal(value, adapters[3][name]), name
        assert "B" not in name or not torch.equal(value, adapters[5][name])


def test_the_validation_loss_is_the_stages_own_without_dropout(study, items, validation, tmp_path):
    schedule = [{"epochs": 1, "anchor": 1}, {"epochs": 2, "level_kl": 1, "effect": 100}]
    fit = stopping(1, schedule=schedule, learning_rate=1e-12)
    train(lora(study, dropout=0.5, touched=True), items, fit, state(tmp_path), lambda *_: None, validation)
    told = next(line["validation"] for line in log_of(tmp_path) if "validation" in line)
    model = lora(study, touched=True).eval()
    means = {}
    for name in ("level_kl", "effect"):
        with torch.no_grad():
            found = [objectives(model, item, Stage(epochs=1, **{name: 1.0}))[name].item() for item in validation]
        means[name] = np.mean(found)
        assert told["objectives"][name] == pytest.approx(means[name], rel=1e-4)
    assert told["loss"] == pytest.approx(means["level_kl"] + 100 * means["effect"], rel=1e-4)
    scores = evaluate(model, validation)
    assert told["scores"]["effect_distance"] == pytest.approx(scores.effect_distance, rel=1e-4)
    assert told["scores"]["alignment"] == pytest.approx(scores.alignment, rel=1e-4)


def test_a_stopped_run_asked_for_again_trains_no_more(study, items, validation, tmp_path):
    fit = stopping(1, epochs=6, schedule="effect", learning_rate=0.5)
    first = lora(study)
    best, steps = train(first, items, fit, state(tmp_path), lambda *_: None, validation), []
    again = lora(study)
    assert train(again, items, fit, state(tmp_path), lambda step, _: steps.append(step), validation) == best
    assert not steps
    assert max(line["epoch"] for line in log_of(tmp_path)) < 6, "it did stop early"
    for name, value in weights(first).items():
        assert torch.equal(value, weights(again)[name])


def test_a_lost_best_epoch_starts_anew(study, items, validation, tmp_path):
    fit = stopping(9, epochs=2, schedule="effect")
    whole = lora(study)
    train(whole, items, fit, state(tmp_path), lambda *_: None, validation)
    next((tmp_path / "checkpoint").glob("best-*")).unlink()
    again, steps = lora(study), []
    train(again, items, fit, state(tmp_path), lambda step, _: steps.append(step), validation)
    assert steps == list(range(1, 9))
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())


@pytest.mark.parametrize("content", [b"", b"{}", bytes(range(256)) * 9, "half"])
def test_a_damaged_checkpoint_is_one_message(study, items, tmp_path, content):
    train(lora(study), items, settings(), state(tmp_path), lambda *_: None)
    file = tmp_path / "checkpoint" / "state.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content == "half" else content)
    log = (tmp_path / "checkpoint" / "train.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"state\.safetensors is damaged .*--resume never"):
        train(lora(study), items, settings(), state(tmp_path), lambda *_: None)
    assert (tmp_path / "checkpoint" / "train.jsonl").read_bytes() == log
    shutil.rmtree(tmp_path / "checkpoint")  # what the message says
    steps = []
    train(lora(study), items, settings(), state(tmp_path), lambda step, _: steps.append(step))
    assert steps == list(range(1, 9))


def test_a_damaged_best_epoch_is_one_message(study, items, validation, tmp_path):
    fit = stopping(9, epochs=2, schedule="effect")
    train(lora(study), items, fit, state(tmp_path), lambda *_: None, validation)
    next((tmp_path / "checkpoint").glob("best-*")).write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"best-\d\.safetensors is damaged .*--resume never"):
        train(lora(study), items, fit, state(tmp_path), lambda *_: None, validation)


def test_a_gradient_that_is_not_finite_stops_before_it_is_followed(study, items, tmp_path, monkeypatch):
    import align.training

    fit, model = settings(schedule="effect"), lora(study)
    summed = align.training.weighted_sum
    monkeypatch.setattr(align.training, "weighted_sum", lambda losses, stage: Exploding.apply(summed(losses, stage)))
    first = weights(model)
    advice = r"Lower fit\.learning_rate or set fit\.clip, and train anew with --resume never"
    with pytest.raises(RunError, match=rf"the gradient is nan at step 1 .*the same command would end.* {advice}"):
        train(model, items, fit, state(tmp_path), lambda *_: None)
    assert all(torch.equal(value, weights(model)[name]) for name, value in first.items())


class Exploding(torch.autograd.Function):
    """A finite value with a gradient that is not."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float("nan")


def test_a_full_disk_is_one_message_and_the_last_checkpoint_intact(study, items, tmp_path, monkeypatch):
    """In the state's file, in the log, and halfway through either; what was there resumes to the same bits."""
    import align.checkpoints

    whole = lora(study)
    train(whole, items, settings(), state(tmp_path / "whole"), lambda *_: None)
    calls, kept = [], align.checkpoints.replace_file

    def full(path):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return kept(path)

    with monkeypatch.context() as patched:
        patched.setattr(align.checkpoints, "replace_file", full)
        with pytest.raises(RunError, match=r"cannot write .*: No space left on device; the last checkpoint.*is intact"):
            train(lora(study), items, settings(), state(tmp_path / "cut"), lambda *_: None)
    resumed, steps = lora(study), []
    train(resumed, items, settings(), state(tmp_path / "cut"), lambda step, _: steps.append(step))
    assert steps == list(range(4, 9)), "the step whose state was not written is done again"
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(whole).items())
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_another_runs_checkpoint_is_neither_resumed_nor_overwritten(study, items, tmp_path):
    mine = state(tmp_path, fit={"seed": 0, "batch": 1}, weights="a" * 64)
    train(lora(study), items, settings(), mine, lambda *_: None)
    before = mine.path.read_bytes(), mine.log.read_bytes()
    other = state(tmp_path, fit={"seed": 1, "batch": 1}, weights="b" * 64)
    changes = r"8 steps of an unfinished training with other inputs \(fit\.seed 0, now 1; weights changed\)"
    with pytest.raises(InputError, match=changes):
        train(lora(study), items, settings(seed=1), other, lambda *_: None)
    other.remove()
    assert (mine.path.read_bytes(), mine.log.read_bytes()) == before
    mine.remove()
    assert not mine.folder.exists()


def test_a_state_that_says_nothing_of_its_inputs_is_another_training_s(study, items, tmp_path):
    from safetensors.torch import load_file, save_file

    train(lora(study), items, settings(), state(tmp_path), lambda *_: None)
    path = state(tmp_path).path
    save_file(load_file(path), path, metadata={"format": "pt"})
    with pytest.raises(InputError, match="0 steps of an unfinished training with other inputs"):
        state(tmp_path, fit={"seed": 0}).refuse_others()


def test_a_log_that_is_no_text_is_cut_off_there(tmp_path):
    log = tmp_path / "train.jsonl"
    log.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 2}\n')
    truncate_log(log, 2)
    assert log.read_bytes() == b'{"step": 1}\n'


def test_a_damaged_checkpoint_does_not_stand_in_the_way_of_a_complete_training(tmp_path):
    left = state(tmp_path)
    left.folder.mkdir()
    left.path.write_bytes(b"cut short")
    left.remove()
    assert not left.folder.exists()


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_intact(study, items, tmp_path, monkeypatch):
    import align.training

    summed, calls = align.training.weighted_sum, []

    def breaking(losses, stage):
        calls.append(losses)
        return summed(losses, stage) * (float("nan") if len(calls) > 3 else 1)

    monkeypatch.setattr(align.training, "weighted_sum", breaking)
    steps, fit = [], settings(checkpoint_activations="never")
    with pytest.raises(RunError, match=r"loss is nan at step 4 .*Lower fit\.learning_rate or set fit\.clip") as error:
        train(lora(study), items, fit, state(tmp_path), lambda step, _: steps.append(step))
    assert "good state" not in str(error.value), "it was reached with the same settings"
    monkeypatch.undo()
    train(lora(study), items, fit, state(tmp_path), lambda step, _: steps.append(step))
    assert steps == list(range(1, 9)), "goes on from the last step whose loss was finite"


def test_a_validation_loss_that_is_not_finite_says_what_to_do(study, items, validation, tmp_path, monkeypatch):
    import align.training

    found = validate(lora(study), validation, Stage(epochs=1, effect=1))
    monkeypatch.setattr(align.training, "validate", lambda *_: replace(found, loss=float("nan")))
    with pytest.raises(RunError, match=r"validation loss is nan; the same .*Lower fit\.learning_rate or set fit\.clip"):
        train(
            lora(study), items, stopping(9, epochs=2, schedule="effect"), state(tmp_path), lambda *_: None, validation
        )


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
        {"batch": 2},
        {"warmup": 0.1},
        {"clip": 1.0},
        {"lora": {"targets": ["q_proj"]}},
        {"epochs": 4},
        {"epochs": 4, "early_stopping": {"questions": ["work"]}},
        {"epochs": 4, "early_stopping": {"questions": ["work"], "patience": 2}},
    ):
        changed = study.model_copy(update={"fit": FitSettings.model_validate(change)})
        assert fit_inputs(changed, run, "m", "w") not in (base, *seen)
        seen.append(fit_inputs(changed, run, "m", "w"))
    again = study.model_copy(update={"fit": study.fit.model_copy(update={"checkpoint_activations": "always"})})
    assert fit_inputs(again, run, "m", "w") == base, "who ran out of memory goes on from the checkpoint"
    renamed = study.survey.model_copy(update={"countries": {"NO": "Norge", "SE": "Sverige"}})
    assert fit_inputs(study.model_copy(update={"survey": renamed}), run, "m", "w") != base, "prompts name the country"
