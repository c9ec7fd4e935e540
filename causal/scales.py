"""From the labels of a survey file to a question's options: which codes are answers, and in which order."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from causal.inspection import NO_ANSWER, plain
from causal.labelled import Labelled
from causal.presets.definition import Preset

LONGEST = 11
"""Options of the longest scale: 0 to 10."""
ENDS_APART = 4
"""Distance from which two labelled codes are the ends of a scale; nearer ones are two options."""
_DEGREE = re.compile(
    r"\b(very|fairly|quite|rather|somewhat|extremely|strongly|completely|totally|absolutely|definitely|probably|not"
    r"|certainly|(dis)?agree|(dis|un)?satisfied|(un)?important|always|often|sometimes|seldom|rarely|never|hardly"
    r"|frequently|daily|weekly|monthly|weeks?|months?|years?|once|more|less|much|most|least|many|few|some|none"
    r"|enough|great|little|lot|good|bad|better|worse|best|worst|(un)?fair|(un)?likely|easy|difficult|proud|close|high"
    r"|low|highest|lowest|top|bottom|favou?r|oppose|neither|nor|about|same|too|deal|confidence|trust(ed)?"
    r"|(un)?willing|dangerous)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Scale:
    """The options of a column, code to label in order, and the labelled codes that are no answer."""

    options: dict[int, str]
    missing: tuple[int, ...]


def answer_codes(book: Labelled, column: str, none: Collection[int] = ()) -> dict[int, str]:
    """Return the labelled codes of a column that can be answers, ascending, with their labels.

    Left out are codes in ``none``, negative ones, those that the file declares missing and those labelled as
    no answer ("Don't know"). A column with other codes than whole numbers has none.
    """
    found = {}
    for code, label in book.labels.get(column, {}).items():
        number = whole(code)
        if number is None:
            if isinstance(code, str) and book.declares_missing(column, code):
                continue  # Stata's .a to .z
            return {}
        if number < 0 or number in none or book.declares_missing(column, code) or NO_ANSWER.search(label):
            continue
        found[number] = plain(label)
    return dict(sorted(found.items()))


def scale(book: Labelled, column: str, preset: Preset) -> Scale | None:
    """Return the options of a question by a file's labels, or None if these give no scale.

    A scale has 2 to 11 codes within a span of 10. Where the file labels only its ends (four or more apart), or its
    ends and its middle, the codes between are named by their numbers.
    """
    own = preset.no_answer.get(column, ())
    codes = answer_codes(book, column, own)
    if len(codes) < 2 or max(codes) - min(codes) >= LONGEST:
        return None
    if _ends_only(list(codes)):
        codes = {code: codes.get(code, str(code)) for code in range(min(codes), max(codes) + 1)}
    order = preset.order.get(column, ())
    if order and sorted(order) == list(codes):
        codes = {code: codes[code] for code in order}
    labelled = {number for code in book.labels[column] if (number := whole(code)) is not None}
    missing = sorted({*labelled, *own} - set(codes) - set(preset.missing))
    return Scale(distinct_labels(codes), tuple(missing))


def looks_ordered(options: dict[int, str]) -> bool:
    """Return whether labels are those of an ordered scale: two options, or most labels numbers or words of degree."""
    telling = [label for label in options.values() if re.search(r"[0-9]", label) or _DEGREE.search(label)]
    return len(options) == 2 or len(telling) * 3 >= len(options) * 2


def distinct_labels(labels: dict[int, str]) -> dict[int, str]:
    """Return the labels, with the code behind those that occur twice, and the code alone where there is none."""
    texts = list(labels.values())
    return {
        code: str(code) if not text else text if texts.count(text) == 1 else f"{text} ({code})"
        for code, text in labels.items()
    }


def _ends_only(codes: Sequence[int]) -> bool:
    """Return whether codes with gaps are the ends of a scale, or its ends and its middle."""
    low, high = codes[0], codes[-1]
    return (len(codes) == 2 and high - low >= ENDS_APART) or (len(codes) == 3 and codes[1] * 2 == low + high)


def whole(code: Any) -> int | None:
    """Return a code as a whole number, None if it is none."""
    if isinstance(code, int | float) and float(code).is_integer():
        return int(code)
    return None
