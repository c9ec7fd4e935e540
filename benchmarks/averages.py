"""Do the intervals of the report's forest plots cover, averaged as they are over contexts and countries?

Simulated surveys of two countries, three attributes and four questions; every survey is another population. Run:
python benchmarks/averages.py [--surveys 40]
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.simulate import Simulated, simulate
from causal.survey import read_survey
from diagnostics.averages import coarsest, question_effects

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("contexts apart", {"granularity": "full"}),
    ("contexts that share respondents", {"granularity": [2]}),
    ("no context", {"granularity": [1]}),
    ("weights, contexts apart", {"granularity": "full", "selection": 0.8}),
    ("weights and PSUs, contexts that share respondents", {"granularity": [2], "cluster_sd": 0.4, "design": True}),
]
SIZES = (300, 1000)


def one(drawn: Simulated) -> tuple[list[bool], list[float]]:
    """Return whether each question's interval of each attribute holds the truth, and how wide it is."""
    study, survey = drawn.study, read_survey(drawn.study, drawn.data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study) if subset]
    rows = survey_effects(grids, study, survey.countries)
    key = ["country", "question", "attribute", *study.attributes]
    assert (drawn.effects[key].fillna("").to_numpy() == rows[key].fillna("").to_numpy()).all()
    inputs: Any = SimpleNamespace(study=study, effects=rows.assign(truth=drawn.effects["shift"].to_numpy()))
    held, widths = [], []
    for attribute in study.attributes:
        found = question_effects(inputs, attribute).set_index("question")
        truth = true_means(coarsest(inputs, attribute))[found.index]
        held += list((found["conf_low"] <= truth) & (truth <= found["conf_high"]))
        widths += list(found["conf_high"] - found["conf_low"])
    return held, widths


def true_means(rows: pd.DataFrame) -> pd.Series:
    """Average the true shifts over contexts, in proportion to their respondents, then over countries, by question."""
    n = (rows["n_reference"] + rows["n_treated"]).astype(float)
    place = [rows["question"], rows["country"]]
    of_countries = (n * rows["truth"]).groupby(place).sum() / n.groupby(place).sum()
    return of_countries.groupby("question").mean()


def main() -> None:
    """Print a table; the Monte Carlo error is that between surveys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surveys", type=int, default=40, help="of each kind")
    surveys = parser.parse_args().surveys
    print("| respondents | kind | coverage | width |\n" + "| --- " * 4 + "|")
    for n in SIZES:
        for kind, options in KINDS:
            found = [
                one(simulate(n, countries=2, attributes=3, questions=4, seed=seed, **options))
                for seed in range(surveys)
            ]
            held = np.array([np.mean(one[0]) for one in found])
            error = held.std(ddof=1) / np.sqrt(surveys)
            width = np.mean([one[1] for one in found])
            print(f"| {n} | {kind} | {held.mean():.3f} ({error:.3f}) | {width:.3f} |", flush=True)


if __name__ == "__main__":
    main()
