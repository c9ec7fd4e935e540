"""Run by torchrun in two processes: sharded models of the families named beside whole ones; prints what was found."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from families import alone, asked, make

from align import scoring
from align.activations import kept_bytes, recompute
from align.checkpoints import adapter_weights
from align.engine import trainable_way
from align.lora import with_lora
from align.parallel import end, leave, processes
from align.scoring import ROWS, sequence_logprobs, training_passes
from align.sharding import held, idle, shard
from causal.fitsettings import FitSettings

AMONG, QUESTION = processes(), asked()


def look(family: str) -> dict:
    whole = make(family)
    parts = copy.deepcopy(whole)
    shard(parts, AMONG)
    found: dict = {"bytes": [weigh(whole), weigh(parts)]}
    way = trainable_way(parts, [QUESTION], AMONG)
    with torch.no_grad():
        scores = sequence_logprobs(parts, QUESTION.trie, way).reshape(3, 3)
    found["scores_apart"] = abs(scores.double().numpy() - alone(whole, QUESTION)).max()
    whole, parts = awake(with_lora(whole, FitSettings())), awake(with_lora(parts, FitSettings()))
    found["kept"] = [kept_bytes(model, lambda model=model: loss(model, way)) for model in (whole, parts)]
    expected = gradients(whole, way)
    found["gradients_apart"] = apart(gradients(parts, way), expected)
    found["uneven_apart"] = apart(uneven(parts), expected)
    if whole.get_base_model().supports_gradient_checkpointing:
        expected = gradients(whole.train(), way)
        recompute(parts.train())
        found["recomputed_apart"] = apart(gradients(parts, way), expected)
    found["bytes"].append(weigh(parts))
    return found


def weigh(model) -> int:
    """Return the bytes of the frozen weights in this process."""
    return sum(tensor.nbytes for tensor in held(model) if not tensor.requires_grad)


def awake(model):
    """Make fresh LoRA do something: its second matrix is 0, which hides the gradient of the first."""
    with torch.no_grad():
        for i, weight in enumerate(weight for weight in model.parameters() if weight.requires_grad):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(i)))
    return model.eval()


def loss(model, way) -> torch.Tensor:
    return sequence_logprobs(model, QUESTION.trie, way).mean()


def gradients(model, way, more: int = 0) -> dict[str, torch.Tensor]:
    weights = adapter_weights(model)
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    torch.manual_seed(0)
    (loss(model, way) + idle(model, more)).backward()
    return {name: weight.grad for name, weight in weights.items()}


def uneven(model) -> dict[str, torch.Tensor]:
    """Let process 1 take an item in several passes while process 0 takes it in one and idles."""
    scoring.ROW_TOKENS = 40
    many = training_passes(QUESTION.trie, ROWS)
    assert many > 2
    turns = AMONG.turns([1, many])
    assert [turn.idle for turn in turns] == ([many - 1] if AMONG.main else [0])
    if AMONG.main:
        scoring.ROW_TOKENS = 2048
    found = gradients(model, ROWS, turns[0].idle)
    scoring.ROW_TOKENS = 2048
    return found


def apart(found: dict, expected: dict) -> float:
    """Return the largest difference of a gradient, relative to the largest gradient."""
    largest = max(float(value.abs().max()) for value in expected.values())
    return max(float((found[name] - value).abs().max()) for name, value in expected.items()) / largest


def main() -> int:
    """Print, by family, what each process found."""
    found = {family: AMONG.gather(look(family)) for family in sys.argv[1:]}
    coarse = make("llama").to(torch.bfloat16)
    shard(coarse, AMONG)
    found["bfloat16"] = AMONG.gather(trainable_way(coarse, [QUESTION], AMONG).name)
    leave()
    if AMONG.main:
        print(json.dumps(found, default=float))
    return 0


if __name__ == "__main__":
    end(main)
