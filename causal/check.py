"""One check of what the effects rest on, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One check: what was measured, against which threshold, what it means and what to do.

    ``details`` are rows of what lies behind the statistic, for those who want to look or draw.
    """

    name: str
    statistic: float
    threshold: float
    verdict: Verdict
    meaning: str
    advice: str
    details: list[dict[str, Any]] = field(default_factory=list)


NOTHING = "Nothing to do."


def listed(names: list[str], most: int = 5) -> str:
    """Return names as a phrase, the first few of many."""
    shown = names[:most]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    if more or len(shown) < 2:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
