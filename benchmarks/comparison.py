"""Print the tables and draw the figures of docs/comparison.md, from what `alignment.py` left in its folder.

Figures are means over seeds with 95% intervals. Reports are written anew first, so that scores are those of today's
code; nothing is trained or measured. With ``--write`` every complete seed is kept in ``benchmarks/results``, from which
the page is made: seeds may come from several machines, and a survey that has no record keeps what the page says of it.
A record of trainings of another length than `alignment.EPOCHS` is refused.

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
from alignment import EPOCHS, PAPER_ORDER, SURVEYS, falls, interval, mean_of, numbers

from diagnostics.report import main as report

METHODS = (
    *("base", "anthropological", "temperature", "anchor", "effect", "ace", "level_kl", "best"),
    *("marginal", "uniform", "perfect model"),
)
PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
IMAGES = PAGE.parent / "images"
RECORDS = Path(__file__).parent / "results"
Seeds = Sequence[dict[str, Any]]
"""A survey's figures by part, method and name, one entry for each seed."""
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


def scored(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the figures of every seed that is complete, from a report written now."""
    found = {}
    for run in sorted(folder.glob("seed*")):
        if report([str(run), "--quiet"]):
            raise SystemExit(f"{run}: no report")
        one = json.loads((run / "scores.json").read_text(encoding="utf-8"))["comparison"]
        if all(method in one["held_out"] for method in METHODS):
            found[run.name] = {
                part: {method: numbers(of[method]) for method in METHODS} for part, of in one.items() if part in PARTS
            }
    return found


def recorded(survey: str) -> dict[str, dict[str, Any]]:
    """Return the seeds of a survey that were kept."""
    path = RECORDS / f"{survey}.json"
    if not path.is_file():
        return {}
    held = json.loads(path.read_text(encoding="utf-8"))
    if held["epochs"] != EPOCHS[survey]:
        raise SystemExit(f"{path} is of {held['epochs']} epochs, alignment.py trains for {EPOCHS[survey]}: remove it")
    return held["seeds"]


def cell(values: Sequence[float | None], digits: int) -> str:
    """Return a mean and its interval's half-width as text."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, half = interval(known)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if half else "")


def table(seeds: Seeds, part: str, columns: dict[str, tuple[str, int]]) -> list[str]:
    """Return one part's table as Markdown."""
    rows = {method: [one[part][method] for one in seeds] for method in METHODS}
    shown = {name: spec for name, spec in columns.items() if any(row.get(name) is not None for row in rows["base"])}
    lines = [
        "| method | " + " | ".join(heading for heading, _ in shown.values()) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for method, of in rows.items():
        cells = [cell([row.get(name) for row in of], digits) for name, (_, digits) in shown.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def order(seeds: Seeds, part: str) -> str:
    """Return in words at how many granularities the paper's order of S holds, and what the order is."""
    rows = {name: [one[part][name] for one in seeds] for name in PAPER_ORDER}
    sizes = [name for name, value in rows["base"][0].items() if name.startswith("S_G") and value is not None]
    held = sum(falls([mean_of(rows[name], size) for name in PAPER_ORDER]) for size in sizes)
    ranked = sorted(PAPER_ORDER, key=lambda name: -mean_of(rows[name], "S"))
    return f"{held} of {len(sizes)} (over all: {' > '.join(ranked)})"


def gain(seeds: Seeds, part: str, rival: str, name: str, digits: int) -> str:
    """Return by how much `best` differs from a rival in a figure, with the interval of the difference over seeds."""
    ours, theirs = ([one[part][method][name] for one in seeds] for method in ("best", rival))
    known = [(one, other) for one, other in zip(ours, theirs, strict=True) if one is not None and other is not None]
    if not known:
        return "–"
    mean, half = interval([one - other for one, other in known])
    return (f"{mean:+.{digits}f}" + (f" ± {half:.{digits}f}" if half else "")).replace("-", "−")


def summary(seeds: Seeds) -> list[str]:
    """Return the paper's order and the gains of `best` as Markdown."""
    parts = [part for part in PARTS if part in seeds[0]]
    lines = ["| held out | granularities at which ace > effect > base > anchor in S |", "|---|---|"]
    lines += [f"| {PARTS[part]} | {order(seeds, part)} |" for part in parts]
    lines += ["", "| held out | `best` less | S | effect distance | range of S |", "|---|---|---|---|---|"]
    for part in parts:
        for rival in RIVALS:
            cells = (gain(seeds, part, rival, name, digits) for name, digits in GAINS.items())
            lines.append(f"| {PARTS[part]} | {rival} | " + " | ".join(cells) + " |")
    return lines


def details(survey: str, seeds: Seeds) -> list[str]:
    """Return all tables of a survey as Markdown."""
    lines = []
    for part in (name for name in PARTS if name in seeds[0]):
        sizes = [name for name, value in seeds[0][part]["base"].items() if name.startswith("S_G") and value]
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


def tables(survey: str, seeds: Seeds) -> str:
    """Return what the page says of a survey in figures, as Markdown."""
    return "\n".join([*summary(seeds), *details(survey, seeds)]) + "\n"


def page_with(page: str, survey: str, text: str) -> str:
    """Return the page with a survey's tables replaced."""
    start, end = f"<!-- {survey}: printed by benchmarks/comparison.py -->", f"<!-- end of {survey} -->"
    block = f"{start}\n\n{text}\n{end}"
    return re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: block, page, flags=re.DOTALL)


def main() -> None:
    """Print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="what alignment.py --quick left")
    parser.add_argument("--out", type=Path, default=Path("runs") / "alignment", help="alignment.py's folder")
    parser.add_argument("--write", action="store_true", help="keep the figures, and put tables and drawings into docs")
    arguments = parser.parse_args()
    if arguments.quick and arguments.write:
        parser.error("--write takes whole runs; leave --quick out")
    surveys = ["cces2016-quick"] if arguments.quick else SURVEYS
    found = {survey: of for survey in surveys if (of := recorded(survey) | scored(arguments.out / survey))}
    if not found:
        raise SystemExit(f"{arguments.out} holds no complete run of alignment.py; run that first")
    for survey, by_seed in found.items():
        seeds = list(by_seed.values())
        text = tables(survey, seeds)
        print(f"# {survey}\n\n{text}")
        if arguments.write:
            draw(survey, seeds, IMAGES / f"comparison-{survey}.png")
            RECORDS.mkdir(exist_ok=True)
            kept = {"epochs": EPOCHS[survey], "seeds": by_seed}
            (RECORDS / f"{survey}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), survey, text), encoding="utf-8")


if __name__ == "__main__":
    main()
