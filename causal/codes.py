"""Codes of answers and attribute levels, and when two of them are the same."""

from __future__ import annotations

import re

Code = int | float | bool | str
"""An answer or attribute code as stored in the survey: a number or a string."""

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_BOOLEANS = frozenset({"True", "TRUE", "False", "FALSE"})


def code_key(code: object) -> str:
    """Return the canonical text of a code, so that ``1``, ``1.0``, ``"1"`` and ``"1.0"`` are the same code.

    ``"01"`` is another code than ``"1"``. ``true`` is the same code as the text ``"True"``, which is how
    pandas and R write it to CSV.

    Parameters
    ----------
    code : int, float, bool or str
        A code from the study file or from the data.

    Returns
    -------
    str
        Integral numbers without a decimal point, other text stripped of surrounding blanks.
    """
    if isinstance(code, float) and code.is_integer():
        return str(int(code))
    text = str(code).strip()
    if text in _BOOLEANS:
        return text.lower()
    if whole := _WHOLE.fullmatch(text):
        return "0" if whole[1] == "-0" else whole[1]
    return text
