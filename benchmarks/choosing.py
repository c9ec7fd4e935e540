"""Which weights the schedule ``best`` should have, by validation questions alone.

Training questions of two surveys are dealt out into folds. For each fold every candidate trains on the others,
from one half of the respondents, and is scored on the fold's questions against the same half. What the benchmark of
alignment holds out (questions, combinations of levels, the other half of the respondents) is never looked at. A
candidate's figure is the mean of two ratios to the base model, of the level's error (100 - S) and of the effect
distance, over folds and training seeds and then over surveys: below 1 is better than no training. The lowest wins.
What was trained is kept, so a run that was stopped goes on.

Run: python benchmarks/choosing.py [--quick] [--surveys NAMES] [--folds 2] [--seeds 3] [--candidates NAMES] [--out DIR]
[--json FILE]. An hour and a half on a CPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alignment import EPOCHS, RATE, STUDIES, command, held_out_personas
from rich.console import Console
from rich.table import Table

from causal.study import Study

SURVEYS = ("cces2016", "gss2018")
"""One with little noise, one with small cells. The others of the benchmark of alignment play no part in the choice."""
CANDIDATES: dict[str, Any] = {
    "paper": "paper",
    "effect": "effect",
    "level_kl": "level_kl",
    "level_kl + 10 effect": {"level_kl": 1, "effect": 10},
    "level_kl + 30 effect": {"level_kl": 1, "effect": 30},
    "level_kl + 100 effect": {"level_kl": 1, "effect": 100},
    "level_kl + 300 effect": {"level_kl": 1, "effect": 300},
    "level_kl, then effect": [{"level_kl": 1}, {"effect": 1}],
    "level_w1 + 3 effect": {"level_w1": 1, "effect": 3},
    "level_w1 + 10 effect": {"level_w1": 1, "effect": 10},
    "level_w1 + 30 effect": {"level_w1": 1, "effect": 30},
    "level_w1 + 100 effect": {"level_w1": 1, "effect": 100},
}


@dataclass(frozen=True)
class Errors:
    """A model on validation questions: 100 - S, and the effect distance."""

    level: float
    effect: float

    def beside(self, base: Errors) -> tuple[float, float]:
        """Return both as ratios to the base model's."""
        return self.level / base.level, self.effect / base.effect


