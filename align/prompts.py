"""Persona and question to a prompt and its option verbalisations, and those to tokens."""

from __future__ import annotations

import hashlib
import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from align.parallel import note
from align.templates import frame
from causal.errors import InputError
from causal.sections import Question
from causal.study import Study

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Persona = Mapping[str, str]
"""The level of each specified attribute."""
_REFLECT = """Before choosing, think it through as an anthropologist who knows the person would.
From outside (etic): the place and its history, what people in this position are taught and expected to do, what they \
live on, and which pressures of money, family and law they are under.
From inside (emic): what the question's words mean to the person, which experiences and loyalties it touches, and \
where their own view departs from what is expected of them.
People of one country differ. Choose what this person would say, not what is usual there."""
"""Anthropological prompting in our own words: the idea of AlKhamissi et al. (2024), without generated reasoning."""


def personas(study: Study, granularities: Sequence[int]) -> list[dict[str, str]]:
    """Return every persona of the given granularities: all combinations of levels of all attribute subsets."""
    found = []
    for size in granularities:
        for subset in itertools.combinations(study.attributes, size):
            for levels in itertools.product(*(study.attributes[name].levels for name in subset)):
                found.append(dict(zip(subset, levels, strict=True)))
    return found


def persona_phrase(study: Study, country: str, persona: Persona) -> str:
    """Say a persona in words: "a woman, with a college degree, from the United States".

    The level's words that start with an article come first; without any, "a person" does.
    """
    return ", ".join([*_phrases(study, persona), f"from {study.country_name(country)}"])


def _phrases(study: Study, persona: Persona) -> list[str]:
    phrases = [study.attributes[name].levels[level].persona for name, level in persona.items()]
    heads = [phrase for phrase in phrases if phrase.startswith(("a ", "an "))]
    rest = [phrase for phrase in phrases if phrase not in heads[:1]]
    return [*(heads[:1] or ["a person"]), *rest]


@dataclass(frozen=True)
class Wording:
    """A prompt's text and, for each option in order, what follows it if that option is chosen."""

    prompt: str
    options: tuple[str, ...]


def wording(study: Study, country: str, question: str, persona: Persona) -> Wording:
    """Put a persona and a question into words, in the study's layout and option style.

    Raises
    ------
    InputError
        A question has more options than there are letters.
    """
    item = study.questions[question]
    letters = study.prompt.options == "letters"
    names = _names(item, question, letters)
    labels = item.options.values()
    if letters:
        listed = "\n".join(f"{name}. {label}" for name, label in zip(names, labels, strict=True))
    else:
        listed = "\n".join(f"- {label}" for label in labels)
    asked = f"Question: {item.text}\n{listed}"
    how = "Answer with the letter of one option." if letters else "Answer with the exact words of one option."
    if study.prompt.style == "anthropological":
        how = f"{how}\n{_REFLECT}"
    if study.prompt.layout == "question-first":
        text = f"A survey asks this question.\n{asked}\nWhat does the person below answer? {how}\n"
        # what differs between personas comes last and is short: everything before it is computed once
        text += f"The person is from {study.country_name(country)}: {', '.join(_phrases(study, persona))}."
    else:
        who = persona_phrase(study, country, persona)
        text = f"You are {who}. Answer this survey question as yourself.\n{asked}\n{how}"
    return Wording(text, names)


def wording_fingerprint(study: Study, countries: Sequence[str]) -> str:
    """Return the SHA-256 of how every question is put in every country: answers to other words are other answers."""
    someone = {name: next(iter(attribute.levels)) for name, attribute in study.attributes.items()}
    digest = hashlib.sha256()
    for country, question, persona in itertools.product(countries, study.questions, ({}, someone)):
        words = wording(study, country, question, persona)
        digest.update("\0".join([words.prompt, *words.options, ""]).encode())
    return digest.hexdigest()


def _names(item: Question, question: str, letters: bool) -> tuple[str, ...]:
    if not letters:
        return tuple(item.options.values())
    if len(item.options) > len(string.ascii_uppercase):
        raise InputError(
            f"question {question} has {len(item.options)} options, more than letters; set prompt.options to labels"
        )
    return tuple(string.ascii_uppercase[: len(item.options)])


@dataclass(frozen=True)
class Encoded:
    """One prompt with one option, tokenised together; tokens from ``start`` on say the option."""

    ids: tuple[int, ...]
    start: int


