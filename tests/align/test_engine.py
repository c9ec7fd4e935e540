from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from families import CACHES, ROWS_ONLY, TREES, alone, asked, make

from align.engine import Engine, trainable_way
from align.scoring import FOREST, PREFIX, ROWS, TREE, Way, option_logprobs, sequence_logprobs
from align.trie import build_trie
from causal.errors import InputError, RunError


def assert_right(model, questions, found):
    expected = [alone(model, question) for question in questions]
    for scores, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert np.std(expected) > 0.5, "a model that answers nothing in particular would prove nothing"


@pytest.mark.parametrize("family", TREES)
def test_families_by_tree_equal_plain_scoring(family, capsys):
    model, questions = make(family), [asked(0), asked(1, shared=16), asked(2)]
    engine = Engine(model, budget=1000)
    assert_right(model, questions, engine.score(questions))
    assert engine.way is TREE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("family", [*CACHES, *ROWS_ONLY])
@pytest.mark.filterwarnings("ignore")
def test_families_that_take_no_tree_fall_back_and_say_so_once(family, capsys):
    model, questions = make(family), [asked(0), asked(1, shared=16), asked(2)]
    engine = Engine(model, budget=60)
    found = [engine.score([question])[0] for question in questions]
    assert_right(model, questions, found)
    assert engine.way is (PREFIX if family in CACHES else ROWS)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: this model cannot")]
    assert [line.split(" (")[0] for line in told] == [
        f"note: this model cannot be scored by {way.name}" for way in ([TREE] if family in CACHES else [TREE, PREFIX])
    ]
    assert all("); trying " in line for line in told)
    known = {"mamba": "it is recurrent", "lfm2": "layers of conv", "gpt-neo": "counts places in the row"}
    known["llama4-scaled"] = "scales attention by places in the row"
    assert known.get(family, "") in told[0]


@pytest.mark.parametrize("way", [PREFIX, ROWS])
@pytest.mark.parametrize("family", ["llama", "mistral-windowed", "gemma3", "gpt2", "gpt-oss"])
@pytest.mark.parametrize("tokens", [1, 40, 4096])
def test_every_way_gives_the_same_scores(family, way, tokens):
    model, questions = make(family), [asked(0), asked(1, shared=16)]
    with torch.no_grad():
        found = way.score(model, [question.trie for question in questions], tokens)
    assert_right(model, questions, found.reshape(2, 3, 3).numpy())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral-windowed", "gemma2"])
def test_block_masks_over_a_forest_give_the_same_scores(family):
    model, questions = make(family), [asked(0), asked(1, shared=16), asked(2)]
    dense = model.config._attn_implementation
    with torch.no_grad():
        found = FOREST.score(model, [question.trie for question in questions], 0)
    assert_right(model, questions, found.reshape(3, 3, 3).numpy())
    assert model.config._attn_implementation == dense


def test_a_prompt_without_anything_shared_goes_through_the_prefix_way_too():
    model = make("llama")
    one, other = asked(0).encoded[0], asked(5).encoded[1]
    question = replace(asked(0), encoded=(one, other), trie=build_trie([*one, *other]))
    assert question.trie.trunk == 0
    assert_right(model, [question], [PREFIX.score(model, [question.trie], 50).reshape(2, 3).numpy()])


def off_by(amount, way=TREE):
    def score(model, tries, tokens):
        scores = way.score(model, tries, tokens).clone()
        scores[-3 + scores[-3:].argsort()[1]] += amount  # an option of the last prompt, neither sure nor hopeless
        return scores

    return Way("a wrong way", score)


def test_a_way_that_is_slightly_wrong_is_given_up(capsys):
    # probable answers: a hundredth of a nat must show in a probability
    model = make("llama")
    model.lm_head.weight.mul_(0.1)
    engine = Engine(model, budget=500, ways=[off_by(0.01), ROWS])
    engine.score([asked(0)])
    assert engine.way is ROWS
    assert "a wrong way (probabilities differ by" in capsys.readouterr().err


def test_without_a_right_way_nothing_is_scored():
    with pytest.raises(InputError, match="cannot be scored: a wrong way and one-by-one scoring differ on question q0"):
        Engine(make("llama"), budget=500, ways=[off_by(1.0), off_by(float("nan"))]).score([asked(0)])


