"""A study's questions made ready for a model: one trie per (country, question)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from align.prompts import Encoded, encode, wording
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


def ask(study: Study, loaded: Loaded, country: str, question: str, who: Sequence[dict[str, str]]) -> Asked:
    """Word, tokenise and merge the prompts of one (country, question).

    Raises
    ------
    InputError
        Two options have equal tokens, or a prompt exceeds the model's context. Nothing is truncated.
    """
    wordings = [wording(study, country, question, persona) for persona in who]
    encoded = tuple(tuple(options) for options in encode(loaded.tokenizer, wordings, question))
    longest = max(len(item.ids) for options in encoded for item in options)
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    if context and longest > context:
        raise InputError(
            f"question {question} ({country}) makes a prompt of {longest} tokens; the model's context has {context}"
        )
    trie = build_trie([item for options in encoded for item in options])
    return Asked(country, question, len(encoded[0]), encoded, trie)
