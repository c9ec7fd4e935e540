"""Print the tables and draw the figure of docs/comparison.md, from what `alignment.py` left in its folder.

Figures are means over seeds with 95% intervals. Reports are written anew first, so that scores are those of today's
code; nothing is trained or measured.

Run: python benchmarks/comparison.py [--quick] [--out DIR] [--write]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _drawing import draw
from alignment import PAPER_ORDER, SURVEYS, falls, interval, mean_of, numbers

from diagnostics.report import main as report

METHODS = (
    *("base", "anthropological", "temperature", "anchor", "effect", "ace", "level_kl", "best"),
    *("marginal", "uniform", "perfect model"),
)
PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
FIGURE = PAGE.parent / "images" / "comparison.png"
START, END = "<!-- tables: printed by benchmarks/comparison.py -->", "<!-- end of tables -->"
RIVALS = ("ace", "level_kl", "base")
GAINS = {"S": 1, "effect_distance": 4, "range": 1}
PARTS = {
    "held_out": "questions never seen",
    "held_out_countries": "countries (waves) never seen",
    "held_out_personas": "combinations never seen",
}
COLUMNS = {
    "S": ("S", 1),
    "effect_distance": ("effect distance", 4),
    "shift_correlation": ("corr.", 2),
    "aligned": ("aligned", 2),
    "erased": ("erased", 2),
    "stereotyped": ("stereotyped", 2),
    "flipped": ("flipped", 2),
    "modal_accuracy": ("modal acc.", 2),
    "NMAE": ("NMAE", 3),
    "range": ("range of S", 1),
    "tier_gap": ("tier gap", 1),
}


def scored(folder: Path) -> list[dict[str, Any]]:
    """Return the comparison of every seed that is complete, from a report written now."""
    found = []
    for run in sorted(folder.glob("seed*")):
        if report([str(run), "--quiet"]):
            raise SystemExit(f"{run}: no report")
        one = json.loads((run / "scores.json").read_text(encoding="utf-8"))["comparison"]
        if all(method in one["held_out"] for method in METHODS):
            found.append(one)
    return found


def cell(values: Sequence[float | None], digits: int) -> str:
    """Return a mean and its interval's half-width as text."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, half = interval(known)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if half else "")


def table(seeds: Sequence[dict[str, Any]], part: str, columns: dict[str, tuple[str, int]]) -> list[str]:
    """Return one part's table as Markdown."""
    rows = {method: [numbers(one[part][method]) for one in seeds] for method in METHODS}
    shown = {name: spec for name, spec in columns.items() if any(row.get(name) is not None for row in rows["base"])}
    lines = [
        "| method | " + " | ".join(heading for heading, _ in shown.values()) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for method, of in rows.items():
        cells = [cell([row.get(name) for row in of], digits) for name, (_, digits) in shown.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def order(seeds: Sequence[dict[str, Any]], part: str) -> str:
    """Return in words at how many granularities the paper's order of S holds, and what the order is."""
    rows = {name: [numbers(one[part][name]) for one in seeds] for name in PAPER_ORDER}
    sizes = [name for name, value in rows["base"][0].items() if name.startswith("S_G") and value is not None]
    held = sum(falls([mean_of(rows[name], size) for name in PAPER_ORDER]) for size in sizes)
    ranked = sorted(PAPER_ORDER, key=lambda name: -mean_of(rows[name], "S"))
    return f"{held} of {len(sizes)} (over all: {' > '.join(ranked)})"


def gain(seeds: Sequence[dict[str, Any]], part: str, rival: str, name: str, digits: int) -> str:
    """Return by how much `best` differs from a rival in a figure, with the interval of the difference over seeds."""
    ours, theirs = ([numbers(one[part][method])[name] for one in seeds] for method in ("best", rival))
    known = [(one, other) for one, other in zip(ours, theirs, strict=True) if one is not None and other is not None]
    if not known:
        return "–"
    mean, half = interval([one - other for one, other in known])
    return (f"{mean:+.{digits}f}" + (f" ± {half:.{digits}f}" if half else "")).replace("-", "−")


def summary(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the paper's order and the gains of `best` as Markdown."""
    lines = ["| survey | held out | granularities at which ace > effect > base > anchor in S |", "|---|---|---|"]
    places = [(survey, part) for survey, seeds in found.items() for part in PARTS if part in seeds[0]]
    lines += [f"| {survey} | {PARTS[part]} | {order(found[survey], part)} |" for survey, part in places]
    lines += ["", "| survey | held out | `best` less | S | effect distance | range of S |", "|---|---|---|---|---|---|"]
    for survey, part in places:
        for rival in RIVALS:
            cells = (gain(found[survey], part, rival, name, digits) for name, digits in GAINS.items())
            lines.append(f"| {survey} | {PARTS[part]} | {rival} | " + " | ".join(cells) + " |")
    return lines


def details(survey: str, seeds: Sequence[dict[str, Any]]) -> list[str]:
    """Return all tables of a survey as Markdown."""
    lines = []
    for part in (name for name in PARTS if name in seeds[0]):
        sizes = [name for name, value in numbers(seeds[0][part]["base"]).items() if name.startswith("S_G") and value]
        lines += [
            "",
            f"**{survey}, {PARTS[part]}** ({len(seeds)} seed{'s' * (len(seeds) > 1)})",
            "",
            *table(seeds, part, COLUMNS),
        ]
        if len(sizes) > 1:
            by_size = {name: (f"S, G={name[3:]}", 1) for name in sizes}
            lines += ["", *table(seeds, part, by_size)]
    return lines


def compact(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the main figures of trainings of other lengths as Markdown, all parts of a survey side by side."""
    lines = []
    for survey, seeds in found.items():
        parts = [part for part in PARTS if part in seeds[0]]
        headings = [f"{what}, {PARTS[part]}" for part in parts for what in ("S", "effect distance")]
        count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
        lines += ["", f"**{survey}** ({count})", "", "| method | " + " | ".join(headings) + " |"]
        lines += ["|---" * (len(headings) + 1) + "|"]
        for method in METHODS:
            rows = [[numbers(one[part][method]) for one in seeds] for part in parts]
            cells = [
                cell([row[name] for row in of], COLUMNS[name][1]) for of in rows for name in ("S", "effect_distance")
            ]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="what alignment.py --quick left")
    parser.add_argument("--out", type=Path, default=Path("runs") / "alignment", help="alignment.py's folder")
    parser.add_argument("--write", action="store_true", help="put tables and figure into docs/comparison.md")
    arguments = parser.parse_args()
    surveys = ["cces2016-quick"] if arguments.quick else SURVEYS
    found = {survey: seeds for survey in surveys if (seeds := scored(arguments.out / survey))}
    if not found:
        raise SystemExit(f"{arguments.out} holds no complete run of alignment.py; run that first")
    others = {survey: sorted(arguments.out.glob(f"{survey}-*epochs")) for survey in surveys}
    shorter = {folder.name: seeds for of in others.values() for folder in of if (seeds := scored(folder))}
    lines = summary(found) + [line for survey, seeds in found.items() for line in details(survey, seeds)]
    text = "\n".join([*lines, *compact(shorter)]) + "\n"
    print(text)
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        block = f"{START}\n\n{text}\n{END}"
        pattern = f"{re.escape(START)}.*?{re.escape(END)}"
        draw(found, FIGURE)
        PAGE.write_text(re.sub(pattern, lambda _: block, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
