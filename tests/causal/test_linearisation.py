"""Standard errors against those of R's survey package; fixtures/design.R made the expected values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.grid import Grid, grid_from_counts, scores, subsets
from causal.study import Study
from causal.survey import Survey, read_survey

FIXTURES = Path(__file__).parent / "fixtures"
LEVELS = {"gender": ["m", "f"], "education": ["hi", "mid", "lo"], "residence": ["urban", "rural"]}
QUESTIONS = {"trust": [1, 2, 3, 4], "vote": [0, 1]}
VARIANTS: dict[str, dict[str, str]] = {
    "unweighted": {},
    "weighted": {"weight": "w"},
    "stratified": {"weight": "w", "strata": "stratum"},
    "clustered": {"weight": "w", "psu": "cluster"},
    "designed": {"weight": "w", "strata": "stratum", "psu": "psu"},
    "designed_unweighted": {"strata": "stratum", "psu": "psu"},
    "lonely": {"weight": "w", "strata": "zone", "psu": "psu"},
}


def study_of(variant: str) -> Study:
    levels = {a: {v: {"codes": [v], "persona": v} for v in values} for a, values in LEVELS.items()}
    options = {q: {k: f"option {k}" for k in codes} for q, codes in QUESTIONS.items()}
    return Study.from_dict(
        {
            "name": "design",
            "survey": {"source": str(FIXTURES / "design.csv"), "country": "country"} | VARIANTS[variant],
            "attributes": {name: {"levels": held} for name, held in levels.items()},
            "questions": {name: {"text": "?", "options": held} for name, held in options.items()},
            "effects": {"granularity": "all"},
        }
    )


@pytest.fixture(scope="module", params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def survey(variant: str) -> Survey:
    return read_survey(study_of(variant))


@pytest.fixture(scope="module")
def grids(survey: Survey) -> list[Grid]:
    counts = count(survey)
    return [grid_from_counts(counts, survey.study, survey.countries, subset) for subset in subsets(survey.study)]


@pytest.fixture(scope="module")
def in_r(variant: str) -> pd.DataFrame:
    """What R found for the variant, levels as in our tables."""
    found = pd.read_csv(FIXTURES / "design_r.csv", keep_default_na=False, na_values=[""])
    return found[found["variant"] == variant].drop(columns="variant")


def assert_agree(ours: pd.DataFrame, theirs: pd.DataFrame, keys: list[str]) -> None:
    """Compare estimate and standard error of rows with the same keys; each side has every row."""
    both = ours[[*keys, "estimate", "std_error"]].merge(theirs, how="outer", on=keys, suffixes=("", "_r"))
    assert len(both) == len(theirs) == len(ours)
    np.testing.assert_allclose(both["estimate"], both["estimate_r"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(both["std_error"], both["std_error_r"], rtol=0, atol=1e-8)


def test_every_share_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    table = distributions_table(grids, survey.study, survey.countries).rename(columns={"p": "estimate"})
    assert_agree(table, in_r[in_r["what"] == "p"], ["country", "question", *LEVELS, "option"])


def test_every_shift_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    table = survey_effects(grids, survey.study, survey.countries).rename(columns={"shift": "estimate"})
    for name in LEVELS:  # R names the treated cell
        toggled = table["attribute"] == name
        table.loc[toggled, name] = table.loc[toggled, "treated"]
    table = table.dropna(subset="estimate")
    assert_agree(table, in_r[in_r["what"] == "shift"], ["country", "question", *LEVELS, "attribute"])


def test_every_mean_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    """The mean score and its variance, which the intervals rest on."""
    rows = []
    for grid in grids:
        for place in np.ndindex(grid.n.shape):
            if grid.n[place] == 0:
                continue
            p, v = grid.p[place], grid.v[place]
            score = scores(survey.study)[place[-1]]
            variance = grid.design.mean[place] if grid.design else (v * (score - p @ score) ** 2).sum()
            levels: dict[str, Any] = dict.fromkeys(LEVELS)
            levels |= {name: LEVELS[name][i] for name, i in zip(grid.attributes, place[1:-1], strict=True)}
            key = {"country": survey.countries[place[0]], "question": list(QUESTIONS)[place[-1]]}
            rows.append(key | levels | {"estimate": p @ score, "std_error": np.sqrt(variance)})
    assert_agree(pd.DataFrame(rows), in_r[in_r["what"] == "mean"], ["country", "question", *LEVELS])


def test_fixture_has_what_it_is_for(in_r: pd.DataFrame) -> None:
    people = pd.read_csv(FIXTURES / "design.csv")
    assert people.groupby("country")["psu"].nunique().gt(3).all()
    psus = people.drop_duplicates(["country", "zone", "psu"])
    assert psus.groupby(["country", "zone"]).size().eq(1).sum() == 2
    assert people[["trust", "vote", "gender", "education"]].isna().any().all()
    assert set(in_r["what"]) == {"p", "mean", "shift"}
    assert in_r["std_error"].gt(0.01).mean() > 0.9
