from __future__ import annotations

import pytest

from align.prompts import Wording, encode
from align.templates import frame
from causal.errors import InputError

ASSISTANT = "<|assistant|>"


def asking(make_tokenizer, opening: str, history: str = ASSISTANT):
    """A tokenizer whose template asks for an answer with an opening, and shows given answers after another."""
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}<|user|>{% else %}" + history + "{% endif %}"
        "{{ message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}" + opening + "{% endif %}"
    )
    return tokenizer


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>\n", "<think>\n\n</think>\n\n"),  # DeepSeek-R1-Distill, QwQ: given answers show no thought
        ("<think>", "<think>\n\n</think>\n\n"),
        ("<thought>\n", "<thought>\n\n</thought>\n\n"),
        ("<seed:think>", "<seed:think>\n\n</seed:think>\n\n"),
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("◁think▷", "◁think▷\n\n◁/think▷\n\n"),
    ],
)
@pytest.mark.parametrize("history", [ASSISTANT, "other"])
def test_a_thought_that_a_template_leaves_open_is_closed(make_tokenizer, opened, closed, history):
    # jinja drops the newline before a block's end only if told to, so it is written as an expression
    opening = ASSISTANT + "{{ '" + opened.replace("\n", "\\n") + "' }}"
    tokenizer = asking(make_tokenizer, opening, history)
    assert frame(tokenizer).after == "<|end|>" + ASSISTANT + closed
    item = encode(tokenizer, [Wording("Taxes?", ("A", "B"))], "taxes")[0][0]
    assert tokenizer.decode(item.ids) == "<|user|>Taxes?<|end|>" + ASSISTANT + closed + "A"
    assert tokenizer.decode(item.ids[item.start :]) == "A"


@pytest.mark.parametrize(
    "closed", ["<think>\\n\\n</think>\\n\\n", "</think>", "<|START_THINKING|><|END_THINKING|>", "<answer>"]
)
@pytest.mark.parametrize("history", [ASSISTANT, "same"])
def test_what_a_template_closes_itself_is_left_as_it_is(make_tokenizer, closed, history):
    opening = ASSISTANT + "{{ '" + closed + "' }}"
    tokenizer = asking(make_tokenizer, opening, opening if history == "same" else history)
    assert frame(tokenizer).after == "<|end|>" + ASSISTANT + closed.replace("\\n", "\n")


def test_a_thought_that_given_answers_show_closed_is_taken_from_there(make_tokenizer):
    # Qwen3-Thinking: asks with an open thought, shows an empty one before each answer
    shown = ASSISTANT + "{{ '<think>\\n\\n</think>\\n\\nAnswer: ' }}"
    tokenizer = asking(make_tokenizer, ASSISTANT + "{{ '<think>\\n' }}", shown)
    assert frame(tokenizer).after == f"<|end|>{ASSISTANT}<think>\n\n</think>\n\nAnswer: "


@pytest.mark.parametrize("opened", ["<|START_THINKING|>", "<|begin_of_thought|>\\n"])
def test_a_thought_that_nobody_knows_how_to_close_is_refused(make_tokenizer, opened):
    tokenizer = asking(make_tokenizer, ASSISTANT + "{{ '" + opened + "' }}")
    with pytest.raises(InputError, match=r"chat template opens a thought \(<\|\w+\|>\) before every answer"):
        frame(tokenizer)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('only tools may speak') }}", "only tools may speak"),
        ("{% for message in", "unexpected"),
        ("{{ messages[0]['content'] + 1 }}", "concatenate"),
        ({"tools": "{{ messages[0]['content'] }}", "rag": "{{ messages[0]['content'] }}"}, "no default"),
    ],
)
def test_a_template_that_cannot_be_applied_is_one_message(make_tokenizer, template, says):
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=f"chat template cannot be applied to a question and its answer: .*{says}"):
        frame(tokenizer)


def test_a_template_that_tells_the_date_tells_the_same_every_day(make_tokenizer):
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = (
        "Today is {{ strftime_now('%d %b %Y') }}, or {{ date_string }}.\n" + tokenizer.chat_template
    )
    item = encode(tokenizer, [Wording("Taxes?", ("A", "B"))], "taxes")[0][0]
    assert tokenizer.decode(item.ids).startswith("Today is 01 Jan 2025, or 01 Jan 2025.\n<|user|>Taxes?")


def test_what_a_template_puts_before_every_answer_comes_before_the_options(make_tokenizer):
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{{ 'Be brief.' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
        "{% if message['role'] == 'assistant' %}{{ '(no thoughts)' }}{% endif %}"
        "{{ message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    item = encode(tokenizer, [Wording("Taxes?", ("A", "B"))], "taxes")[0][0]
    assert tokenizer.decode(item.ids) == "Be brief.<|user|>Taxes?<|end|><|assistant|>(no thoughts)A"


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}{{ message['content'] ~ message['content'] }}{% endfor %}",
        "{% for message in messages %}{{ message['role'] }}{% endfor %}",
    ],
)
def test_a_template_that_repeats_or_drops_the_question_is_refused(make_tokenizer, template):
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = template
    with pytest.raises(InputError, match="chat template does not show a question and its answer exactly once"):
        encode(tokenizer, [Wording("Taxes?", ("A", "B"))], "taxes")
