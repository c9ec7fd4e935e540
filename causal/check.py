"""One check of what the effects rest on, in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
MOST_ROWS = 400
"""Rows of details that one check keeps."""


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names as a phrase, the first few of many."""
    shown = list(names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    if more or len(shown) < 2:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 toggle``, ``2 toggles``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def worst_rows(rows: Sequence[dict[str, Any]], badness: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    """Return the worst rows as details, worst first: five digits, and nothing where a number is infinite or unknown."""
    chosen = sorted(rows, key=badness, reverse=True)[:MOST_ROWS]
    return [{name: _plain(value) for name, value in row.items()} for row in chosen]


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None
