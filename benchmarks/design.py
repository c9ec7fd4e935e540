"""Coverage of the 95% intervals under clusters, strata and weights, beside Wald's, and the joint test's size.

Every question of a simulated survey is a replicate: PSUs have effects of their own on it, the sample (PSUs, weights,
levels) is shared. "ours" and "Wald" are intervals of the shift, "options" those of options' effects; the joint test at
.05 runs on further samples of the same kind, in which nothing changes an answer. Prints one row per size of the smaller
cell and kind of toggle, and one per number of PSUs: rows within PSUs toggle an attribute that differs among the members
of a PSU (gender), rows between PSUs one that all of a PSU's members share (residence).
Run: python benchmarks/design.py [--samples 1] [--questions 300]
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import norm

from causal.counts import count
from causal.design import nest
from causal.effects import survey_effects
from causal.grid import grid_from_counts
from causal.study import Study
from causal.survey import Survey

SAMPLES = [(6, 20, 0.15), (8, 30, 0.5), (16, 20, 0.15), (30, 10, 0.08), (60, 10, 0.08), (60, 20, 0.1), (200, 6, 0.5)]
"""PSUs, respondents in each, share of the rarer context."""
SHAPES = {
    2: [[0.7, 0.3], [0.55, 0.45]],
    4: [[0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.2, 0.2]],
    10: [[0.55, *[0.05] * 9], [0.1] * 10],
}
"""Answer distributions of the reference and the treated, by number of options."""
CORRELATIONS = (0.0, 0.05, 0.2)
WEIGHTS = (0.0, 0.5)
"""Standard deviation of the weights' logarithm."""
STRATA = (1, 4)
COVERED = ["ours", "options", "wald"]
BINS = [9.5, 14.5, 24.5, 49.5, 99.5, 249.5, np.inf]


def study_of(options: int, questions: int) -> Study:
    """Return a study with attributes a (toggled) and b (context)."""
    level = {"levels": {name: {"codes": [name], "persona": name} for name in ("no", "yes")}}
    question = {"text": "?", "options": {k: str(k) for k in range(options)}}
    survey = {"source": "none.csv", "country": {"constant": "X"}}
    named = {f"q{i}": question for i in range(questions)}
    return Study.from_dict({"name": "s", "survey": survey, "attributes": {"a": level, "b": level}, "questions": named})


def simulate(
    rng: np.random.Generator,
    study: Study,
    p: np.ndarray,
    sample: tuple[int, int, float],
    within: bool,
    correlation: float,
    weights: float,
    strata: int,
) -> pd.DataFrame:
    """Return the toggles of a with whether the intervals hold the truth and the joint test rejects."""
    psus, size, rare = sample
    psu = np.repeat(np.arange(psus), size)
    n, questions = len(psu), len(study.questions)
    a = rng.random(n) < 0.5 if within else (np.arange(psus) // strata % 2 == 1)[psu]
    levels = np.column_stack([a, rng.random(n) < rare]).astype(np.int16)
    own = rng.normal(size=(n, questions))
    latent = np.sqrt(correlation) * rng.normal(size=(psus, questions))[psu] + np.sqrt(1 - correlation) * own
    cuts = norm.ppf(p.cumsum(axis=1)[:, :-1])
    answers = sum((latent > cuts[levels[:, 0], k][:, None]).astype(np.int16) for k in range(cuts.shape[1]))
    one = np.zeros(n, dtype=int)
    design = nest(one, psu % strata, psu)
    weight = rng.lognormal(0, weights, n) if weights else None
    survey = Survey(study, ("X",), one, levels, np.asarray(answers), weight, "", 0, design)
    table = survey_effects([grid_from_counts(count(survey), study, ("X",), ("a", "b"))], study, ("X",))
    table = table[(table["attribute"] == "a") & table["shift"].notna()]
    effect = p[1] - p[0]
    truth = float(effect @ np.linspace(0, 1, p.shape[1]))
    low, high = (np.array(table[name].tolist()) for name in ("effect_low", "effect_high"))
    return pd.DataFrame(
        {
            "ours": (table["conf_low"] <= truth) & (truth <= table["conf_high"]),
            "options": ((low <= effect) & (effect <= high)).mean(axis=1),
            "rejected": table["wald_p_value"] < 0.05,
            "wald": (table["shift"] - truth).abs() <= 1.96 * table["std_error"],
            "n": table[["n_reference", "n_treated"]].min(axis=1).astype(float),
        }
    )


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1, help="samples drawn for every condition")
    parser.add_argument("--questions", type=int, default=300, help="replicates on each sample")
    arguments = parser.parse_args()
    rng = np.random.default_rng(2018)
    conditions = list(itertools.product(SHAPES, SAMPLES, (True, False), CORRELATIONS, WEIGHTS, STRATA))
    studies = {k: study_of(k, arguments.questions) for k in SHAPES}
    found: list[pd.DataFrame] = []
    alike: list[pd.DataFrame] = []
    for i in track(range(len(conditions) * arguments.samples), description="simulating"):
        condition = conditions[i % len(conditions)]
        k, sample, within, correlation, weights, strata = condition
        kind = "within PSUs" if within else "between PSUs"
        for p, into in ((np.array(SHAPES[k]), found), (np.array(SHAPES[k])[[0, 0]], alike)):
            rows = simulate(rng, studies[k], p, sample, within, correlation, weights, strata)
            into.append(rows[rows["n"] >= 10].assign(toggle=kind, psus=sample[0], condition=str(condition)))
    every, null = (
        rows.assign(cell=pd.cut(rows["n"], BINS, labels=["10-14", "15-24", "25-49", "50-99", "100-249", "250+"]))
        for rows in (pd.concat(found), pd.concat(alike))
    )
    for by in ("cell", "psus"):
        show(every, null, by)


def show(every: pd.DataFrame, null: pd.DataFrame, by: str) -> None:
    """Print coverage and size by one column: mean, and the lowest and highest of the conditions."""
    table = Table(title=f"coverage of 95% intervals and size of the joint test by {by}")
    titles = ("ours: mean", "min", "max", "options: mean", "min", "Wald: mean", "min", "size: mean", "max", "shifts")
    for name in ("toggle", by, *titles):
        table.add_column(name, justify="right")
    for (toggle, value), rows in every.groupby(["toggle", by], observed=True):
        low, high = by_condition(rows).agg(["min", "max"]).to_numpy()
        alike = null[(null["toggle"] == toggle) & (null[by] == value)]
        rate = rows[COVERED].mean()
        values = [rate["ours"], low[0], high[0], rate["options"], low[1], rate["wald"], low[2]]
        values += [alike["rejected"].mean(), by_condition(alike)["rejected"].max()]
        table.add_row(str(toggle), str(value), *(f"{x:.3f}" for x in values), str(len(rows)))
    Console(width=140).print(table)


def by_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means of the conditions that have 200 toggles or more."""
    held = rows.groupby("condition")
    return held[[*COVERED, "rejected"]].mean()[held.size() >= 200]


if __name__ == "__main__":
    main()
