"""Toggles per second, memory and growth of the effects table, beside what a user would run instead.

All contestants get the same survey: 14 countries, 4 attributes with two levels (8 contexts each), questions with 5
options, survey weights. Each runs in a process of its own, in turn, several times; medians are shown. Seconds are CPU
seconds of the process, which other work on the machine hardly changes, from the respondents in memory to the last
interval; imports and the making of the survey are left out. The slow ones do a random sample of the toggles. They are:

- cell: `count` to the effects table, with linearised variance, interval, p- and q-value of every toggle; also with
  the reading of the data frame, and with strata and PSUs.
- aipw: cell, then one doubly robust row for each of its toggles, adjusted for age.
- pandas loop: for each toggle, filter the two groups, weighted shares, linearised variance, normal interval.
- DoWhy: for each toggle, a `CausalModel` of its respondents and `backdoor.linear_regression` with its interval, without
  weights. Also with age as a common cause, which is what aipw is to be compared with.
- EconML: `LinearDML` with a linear and a logistic nuisance model, one fit for the 8 contexts of a country, question and
  attribute, intervals for each.

Run: python benchmarks/effects.py [--quick] [--seed 0] [--json FILE]. It needs dowhy and econml.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import norm

from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.study import Study
from causal.survey import Survey, read_survey

COUNTRIES, OPTIONS, PSUS, STRATA = 14, 5, 40, 4
ATTRIBUTES = ("gender", "education", "residence", "marriage")
FULL, QUICK = (25_000, 240), (8_000, 64)
"""Respondents and questions."""
GROWTH = (1, 4, 16)
SAMPLES = {"pandas loop": 200, "dowhy": 12, "dowhy, age": 12, "econml": 80}
"""Toggles that each slow contestant does."""
WIDTH = 120


def make_study(questions: int, design: bool, adjusted: bool) -> Study:
    """Return a study of the benchmark's survey."""
    level = {"levels": {name: {"codes": [i], "persona": name} for i, name in enumerate(("no", "yes"))}}
    options = {k: str(k) for k in range(1, OPTIONS + 1)}
    survey = {"source": "none.csv", "country": "country", "weight": "weight"}
    raw: dict[str, Any] = {
        "name": "benchmark",
        "survey": survey | ({"strata": "stratum", "psu": "psu"} if design else {}),
        "attributes": dict.fromkeys(ATTRIBUTES, level),
        "questions": {f"q{i}": {"text": "?", "options": options} for i in range(questions)},
    }
    if adjusted:
        raw |= {"covariates": {"age": {}}, "effects": {"estimator": ["cell", "aipw"]}}
    return Study.from_dict(raw)


def make_frame(respondents: int, questions: int, seed: int) -> pd.DataFrame:
    """Draw respondents: attributes that go with age, answers that go with attributes, country and age, 5% missing."""
    rng = np.random.default_rng(seed)
    country = rng.integers(0, COUNTRIES, respondents)
    age = rng.normal(0, 1, respondents)
    held = rng.normal(size=(respondents, len(ATTRIBUTES))) + 0.3 * age[:, None] > 0
    columns: dict[str, Any] = {"country": country, "age": 45 + 15 * age}
    columns |= {name: held[:, j].astype(np.int8) for j, name in enumerate(ATTRIBUTES)}
    columns["weight"] = rng.gamma(8, 1 / 8, respondents) + 0.05
    columns["psu"] = rng.integers(0, PSUS, respondents)
    columns["stratum"] = columns["psu"] % STRATA
    for q in range(questions):
        pull = held @ rng.normal(0, 0.2, len(ATTRIBUTES)) + rng.normal(0, 0.5, COUNTRIES)[country] + 0.2 * age
        answer = 1 + np.digitize(pull + rng.logistic(size=respondents), [-1.5, -0.5, 0.5, 1.5])
        columns[f"q{q}"] = np.where(rng.random(respondents) < 0.05, np.nan, answer).astype(np.float32)
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Toggle:
    """A toggle as its parts: positions of country, question, attribute and the levels held."""

    country: int
    question: int
    attribute: int
    context: tuple[int, ...]


