"""Which weights the schedule ``best`` should have, by validation data alone.

Training questions of two surveys are dealt out into folds. For each fold every candidate trains on the others, without
one more combination of levels, from one half of the respondents. It is scored against the same half on the fold's
questions and on that combination in the questions trained on. What the benchmark of alignment holds out (questions,
combinations of levels, the other half of the respondents) is never looked at. A candidate's figure is the mean of
ratios to uniform answers, which have no effects: of the level's error (100 - S) and of the effect distance, over both
parts, folds and training seeds and then over surveys. The lowest wins. What was trained is kept, so a run that was
stopped goes on.

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

from causal.fitsettings import HeldOut
from causal.study import Study

SURVEYS = ("cces2016", "gss2018")
"""One with little noise, one with small cells. The others of the benchmark of alignment play no part in the choice."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "paper": {"schedule": "paper"},
    "effect": {"schedule": "effect"},
    "level_kl": {"schedule": "level_kl"},
    "level_kl, then effect": {"schedule": [{"level_kl": 1}, {"effect": 1}]},
    "level_kl, multilevel": {"schedule": "level_kl", "targets": "multilevel"},
    **{
        f"{level} + {n} effect, {targets}": {"schedule": [{level: 1, "effect": n}], "targets": targets}
        for targets in ("cell", "multilevel")
        for level in ("level_kl", "level_w1")
        for n in (1, 3, 10, 30, 100)
    },
    "level_w1 + level_kl + 30 effect, multilevel": {
        "schedule": [{"level_w1": 1, "level_kl": 1, "effect": 30}],
        "targets": "multilevel",
    },
}
PARTS = ("questions", "combinations")
"""What validation data is unseen in."""


@dataclass(frozen=True)
class Errors:
    """A model on validation data: 100 - S, and the effect distance."""

    level: float
    effect: float

    def beside(self, other: Errors) -> tuple[float, float]:
        """Return both as ratios to another model's."""
        return self.level / other.level, self.effect / other.effect


