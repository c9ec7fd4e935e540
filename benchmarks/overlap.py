"""Does the rule for overlap apply where the intervals of ``aipw`` no longer hold, and nowhere else?

Run: python benchmarks/overlap.py [--respondents 1500] [--surveys 60]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from causal.adjusted import adjusted_rows
from causal.balance import compared
from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.propensities import Propensities
from causal.study import Study
from causal.survey import read_survey

KINDS = [("smooth", by) for by in (0.5, 1, 1.5, 2, 2.5, 3, 4)] + [
    ("never", by) for by in (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
]
QUESTIONS = ("additive", "varying", "curved")
POPULATION = 2_000_000
LEVEL = {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(2)}}
STUDY = Study.from_dict(
    {
        "name": "overlap",
        "survey": {"source": "x.csv", "country": {"constant": "X"}},
        "attributes": {"edu": LEVEL},
        "covariates": {"age": {}},
        "questions": {q: {"text": "?", "options": {i: f"o{i}" for i in range(4)}} for q in QUESTIONS},
        "graph": {"edges": [["age", "edu"]]},
        "effects": {"estimator": ["cell", "aipw"]},
    }
)


@dataclass(frozen=True)
class Found:
    """One survey: share of kinds found at both levels, whether it is not identified, which intervals hold the truth."""

    share: float
    not_identified: bool
    covered: list[bool]


def answers(question: str, z: np.ndarray, a: np.ndarray | int, rng: np.random.Generator) -> np.ndarray:
    """Answer 0 to 3 by a latent normal variable."""
    latent = {
        "additive": 0.8 * a + 0.8 * z,
        "varying": 0.8 * a * (1 - 0.7 * z) + 0.5 * z,
        "curved": 0.5 * a + 0.6 * z + 0.4 * z**2 - 0.4,
    }[question]
    return np.digitize(latent + rng.normal(size=len(z)), [-0.5, 0.5, 1.2])


def truths() -> list[float]:
    """Return the shift of each question if the attribute were set, over a large population."""
    z = np.random.default_rng(0).normal(size=POPULATION)
    ends = [[answers(q, z, a, np.random.default_rng(1)).mean() for q in QUESTIONS] for a in (0, 1)]
    return [float(treated - reference) / 3 for reference, treated in zip(*ends, strict=True)]


def survey(kind: str, by: float, n: int, rng: np.random.Generator, truth: list[float]) -> Found:
    """Draw one survey and estimate it."""
    z = rng.normal(size=n)
    chance = expit(by * z) if kind == "smooth" else np.where(z > norm.isf(by), 0.0, expit(0.5 * z))
    a = (rng.random(n) < chance).astype(int)
    data = pd.DataFrame({"edu": a, "age": z * 10 + 50} | {q: answers(q, z, a, rng) for q in QUESTIONS})
    read = read_survey(STUDY, data)
    counts, shared = count(read), Propensities(read)
    cells = survey_effects(
        [grid_from_counts(counts, STUDY, read.countries, s) for s in subsets(STUDY) if s], STUDY, read.countries
    )
    rows = adjusted_rows(read, cells, shared).set_index("question")
    held = [bool(rows["conf_low"][q] <= t <= rows["conf_high"][q]) for q, t in zip(QUESTIONS, truth, strict=True)]
    return Found(next(compared(read, shared)).common, bool((rows["estimand"] == "not_identified").all()), held)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--respondents", type=int, default=1500, help="of each survey")
    parser.add_argument("--surveys", type=int, default=60, help="of each kind")
    arguments = parser.parse_args()
    n, surveys = arguments.respondents, arguments.surveys
    truth = truths()
    print(
        "| | of kinds found at both | not identified | coverage: additive | varying | curved |\n" + "| --- " * 6 + "|"
    )
    for kind, by in KINDS:
        found = [survey(kind, by, n, np.random.default_rng([r, n]), truth) for r in range(surveys)]
        figures = [
            np.mean([one.share for one in found]),
            np.mean([one.not_identified for one in found]),
            *np.mean([one.covered for one in found], axis=0),
        ]
        print(f"| {kind} {by} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
