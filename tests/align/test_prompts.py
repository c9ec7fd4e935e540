from __future__ import annotations

import pytest

from align.prompts import Wording, encode, persona_phrase, personas, wording
from causal.errors import InputError


def test_personas_are_all_combinations_of_each_granularity(study):
    assert personas(study, [0]) == [{}]
    assert personas(study, [1]) == [{"gender": "man"}, {"gender": "woman"}, {"place": "city"}, {"place": "village"}]
    assert len(personas(study, [0, 1, 2])) == 3 * 3


def test_phrase_puts_the_noun_first_and_the_country_last(study):
    assert persona_phrase(study, "NO", {"place": "city", "gender": "woman"}) == "a woman, living in a city, from Norway"
    assert persona_phrase(study, "SE", {"place": "village"}) == "a person, living in a village, from Sweden"
    assert persona_phrase(study, "SE", {}) == "a person, from Sweden"


def with_prompt(study, **changes):
    return study.model_copy(update={"prompt": study.prompt.model_copy(update=changes)})


def test_question_first_puts_the_persona_after_everything_shared(study):
    text = wording(study, "NO", "trust", {"gender": "woman"}).prompt
    assert text.index("Can people be trusted?") < text.index("C. always") < text.index("a woman, from Norway")


def test_persona_first_is_the_papers_order(study):
    text = wording(with_prompt(study, layout="persona-first"), "NO", "trust", {"gender": "woman"}).prompt
    assert text.index("a woman, from Norway") < text.index("Can people be trusted?")


@pytest.mark.parametrize("layout", ["question-first", "persona-first"])
def test_the_anthropological_style_adds_a_shared_reflection_and_nothing_else(study, layout):
    plain, reflecting = with_prompt(study, layout=layout), with_prompt(study, layout=layout, style="anthropological")
    added = set()
    for persona in ({"gender": "woman"}, {"place": "village"}):
        before = wording(plain, "NO", "trust", persona)
        after = wording(reflecting, "NO", "trust", persona)
        assert after.options == before.options
        kept = [line for line in after.prompt.splitlines() if line in before.prompt.splitlines()]
        assert kept == before.prompt.splitlines()
        added.add("\n".join(line for line in after.prompt.splitlines() if line not in kept))
    (reflection,) = added
    assert "etic" in reflection
    assert "emic" in reflection
    assert study.prompt.style == "plain"


def test_the_reflection_is_shared_where_the_question_comes_first(study):
    text = wording(with_prompt(study, style="anthropological"), "NO", "trust", {"gender": "woman"}).prompt
    assert text.index("emic") < text.index("a woman, from Norway")


def test_options_are_letters_or_full_labels_in_order(study):
    assert wording(study, "NO", "taxes", {}).options == ("A", "B", "C", "D")
    labels = wording(with_prompt(study, options="labels"), "NO", "taxes", {})
    assert labels.options == ("too low", "about right", "too high", "far too high")
    assert "A." not in labels.prompt


def test_more_options_than_letters_is_an_error(study):
    many = study.questions["trust"].model_copy(update={"options": {i: f"label {i}" for i in range(27)}})
    wide = study.model_copy(update={"questions": {"trust": many}})
    with pytest.raises(InputError, match="27 options, more than letters"):
        wording(wide, "NO", "trust", {})


@pytest.mark.parametrize("chat", [True, False])
def test_option_tokens_say_exactly_the_option(make_tokenizer, chat):
    tokenizer = make_tokenizer(chat)
    options = ("too low", "about right")
    encoded = encode(tokenizer, [Wording("Are taxes too high?", options)], "taxes")
    for item, option in zip(encoded[0], options, strict=True):
        assert tokenizer.decode(item.ids[item.start :]).strip() == option
        before = tokenizer.decode(item.ids[: item.start])
        assert before.endswith("<|assistant|>" if chat else "Answer:")
    assert len(encoded[0][0].ids[encoded[0][0].start :]) > 1, "several tokens are the normal case"


def test_options_that_begin_others_get_the_end_of_the_answer(make_tokenizer):
    tokenizer = make_tokenizer(chat=True)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    encoded = encode(tokenizer, [Wording("How many?", ("1", "2", "10"))], "many")[0]
    assert [item.ids[-1] for item in encoded] == [end, end, end]
    plain = encode(tokenizer, [Wording("How many?", ("A", "B"))], "many")[0]
    assert end not in [item.ids[-1] for item in plain]


def test_options_with_equal_tokens_are_named(make_tokenizer):
    with pytest.raises(InputError, match="question many: options 'a' and 'a'"):
        encode(make_tokenizer(chat=True), [Wording("How many?", ("a", "a"))], "many")
