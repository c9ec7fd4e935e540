"""The paper's Table 1 in small: every method on simulated and real surveys, held-out parts, several seeds.

For each survey: audit, measure, train the schedule ``best`` and every rival of `align.fit --baselines all`, report.
What is trained learns from one half of the respondents; every score is against the other half. Scores are means over
seeds with 95% intervals (t), beside what a perfect model would get. A seed decides the training's order, dropout and
initial weights; questions, people and halves are the same for all, so the intervals are of training alone. The surveys:

- world: 14 countries in three tiers around the base model's own answers (`causal.world`), 1,200 respondents each.
- cces2016: four attributes, 64,600 respondents, so hardly any noise.
- gss2018: many topics, small cells.
- wvs_usa: World Values Survey items with up to ten options; waves stand where countries do.

All are trained at the same learning rate and, on a survey, for the same number of epochs: `EPOCHS`, or ``--epochs``,
whose results have a folder of their own. A run that was stopped goes on where it was.

Run: python benchmarks/alignment.py [--quick] [--surveys NAMES] [--seeds 3] [--epochs N] [--out DIR] [--json FILE]. A
survey and seed take from half an hour to three hours on a core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from causal.runs import Run
from causal.study import Study

STUDIES = Path(__file__).parents[1] / "studies"
REAL = ("cces2016", "gss2018", "wvs_usa")
SURVEYS = ("world", *REAL)
EPOCHS = {"world": 8, "cces2016": 30, "gss2018": 20, "wvs_usa": 20}
TOPICS, ITEMS_PER_TOPIC, HELD_OUT_PER_TOPIC = 4, 2, 1
"""Questions of the simulated world."""
RATE = 3e-4
PAPER_ORDER = ("ace", "effect", "base", "anchor")
"""By S, best first, as the paper reports."""
WIDTH = 210


def settings(study: Study, seed: int, epochs: int) -> list[str]:
    """Return the overrides that every command of a run gets."""
    found = {
        "effects.granularity": "all",
        "effects.estimator": "cell",
        "fit.schedule": "best",
        "fit.epochs": str(epochs),
        "fit.learning_rate": str(RATE),
        "fit.seed": str(seed),
        "fit.held_out.respondents": "half",
        "fit.held_out.personas": json.dumps(held_out_personas(study)),
    }
    return [word for name, value in found.items() for word in ("--set", f"{name}={value}")]


def command(main: Callable[[list[str]], int], words: Sequence[str]) -> None:
    """Run one of the four commands in this process; stop if it fails."""
    code = main(list(words))
    if code:
        raise SystemExit(code)


def world(folder: Path, seed: int) -> Path:
    """Simulate a world around the base model's answers; return its study's path."""
    from align.answers import distributions_table, score_model
    from align.models import load_model
    from causal.world import simulate_world, world_study, write_world
    from causal.worlditems import ITEMS

    if (folder / "study.yaml").is_file():
        return folder / "study.yaml"
    topics: dict[str, list[str]] = {}
    for name, item in ITEMS.items():
        topics.setdefault(item.topic, []).append(name)
    taken = [names[:ITEMS_PER_TOPIC] for names in list(topics.values())[:TOPICS]]
    chosen = {name: ITEMS[name] for names in taken for name in names}
    held_out = [name for names in taken for name in names[-HELD_OUT_PER_TOPIC:]]
    study = world_study(chosen)
    keys = [(country, name) for country in study.survey.countries for name in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    parts = score_model(study, load_model("smollm2"), keys, [{}], folder / "base", {"world": seed})
    made = simulate_world(chosen, distributions_table(study, parts, keys, [{}]), seed=seed)
    unseen = made.study.fit.held_out.model_copy(update={"questions": tuple(held_out)})
    fit = made.study.fit.model_copy(update={"held_out": unseen})
    return write_world(replace(made, study=made.study.model_copy(update={"fit": fit})), folder)


def held_out_personas(study: Study) -> list[dict[str, str]]:
    """Return the combinations that a study holds out, else the paper's two: A=1 of the first attribute with A=0 of all
    others (Female, College, Urban, Married), and its opposite."""
    if study.fit.held_out.personas:
        return list(study.fit.held_out.personas)
    levels = {name: list(attribute.levels) for name, attribute in study.attributes.items()}
    first = {name: of[1 if place == 0 else 0] for place, (name, of) in enumerate(levels.items())}
    return [first, {name: of[0 if place == 0 else 1] for place, (name, of) in enumerate(levels.items())}]


def run_seed(
    survey: str, folder: Path, seed: int, epochs: int, extra: Sequence[str] = (), model: str = "smollm2"
) -> dict[str, Any]:
    """Run all commands of one survey and seed; return the comparison of its ``scores.json``."""
    from align.fit import main as fit
    from align.measure import main as measure
    from causal.audit import main as audit
    from diagnostics.report import main as report

    study = world(folder / "world", 0) if survey == "world" else STUDIES / f"{survey}.yaml"
    words = [*settings(Study.load(study), seed, epochs), *extra]
    shared, run = folder / "shared", folder / f"seed{seed}"
    if not Run(run).manifest_path.is_file():
        # what does not depend on the seed is measured once
        command(audit, [str(study), "--out", str(shared), *words])
        for style, label in (("anthropological", "anthropological"), ("plain", "base")):
            asked = ["--label", label, "--model", model, *words, "--set", f"prompt.style={style}"]
            command(measure, [str(study), "--out", str(shared), *asked])
        beside = run.with_name(f".{run.name}")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(shared, beside)
        shutil.rmtree(run, ignore_errors=True)
        beside.rename(run)
    command(fit, [str(study), "--out", str(run), "--label", "best", "--model", model, "--baselines", "all", *words])
    command(report, [str(run), "--quiet"])
    return json.loads((run / "scores.json").read_text(encoding="utf-8"))["comparison"]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95% interval over seeds; 0 where they all agree or there is one."""
    array = np.array(values, dtype=float)
    if len(array) < 2 or np.ptp(array) == 0:
        return float(array.mean()), 0.0
    return float(array.mean()), float(t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5)


