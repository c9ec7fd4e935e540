"""Do the intervals cover, and how far off are the estimates? Simulated truth, with Monte Carlo errors.

The first table has one row per cell size: the mean, smallest and largest coverage of the 95% intervals of the shift, of
options' effects and of cumulative shifts (averaged over a pair's options) over numbers of options and shapes of the two
distributions, beside the Wald interval of the shift. The second has the joint test's size over pairs that are alike and
power over those that are not, beside Pearson's test. The third has one row per kind of
effects, cell size and estimator: coverage over all toggles and over the largest true shifts, bias (positive: too far
from 0) and RMSE; ``aipw`` where an age confounds. Every simulated survey is another population. The fourth has the
tests of what a graph implies: how often they reject on the true graph, and on one that lacks an arrow. With --econml N
all adjusting estimators follow, against the interventional truth of N surveys whose first attribute goes with age. Run:
python benchmarks/validity.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.special import expit
from scipy.stats import chi2

from causal.adjusted import adjusted_rows
from causal.counts import count
from causal.effects import survey_effects
from causal.estimators.cell import Cells, contrast
from causal.grid import grid_from_counts, subsets
from causal.independence import findings
from causal.sections import ADJUSTING
from causal.simulate import simulate
from causal.study import Study
from causal.survey import read_survey
from causal.tables import estimated_by

SIZES = [(10, 10), (10, 100), (10, 1000), (15, 30), (35, 140), (100, 100), (1000, 1000)]
OPTIONS = (2, 3, 4, 5, 10)


def shapes(k: int) -> dict[str, np.ndarray]:
    """Return answer distributions over k options, from flat to concentrated at one end."""
    flat = np.ones(k)
    falling = np.exp(-1.2 * np.arange(k))
    end = np.r_[np.full(k - 1, 0.05 / (k - 1)), 0.95]
    ends = np.r_[0.48, np.full(k - 2, 0.04 / max(k - 2, 1)), 0.48]
    middle = np.full(k, 0.1 / (k - 1))
    middle[k // 2] = 0.9
    rising = np.arange(1.0, k + 1)
    named = {"flat": flat, "falling": falling, "end": end, "ends": ends, "middle": middle, "rising": rising}
    return {name: p / p.sum() for name, p in named.items()}


def draw(rng: np.random.Generator, n: int, p: np.ndarray, replicates: int) -> Cells:
    """Draw cells of n respondents."""
    share = rng.multinomial(n, p, replicates) / n
    size = np.full(replicates, float(n))
    return Cells(share, share / n, size, size)


def scored_pair(
    rng: np.random.Generator, n: tuple[int, int], p: np.ndarray, q: np.ndarray, replicates: int
) -> dict[str, float]:
    """Return the coverage of the intervals, of estimate plus or minus 1.96 standard errors, and rejections at .05."""
    k = len(p)
    score = np.linspace(0, 1, k)
    found = contrast(
        draw(rng, n[0], p, replicates), draw(rng, n[1], q, replicates), score[None], np.full(replicates, k), 0.95
    )
    effect, cdf = q - p, (q - p).cumsum()[:-1]
    truth = effect @ score
    pearson = chi2.sf(found.wald_statistic * sum(n) / (sum(n) - 1), np.maximum(found.wald_df, 1))
    kind = "size" if np.array_equal(p, q) else "power"
    return {
        "shift": _inside(found.conf_low, found.conf_high, truth),
        "Wald": float((np.abs(found.shift - truth) <= 1.96 * found.std_error + 1e-12).mean()),
        "options": _inside(found.effect_low, found.effect_high, effect),
        "CDF": _inside(found.cdf_low[:, :-1], found.cdf_high[:, :-1], cdf),
        kind: float((found.wald_p_value < 0.05).mean()),
        f"Pearson's {kind}": float((pearson < 0.05).mean()),
    }


def _inside(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> float:
    return float(((low <= truth + 1e-12) & (truth <= high + 1e-12)).mean())


def interval_tables(replicates: int, rng: np.random.Generator) -> list[Table]:
    """Return the coverage of the cell intervals, and the size and power of the joint test, by cell size."""
    error = np.sqrt(0.95 * 0.05 / replicates)
    coverage = Table(title=f"coverage of 95% intervals: mean, lowest and highest (Monte Carlo error {error:.4f} each)")
    kinds = ["shift", "options", "CDF", "Wald"]
    for name in ("n", *kinds):
        coverage.add_column(name, justify="right")
    tests = Table(title=f"joint test at .05 beside Pearson's (Monte Carlo error {error:.4f} each)")
    for name in ("n", "size: mean", "max", "Pearson's size: mean", "max", "power: mean", "Pearson's power: mean"):
        tests.add_column(name, justify="right")
    for n in track(SIZES, description="drawing cells"):
        pairs = [
            (of[a], of[b]) for of in map(shapes, OPTIONS) for a, b in itertools.combinations_with_replacement(of, 2)
        ]
        rates = pd.DataFrame([scored_pair(rng, n, p, q, replicates) for p, q in pairs])
        mean, low, high = rates.mean(), rates.min(), rates.max()
        coverage.add_row(
            f"{n[0]} and {n[1]}", *(f"{mean[kind]:.3f} ({low[kind]:.3f} to {high[kind]:.3f})" for kind in kinds)
        )
        sizes = [f"{of[kind]:.3f}" for kind in ("size", "Pearson's size") for of in (mean, high)]
        powers = [f"{mean[kind]:.3f}" for kind in ("power", "Pearson's power")]
        tests.add_row(f"{n[0]} and {n[1]}", *sizes, *powers)
    return [coverage, tests]


SCENARIOS: dict[str, dict[str, Any]] = {
    "normal": {},
    "normal, alike": {"country_sd": 0.0, "context_sd": 0.0},
    "normal, unlike": {"country_sd": 0.3, "context_sd": 0.3},
    "normal, weighted": {"selection": 0.7},
    "heavy tails": {"family": "heavy"},
    "few large": {"family": "few"},
    "few large, unlike": {"family": "few", "country_sd": 0.3, "context_sd": 0.3},
}
ADJUSTED: dict[str, dict[str, Any]] = {
    "age": {"age": 1.0},
    "age, weighted": {"age": 1.0, "selection": 0.7},
    "age, clusters": {"age": 1.0, "cluster_sd": 0.5, "clusters": 30, "design": True},
}
"""With an age that drives the first attribute and the answers, and the shift if the attribute is *set* as the truth."""
"""Effects differ between questions; "alike" ones not between contexts and countries, "unlike" ones most there."""
RESPONDENTS = {"about 15": 280, "below 50": 700, "above 200": 8000}
"""Respondents per country, in 16 personas, for a median cell of that size."""


def one_survey(respondents: int, seed: int, **options: Any) -> pd.DataFrame:
    """Simulate a survey of 2 countries and 15 questions and return its supported effects with their ``truth``."""
    adjusted = "age" in options
    made = simulate(respondents, questions=15, granularity="full", seed=seed, **options)
    sections = made.study.model_dump(exclude_none=True)
    study = Study.from_dict(sections | {"effects": {"estimator": ["cell", "aipw" if adjusted else "pooled"]}})
    survey = read_survey(study, made.data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    table = survey_effects(grids, study, survey.countries)
    table = pd.concat([table, adjusted_rows(survey, estimated_by(table))], ignore_index=True) if adjusted else table
    truth = made.effects["shift_do" if adjusted else "shift"].to_numpy()
    return table.assign(truth=np.concatenate([truth, truth]), survey=seed)[table["supported"]]


CONFOUNDED = {"below 50": 400, "above 100": 1600}
"""Respondents of one country, in 8 personas, where age moves the first attribute and the answers."""


def one_confounded(respondents: int, seed: int) -> pd.DataFrame:
    """Simulate a survey and return the first attribute's supported effects, with the interventional ``truth``."""
    made = simulate(respondents, countries=1, attributes=3, questions=3, granularity="full", age=1.0, seed=seed)
    sections = made.study.model_dump(exclude_none=True)
    study = Study.from_dict(sections | {"effects": {"estimator": ["cell", *ADJUSTING]}})
    survey = read_survey(study, made.data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    cells = survey_effects(grids, study, survey.countries)
    table = pd.concat([cells, adjusted_rows(survey, cells)], ignore_index=True)
    truth = np.tile(made.effects["shift_do"].to_numpy(), 1 + len(ADJUSTING))
    own = table["attribute"] == next(iter(study.attributes))
    return table.assign(truth=truth, survey=seed)[table["supported"] & own]


def adjusted_table(surveys: int) -> Table:
    """Return coverage, bias and RMSE of the adjusting estimators where cells are confounded."""
    table = Table(title=f"confounded by age, {surveys} simulated surveys each (Monte Carlo errors in brackets)")
    for name in ("median n", "estimator", "coverage", "of the largest 5%", "bias", "RMSE", "to cell's"):
        table.add_column(name, justify="left" if name == "estimator" else "right")
    for size, respondents in CONFOUNDED.items():
        drawn = pd.concat([one_confounded(respondents, seed) for seed in track(range(surveys), "simulating surveys")])
        median = np.median(drawn[["n_reference", "n_treated"]].to_numpy(dtype=float).min(axis=1))
        cells = scored(drawn[drawn["estimator"] == "cell"])["mse"].mean()
        for estimator, rows in drawn.groupby("estimator", sort=False):
            error = (rows["shift"] - rows["truth"]).groupby(rows["survey"]).mean()
            found = scored(rows).assign(bias=error)  # confounding moves all in one direction, whatever the truth
            ratio = np.sqrt(found["mse"].mean() / cells)
            table.add_row(f"{median:.0f} ({size})", str(estimator), *_cells(found), f"{ratio:.2f}")
    return table


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """Return each survey's coverage, coverage of its largest true shifts, bias and squared error."""
    error = table["shift"] - table["truth"]
    inside = (table["conf_low"] <= table["truth"]) & (table["truth"] <= table["conf_high"])
    size = table["truth"].abs()
    large = size >= size.groupby(table["survey"]).transform(lambda values: values.quantile(0.95))
    scores = {
        "coverage": inside.astype(float),
        "of the largest 5%": inside.where(large).astype(float),
        "bias": error * np.sign(table["truth"]),
        "mse": error**2,
    }
    return pd.DataFrame(scores).groupby(table["survey"]).mean()


def estimator_table(surveys: int) -> Table:
    """Return coverage, bias and RMSE of each estimator on simulated surveys."""
    table = Table(title=f"estimators on {surveys} simulated surveys each (Monte Carlo errors in brackets)")
    for name in ("effects", "median n", "estimator", "coverage", "of the largest 5%", "bias", "RMSE", "to cell's"):
        table.add_column(name, justify="left" if name in ("effects", "estimator") else "right")
    for (size, respondents), (name, options) in track(
        list(itertools.product(RESPONDENTS.items(), (SCENARIOS | ADJUSTED).items())), description="simulating surveys"
    ):
        drawn = pd.concat([one_survey(respondents, seed, **options) for seed in range(surveys)])
        median = drawn[["n_reference", "n_treated"]].to_numpy(dtype=float).min(axis=1)
        cells = None
        for estimator, rows in drawn.groupby("estimator", sort=False):
            found = scored(rows)
            cells = found["mse"] if cells is None else cells
            ratio = np.sqrt(found["mse"].mean() / cells.mean())
            table.add_row(
                f"{name}", f"{np.median(median):.0f} ({size})", str(estimator), *_cells(found), f"{ratio:.2f}"
            )
    return table


def _cells(found: pd.DataFrame) -> list[str]:
    mean, error = found.mean(), found.std() / np.sqrt(len(found))
    shown = [f"{mean[name]:.3f} ({error[name]:.3f})" for name in ("coverage", "of the largest 5%")]
    root = np.sqrt(mean["mse"])
    return [*shown, f"{mean['bias']:+.4f} ({error['bias']:.4f})", f"{root:.4f} ({error['mse'] / (2 * root):.4f})"]


FORKED: dict[str, dict[str, str]] = {
    "drawn one by one": {},
    "weights": {"weight": "w"},
    "weights, 30 PSUs": {"weight": "w", "psu": "psu"},
}
"""Age drives education and residence, which are independent given age, unless an arrow between them is planted."""
ARROW = 0.6
"""Log odds ratio of the planted arrow."""


def one_fork(kind: str, n: int, arrow: float, seed: int) -> pd.DataFrame:
    """Simulate a survey whose graph lacks the arrow, if there is one, and test what the graph implies."""
    rng = np.random.default_rng([seed, n])
    psu, age = rng.integers(0, 30, n), rng.normal(50, 15, n)
    home = rng.normal(0, 0.7, (30, 2))[psu] * ("psu" in FORKED[kind])
    education = rng.random(n) < expit((age - 50) / 15 + home[:, 0])
    residence = rng.random(n) < expit((50 - age) / 15 + home[:, 1] + arrow * (education - 0.5))
    data = pd.DataFrame(
        {"age": age, "education": education.astype(int), "residence": residence.astype(int), "psu": psu}
    )
    data["region"], data["q"] = rng.integers(0, 3, n), rng.integers(0, 3, n)
    data["w"] = rng.lognormal(0, 0.5, n)
    levels = {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(2)}
    study = Study.from_dict(
        {
            "name": "fork",
            "survey": {"source": "x.csv", "country": {"constant": "X"}} | FORKED[kind],
            "attributes": {"education": {"levels": levels}, "residence": {"levels": levels}},
            "covariates": {"age": {}, "region": {"kind": "category"}},
            "questions": {"q": {"text": "?", "options": {i: f"o{i}" for i in range(3)}}},
            "graph": {"edges": [["age", "education"], ["age", "residence"]]},
        }
    )
    found = pd.DataFrame([vars(one) for one in findings(read_survey(study, data))])
    own = found["claim"].map(lambda claim: {claim.one, claim.other} == {"education", "residence"})
    return found.assign(own=own, survey=seed)


def implication_table(surveys: int) -> Table:
    """Return the size and power of the tests of a graph's implied independencies."""
    title = f"implied independencies, {surveys} simulated surveys each (Monte Carlo errors in brackets)"
    table = Table(title=title)
    names = ("survey", "n", "true graph: p < .05", "any q < .05", "missing arrow: q < .05", "its strength")
    for name in names:
        table.add_column(name, justify="left" if name == "survey" else "right")
    for kind, n in track(list(itertools.product(FORKED, (300, 1000, 3000))), description="testing graphs"):
        true, planted = (
            pd.concat([one_fork(kind, n, arrow, seed) for seed in range(surveys)]) for arrow in (0.0, ARROW)
        )
        missing = planted[planted["own"]]
        rates = (
            (true["p_value"] < 0.05).groupby(true["survey"]).mean(),
            (true["q_value"] < 0.05).groupby(true["survey"]).any().astype(float),
            (missing["q_value"] < 0.05).astype(float),
            missing["strength"],
        )
        table.add_row(kind, str(n), *(f"{of.mean():.3f} ({of.std() / np.sqrt(surveys):.3f})" for of in rates))
    return table


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000, help="draws of each pair of cells")
    parser.add_argument("--surveys", type=int, default=200, help="simulated surveys of each kind")
    parser.add_argument("--quick", action="store_true", help="1000 draws and 25 surveys, about five minutes")
    parser.add_argument("--econml", type=int, default=0, metavar="N", help="surveys for the econml estimators; slow")
    arguments = parser.parse_args()
    replicates, surveys = (1000, 25) if arguments.quick else (arguments.replicates, arguments.surveys)
    console = Console(width=140)
    for table in interval_tables(replicates, np.random.default_rng(2018)):
        console.print(table)
    console.print(implication_table(20 if arguments.quick else 200))
    console.print(estimator_table(surveys))
    if arguments.econml:
        console.print(adjusted_table(arguments.econml))


if __name__ == "__main__":
    main()