def overrides(survey: str, questions: list[str], schedule: Any, epochs: int, seed: int) -> list[str]:
    """Return a candidate's settings; stages have equal shares of the epochs."""
    own = {"schedule": schedule, "epochs": epochs}
    if not isinstance(schedule, str):
        stages = schedule if isinstance(schedule, list) else [schedule]
        own = {"schedule": [{"epochs": epochs // len(stages), **stage} for stage in stages], "epochs": None}
    changed = {
        "effects.granularity": "full",
        "effects.estimator": "cell",
        **{f"fit.{name}": value for name, value in own.items()},
        "fit.learning_rate": RATE,
        "fit.seed": seed,
        "fit.held_out.respondents": "half",
        "fit.held_out.personas": held_out_personas(Study.load(STUDIES / f"{survey}.yaml")),
        "fit.early_stopping": {"questions": questions, "patience": epochs},
    }
    return [f"{name}={json.dumps(value)}" for name, value in changed.items()]


def folds(survey: str, count: int) -> list[list[str]]:
    """Deal out the questions that a study trains on."""
    study = Study.load(STUDIES / f"{survey}.yaml")
    trained = [name for name in study.questions if name not in study.fit.held_out.questions]
    order = np.random.default_rng(0).permutation(len(trained))
    return [[trained[i] for i in order[fold::count]] for fold in range(count)]


def base_errors(study: Study, run: Any) -> Errors:
    """Score the model as it is."""
    from align.evaluation import evaluate
    from align.fit import prepare
    from align.models import load_model
    from causal.heldout import VALIDATION

    loaded = load_model("smollm2")
    return _errors(evaluate(loaded.model, prepare(study, run, loaded)[VALIDATION]))


def trained_errors(study: Study, run: Any, label: str) -> Errors:
    """Train a candidate, unless that is done; return its errors after the last epoch."""
    from align.evaluation import Scores
    from align.fit import train_label
    from align.parallel import ALONE

    train_label(study, run, "smollm2", label, "auto", ALONE)
    lines = map(json.loads, (run.model(label) / "train.jsonl").read_text(encoding="utf-8").splitlines())
    last = [line["validation"]["scores"] for line in lines if "validation" in line][-1]
    return _errors(Scores(**last))


def _errors(scores: Any) -> Errors:
    return Errors(100 - scores.alignment, scores.effect_distance)


def run_fold(
    survey: str, questions: list[str], folder: Path, epochs: int, candidates: Sequence[str], seed: int
) -> dict[str, Errors]:
    """Train and score candidates on one fold."""
    from causal.audit import main as audit
    from causal.runs import Run

    path = STUDIES / f"{survey}.yaml"
    found: dict[str, Errors] = {}
    for name in candidates:
        words = overrides(survey, questions, CANDIDATES[name], epochs, seed)
        study, run = Study.load(path, words), Run(folder)
        if not found:
            command(audit, [str(path), "--out", str(folder), *(w for word in words for w in ("--set", word))])
            found["base"] = base_errors(study, run)
        label = name.replace(" + ", "-").replace(", ", "-").replace(" ", "")
        found[name] = trained_errors(study, run, f"{label}-seed{seed}" if seed else label)
    return found


def show(found: dict[str, list[dict[str, Errors]]]) -> dict[str, float]:
    """Print the table; return its figures by name."""
    table = Table(title="validation questions: errors as ratios to the base model's, level and effect; mean (error)")
    for heading in ("candidate", *found, "mean"):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    figures: dict[str, float] = {}
    for name in next(iter(found.values()))[0]:
        if name == "base":
            continue
        every = {survey: [one[name].beside(one["base"]) for one in many] for survey, many in found.items()}
        pairs = {survey: np.mean(many, axis=0) for survey, many in every.items()}
        key = name.replace(" + ", "_").replace(", ", "_").replace(" ", "_")
        for survey, (level, effect) in pairs.items():
            figures |= {f"{survey}_{key}_level": float(level), f"{survey}_{key}_effect": float(effect)}
        figures[f"{key}_mean"] = float(np.mean(list(pairs.values())))
        cells = [f"{level:.3f} {effect:.3f}" for level, effect in pairs.values()]
        spread = [np.std(np.mean(many, axis=1), ddof=1) / len(many) ** 0.5 for many in every.values() if len(many) > 1]
        figures[f"{key}_error"] = float(np.linalg.norm(spread) / max(1, len(spread)))
        table.add_row(name, *cells, f"{figures[f'{key}_mean']:.3f} ({figures[f'{key}_error']:.3f})")
    Console(width=120).print(table)
    return figures


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="cces2016, one fold, two epochs")
    parser.add_argument("--surveys", default=",".join(SURVEYS), help="which studies")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", help="some of them, with ; between (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "choosing")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    surveys = ["cces2016"] if arguments.quick else arguments.surveys.split(",")
    candidates = arguments.candidates.split(";") if arguments.candidates else list(CANDIDATES)
    found: dict[str, list[dict[str, Errors]]] = {}
    for survey in surveys:
        dealt = folds(survey, arguments.folds)[: 1 if arguments.quick else None]
        epochs = 2 if arguments.quick else EPOCHS[survey]
        name = f"{survey}-quick" if arguments.quick else survey
        found[survey] = [
            run_fold(survey, questions, arguments.out / f"{name}{place}", epochs, candidates, seed)
            for place, questions in enumerate(dealt)
            for seed in range(1 if arguments.quick else arguments.seeds)
        ]
    figures = show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