def all_toggles(questions: int) -> int:
    """Return the number of toggles at the finest granularity."""
    return COUNTRIES * questions * len(ATTRIBUTES) * 2 ** (len(ATTRIBUTES) - 1)


def sampled(questions: int, size: int, rng: np.random.Generator) -> list[Toggle]:
    """Draw toggles."""
    contexts = list(itertools.product((0, 1), repeat=len(ATTRIBUTES) - 1))
    shape = (COUNTRIES, questions, len(ATTRIBUTES), len(contexts))
    chosen = rng.choice(np.prod(shape), size, replace=False)
    places = np.stack(np.unravel_index(chosen, shape), axis=1).tolist()
    return [Toggle(c, q, a, contexts[z]) for c, q, a, z in places]


def effects_of(survey: Survey) -> pd.DataFrame:
    """Count a survey and return its effects table."""
    counts = count(survey)
    grids = [grid_from_counts(counts, survey.study, survey.countries, subset) for subset in subsets(survey.study)]
    return survey_effects(grids, survey.study, survey.countries)


def with_aipw(survey: Survey) -> pd.DataFrame:
    """Return the effects table with rows that adjust for age."""
    from causal.adjusted import adjusted_rows

    cells = effects_of(survey)
    return pd.concat([cells, adjusted_rows(survey, cells)], ignore_index=True)


def members(frame: pd.DataFrame, toggle: Toggle, level: int | None = None) -> pd.DataFrame:
    """Return who answered in a toggle's country and context, at one of its levels or both."""
    inside = (frame["country"] == toggle.country) & frame[f"q{toggle.question}"].notna()
    held = [name for j, name in enumerate(ATTRIBUTES) if j != toggle.attribute]
    for name, value in zip(held, toggle.context, strict=True):
        inside &= frame[name] == value
    if level is not None:
        inside &= frame[ATTRIBUTES[toggle.attribute]] == level
    return frame[inside]


def pandas_toggle(frame: pd.DataFrame, toggle: Toggle) -> tuple[float, float, float]:
    """Return a toggle's shift and interval as a user of pandas would."""
    question = f"q{toggle.question}"
    means, variance = [], 0.0
    for level in (0, 1):
        group = members(frame, toggle, level)
        shares = group.groupby(question)["weight"].sum() / group["weight"].sum()
        mean = (shares * (shares.index - 1) / (OPTIONS - 1)).sum()
        score = (group[question] - 1) / (OPTIONS - 1)
        variance += (group["weight"] ** 2 * (score - mean) ** 2).sum() / group["weight"].sum() ** 2
        means.append(mean)
    shift, half = means[1] - means[0], norm.ppf(0.975) * variance**0.5
    return shift, shift - half, shift + half


def dowhy_toggle(frame: pd.DataFrame, toggle: Toggle, causes: Sequence[str] = ()) -> tuple[float, float, float]:
    """Return a toggle's shift and interval by DoWhy's linear regression, adjusted for common causes."""
    from dowhy import CausalModel

    people, name = members(frame, toggle), ATTRIBUTES[toggle.attribute]
    data = people[[name, *causes]].assign(score=(people[f"q{toggle.question}"] - 1) / (OPTIONS - 1))
    edges = f"{name} -> score; " + "".join(f"{cause} -> {name}; {cause} -> score; " for cause in causes)
    model = CausalModel(data, treatment=name, outcome="score", graph=f"digraph {{{edges}}}")
    found = model.estimate_effect(
        model.identify_effect(proceed_when_unidentifiable=True),
        method_name="backdoor.linear_regression",
        confidence_intervals=True,
    )
    low, high = np.ravel(found.get_confidence_intervals())
    return float(found.value), float(low), float(high)


