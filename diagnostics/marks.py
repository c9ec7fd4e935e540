"""How the report marks what the graph does not identify, and what it says of checks that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from causal.check import Check, counted, listed
from diagnostics.diagnosis import Q

NOT_IDENTIFIED = "not_identified"
DAGGER = "†"
LEGEND = f"{DAGGER} marks what the graph does not identify: an association, not an effect."

_CONSEQUENCES = {
    "identification": f"what is marked {DAGGER} may be called an association, not an effect.",
    "support": "too many toggles have too few respondents to be read.",
    "implications of the graph": "the survey contradicts the graph, so what it says of effects rests on an error.",
    "overlap": "at some levels there is nobody like those they are compared with.",
}


@dataclass(frozen=True)
class Failed:
    """A failed check: its name, its place among the checks (from 1), and what its failing means."""

    name: str
    place: int
    consequence: str


def failures(checks: Sequence[Check]) -> list[Failed]:
    """Return the checks that failed, in their order."""
    return [
        Failed(check.name, place, _CONSEQUENCES.get(check.name, check.advice))
        for place, check in enumerate(checks, start=1)
        if check.verdict == "fail"
    ]


def mark(rows: pd.DataFrame) -> str:
    """Return a dagger if any of these toggles is not identified, else nothing."""
    return f" {DAGGER}" if (rows["estimand"] == NOT_IDENTIFIED).any() else ""


def standing_out(rows: pd.DataFrame) -> str:
    """Count the supported toggles that stand out from noise, effects apart from associations."""
    known = rows["estimand"] != NOT_IDENTIFIED
    clear = rows["q_value"] < Q
    parts = []
    if known.any():
        parts.append(f"{(clear & known).sum()} of {known.sum()} effects in this survey stand out from sampling noise")
    if not known.all():
        many = f"{(clear & ~known).sum()} of {(~known).sum()} associations"
        parts.append(
            f"{many}, which the graph does not identify as effects, do so as well"
            if parts
            else f"No effect is identified; {many} in this survey stand out from sampling noise"
        )
    return "; ".join(parts)


def failed_sentence(checks: Sequence[Check]) -> str:
    """Name the checks that failed; empty if none did."""
    names = [check.name for check in checks if check.verdict == "fail"]
    return f"{counted(len(names), 'check')} failed: {listed(names)}." if names else ""


def identified_of(rows: pd.DataFrame) -> str:
    """Say how many supported toggles are effects, given the graph."""
    unknown = int((rows["estimand"] == NOT_IDENTIFIED).sum())
    if not unknown:
        return "Given the graph, all are effects."
    return (
        f"Given the graph, {len(rows) - unknown} of them are effects and {unknown} are associations only, marked "
        f"{DAGGER} in figures and tables."
    )
