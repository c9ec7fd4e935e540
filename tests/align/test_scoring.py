from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align import scoring
from align.models import load_model
from align.prompts import personas
from align.questions import ask
from align.scoring import (
    ROWS,
    TOLERANCE,
    TREE,
    difference,
    one_by_one_logprobs,
    option_logprobs,
    sequence_logprobs,
    training_passes,
)
from causal.study import Study


def variants(study):
    for layout in ("question-first", "persona-first"):
        for options in ("letters", "labels"):
            yield study.model_copy(
                update={"prompt": study.prompt.model_copy(update={"layout": layout, "options": options})}
            )


def test_trie_equals_one_by_one_for_every_layout_and_option_style(study, tiny):
    for variant in variants(study):
        asked = ask(variant, tiny, "NO", "taxes", personas(study, [0, 1, 2]))
        flat = [item for options in asked.encoded for item in options]
        with torch.no_grad():
            packed, alone = sequence_logprobs(tiny.model, asked.trie), one_by_one_logprobs(tiny.model, flat)
        torch.testing.assert_close(packed, alone, rtol=0, atol=1e-4)
        assert packed.std() > 0.05, "a model that answers nothing in particular would prove nothing"


def test_option_probabilities_are_renormalised_over_the_options(study, tiny):
    asked = ask(study, tiny, "NO", "taxes", personas(study, [2]))
    with torch.no_grad():
        p = option_logprobs(tiny.model, asked.trie, asked.options).exp()
        raw = sequence_logprobs(tiny.model, asked.trie).exp().reshape(4, 4)
    assert p.shape == (4, 4)
    torch.testing.assert_close(p, raw / raw.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("tokens", [1, 258, 400, 2048])
def test_passes_are_counted_as_they_are_made(study, tiny, monkeypatch, tokens):
    monkeypatch.setattr(scoring, "ROW_TOKENS", tokens)
    trie = ask(study, tiny, "NO", "trust", personas(study, [2])).trie
    made = []
    hook = tiny.model.register_forward_hook(lambda *_: made.append(1))
    try:
        for way in (TREE, ROWS):
            made.clear()
            with torch.no_grad():
                sequence_logprobs(tiny.model, trie, way)
            assert len(made) == training_passes(trie, way)
    finally:
        hook.remove()


def test_gradients_equal_one_by_one(study, folder):
    # float64: the comparison is then free of rounding
    loaded = load_model(str(folder / "tiny-model"))
    model = loaded.model.double().requires_grad_(True)
    asked = ask(study, loaded, "NO", "trust", personas(study, [2]))
    flat = [item for options in asked.encoded for item in options]
    gradients = []
    for scores in (lambda: sequence_logprobs(model, asked.trie), lambda: one_by_one_logprobs(model, flat)):
        model.zero_grad()
        (scores() * torch.arange(len(flat))).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    scale = gradients[1].abs().max()
    torch.testing.assert_close(gradients[0] / scale, gradients[1] / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("broken", ["positions", "mask"])
def test_a_wrong_trie_shows_in_the_difference(study, tiny, broken):
    asked = ask(study, tiny, "NO", "taxes", personas(study, [2]))
    trie = asked.trie
    wrong = (
        replace(trie, depth=trie.depth * 0)
        if broken == "positions"
        else replace(trie, end=trie.end * 0 + len(trie.end))
    )
    assert difference(tiny.model, trie, asked.encoded) < TOLERANCE
    assert difference(tiny.model, wrong, asked.encoded) > 10 * TOLERANCE


@pytest.mark.slow
def test_smollm2_trie_equals_one_by_one_to_1e_4():
    study = Study.load("studies/gss2018.yaml")
    loaded = load_model("smollm2")
    who = personas(study, [3])
    for variant in variants(study):
        asked = ask(variant, loaded, "USA", "natspac", who)
        with torch.no_grad():
            packed = option_logprobs(loaded.model, asked.trie, 3).exp()
            alone = one_by_one_logprobs(loaded.model, [item for options in asked.encoded for item in options])
        p = torch.softmax(alone.reshape(-1, 3), dim=1)
        assert (packed - p).abs().max() < 1e-4
        assert packed.std(dim=0).max() > 1e-3, "the persona must reach the answer"
