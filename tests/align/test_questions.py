from __future__ import annotations

from dataclasses import replace

import pytest

from align.models import Loaded
from align.prompts import personas
from align.questions import ask
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


def test_a_model_without_chat_template_is_asked_in_plain_text(study, make_tokenizer, make_llama):
    tokenizer = make_tokenizer(chat=False)
    loaded = Loaded("plain", make_llama(len(tokenizer)), tokenizer, "")
    asked = ask(study, loaded, "NO", "trust", [{"gender": "woman"}])
    assert tokenizer.decode(asked.encoded[0][0].ids).endswith("Answer: A")
