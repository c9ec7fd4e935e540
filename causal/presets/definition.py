"""What is known of a survey's official file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PresetAttribute:
    """One way in which the file may hold an attribute: its column, and codes and persona of each level."""

    column: str
    levels: Mapping[str, tuple[tuple[int, ...], str]]
    missing: tuple[int, ...] = ()

    @property
    def codes(self) -> set[int]:
        """Every code that is a level."""
        return {code for codes, _ in self.levels.values() for code in codes}


@dataclass(frozen=True)
class Preset:
    """A survey's official file.

    Attributes
    ----------
    name, title : str
        What a study file calls it, and what people do.
    country, weight : tuple of str
        Columns, the preferred one first.
    missing : tuple of int
        Codes that are no answer in any column.
    attributes : mapping of str to tuple of PresetAttribute
        Ways to hold each attribute, the preferred one first.
    question : str
        Regular expression of the questions' column names.
    country_names, tiers : mapping of str to str
        By code of the first country column.
    topics : mapping of str to str
        Topic of each question.
    modules : mapping of int to str
        Topic of all questions by archive number, for a survey that has one topic a year.
    nominal : frozenset of str
        Questions whose answers have no order.
    no_answer : mapping of str to tuple of int
        Further codes of a question that are none of its scale's.
    order : mapping of str to tuple of int
        Codes of a question in the order of its scale, where that is not the numbers'.
    order_unknown : bool
        Whether only the labels can tell that a question is ordered.
    """

    name: str
    title: str
    country: tuple[str, ...]
    weight: tuple[str, ...]
    missing: tuple[int, ...]
    attributes: Mapping[str, tuple[PresetAttribute, ...]]
    question: str
    country_names: Mapping[str, str] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[int, str] = field(default_factory=dict)
    nominal: frozenset[str] = frozenset()
    no_answer: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    order: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    order_unknown: bool = False

    def is_question(self, column: str) -> bool:
        """Return whether a column's name is a question's."""
        return re.fullmatch(self.question, column) is not None
