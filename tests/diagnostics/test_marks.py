"""What the verdict counts and what it says of checks that failed."""

from __future__ import annotations

import pandas as pd
import pytest

from causal.check import Check
from diagnostics.marks import failed_sentence, failures, identified_of, mark, standing_out


def toggles(*found: tuple[str, float]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["estimand", "q_value"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            toggles(("total", 0.01), ("controlled_direct", 0.5)),
            "1 of 2 effects in this survey stand out from sampling noise",
        ),
        (
            toggles(("total", 0.01), ("not_identified", 0.01), ("not_identified", 0.2), ("total", 0.9)),
            "1 of 2 effects in this survey stand out from sampling noise; 1 of 2 associations, which the graph does "
            "not identify as effects, do so as well",
        ),
        (
            toggles(("not_identified", 0.01)),
            "No effect is identified; 1 of 1 associations in this survey stand out from sampling noise",
        ),
    ],
)
def test_effects_count_apart_from_associations(rows: pd.DataFrame, words: str) -> None:
    assert standing_out(rows) == words


def test_associations_are_marked_and_counted() -> None:
    mixed = toggles(("total", 0.1), ("not_identified", 0.1), ("not_identified", 0.9))
    assert mark(mixed) == " †"
    assert mark(mixed.iloc[:1]) == ""
    assert "1 of them are effects and 2 are associations only" in identified_of(mixed)
    assert identified_of(mixed.iloc[:1]) == "Given the graph, all are effects."


def test_failed_checks_are_named_with_their_place_and_meaning() -> None:
    checks = [
        Check("support", 1, 0.8, "pass", "m", "a"),
        Check("identification", 1, 0, "fail", "m", "a"),
        Check("other", 1, 0, "fail", "m", "do this"),
        Check("balance", 1, 0, "warn", "m", "a"),
    ]
    assert failed_sentence(checks) == "2 checks failed: identification and other."
    assert failed_sentence(checks[:1]) == ""
    assert [(one.name, one.place) for one in failures(checks)] == [("identification", 2), ("other", 3)]
    assert "association, not an effect" in failures(checks)[0].consequence
    assert failures(checks)[1].consequence == "do this"