def overrides(survey: str, unseen: HeldOut, candidate: dict[str, Any], epochs: int, seed: int) -> list[str]:
    """Return a candidate's settings, with a fold's data held out too; stages have equal shares of the epochs."""
    own = candidate | {"epochs": epochs}
    if not isinstance(candidate["schedule"], str):
        stages = candidate["schedule"]
        own |= {"schedule": [{"epochs": epochs // len(stages), **stage} for stage in stages], "epochs": None}
    never = benchmark_held_out(survey)
    changed = {
        "effects.granularity": "full",
        "effects.estimator": "cell",
        **{f"fit.{name}": value for name, value in own.items()},
        "fit.learning_rate": RATE,
        "fit.seed": seed,
        "fit.held_out.respondents": "half",
        "fit.held_out.questions": [*never.questions, *unseen.questions],
        "fit.held_out.personas": [*never.personas, *unseen.personas],
    }
    return [f"{name}={json.dumps(value)}" for name, value in changed.items()]


def benchmark_held_out(survey: str) -> HeldOut:
    """Return what the benchmark of alignment holds out."""
    study = Study.load(STUDIES / f"{survey}.yaml")
    return study.fit.held_out.model_copy(update={"personas": tuple(held_out_personas(study))})


def folds(survey: str, count: int) -> list[HeldOut]:
    """Deal out the questions that a study trains on; each fold has a combination too, that of all first levels or, in
    every second fold, of all second ones."""
    study, never = Study.load(STUDIES / f"{survey}.yaml"), benchmark_held_out(survey).questions
    trained = [name for name in study.questions if name not in never]
    order = np.random.default_rng(0).permutation(len(trained))
    levels = {name: list(attribute.levels) for name, attribute in study.attributes.items()}
    return [
        HeldOut(
            questions=tuple(trained[i] for i in order[fold::count]),
            personas=({name: of[fold % 2] for name, of in levels.items()},),
        )
        for fold in range(count)
    ]


def unseen_targets(study: Study, run: Any, survey: str, unseen: HeldOut) -> dict[str, list[Any]]:
    """Return a fold's data as the half of the respondents answered that is learnt from, by part."""
    from align.targets import targets
    from causal.heldout import PERSONAS, QUESTIONS, TRAINED, parts
    from causal.tables import read_effects

    rows = read_effects(run.training_effects)
    rows = rows[parts(rows, benchmark_held_out(survey), study) == TRAINED]
    found = targets(study.model_copy(update={"fit": study.fit.model_copy(update={"held_out": unseen})}), rows)
    return dict(zip(PARTS, (found[QUESTIONS], found[PERSONAS]), strict=True))


def uniform_errors(targets: Sequence[Any]) -> Errors:
    """Score uniform answers."""
    levels, effects = [], []
    for one in targets:
        cells = dict(zip([*one.reference, *one.treated], [*one.p_reference, *one.p_treated], strict=True))
        options = one.p_reference.shape[1]
        even = np.arange(1, options + 1) / options
        levels += [np.abs(p.cumsum() - even).sum() / (options - 1) for cell, p in cells.items() if one.belongs[cell]]
        effects += np.abs((one.p_treated - one.p_reference).cumsum(axis=1)).mean(axis=1).tolist()
    return Errors(100 * float(np.mean(levels)), float(np.mean(effects)))


def model_errors(study: Study, targets: Sequence[Any], loaded: Any) -> Errors:
    """Score a model."""
    from align.evaluation import Item, evaluate
    from align.questions import ask

    items = [Item(ask(study, loaded, one.country, one.question, one.personas), one) for one in targets]
    scores = evaluate(loaded.model, items)
    return Errors(100 - scores.alignment, scores.effect_distance)


def run_fold(
    survey: str, unseen: HeldOut, folder: Path, epochs: int, candidates: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Train candidates on one fold, unless that is done; return their errors as ratios, shape (parts, 2), by name."""
    from align.fit import Before, Planned, fit_inputs, train_label
    from align.models import load_model, model_fingerprint
    from align.parallel import ALONE
    from causal.audit import main as audit
    from causal.runs import Run

    path = STUDIES / f"{survey}.yaml"
    found: dict[str, np.ndarray] = {}
    before = Before()
    for name in candidates:
        words = overrides(survey, unseen, CANDIDATES[name], epochs, seed)
        study, run = Study.load(path, words), Run(folder)
        if not found:
            command(audit, [str(path), "--out", str(folder), *(w for word in words for w in ("--set", word))])
        label = name.replace(" + ", "-").replace(", ", "-").replace(" ", "") + (f"-seed{seed}" if seed else "")
        inputs = fit_inputs(study, run, "smollm2", model_fingerprint("smollm2"))
        train_label(Planned(label, study, run, inputs), "smollm2", (), "auto", ALONE, before)
        loaded = load_model("smollm2", run.model(label) / "adapter")
        unseen_parts = unseen_targets(study, run, survey, unseen).values()
        found[name] = np.array([model_errors(study, of, loaded).beside(uniform_errors(of)) for of in unseen_parts])
    return found


def show(found: dict[str, list[dict[str, np.ndarray]]]) -> dict[str, float]:
    """Print the table; return its figures by name."""
    columns = [(survey, place, part, what) for survey in found for place, part in enumerate(PARTS) for what in (0, 1)]
    table = Table(title="validation data: errors as ratios to those of uniform answers")
    for heading in ("candidate", *(f"{s}: {part}, {('level', 'effect')[what]}" for s, _, part, what in columns)):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    table.add_column("mean (Monte Carlo error)", justify="right")
    figures: dict[str, float] = {}
    for name in next(iter(found.values()))[0]:
        every = {survey: np.array([one[name] for one in many]) for survey, many in found.items()}
        key = name.replace(" + ", "_").replace(", ", "_").replace(" ", "_")
        cells = []
        for survey, place, part, what in columns:
            value = float(every[survey][:, place, what].mean())
            cells.append(f"{value:.3f}")
            figures[f"{survey}_{key}_{part}_{('level', 'effect')[what]}"] = value
        mean = float(np.mean([many.mean() for many in every.values()]))
        figures[f"{key}_mean"] = mean
        own = [many.mean(axis=(1, 2)) for many in every.values() if len(many) > 1]
        spread = [values.std(ddof=1) / len(values) ** 0.5 for values in own]
        if spread:
            figures[f"{key}_error"] = float(np.linalg.norm(spread)) / len(spread)
        error = f" ({figures[f'{key}_error']:.3f})" if spread else ""
        table.add_row(name, *cells, f"{mean:.3f}{error}")
    Console(width=150).print(table)
    return figures


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="cces2016, one fold, 4 epochs")
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
        epochs = 4 if arguments.quick else EPOCHS[survey]
        name = f"{survey}-quick" if arguments.quick else survey
        found[survey] = [
            run_fold(survey, unseen, arguments.out / f"{name}{place}", epochs, candidates, seed)
            for place, unseen in enumerate(dealt)
            for seed in range(1 if arguments.quick else arguments.seeds)
        ]
    figures = show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
