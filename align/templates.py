"""The text that a tokenizer's chat template puts around a question, up to where its answer begins."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK, _ANSWER = "\u2063question\u2063", "\u2063answer\u2063"
_DATE, _NOW = datetime.date(2025, 1, 1), r"""strftime_now\((['"])(.*?)\1\)"""
_THOUGHT = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_OPENED = re.compile(rf"([<\[◁])({_THOUGHT})([>\]▷])\s*$", re.IGNORECASE)
_OPENED_OTHERWISE = re.compile(r"<\|(?!end|/)[^|<>]*(?:think|thought|reason)[^|<>]*\|>\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """The text around a prompt.

    Attributes
    ----------
    before, after : str
        What comes before the prompt's text, and between it and an answer.
    gap : str
        What opens an answer, as part of its tokens.
    end : str
        What closes an answer.
    special_tokens : bool
        Whether the tokenizer is still to add its own beginning.
    """

    before: str
    after: str
    gap: str
    end: str
    special_tokens: bool


def frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """Return a tokenizer's frame, from what its chat template makes of marks in place of question and answer.

    What stands between the question and an answer in a finished conversation is what an answer follows: some templates
    put more there (an empty train of thought, a channel) than they ask a model to go on from. A thought that a template
    opens and leaves open is closed, empty: the options would else be judged as the first words of that thought.

    Raises
    ------
    InputError
        The template cannot be applied, hides or repeats the question, or opens a thought in a way that is not known.
    """
    if not tokenizer.chat_template:
        return Frame("", "\nAnswer:", " ", "\n", special_tokens=True)
    user, assistant = {"role": "user", "content": _MARK}, {"role": "assistant", "content": _ANSWER}
    asked = _rendered(tokenizer, [user], ask=True).split(_MARK)
    answered = re.split(f"{_MARK}|{_ANSWER}", _rendered(tokenizer, [user, assistant]))
    if len(asked) != 2 or len(answered) != 3:
        raise InputError(
            "the tokenizer's chat template does not show a question and its answer exactly once, as they are; "
            "use a tokenizer with another template, or with none"
        )
    (before, after), (_, between, rest) = asked, answered
    end = rest.rstrip("\n") or tokenizer.eos_token or "\n"
    return Frame(before, _thought_out(between if between.startswith(after) else after), "", end, special_tokens=False)


def _thought_out(after: str) -> str:
    """Close a thought that is left open, as templates write an empty one."""
    if found := _OPENED.search(after):
        left, name, right = found.groups()
        return f"{after.rstrip()}\n\n{left}/{name}{right}\n\n"
    if found := _OPENED_OTHERWISE.search(after):
        raise InputError(
            f"the tokenizer's chat template opens a thought ({found[0].strip()}) before every answer, and how it "
            "closes one is not known; use a tokenizer whose template asks for an answer without thinking"
        )
    return after


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], ask: bool = False) -> str:
    """Apply the chat template; templates that tell the date tell the same one every day."""
    from jinja2 import TemplateError

    try:
        dated = re.sub(_NOW, lambda call: repr(_DATE.strftime(call[2])), tokenizer.get_chat_template())
        found = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=ask,
            chat_template=dated,
            date_string=_DATE.strftime("%d %b %Y"),
            enable_thinking=False,
        )
    except (TemplateError, ValueError, TypeError) as error:  # a template refuses, or there are several of them
        raise InputError(
            f"the tokenizer's chat template cannot be applied to a question and its answer: {error}; "
            "use a tokenizer with another template, or with none"
        ) from error
    return str(found)