def encode(tokenizer: PreTrainedTokenizerBase, wordings: Sequence[Wording], what: str) -> list[list[Encoded]]:
    """Tokenise every prompt with every option, jointly, so that no cut changes a token.

    Where one option's tokens are the beginning of another's ("1" and "10"), all options of the question
    get the end of the answer appended, so that each sequence says where its option stops.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer. Its chat template is used if it has one.
    wordings : sequence of Wording
        Prompts that share their options.
    what : str
        Names the question in errors.

    Returns
    -------
    list of list of Encoded
        One list per prompt, one item per option.

    Raises
    ------
    InputError
        Two options have the same tokens, or one's begin another's even with the end of the answer; an option has
        characters that the tokenizer has no token for; or the chat template cannot be used.
    """
    encoded = _encode(tokenizer, wordings, what, end=False)
    if _ambiguous(encoded):
        encoded = _encode(tokenizer, wordings, what, end=True)
    if clash := _ambiguous(encoded):
        a, b = (wordings[0].options[i] for i in clash)
        if any(options[clash[0]].ids == options[clash[1]].ids for options in encoded):
            what_is_wrong = f"options {a!r} and {b!r} have the same tokens for this model"
        else:
            what_is_wrong = (
                f"option {a!r} is how {b!r} begins, and this model's tokenizer drops the line end that would say where "
                "an answer ends"
            )
        raise InputError(f"question {what}: {what_is_wrong}; word them differently")
    return encoded


def _encode(
    tokenizer: PreTrainedTokenizerBase, wordings: Sequence[Wording], what: str, end: bool
) -> list[list[Encoded]]:
    around = frame(tokenizer)
    prompts = [around.before + words.prompt + around.after for words in wordings]
    closing = around.end if end else ""
    texts = [
        prompt + around.gap + option + closing
        for prompt, words in zip(prompts, wordings, strict=True)
        for option in words.options
    ]
    batch = tokenizer(texts, add_special_tokens=around.special_tokens, return_offsets_mapping=True)
    if tokenizer.unk_token_id is not None:
        lengths = [len(prompt) for prompt, words in zip(prompts, wordings, strict=True) for _ in words.options]
        for text, length, ids, offsets in zip(texts, lengths, batch["input_ids"], batch["offset_mapping"], strict=True):
            for start, stop in _unknown(tokenizer, text, ids, offsets):
                if stop > length:
                    raise InputError(
                        f"question {what}: this model's tokenizer has no token for {text[start:stop]!r} in option "
                        f"{text[length:].strip()!r}; word it differently"
                    )
                _say_unknown(text[start:stop])
    tokens = iter(zip(batch["input_ids"], batch["offset_mapping"], strict=True))
    return [
        _from_common_start([next(tokens) for _ in words.options], len(prompt))
        for prompt, words in zip(prompts, wordings, strict=True)
    ]


def _unknown(
    tokenizer: PreTrainedTokenizerBase, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield where a tokenizer reads "unknown", unless the text says so itself (some name their end token that)."""
    unknown = tokenizer.unk_token_id
    for token, (start, stop) in zip(ids, offsets, strict=True) if unknown in ids else ():
        if token == unknown and start < stop and text[start:stop].strip() != tokenizer.unk_token:
            yield start, stop


@cache
def _say_unknown(characters: str) -> None:
    note(f"this model's tokenizer has no token for {characters!r} in the prompts and reads it as unknown")


def _from_common_start(options: Sequence[tuple[list[int], list[tuple[int, int]]]], length: int) -> list[Encoded]:
    """Return one prompt's options, all scored from the same token on.

    That is the first token that reaches beyond the prompt's text, or, where an option's first characters merge with
    the prompt's last ones, the first token in which the options differ: what is compared must have one condition.
    Tokens that a tokenizer adds after the text (with an empty span at 0) say nothing of the option and are left out.
    """
    kept = []
    starts = []
    for ids, offsets in options:
        last = max(i for i, (_, stop) in enumerate(offsets) if stop > 0)
        kept.append(tuple(ids[: last + 1]))
        starts.append(next(i for i, (_, stop) in enumerate(offsets) if stop > length))
    common = next((i for i, tokens in enumerate(zip(*kept, strict=False)) if len(set(tokens)) > 1), starts[0])
    start = min(*starts, common)
    assert start > 0
    return [Encoded(ids, start) for ids in kept]


def _ambiguous(encoded: Sequence[Sequence[Encoded]]) -> tuple[int, int] | None:
    """Return two options of which one's tokens begin the other's, or None."""
    for options in encoded:
        for (i, a), (j, b) in itertools.permutations(enumerate(options), 2):
            if b.ids[: len(a.ids)] == a.ids:
                return i, j
    return None
