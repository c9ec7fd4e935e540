"""A small synthetic run: a survey of six questions, and two labels with known faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.audit import audit_survey
from causal.effects import model_effects
from causal.grid import grid_from_table, subsets
from causal.runs import TABLE_SECTIONS, Run
from causal.study import Study
from causal.survey import read_survey
from causal.tables import distributions_schema, effects_schema, read_distributions, toggles_fingerprint, write_table

OPTIONS = {1: "too much", 2: "about right", 3: "too little"}
HELD_OUT = ["q4", "q5"]


def raw_study(**changes: Any) -> dict[str, Any]:
    """Return a study as a mapping: six questions, two attributes, two topics."""
    return {
        "name": "synthetic",
        "survey": {"source": "nowhere.csv", "country": {"constant": "USA"}},
        "attributes": {
            "gender": {
                "levels": {"male": {"codes": [0], "persona": "a man"}, "female": {"codes": [1], "persona": "a woman"}}
            },
            "home": {
                "levels": {
                    "city": {"codes": [0], "persona": "in a city"},
                    "farm": {"codes": [1], "persona": "on a farm"},
                }
            },
        },
        "questions": {
            f"q{i}": {"text": f"How about thing {i}?", "topic": "goods" if i < 3 else "services", "options": OPTIONS}
            for i in range(6)
        },
        "effects": {"granularity": "all"},
    } | changes


def answers(seed: int = 0, n: int = 1600) -> pd.DataFrame:
    """Draw respondents; women and farmers answer higher on even questions, lower on odd ones."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"gender": rng.integers(0, 2, n), "home": rng.integers(0, 2, n)})
    for i in range(6):
        sign = 1 if i % 2 == 0 else -1
        latent = rng.normal(size=n) + sign * (0.5 * frame["gender"] + 0.3 * frame["home"] - 0.4)
        frame[f"q{i}"] = 1 + (latent > -0.5).astype(int) + (latent > 0.6).astype(int)
    return frame


def add_label(
    run: Run, study: Study, label: str, change: Callable[[pd.DataFrame], pd.Series], trained: bool = False
) -> None:
    """Write a fabricated model: the survey's own distributions with ``p`` changed, then renormalised."""
    survey = read_distributions(run.survey_distributions)
    cell = ["country", "question", *study.attributes]
    p = change(survey)
    p = p / p.groupby([survey[name].fillna("") for name in cell]).transform("sum")
    table = survey.assign(p=p, std_error=0.0, n=pd.array([None] * len(survey), dtype="Int64"), n_eff=np.nan)
    countries = list(survey["country"].unique())
    effects = model_effects(
        [grid_from_table(table, study, countries, subset) for subset in subsets(study)], study, countries
    )
    folder, names = run.model(label), list(study.attributes)
    files = [folder / "distributions.parquet", folder / "effects.parquet"]
    write_table(table, files[0], distributions_schema(names))
    write_table(effects, files[1], effects_schema(names))
    if trained:
        run.record(
            study,
            f"fit/{label}",
            {
                "fit": {"held_out": {"questions": HELD_OUT}},
                "survey_toggles": toggles_fingerprint(run.survey_effects, names),
            },
            [],
        )
    prompt = {"layout": "question-first", "options": "letters"}
    tables = study.fingerprint(*TABLE_SECTIONS)
    run.record(study, f"measure/{label}", {"tables": tables, "model": "toy model", "prompt": prompt}, files)


def make_run(path: Path, study: Study, data: pd.DataFrame | None = None) -> Run:
    """Audit a survey into a run folder, without a report."""
    run = Run.for_study(study, path)
    audit_survey(read_survey(study, answers() if data is None else data), run)
    return run


def shrunk(table: pd.DataFrame) -> pd.Series:
    """A model that reacts too little: each cell drawn nine tenths of the way to uniform."""
    return 0.1 * table["p"] + 0.9 / 3


def near(table: pd.DataFrame) -> pd.Series:
    """A model that is almost right."""
    return 0.9 * table["p"] + 0.1 / 3


@pytest.fixture
def toy() -> SimpleNamespace:
    """What a test needs to build a run of its own."""
    return SimpleNamespace(
        raw=raw_study, answers=answers, add_label=add_label, make_run=make_run, shrunk=shrunk, near=near
    )


@pytest.fixture
def study() -> Study:
    return Study.from_dict(raw_study())


@pytest.fixture
def audited(tmp_path: Path, study: Study) -> Run:
    """A run with a survey only."""
    return make_run(tmp_path / "run", study)


@pytest.fixture
def compared(audited: Run, study: Study) -> Run:
    """A run with labels ``base`` (erases) and ``ace`` (trained, almost right)."""
    add_label(audited, study, "base", shrunk)
    add_label(audited, study, "ace", near, trained=True)
    return audited
