from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import pytest
import torch
from peft import LoraConfig, get_peft_model

import align.activations as activations
from align.activations import kept_bytes, recompute, recompute_if_large, recomputes, within_memory
from align.checkpoints import Checkpoint
from align.evaluation import objectives
from align.fit import prepare
from align.models import load_model
from align.training import train
from causal.errors import InputError, RunError
from causal.fitsettings import FitSettings, Stage
from causal.heldout import TRAINED

STAGE = Stage(epochs=1, effect=1.0)


def state(folder) -> Checkpoint:
    return Checkpoint(folder / "checkpoint", "{}")


@pytest.fixture
def items(study, run, tiny):
    return prepare(study, run, tiny)[TRAINED]


def lora(study):
    model = load_model(study.model.name).model
    torch.manual_seed(0)
    return get_peft_model(
        model, LoraConfig(r=2, lora_dropout=0.2, target_modules="all-linear", task_type="CAUSAL_LM")
    ).train()


def test_kept_bytes_of_two_layers_by_hand():
    """x (8 x 4) is the input's and kept by the first layer, its output (8 x 16) by the tanh, once: 4 bytes each."""

    @dataclass
    class Holder:
        layers: torch.nn.Module

        def parameters(self):
            return self.layers.parameters()

        def buffers(self):
            return self.layers.buffers()

    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    x = torch.randn(8, 4)
    assert kept_bytes(Holder(net), lambda: net(x).sum()) == 8 * 4 * 4 + 8 * 16 * 4


def test_counting_lets_go_of_what_it_counted():
    """Of a layer that keeps its own output, as tanh does, nothing is left afterwards."""
    net, outputs = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh()), []

    def forward() -> torch.Tensor:
        found = net(torch.ones(2, 4))
        outputs.append(weakref.ref(found))
        return found.sum()

    kept_bytes(net, forward)
    gc.collect()
    assert outputs[0]() is None


def test_recomputing_keeps_less_and_gives_the_same_gradients(study, items):
    found = []
    for again in (False, True):
        model = lora(study)
        if again:
            recompute(model)
        assert recomputes(model) == again
        kept = kept_bytes(model, lambda model=model: objectives(model, items[0], STAGE)["effect"])
        torch.manual_seed(1)
        objectives(model, items[0], STAGE)["effect"].backward()
        found.append((kept, [p.grad for p in model.parameters() if p.requires_grad]))
    assert found[1][0] < 0.6 * found[0][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True)), "dropout too"


@pytest.mark.parametrize("setting", ["always", "auto", "never"])
def test_the_setting_decides_and_changes_no_bit(study, items, tmp_path, setting, monkeypatch, capsys):
    """With a kilobyte free, ``auto`` computes again, and says so; ``never`` does not."""
    plain = lora(study)
    fit = {"learning_rate": 1e-2, "schedule": "effect", "epochs": 1}
    train(plain, items, FitSettings.model_validate(fit), state(tmp_path / "plain"), lambda *_: None)
    assert not recomputes(plain), "a tiny model fits"
    assert "note" not in capsys.readouterr().err
    monkeypatch.setattr(activations, "free_memory", lambda device: 1024)
    model, fit = lora(study), FitSettings.model_validate(fit | {"checkpoint_activations": setting})
    train(model, items, fit, state(tmp_path / "other"), lambda *_: None)
    assert recomputes(model) == (setting != "never")
    said = "a step would need about 0.0 GiB and 0.0 GiB are free, so activations are computed again"
    assert (said in capsys.readouterr().err) == (setting == "auto")
    for one, two in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_estimate_grows_with_the_largest_item(study, items, monkeypatch):
    def forward():
        return objectives(model, items[0], STAGE)["effect"]

    model = lora(study)
    kept = kept_bytes(model, forward)
    monkeypatch.setattr(activations, "free_memory", lambda device: int(4 * 1.5 * kept))
    recompute_if_large(model, forward, 3.9)
    assert not recomputes(model)
    recompute_if_large(model, forward, 4.1)
    assert recomputes(model)


def test_memory_that_does_not_suffice_to_count_suffices_when_computed_again(study, capsys):
    model = lora(study)
    recompute_if_large(model, out_of_memory(1), 1.0)
    assert recomputes(model)
    assert "memory ran out on the smallest question, so activations are computed again" in capsys.readouterr().err


def out_of_memory(times: int, kind=torch.OutOfMemoryError, words: str = "CUDA out of memory"):
    calls = []

    def work():
        calls.append(1)
        if len(calls) <= times:
            raise kind(words)
        return len(calls)

    return work


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_running_out_of_memory_computes_again_and_repeats(study, kind, capsys):
    model = lora(study)
    words = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    assert within_memory(model, True, out_of_memory(1, kind, words), "trust") == 2
    assert recomputes(model)
    assert "memory ran out, so activations are computed again" in capsys.readouterr().err
    with pytest.raises(RunError, match="out of memory on trust; the checkpoint holds all steps before"):
        within_memory(model, True, out_of_memory(2, kind, words), "trust")


def test_never_means_never_and_other_errors_are_left_alone(study):
    model = lora(study)
    with pytest.raises(RunError, match="out of memory"):
        within_memory(model, False, out_of_memory(1), "trust")
    assert not recomputes(model)
    with pytest.raises(RuntimeError, match="shapes"):
        within_memory(model, True, out_of_memory(1, RuntimeError, "shapes differ"), "trust")


def test_a_step_that_ran_out_of_memory_ends_on_the_same_bits(study, items, tmp_path, monkeypatch):
    """The second item of a batch does not fit: the first one's gradient must not count twice."""
    import align.training

    fit = FitSettings.model_validate({"learning_rate": 1e-2, "schedule": "effect", "epochs": 1, "batch": 2})
    plain, model = lora(study), lora(study)
    train(plain, items, fit, state(tmp_path / "plain"), lambda *_: None)
    scored, calls = align.training.objectives, []

    def full(model, item, stage):
        calls.append(item)
        if len(calls) == 3:  # the first is the estimate
            raise torch.OutOfMemoryError("CUDA out of memory")
        return scored(model, item, stage)

    monkeypatch.setattr(align.training, "objectives", full)
    train(model, items, fit, state(tmp_path / "full"), lambda *_: None)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))


def test_an_architecture_that_cannot_is_refused(study, monkeypatch):
    model = lora(study)
    monkeypatch.setattr(type(model.get_base_model()), "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match=r"set fit\.checkpoint_activations: never"):
        recompute(model)
