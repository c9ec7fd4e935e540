"""How near are cells that borrow from each other (``fit.targets: multilevel``) to what other people answer?

For each survey of the benchmark of alignment: the half of the respondents that training learns from, as a "model" of
the other half, in what is trained on. Its cells as they are, the same partially pooled, and every persona answering as
the whole question does, which has no effects. No language model is asked, but for the levels of the simulated world.

Run: python benchmarks/borrowing.py [--quick] [--surveys NAMES] [--out DIR] [--write] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alignment import STUDIES, SURVEYS, held_out_personas, world

from align.targets import RESPONDENTS, Target, run_targets
from causal.audit import audit_survey
from causal.heldout import TRAINED
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey

PAGE = Path(__file__).parents[1] / "docs" / "method.md"
START, END = "<!-- borrowing -->", "<!-- end of borrowing -->"
HEADER = (
    "| survey | people of a cell (median) | effect distance: cells | multilevel | no effect | $S$: cells | multilevel "
    "| no effect |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Nearness:
    """How near a "model" is to the other half: mean effect distance over toggles, mean S over their ends."""

    effect_distance: float
    alignment: float


def halves(survey: str, targets: str, folder: Path) -> tuple[list[Target], list[Target]]:
    """Return what is trained on, as the training half and as the other half answered it."""
    path = world(folder / "simulated", 0) if survey == "world" else STUDIES / f"{survey}.yaml"
    changed: dict[str, Any] = {
        "effects.granularity": "full",
        "effects.estimator": "cell",
        "fit.held_out.respondents": "half",
        "fit.held_out.personas": held_out_personas(Study.load(path)),
        "fit.targets": targets,
    }
    study = Study.load(path, [f"{name}={json.dumps(value)}" for name, value in changed.items()])
    run = Run.for_study(study, folder / survey)
    audit_survey(read_survey(study), run)
    found = run_targets(study, run)
    return found[TRAINED], found[RESPONDENTS]


def nearness(learnt: Sequence[Target], others: Sequence[Target], pooled: bool) -> Nearness:
    """Compare the toggles that both halves support; with ``pooled`` everybody answers as the question's people do."""
    by_place = {(one.country, one.question): one for one in others}
    distances, scores = [], []
    for one in learnt:
        other = by_place.get((one.country, one.question))
        places = {} if other is None else {pair: i for i, pair in enumerate(_pairs(other))}
        for i, pair in enumerate(_pairs(one)):
            if other is None or pair not in places:
                continue
            ends = np.stack([one.goal_reference[i], one.goal_treated[i]])
            ends = np.stack([_whole(one)] * 2) if pooled else ends
            apart = (ends - [other.p_reference[places[pair]], other.p_treated[places[pair]]]).cumsum(axis=1)
            distances.append(np.abs(apart[1] - apart[0]).mean())
            scores.append(100 * (1 - np.abs(apart[:, :-1]).mean()))
    return Nearness(float(np.mean(distances)), float(np.mean(scores)))


def _pairs(target: Target) -> list[tuple[Any, ...]]:
    personas = [tuple(sorted(persona.items())) for persona in target.personas]
    return [(personas[r], personas[t]) for r, t in zip(target.reference, target.treated, strict=True)]


def _whole(target: Target) -> np.ndarray:
    """Return the distribution of all cells together."""
    ends = {
        **dict(zip(target.reference, zip(target.n_reference, target.p_reference, strict=True), strict=True)),
        **dict(zip(target.treated, zip(target.n_treated, target.p_treated, strict=True), strict=True)),
    }
    n, p = (np.array(values) for values in zip(*ends.values(), strict=True))
    return n @ p / n.sum()


def row(survey: str, folder: Path) -> tuple[str, dict[str, float]]:
    """Return a survey's line of the table, and its figures by name."""
    raw, others = halves(survey, "cell", folder)
    borrowed, _ = halves(survey, "multilevel", folder)
    found = [nearness(raw, others, False), nearness(borrowed, others, False), nearness(raw, others, True)]
    people = float(np.median(np.concatenate([[*one.n_reference, *one.n_treated] for one in raw])))
    cells = [survey, f"{people:.0f}", *(f"{one.effect_distance:.4f}" for one in found)]
    line = "| " + " | ".join([*cells, *(f"{one.alignment:.1f}" for one in found)]) + " |"
    figures = {f"{survey}_people": people}
    for name, one in zip(("cell", "multilevel", "no_effect"), found, strict=True):
        figures |= {f"{survey}_{name}_effect_distance": one.effect_distance, f"{survey}_{name}_S": one.alignment}
    return line, figures


def main() -> None:
    """Compute and print; with ``--write`` also into docs/method.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="gss2018 alone")
    parser.add_argument("--surveys", default=",".join(SURVEYS))
    parser.add_argument("--out", type=Path, default=Path("runs") / "borrowing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/method.md")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    surveys = ["gss2018"] if arguments.quick else arguments.surveys.split(",")
    rows = [row(survey, arguments.out) for survey in surveys]
    table = "\n".join([HEADER, *(line for line, _ in rows)])
    print(table)
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        between = f"{START}\n{table}\n{END}"
        PAGE.write_text(re.sub(f"{START}.*{END}", lambda _: between, page, flags=re.S), encoding="utf-8")
    if arguments.json:
        figures = {name: value for _, of in rows for name, value in of.items()}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