def econml_contexts(frame: pd.DataFrame, toggle: Toggle) -> list[tuple[float, float, float]]:
    """Return the shifts and intervals of all contexts of a country, question and attribute by one LinearDML."""
    from econml.dml import LinearDML
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.preprocessing import PolynomialFeatures

    people = frame[(frame["country"] == toggle.country) & frame[f"q{toggle.question}"].notna()]
    held = [name for j, name in enumerate(ATTRIBUTES) if j != toggle.attribute]
    saturated = PolynomialFeatures(len(held), interaction_only=True, include_bias=False)
    fit = LinearDML(
        model_y=LinearRegression(),
        model_t=LogisticRegression(),
        discrete_treatment=True,
        featurizer=saturated,
        random_state=0,
    )
    score = ((people[f"q{toggle.question}"] - 1) / (OPTIONS - 1)).to_numpy(dtype=float)
    treated = people[ATTRIBUTES[toggle.attribute]].to_numpy()
    fit.fit(score, treated, X=people[held].to_numpy(dtype=float), sample_weight=people["weight"].to_numpy())
    contexts = np.array(list(itertools.product((0.0, 1.0), repeat=len(held))))
    low, high = fit.effect_interval(contexts, alpha=0.05)
    return list(zip(fit.effect(contexts).tolist(), low.tolist(), high.tolist(), strict=True))


def run_contestant(name: str, respondents: int, questions: int, seed: int) -> dict[str, float]:
    """Run one contestant in this process and return its seconds, toggles and peak memory in MB."""
    warnings.filterwarnings("ignore")
    frame = make_frame(respondents, questions, seed)
    rng = np.random.default_rng(seed)
    study = make_study(questions, name == "cell, PSUs", name == "aipw")
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name in SAMPLES:
        seconds, toggles = run_sample(name, frame, sampled(questions, SAMPLES[name], rng))
    elif name == "cell, read":
        seconds, toggles = timed(lambda: effects_of(read_survey(study, frame)))
    else:
        survey = read_survey(study, frame)
        del frame
        seconds, toggles = timed(lambda: with_aipw(survey) if name == "aipw" else effects_of(survey))
        toggles = toggles // 2 if name == "aipw" else toggles
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "toggles": toggles, "peak_mb": peak / 1024, "data_mb": made / 1024}


def timed(work: Callable[[], pd.DataFrame]) -> tuple[float, int]:
    """Return the seconds that a table took and its rows."""
    start = time.process_time()
    rows = len(work())
    return time.process_time() - start, rows


