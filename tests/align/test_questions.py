from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from align.models import Loaded
from align.prompts import personas
from align.questions import ask, require_askable
from causal.errors import InputError


def test_one_trie_holds_all_personas_and_options(study, tiny):
    asked = ask(study, tiny, "NO", "taxes", personas(study, [0, 1, 2]))
    assert (len(asked.encoded), asked.options, asked.trie.sequences) == (9, 4, 36)
    assert len(asked.trie.ids) < sum(len(item.ids) for options in asked.encoded for item in options) / 10


def test_a_prompt_longer_than_the_context_is_named(study, tiny, make_tokenizer, make_llama):
    tokenizer = make_tokenizer(chat=True)
    short = replace(tiny, model=make_llama(len(tokenizer), context=20))
    with pytest.raises(
        InputError, match=r"question taxes \(NO\) makes a prompt of \d+ tokens; the model's context has 20"
    ):
        ask(study, short, "NO", "taxes", personas(study, [2]))


def with_config(tiny, config):
    return replace(tiny, model=SimpleNamespace(config=config))


def test_the_context_of_a_model_with_a_text_part_is_that_of_the_part(study, tiny):
    from transformers import Gemma3Config

    config = Gemma3Config(text_config={"max_position_embeddings": 20})
    assert not hasattr(config, "max_position_embeddings")
    with pytest.raises(InputError, match="the model's context has 20"):
        ask(study, with_config(tiny, config), "NO", "taxes", personas(study, [2]))


def test_mpt_has_a_context_under_another_name_and_cannot_go_beyond(study, tiny):
    import torch
    from transformers import MptConfig, MptForCausalLM

    config = MptConfig(d_model=32, n_layers=1, n_heads=4, max_seq_len=20, vocab_size=64)
    with pytest.raises(InputError, match="the model's context has 20"):
        ask(study, with_config(tiny, config), "NO", "taxes", personas(study, [2]))
    model = MptForCausalLM(config).eval()
    with torch.no_grad():
        assert model(torch.ones(1, 20, dtype=torch.long)).logits.shape == (1, 20, 64)
        with pytest.raises(RuntimeError):
            model(torch.ones(1, 21, dtype=torch.long))


def test_every_question_is_held_against_the_context_before_the_first_is_asked(study, tiny, make_tokenizer, make_llama):
    keys = [(country, question) for country in ("NO", "SE") for question in study.questions]
    who = personas(study, [0, 1, 2])
    require_askable(study, tiny, keys, who)
    encoded = {key: ask(study, tiny, *key, who).encoded for key in keys}
    lengths = {key: max(len(item.ids) for options in found for item in options) for key, found in encoded.items()}
    longest = max(lengths, key=lengths.__getitem__)
    assert lengths[longest] > lengths[keys[0]]
    tokenizer = make_tokenizer(chat=True)
    tight = replace(tiny, model=make_llama(len(tokenizer), context=lengths[longest] - 1))
    with pytest.raises(InputError, match=f"makes a prompt of {lengths[longest]} tokens"):
        require_askable(study, tight, keys, who)
    twice = study.questions["work"].model_copy(update={"options": {1: "no", 2: "no"}})
    clashing = study.model_copy(
        update={
            "questions": {**study.questions, "work": twice},
            "prompt": study.prompt.model_copy(update={"options": "labels"}),
        }
    )
    with pytest.raises(InputError, match="question work: options 'no' and 'no' have the same tokens"):
        require_askable(clashing, tiny, keys, who)


def test_a_model_without_chat_template_is_asked_in_plain_text(study, make_tokenizer, make_llama):
    tokenizer = make_tokenizer(chat=False)
    loaded = Loaded("plain", make_llama(len(tokenizer)), tokenizer)
    asked = ask(study, loaded, "NO", "trust", [{"gender": "woman"}])
    assert tokenizer.decode(asked.encoded[0][0].ids).endswith("Answer: A")
