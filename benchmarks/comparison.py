"""Print the tables of docs/comparison.md from what `alignment.py` left in its folder: means over seeds, 95% intervals.

Reports are written anew first, so that scores are those of today's code; nothing is trained or measured.

Run: python benchmarks/comparison.py [--quick] [--out DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignment import SURVEYS, interval, numbers, say_goals

from diagnostics.report import main as report

METHODS = (
    *("base", "anthropological", "temperature", "anchor", "effect", "ace", "level_kl", "best"),
    *("marginal", "uniform", "perfect model"),
)
PARTS = {"held_out": "questions never seen", "held_out_personas": "combinations never seen"}
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


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="what alignment.py --quick left")
    parser.add_argument("--out", type=Path, default=Path("runs") / "alignment", help="alignment.py's folder")
    parser.add_argument("--json", type=Path, help="also write the gains of `best` to this file")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for survey in ["cces2016-quick"] if arguments.quick else SURVEYS:
        seeds = scored(arguments.out / survey)
        if not seeds:
            print(f"{survey}: no seed is complete")
            continue
        for part in (name for name in PARTS if name in seeds[0]):
            sizes = [
                name for name, value in numbers(seeds[0][part]["base"]).items() if name.startswith("S_G") and value
            ]
            by_size = {name: (f"G={name[3:]}", 1) for name in sizes if len(sizes) > 1}
            print(f"\n{survey}, {PARTS[part]}, {len(seeds)} seeds\n")
            print("\n".join(table(seeds, part, COLUMNS)))
            if by_size:
                print("\nS by number of attributes\n")
                print("\n".join(table(seeds, part, by_size)))
        print()
        figures |= say_goals(survey, seeds)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
