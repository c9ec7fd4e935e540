"""Does the order of methods (ACE-Align > effect-only > base > anchor-only) depend on how good the base model is?

The methods are run twice on CCES 2016: on SmolLM2 as it is, whose answers lie further from the survey's than uniform
ones, and on SmolLM2 whose level has been repaired first (trained with level_kl on the questions that are trained on,
LoRA merged into the weights). Everything else is the same: splits, halves of respondents, steps, learning rate, seed.
It goes on from what `alignment.py` left in the same folder.

Run: python benchmarks/order.py [--quick] [--seed 0] [--epochs N] [--out DIR] [--json FILE]. An hour on a CPU.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from alignment import EPOCHS, PAPER_ORDER, numbers, run_seed
from rich.console import Console
from rich.table import Table

from causal.runs import Run

SURVEY = "cces2016"
SHOWN = ("S", "effect_distance", "modal_accuracy", "NMAE", "range")
METHODS = (*PAPER_ORDER, "level_kl", "best", "uniform", "perfect model")


def repaired(run: Path, folder: Path) -> Path:
    """Merge the adapter of ``level_kl`` into the model; return the model's folder."""
    from align.models import load_model

    if not (folder / "config.json").is_file():
        loaded = load_model("smollm2", Run(run).model("level_kl") / "adapter")
        loaded.model.merge_and_unload().save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
    return folder


def show(title: str, comparison: dict[str, Any]) -> dict[str, float | None]:
    """Print the methods on held-out questions; return their figures by name."""
    table = Table(title=title, title_justify="left")
    for heading in ("method", *SHOWN):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    figures: dict[str, float | None] = {}
    for method in METHODS:
        found = numbers(comparison["held_out"][method])
        table.add_row(method, *(f"{found[name]:.{1 if name in ('S', 'range') else 4}f}" for name in SHOWN))
        figures |= {f"{method}_{name}".replace(" ", "_"): found[name] for name in SHOWN}
    Console(width=120).print(table)
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two epochs, full personas only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="as alignment.py was given")
    parser.add_argument("--out", type=Path, default=Path("runs") / "alignment")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    suffix = "-quick" if arguments.quick else f"-{arguments.epochs}epochs" if arguments.epochs else ""
    name = f"{SURVEY}{suffix}"
    extra = ["--set", "effects.granularity=full", "--set", "fit.held_out.personas=[]"] if arguments.quick else []
    epochs = arguments.epochs or (2 if arguments.quick else EPOCHS[SURVEY])
    plain = run_seed(SURVEY, arguments.out / name, arguments.seed, epochs, extra)
    model = repaired(arguments.out / name / f"seed{arguments.seed}", arguments.out / f"{name}-repaired" / "model")
    again = run_seed(SURVEY, model.parent, arguments.seed, epochs, extra, str(model))
    figures = {f"plain_{key}": value for key, value in show("SmolLM2, held-out questions", plain).items()}
    figures |= {f"repaired_{key}": value for key, value in show("SmolLM2 with its level repaired", again).items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