def test_a_way_that_fails_only_on_larger_questions_is_found_out(capsys):
    large = len(asked(1, shared=30).trie.ids)

    def score(model, tries, tokens):
        wrong = any(len(trie.ids) >= large for trie in tries)
        return TREE.score(model, tries, tokens) + (1.0 if wrong else 0.0)

    model, questions = make("llama"), [asked(0), asked(1, shared=30)]
    engine = Engine(model, budget=500, ways=[Way("a short-sighted way", score), ROWS])
    assert_right(model, questions, [engine.score([question])[0] for question in questions])
    assert "a short-sighted way" in capsys.readouterr().err


def test_a_shift_common_to_all_options_is_a_difference_too():
    # renormalised over the options it would not show, but the mass off the options would be wrong
    from align.scoring import difference

    model, question = make("llama"), asked(0)
    model.lm_head.weight.mul_(0.1)
    way = Way("scaled", lambda *given: TREE.score(*given) + 4.0)
    assert difference(model, question.trie, question.encoded) < 1e-6
    assert difference(model, question.trie, question.encoded, way) > 1e-3


def limited(tokens, way=TREE):
    """A way that runs out of memory on more tokens, padding counted in; what it was given is noted in ``packs``."""

    def score(model, tries, at_once):
        size = len(tries) * max(len(trie.ids) for trie in tries)
        packs.append((len(tries), size))
        if size > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return way.score(model, tries, at_once)

    packs = []
    return Way("greedy", score), packs


def test_out_of_memory_makes_all_later_packs_smaller(capsys):
    model, questions = make("llama"), [asked(seed) for seed in range(4)]
    size = max(len(question.trie.ids) for question in questions)
    way, packs = limited(2 * size)
    engine = Engine(model, budget=512, ways=[way, ROWS])
    for _ in range(2):
        assert_right(model, questions, engine.score(questions))
    assert engine.way is way
    assert engine.budget == 4 * size // 2
    failed = [many for many, tokens in packs if tokens > 2 * size]
    assert failed == [4], "once, and not again by the second measurement of the same pack"
    assert f"note: out of memory; going on with greedy, {2 * size} tokens" in capsys.readouterr().err


def test_questions_come_back_in_the_order_given_however_they_were_packed():
    model = make("llama")
    questions = [asked(seed, shared) for seed, shared in ((0, 4), (1, 30), (2, 10), (3, 20))]
    sizes = [len(question.trie.ids) for question in questions]
    assert sorted(sizes, reverse=True) != sizes
    for budget in (1, 2 * max(sizes), 4 * max(sizes)):
        assert_right(model, questions, Engine(model, budget=budget).score(questions))


def test_a_question_that_does_not_fit_is_scored_in_the_next_way(capsys):
    calls = []

    def score(model, tries, tokens):
        calls.append(1)
        if len(calls) > 1:  # the check fits
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return TREE.score(model, tries, tokens)

    model, questions = make("llama"), [asked(0)]
    engine = Engine(model, budget=1, ways=[Way("greedy", score), ROWS])
    assert_right(model, questions, engine.score(questions))
    assert engine.way is ROWS
    assert "cannot be scored by greedy (out of memory); trying plain rows" in capsys.readouterr().err


def test_a_check_that_does_not_fit_goes_on_to_the_next_way_and_then_to_fewer_tokens(capsys):
    model, questions = make("llama"), [asked(0)]
    rows = [len(item.ids) - 1 for options in questions[0].encoded for item in options]

    def few_rows(model, tries, tokens):
        if tokens >= 2 * max(rows):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return ROWS.score(model, tries, tokens)

    engine = Engine(model, budget=4096, ways=[limited(0)[0], Way("rows", few_rows)])
    assert_right(model, questions, engine.score(questions))
    assert engine.budget < 2 * max(rows)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "note: this model cannot be scored by greedy (out of memory); trying rows"
    assert told[1:] == [f"note: out of memory; going on with rows, {engine.budget} tokens (or one row) at once"]


