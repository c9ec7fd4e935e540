"""A study's questions made ready for a model: one trie per (country, question)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.prompts import Encoded, Persona, encode, persona_phrase, wording
from align.trie import Trie, build_trie
from causal.errors import InputError
from causal.study import Study

if TYPE_CHECKING:
    from align.models import Loaded


@dataclass(frozen=True)
class Asked:
    """One (country, question) with every persona and option, tokenised.

    Attributes
    ----------
    country, question : str
        What is asked, and where.
    options : int
        Number of options K.
    encoded : tuple of tuple of Encoded
        One tuple per persona, one item per option.
    trie : Trie
        All of them merged; sequences run persona by persona, option by option.
    """

    country: str
    question: str
    options: int
    encoded: tuple[tuple[Encoded, ...], ...]
    trie: Trie


def ask(study: Study, loaded: Loaded, country: str, question: str, who: Sequence[Persona]) -> Asked:
    """Word, tokenise and merge the prompts of one (country, question).

    Raises
    ------
    InputError
        Two options have equal tokens, or a prompt exceeds the model's context. Nothing is truncated.
    """
    encoded = _encoded(study, loaded, country, question, who)
    trie = build_trie([item for options in encoded for item in options])
    return Asked(country, question, len(encoded[0]), encoded, trie)


def require_askable(study: Study, loaded: Loaded, keys: Iterable[tuple[str, str]], who: Sequence[Persona]) -> None:
    """Raise what `ask` would raise of any (country, question), before hours go into others.

    Only the persona with most to say is tokenised, so a prompt that is longer for another is found when it is asked.
    """
    longest = max(who, key=lambda persona: len(persona_phrase(study, "", persona)))
    for country, question in keys:
        _encoded(study, loaded, country, question, [longest])


def _encoded(
    study: Study, loaded: Loaded, country: str, question: str, who: Sequence[Persona]
) -> tuple[tuple[Encoded, ...], ...]:
    wordings = [wording(study, country, question, persona) for persona in who]
    encoded = tuple(tuple(options) for options in encode(loaded.tokenizer, wordings, question))
    longest = max(len(item.ids) for options in encoded for item in options)
    context = _context(loaded.model.config.get_text_config())
    if context and longest > context:
        raise InputError(
            f"question {question} ({country}) makes a prompt of {longest} tokens; the model's context has {context}"
        )
    return encoded


def _context(config: Any) -> int | None:
    """Return how many tokens a model takes; MPT has a name of its own for it, and no biases for places beyond."""
    return getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