def run_sample(name: str, frame: pd.DataFrame, toggles: Sequence[Toggle]) -> tuple[float, int]:
    """Time a slow contestant on a sample, after one toggle that pays for the imports."""
    if name == "econml":
        toggles = toggles[: len(toggles) // 8]  # one fit gives 8
    one: Callable[[pd.DataFrame, Toggle], Any] = {
        "pandas loop": pandas_toggle,
        "dowhy": dowhy_toggle,
        "dowhy, age": lambda frame, toggle: dowhy_toggle(frame, toggle, ["age"]),
        "econml": econml_contexts,
    }[name]
    one(frame, toggles[0])
    start = time.process_time()
    found = np.array([one(frame, toggle) for toggle in toggles]).reshape(-1, 3)
    seconds = time.process_time() - start
    assert np.isfinite(found).all(), "a contestant gave no estimate"
    return seconds, len(found)


def measure(name: str, respondents: int, questions: int, seed: int) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    words = ["--contestant", name, "--size", str(respondents), str(questions), "--seed", str(seed)]
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(
    jobs: Sequence[tuple[str, int, int]], repeats: int, seed: int, what: str
) -> dict[tuple[str, int, int], dict[str, float]]:
    """Run jobs in turn, all of them several times, and return the medians of what each measured."""
    found: dict[tuple[str, int, int], list[dict[str, float]]] = {job: [] for job in jobs}
    order = [job for _ in range(repeats) for job in jobs]
    for job in track(order, description=what, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        found[job].append(measure(*job, seed))
    return {job: {key: float(np.median([run[key] for run in runs])) for key in runs[0]} for job, runs in found.items()}


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds over log size: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small survey, three minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps(run_contestant(arguments.contestant, arguments.size[0], arguments.size[1], arguments.seed)))
        return
    if absent := [name for name in ("dowhy", "econml") if importlib.util.find_spec(name) is None]:
        print(f"error: {' and '.join(absent)} not installed: pip install {' '.join(absent)}", file=sys.stderr)
        raise SystemExit(2)
    figures = compare(*(QUICK if arguments.quick else FULL), arguments.repeats, arguments.seed)
    figures |= growth(*(QUICK if arguments.quick else FULL), arguments.repeats, arguments.seed)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def compare(respondents: int, questions: int, repeats: int, seed: int) -> dict[str, float]:
    """Run all contestants on one survey, print a table and return its figures by name."""
    names = ["cell", "cell, read", "cell, PSUs", "aipw", "pandas loop", "dowhy", "dowhy, age", "econml"]
    if importlib.util.find_spec("causal.adjusted") is None:
        names.remove("aipw")
    found = medians([(name, respondents, questions) for name in names], repeats, seed, "contestants")
    rates = {name: found[name, respondents, questions] for name in names}
    speed = {name: run["toggles"] / run["seconds"] for name, run in rates.items()}
    title = f"{respondents:,} respondents, {questions} questions, {all_toggles(questions):,} toggles"
    table = Table(title=title, title_justify="left")
    headings = (
        "",
        "toggles run",
        "CPU seconds",
        "toggles/s",
        "cell is faster by",
        "peak MB",
        "of which before it began",
    )
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, float] = {"respondents": respondents, "questions": questions}
    for name, run in rates.items():
        ratio = speed["cell"] / speed[name]
        cells = (run["toggles"], run["seconds"], speed[name], ratio, run["peak_mb"], run["data_mb"])
        table.add_row(name, *(f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in cells))
        key = name.replace(", ", "_").replace(" ", "_")
        figures |= {f"{key}_toggles_per_s": speed[name], f"{key}_peak_mb": run["peak_mb"], f"cell_over_{key}": ratio}
    if "aipw" in speed:
        figures |= {
            f"aipw_over_{key.replace(', ', '_')}": speed["aipw"] / speed[key] for key in ("dowhy", "dowhy, age")
        }
    Console(width=WIDTH).print(table)
    if "aipw" in speed:
        print(
            f"aipw is faster than DoWhy by {figures['aipw_over_dowhy']:,.0f}, "
            f"and by {figures['aipw_over_dowhy_age']:,.0f} where that adjusts for age too"
        )
    return figures


def growth(respondents: int, questions: int, repeats: int, seed: int) -> dict[str, float]:
    """Measure growth of cell over respondents and questions, print it and return its figures by name."""
    few = questions // GROWTH[-1]
    axes = {
        "respondents": [(respondents * times, few) for times in GROWTH],
        "questions": [(respondents, few * times) for times in GROWTH],
    }
    contestants = ("cell", "cell, read", "cell, PSUs")
    jobs = [(name, *size) for name in contestants for sizes in axes.values() for size in sizes]
    found = medians(list(dict.fromkeys(jobs)), repeats, seed, "growth")
    table = Table(title=f"Growth from {respondents:,} respondents and {few} questions", title_justify="left")
    for heading in ("", "over", *(f"{times}x, s" for times in GROWTH), "slope (1 is linear)"):
        table.add_column(heading, justify="right" if heading not in ("", "over") else "left")
    figures = {}
    for name, (axis, sizes) in itertools.product(contestants, axes.items()):
        seconds = [found[name, *size]["seconds"] for size in sizes]
        steep = slope(GROWTH, seconds)
        table.add_row(name, axis, *(f"{value:.3f}" for value in seconds), f"{steep:.2f}")
        figures[f"{name.replace(', ', '_')}_slope_{axis}"] = steep
    Console(width=WIDTH).print(table)
    return figures


if __name__ == "__main__":
    main()
