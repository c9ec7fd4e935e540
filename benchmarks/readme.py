"""Print the README's demo table from the demo's run folder, and copy its figure to docs/images.

Run after ``make demo``: python benchmarks/readme.py [--write]; with --write the README is updated in place.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = (
    "<!-- demo table: printed by benchmarks/readme.py from the demo's run folder -->",
    "<!-- end of demo table -->",
)


def main() -> None:
    """Read ``scores.json``, print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "gss2018")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    table = markdown(json.loads((arguments.run / "scores.json").read_text(encoding="utf-8")))
    print(table)
    if arguments.write:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        block = f"{START}\n\n{table}\n{END}"
        readme.write_text(
            re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8"
        )
        (ROOT / "docs" / "images").mkdir(exist_ok=True)
        shutil.copy(arguments.run / "figures" / "scatter.png", ROOT / "docs" / "images" / "shifts.png")


CLASSES = ("flipped", "stereotyped", "erased", "aligned")
SPLITS = {"trained": "questions trained on", "held_out": "held-out questions"}


def markdown(scores: dict) -> str:
    """Return the table as Markdown: each label, the trivial rivals and a perfect model, on each side of the split."""
    lines = ["| | S | effect distance | " + " | ".join(CLASSES) + " |", "| --- |" + " ---: |" * (2 + len(CLASSES))]
    for split, title in SPLITS.items():
        first = next(iter(scores["labels"].values()))["splits"][split]
        lines.append(f"| **{title}** | | |" + " |" * len(CLASSES))
        for label, of in scores["labels"].items():
            lines.append(_row(label, of["splits"][split], "S", "effect_distance", "classes"))
        lines.append(
            f"| uniform answers, no effect | {first['S_uniform']:.1f} | {first['effect_distance_no_effect']:.4f} |"
            + " |" * 4
        )
        lines.append(_row("perfect model", first, "S_ceiling", "effect_distance_ceiling", "classes_ceiling"))
    return "\n".join(lines) + "\n"


def _row(name: str, averages: dict, level: str, distance: str, classes: str) -> str:
    shares = " | ".join(f"{averages[classes][name]:.0%}" for name in CLASSES)
    return f"| {name} | {averages[level]:.1f} | {averages[distance]:.4f} | {shares} |"


if __name__ == "__main__":
    main()
