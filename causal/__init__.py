"""The survey side: effects of demographic attributes on ordered survey answers.

Nothing here imports torch or matplotlib. Names are loaded on first use, so ``import causal`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Study": "causal.study",
    "Survey": "causal.survey",
    "read_survey": "causal.survey",
    "CountTable": "causal.counttable",
    "read_count_table": "causal.counttable",
    "count": "causal.counts",
    "count_frame": "causal.framecounts",
    "read_any": "causal.counttable",
    "distributions_table": "causal.distributions",
    "survey_effects": "causal.effects",
    "model_effects": "causal.effects",
    "CausalGraph": "causal.graph",
    "InputError": "causal.errors",
    "GateError": "causal.errors",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'causal' has no attribute {name!r}")