def numbers(row: dict[str, Any]) -> dict[str, float | None]:
    """Return a method's figures of one part, flat."""
    levels = {f"S_G{size}": value for size, value in row["S_by_granularity"].items()}
    plain = {name: row[name] for name in ("S", "effect_distance", "shift_correlation", "modal_accuracy", "NMAE")}
    ranges = {"range": row["range_over_personas"]["S"], "tier_gap": row["tier_gap"]["S"]}
    return {**levels, **plain, **ranges, **row["classes"]}


def show(survey: str, seeds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Print one table for each part of a survey; return its figures by name."""
    figures: dict[str, float] = {}
    for part in seeds[0]:
        methods = {name: [numbers(one[part][name]) for one in seeds if name in one[part]] for name in seeds[0][part]}
        columns = [name for name, value in next(iter(methods.values()))[0].items() if value is not None]
        shown = Table(title=f"{survey}, {part}", title_justify="left")
        for heading in ("method", *columns):
            shown.add_column(heading, justify="left" if heading == "method" else "right")
        for method, rows in methods.items():
            cells = []
            for name in columns:
                known = [value for row in rows if (value := row.get(name)) is not None]
                mean, half = interval(known) if known else (float("nan"), 0.0)
                digits = 1 if name.startswith("S") and name != "shift_correlation" else 3
                cells.append("–" if not known else f"{mean:.{digits}f}" + (f"±{half:.{digits}f}" if half else ""))
                if known:
                    key = f"{survey}_{part}_{method}_{name}".replace(" ", "_").replace("-", "_")
                    figures |= {key: mean, f"{key}_half": half}
            shown.add_row(method, *cells)
        Console(width=WIDTH).print(shown)
    return figures


def say_goals(survey: str, seeds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Print whether the paper's order of S holds at every G, and what ``best`` gains, by part; return the gains."""
    figures: dict[str, float] = {}
    for part in seeds[0]:
        rows: dict[str, list[dict[str, Any]]] = {
            name: [numbers(one[part][name]) for one in seeds] for name in ("best", *PAPER_ORDER, "level_kl")
        }
        sizes = [name for name, value in rows["base"][0].items() if name.startswith("S_G") and value is not None]
        means = {name: {size: mean_of(of, size) for size in sizes} for name, of in rows.items()}
        held = [size for size in sizes if falls([means[name][size] for name in PAPER_ORDER])]
        print(f"{survey}, {part}: {' > '.join(PAPER_ORDER)} in S at {len(held)} of {len(sizes)} granularities")
        for rival in ("ace", "level_kl", "base"):
            gains = []
            for name in ("S", "effect_distance", "range"):
                pairs = [ours[name] - theirs[name] for ours, theirs in zip(rows["best"], rows[rival], strict=True)]
                mean, half = interval(pairs)
                figures |= {f"{survey}_{part}_best_less_{rival}_{name}": mean}
                gains.append(
                    f"{name.replace('_', ' ')} {mean:+.{1 if name != 'effect_distance' else 4}f} (±{half:.2g})"
                )
            print(f"  best less {rival}: {', '.join(gains)}")
    return figures


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Return the mean of a figure over seeds."""
    return float(np.mean([row[name] for row in rows]))


def falls(values: Sequence[float]) -> bool:
    """Tell whether each value is above the next."""
    return all(first > second for first, second in itertools.pairwise(values))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="cces2016, one seed, two epochs, full personas only")
    parser.add_argument("--surveys", default=",".join(SURVEYS), help="some of " + ",".join(SURVEYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--epochs", type=int, help="instead of each survey's own number")
    parser.add_argument("--out", type=Path, default=Path("runs") / "alignment")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    surveys = ["cces2016"] if arguments.quick else arguments.surveys.split(",")
    extra = ["--set", "effects.granularity=full", "--set", "fit.held_out.personas=[]"] if arguments.quick else []
    count = 1 if arguments.quick else arguments.seeds
    figures: dict[str, Any] = {"seeds": count, "first_seed": arguments.seed}
    for survey in surveys:
        suffix = "-quick" if arguments.quick else f"-{arguments.epochs}epochs" if arguments.epochs else ""
        folder = arguments.out / f"{survey}{suffix}"
        epochs = arguments.epochs or (2 if arguments.quick else EPOCHS[survey])
        seeds = range(arguments.seed, arguments.seed + count)
        found = [run_seed(survey, folder, seed, epochs, extra) for seed in seeds]
        figures |= show(survey, found) | say_goals(survey, found)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
