from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align import prompts
from align.prompts import Wording, encode, persona_phrase, personas, wording, wording_fingerprint
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
    assert text.index("Can people be trusted?") < text.index("C. always") < text.index("from Norway: a woman.")
    other = wording(study, "NO", "trust", {"place": "village"}).prompt
    assert other.endswith("\nThe person is from Norway: a person, living in a village.")
    assert text.split("from Norway: a ")[0] == other.split("from Norway: a ")[0]


def test_the_fingerprint_of_the_words_changes_with_whatever_is_said(study, monkeypatch):
    found = {wording_fingerprint(study, ["NO"]), wording_fingerprint(study, ["SE"])}
    found.add(wording_fingerprint(with_prompt(study, layout="persona-first"), ["NO"]))
    assert wording_fingerprint(study, ["NO"]) in found
    monkeypatch.setattr(prompts, "_phrases", lambda study, persona: ["someone", *persona.values()])
    assert wording_fingerprint(study, ["NO"]) not in found
    assert len(found) == 3


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
    assert text.index("emic") < text.index("from Norway: a woman.")


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


def test_without_a_template_the_answer_ends_with_its_line(make_tokenizer):
    """What a model that only continues text writes after an answer; hardly one ends the whole text there."""
    tokenizer = make_tokenizer(chat=False)
    encoded = encode(tokenizer, [Wording("How many?", ("1", "1 or 2"))], "many")[0]
    assert [tokenizer.decode(item.ids[item.start :]) for item in encoded] == [" 1\n", " 1 or 2\n"]


def test_options_with_equal_tokens_are_named(make_tokenizer):
    with pytest.raises(InputError, match="question many: options 'a' and 'a'"):
        encode(make_tokenizer(chat=True), [Wording("How many?", ("a", "a"))], "many")


def merging_tokenizer():
    """A tokenizer without words: ":" and a space merge, ": a" and a space with "b" too."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyz", *"ANSWER?:\n ", ".", ","]
    merges = [(":", " "), (" ", "b"), (": ", "a")]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*letters, *("".join(pair) for pair in merges)]))}
    merges = [(" ", "b"), (":", " "), (": ", "a")]  # " b" merges first, so that ": b" and ": c" differ before the text
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merges)))


def test_options_that_merge_with_the_prompt_are_compared_from_one_condition():
    # "...Answer: a" ends in the token ": a", "...Answer: b" in ":" and " b", "...Answer: c" in ": " and "c"
    encoded = encode(merging_tokenizer(), [Wording("why?", ("a", "b", "c"))], "why")[0]
    tokens = [merging_tokenizer().convert_ids_to_tokens(item.ids[item.start :]) for item in encoded]
    assert tokens == [[": a"], [":", " b"], [": ", "c"]]
    assert len({item.ids[: item.start] for item in encoded}) == 1


@given(
    st.text("abc ?:", min_size=1, max_size=12),
    st.lists(st.text("abc :", min_size=1, max_size=6), min_size=2, max_size=4, unique=True),
)
def test_options_share_what_comes_before_them_and_their_tokens_hold_all_their_text(prompt, options):
    tokenizer = merging_tokenizer()
    try:
        encoded = encode(tokenizer, [Wording(prompt, tuple(options))], "any")[0]
    except InputError:  # one's tokens begin the other's even with the end of the answer
        return
    assert len({item.ids[: item.start] for item in encoded}) == 1
    whole = [f"{prompt}\nAnswer: {option}" for option in options]
    for item, text, option in zip(encoded, whole, options, strict=True):
        joined = "".join(tokenizer.convert_ids_to_tokens(item.ids))
        assert joined.startswith("".join(text.split("\nAnswer")[0]))
        assert "".join(tokenizer.convert_ids_to_tokens(item.ids[item.start :])).rstrip("\n").endswith(option)
    for a, b in itertools.permutations(encoded, 2):
        assert b.ids[: len(a.ids)] != a.ids, "one option's tokens begin another's"


def test_a_tokenizer_that_drops_line_ends_is_named_as_the_reason(make_tokenizer):
    from tokenizers.normalizers import Strip

    tokenizer = make_tokenizer(False)
    tokenizer.backend_tokenizer.normalizer = Strip()
    with pytest.raises(
        InputError, match="why: option 'no' is how 'no way' begins, and this model's tokenizer drops the line"
    ):
        encode(tokenizer, [Wording("How much?", ("no", "yes", "no way"))], "why")


def with_specials(tokenizer, single):
    from tokenizers.processors import TemplateProcessing

    specials = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|user|>", "<|end|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=specials)
    return tokenizer


def test_a_beginning_that_the_tokenizer_adds_is_kept_once_and_an_end_left_out(make_tokenizer):
    plain = with_specials(make_tokenizer(chat=False), "<|user|> $A <|end|>")
    item = encode(plain, [Wording("Taxes?", ("A", "B"))], "taxes")[0][0]
    assert plain.decode(item.ids) == "<|user|>Taxes?\nAnswer: A"
    assert plain.decode(item.ids[item.start :]) == " A"
    chat = with_specials(make_tokenizer(chat=True), "<|user|> $A <|end|>")
    item = encode(chat, [Wording("Taxes?", ("A", "B"))], "taxes")[0][0]
    assert chat.decode(item.ids) == "<|user|>Taxes?<|end|>\n<|assistant|>A", "the template puts it there already"


def unigram(end="<end>"):
    """A tokenizer that has no token for what it was not trained on, and none for bytes; its template ends in one that
    also stands for unknown text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["Question", "one", "two", "Answer", ":", "?", "hello", end]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=end))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([end])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=end, eos_token=end)
    fast.chat_template = "{% for m in messages %}{{ m['role'][:0] + m['content'] + ' ' + eos_token }} {% endfor %}"
    return fast


def test_an_option_without_a_token_is_an_error_and_a_prompt_s_is_said_once(capsys):
    known = Wording("hello Question ?", ("one", "two"))
    assert len(encode(unigram(), [known], "q")[0]) == 2
    assert capsys.readouterr().err == "", "the token that ends a turn is no unknown text"
    encode(unigram(), [Wording("hello Żółw ?", ("one", "two"))] * 2, "q")
    note = "note: this model's tokenizer has no token for 'Żółw' in the prompts and reads it as unknown"
    assert capsys.readouterr().err.splitlines() == [note]
    with pytest.raises(InputError, match="question q: this model's tokenizer has no token for '½' in option '½'"):
        encode(unigram(), [Wording("hello Question ?", ("one", "½"))], "q")
