"""Which weights the schedule ``best`` should have, by validation questions alone.

Training questions of two surveys are dealt out into folds. For each fold every candidate trains on the others,
from one half of the respondents, and is scored on the fold's questions against the same half. What the benchmark of
alignment holds out (questions, combinations of levels, the other half of the respondents) is never looked at. A
candidate's figure is the mean of two ratios to the base model, of the level's error (100 - S) and of the effect
distance, over folds and training seeds and then over surveys: below 1 is better than no training. It is looked at after
each fifth of the training (the learning rate is constant, so that is what a shorter training would have been; but a
stage of several begins where it begins). The lowest wins. What was trained is kept, so a run that was stopped goes on.

Run: python benchmarks/choosing.py [--quick] [--surveys NAMES] [--folds 2] [--seeds 3] [--candidates NAMES] [--out DIR]
[--json FILE]. All of it takes days on a CPU: name candidates.
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
CANDIDATES: dict[str, dict[str, Any]] = {
    "paper": {"schedule": "paper"},
    "effect": {"schedule": "effect"},
    "level_kl": {"schedule": "level_kl"},
    "level_kl, then effect": {"schedule": [{"level_kl": 1}, {"effect": 1}]},
    **{f"level_kl + {n} effect": {"schedule": [{"level_kl": 1, "effect": n}]} for n in (10, 30, 100, 300)},
    **{f"level_w1 + {n} effect": {"schedule": [{"level_w1": 1, "effect": n}]} for n in (3, 10, 30, 100)},
    **{
        f"level_w1 + {n} effect, pooled": {"schedule": [{"level_w1": 1, "effect": n}], "targets": "pooled"}
        for n in (3, 10, 30)
    },
}
LONGER = 5
"""How many times the epochs of the benchmark of alignment."""
PARTS = 5
"""After how many equal parts of the training a candidate is looked at."""


@dataclass(frozen=True)
class Errors:
    """A model on validation questions: 100 - S, and the effect distance."""

    level: float
    effect: float

    def beside(self, base: Errors) -> tuple[float, float]:
        """Return both as ratios to the base model's."""
        return self.level / base.level, self.effect / base.effect


def overrides(survey: str, questions: list[str], candidate: dict[str, Any], epochs: int, seed: int) -> list[str]:
    """Return a candidate's settings; stages have equal shares of the epochs."""
    own = candidate | {"epochs": epochs}
    if not isinstance(candidate["schedule"], str):
        stages = candidate["schedule"]
        own |= {"schedule": [{"epochs": epochs // len(stages), **stage} for stage in stages], "epochs": None}
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


def trained_errors(study: Study, run: Any, label: str) -> list[Errors]:
    """Train a candidate, unless that is done; return its errors after each part of the training."""
    from align.evaluation import Scores
    from align.fit import train_label
    from align.parallel import ALONE

    train_label(study, run, "smollm2", label, "auto", ALONE)
    lines = map(json.loads, (run.model(label) / "train.jsonl").read_text(encoding="utf-8").splitlines())
    every = [line["validation"]["scores"] for line in lines if "validation" in line]
    return [_errors(Scores(**every[len(every) * part // PARTS - 1])) for part in range(1, PARTS + 1)]


def _errors(scores: Any) -> Errors:
    return Errors(100 - scores.alignment, scores.effect_distance)


def run_fold(
    survey: str, questions: list[str], folder: Path, epochs: int, candidates: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Train and score candidates on one fold; return their ratios to the base model, shape (parts, 2), by name."""
    from causal.audit import main as audit
    from causal.runs import Run

    path = STUDIES / f"{survey}.yaml"
    found: dict[str, np.ndarray] = {}
    for name in candidates:
        words = overrides(survey, questions, CANDIDATES[name], epochs, seed)
        study, run = Study.load(path, words), Run(folder)
        if not found:
            command(audit, [str(path), "--out", str(folder), *(w for word in words for w in ("--set", word))])
            base = base_errors(study, run)
        label = name.replace(" + ", "-").replace(", ", "-").replace(" ", "")
        errors = trained_errors(study, run, f"{label}-seed{seed}" if seed else label)
        found[name] = np.array([one.beside(base) for one in errors])
    return found


def show(found: dict[str, list[dict[str, np.ndarray]]]) -> dict[str, float]:
    """Print the table; return its figures by name."""
    table = Table(
        title="validation questions: errors as ratios to the base model's, by how much of the training is done"
    )
    for heading in ("candidate", "survey", "error of", *(f"{part}/{PARTS}" for part in range(1, PARTS + 1))):
        table.add_column(heading, justify="left" if heading in ("candidate", "survey", "error of") else "right")
    figures: dict[str, float] = {}
    for name in next(iter(found.values()))[0]:
        every = {survey: np.array([one[name] for one in many]) for survey, many in found.items()}
        key = name.replace(" + ", "_").replace(", ", "_").replace(" ", "_")
        for survey, many in every.items():
            for place, what in enumerate(("level", "effect")):
                values = many[:, :, place].mean(axis=0)
                table.add_row(name, survey, what, *(f"{value:.3f}" for value in values))
                figures |= {f"{survey}_{key}_{what}_{part}": float(v) for part, v in enumerate(values, 1)}
        means = np.mean([many.mean(axis=(0, 2)) for many in every.values()], axis=0)
        spread = [many.mean(axis=2).std(axis=0, ddof=1) / len(many) ** 0.5 for many in every.values() if len(many) > 1]
        cells = [f"{mean:.3f}" for mean in means]
        figures |= {f"{key}_mean_{part}": float(mean) for part, mean in enumerate(means, 1)}
        if spread:
            error = np.linalg.norm(spread, axis=0) / len(spread)
            cells = [f"{cell} ({of:.3f})" for cell, of in zip(cells, error, strict=True)]
            figures |= {f"{key}_error_{part}": float(of) for part, of in enumerate(error, 1)}
        table.add_row(name, "mean (error)", "both", *cells, style="bold", end_section=True)
    Console(width=150).print(table)
    return figures


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"cces2016, one fold, {PARTS} epochs")
    parser.add_argument("--surveys", default=",".join(SURVEYS), help="which studies")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", help="some of them, with ; between (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "choosing")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    surveys = ["cces2016"] if arguments.quick else arguments.surveys.split(",")
    candidates = arguments.candidates.split(";") if arguments.candidates else list(CANDIDATES)
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for survey in surveys:
        dealt = folds(survey, arguments.folds)[: 1 if arguments.quick else None]
        epochs = PARTS if arguments.quick else EPOCHS[survey] * LONGER
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