@pytest.mark.parametrize("checked", [True, False])
def test_memory_that_never_suffices_is_one_message_and_no_endless_loop(checked):
    way, packs = limited(0)
    engine = Engine(make("llama"), budget=64, ways=[ROWS])
    if checked:
        engine.check([asked(0)])
    engine._ways = [way]
    with pytest.raises(RunError, match=r"out of memory on question q0 \(NO\) even row by row; finished work is kept"):
        engine.score([asked(0)])
    assert len(packs) <= 8


def test_training_without_memory_for_a_row_is_one_message(monkeypatch):
    monkeypatch.setattr("align.engine.TRAINABLE", (limited(0)[0], limited(0)[0]))
    with pytest.raises(RunError, match="out of memory on question q0"):
        trainable_way(make("llama"), [asked(0)])


def test_another_error_in_a_pass_is_no_lack_of_memory():
    def score(model, tries, tokens):
        if len(tries) > 1:
            raise RuntimeError("a bug of ours")
        return TREE.score(model, tries, tokens)

    with pytest.raises(RuntimeError, match="a bug of ours"):
        Engine(make("llama"), budget=500, ways=[Way("broken", score), ROWS]).score([asked(0), asked(1)])


def test_a_way_that_is_wrong_only_beside_others_is_found_out(capsys):
    def score(model, tries, tokens):
        scores = TREE.score(model, tries, tokens).clone()
        if len(tries) > 1:
            scores[-tries[-1].sequences :] -= 1.0
        return scores

    model, questions = make("llama"), [asked(0), asked(1), asked(2, shared=20)]
    engine = Engine(model, budget=500, ways=[Way("a crowded way", score), ROWS])
    assert_right(model, questions, engine.score(questions))
    assert engine.way is ROWS
    assert "a crowded way (probabilities differ by" in capsys.readouterr().err


def test_a_pack_is_compared_once(monkeypatch):
    from align import judging

    seen = []
    plainly = judging.distance
    monkeypatch.setattr(judging, "distance", lambda *given: seen.append(1) or plainly(*given))
    engine = Engine(make("llama"), budget=500)
    for _ in range(2):
        engine.score([asked(0)])
    assert not seen
    for _ in range(2):
        engine.score([asked(0), asked(1)])
    assert len(seen) == 1


def test_in_half_precision_the_output_layer_is_float32():
    model = make("llama").bfloat16()
    question = asked(0)
    found = Engine(model, budget=512).score([question])[0]
    # by hand: the bfloat16 body's hidden states, then the output layer in float32
    item = question.encoded[0][0]
    with torch.no_grad():
        hidden = model.model(torch.tensor([item.ids[:-1]])).last_hidden_state[0].float()
        logp = torch.log_softmax(hidden @ model.lm_head.weight.float().T, dim=-1)
        coarse = torch.log_softmax(model(torch.tensor([item.ids[:-1]])).logits[0].float(), dim=-1)
        row = ROWS.score(model, [build_trie([item])], 512).item()
    places = range(item.start, len(item.ids))
    expected, rounded = (sum(float(by[i - 1, item.ids[i]]) for i in places) for by in (logp, coarse))
    assert row == pytest.approx(expected, abs=1e-5)
    assert abs(rounded - expected) > 1e-4
    assert found[0, 0] == pytest.approx(rounded, abs=0.3)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt-oss"])
def test_the_output_layer_runs_only_where_a_token_is_predicted(family):
    model, question = make(family), asked(0)
    rows = []
    handle = model.get_output_embeddings().register_forward_hook(lambda *given: rows.append(given[2].shape))
    with torch.no_grad():
        option_logprobs(model, question.trie, 3)
    handle.remove()
    assert rows == [(1, len(set(question.trie.row.tolist())), 64)]
    assert len(set(question.trie.row.tolist())) < len(question.trie.ids)


def test_gradients_of_rows_equal_those_of_trees():
    model = make("llama").double().requires_grad_(True)
    trie = asked(0).trie
    gradients = []
    for scores in (lambda: sequence_logprobs(model, trie), lambda: ROWS.score(model, [trie], 60)):
        model.zero_grad()
        (scores() * torch.arange(9)).sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    scale = gradients[0].abs().max()
    torch.testing.assert_close(
        gradients[0] / scale, gradients[1] / scale, rtol=0, atol=1e-6
    )  # norms are float32 inside
