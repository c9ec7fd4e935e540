"""Weights dealt out over two processes, beside the whole model; training as it is run is in test_launched.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from families import make

from align.parallel import ALONE, Processes
from align.sharding import held, idle, is_sharded, recover, shard
from causal.errors import InputError

HERE = Path(__file__).parent
FAMILIES = ["llama", "gemma3", "mixtral", "gpt2", "bloom", "mamba"]


@pytest.fixture(scope="module")
def found() -> dict:
    environment = os.environ | {
        "ACCELERATE_USE_FSDP": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE.parents[1]),
        "HF_HUB_OFFLINE": "1",
    }
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, str(HERE / "halves.py"), *FAMILIES],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_process_holds_half_before_and_after_training(found, family):
    (whole, first, first_after), (_, second, second_after) = (one["bytes"] for one in found[family])
    assert first + second >= whole, "nothing is lost"
    assert max(first, second) < 0.56 * whole
    assert (first_after, second_after) == (first, second)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_gradients_are_those_of_the_whole_model(found, family):
    for one in found[family]:
        assert one["scores_apart"] < 1e-4
        assert one["gradients_apart"] < 1e-4
        assert one["uneven_apart"] < 1e-4
        assert one.get("recomputed_apart", 0) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_counted_without_the_weights_that_come_and_go(found, family):
    for one in found[family]:
        whole, parts = one["kept"]
        assert parts == pytest.approx(whole, rel=0.1)


@pytest.mark.slow
def test_a_coarse_model_is_checked_though_it_cannot_be_copied(found):
    assert found["bfloat16"] == ["token trees", "token trees"]


def test_without_sharding_a_model_is_left_alone():
    model = make("llama")
    for processes in (ALONE, Processes(1, 2)):
        shard(model, processes)
    recover(model)
    assert not is_sharded(model)
    assert [tensor.data_ptr() for tensor in held(model)] == [
        tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())
    ]


def test_an_idle_pass_goes_through_all_layers_and_counts_for_nothing():
    model = make("llama").requires_grad_(True)
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 1.0  # padding's own is 0, and so would all logits be
    seen = []
    for layer in model.model.layers:
        layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    found = idle(model, 3)
    found.backward()
    assert found == 0
    assert len(seen) == 2 * 3
    assert all(not weight.grad.any() for weight in model.parameters() if weight.grad is not None)
    assert idle(model, 0) == 0


def test_a_model_without_named_layers_is_refused(monkeypatch):
    model = make("llama")
    model._no_split_modules = None
    monkeypatch.setattr("torch.distributed.device_mesh.init_device_mesh", lambda *_: None)
    with pytest.raises(InputError, match="LlamaForCausalLM does not say what its layers are"):
        shard(model, Processes(0, 2, sharded=True))
    assert isinstance(next(model.parameters()), torch.nn.Parameter)
