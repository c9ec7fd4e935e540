from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from families import asked, make

from align import judging
from align.judging import OUT_OF_MEMORY, Judge
from align.scoring import COARSE_TOLERANCE, ROWS, TOLERANCE, TREE, Way, one_by_one_logprobs


def off_in_float32(by, limit=torch.float32):
    """A way that is wrong on a model of one precision only; what it was given is noted in ``seen``."""

    def score(model, tries, tokens):
        seen.append(model.dtype)
        return TREE.score(model, tries, tokens) + torch.arange(9) * (by if model.dtype == limit else 0.0)

    seen = []
    return Way("off", score), seen


def soft(model):
    """Make a model's answers probable, so that hundredths of a nat show in a probability."""
    model.lm_head.weight.mul_(0.1)
    return model


def test_a_coarse_model_is_compared_at_its_noise_and_its_copy_finely():
    model, question = soft(make("llama")).bfloat16(), asked(0)
    way, seen = off_in_float32(0.02)
    why = Judge(model).unfit(question, way, 512)
    assert seen == [torch.bfloat16, torch.float32]
    assert why.startswith("probabilities differ by")
    assert why.endswith(f"allowed are {TOLERANCE:g}")
    assert model.dtype == torch.bfloat16
    why = Judge(model).unfit(question, off_in_float32(2.0, torch.bfloat16)[0], 512)
    assert why.endswith(f"allowed are {COARSE_TOLERANCE:g}")
    assert Judge(model).unfit(question, ROWS, 512) is None


def test_a_fine_model_is_compared_once():
    way, seen = off_in_float32(0.0)
    assert Judge(make("llama")).unfit(asked(0), way, 512) is None
    assert seen == [torch.float32]


@pytest.mark.parametrize("where", ["copying", "comparing"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_copy_that_does_not_fit_is_done_without_and_it_is_said_once(monkeypatch, capsys, where, error):
    model, question = make("llama").bfloat16(), asked(0)

    def full(*given):
        raise error

    def score(model, tries, tokens):
        return full() if model.dtype == torch.float32 else TREE.score(model, tries, tokens)

    if where == "copying":
        monkeypatch.setattr(copy, "deepcopy", full)
    judge = Judge(model)
    for _ in range(2):
        assert judge.unfit(question, Way("large", score) if where == "comparing" else TREE, 512) is None
    assert capsys.readouterr().err == (
        "note: no float32 copy of the model to compare on (out of memory); it is compared as it is, at 0.03 instead of "
        "0.0001\n"
    )


def test_a_model_that_cannot_be_copied_is_compared_as_it_is(monkeypatch, capsys):
    def never(*given):
        raise TypeError("cannot pickle 'module' object\nand more")

    model = make("llama").bfloat16()
    monkeypatch.setattr(copy, "deepcopy", never)
    assert Judge(model).unfit(asked(0), TREE, 512) is None
    assert "(TypeError: cannot pickle 'module' object); it is compared as it is" in capsys.readouterr().err


def test_a_copy_is_not_tried_where_memory_has_no_room(monkeypatch):
    monkeypatch.setattr(judging, "free_memory", lambda device: 1000)
    way, seen = off_in_float32(1.0)
    assert Judge(make("llama").bfloat16()).unfit(asked(0), way, 512) is None
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (AssertionError("position_ids are None"), "AssertionError: position_ids are None"),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), OUT_OF_MEMORY),
        (MemoryError(), OUT_OF_MEMORY),
    ],
)
def test_what_a_model_raises_is_why_a_way_is_unfit(error, why):
    def score(*given):
        raise error

    assert Judge(make("llama")).unfit(asked(0), Way("failing", score), 512) == why


def test_one_by_one_scoring_has_a_float32_output_layer_too():
    # by hand: the bfloat16 body's hidden states, then the output layer in float32; nothing of the package
    model, item = make("llama").bfloat16(), asked(0).encoded[0][0]
    with torch.no_grad():
        hidden = model.model(torch.tensor([item.ids])).last_hidden_state[0].float()
        logp = torch.log_softmax(hidden @ model.lm_head.weight.float().T, dim=-1)
        coarse = torch.log_softmax(model(torch.tensor([item.ids])).logits[0].float(), dim=-1)
        found = one_by_one_logprobs(model, [item]).item()
    places = range(item.start, len(item.ids))
    expected, rounded = (sum(float(by[i - 1, item.ids[i]]) for i in places) for by in (logp, coarse))
    assert found == pytest.approx(expected, abs=1e-5)
    assert abs(rounded - expected) > 1e-4
    assert not model.lm_head._forward_hooks
