"""Means, shares, their standard errors and design effects against svy, computed live.

svy agrees with R's survey package, and so with us, on everything asked here; a stratum with one PSU is an error in svy
until a rule is named, of which "center" is R's "adjust".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.grid import grid_from_counts
from causal.study import Study
from causal.survey import read_survey

DESIGN = Path(__file__).parent / "fixtures" / "design.csv"
VARIANTS: dict[str, dict[str, str]] = {
    "weighted": {"weight": "w"},
    "stratified": {"weight": "w", "strata": "stratum"},
    "clustered": {"weight": "w", "psu": "cluster"},
    "designed": {"weight": "w", "strata": "stratum", "psu": "psu"},
    "designed_unweighted": {"strata": "stratum", "psu": "psu"},
    "lonely": {"weight": "w", "strata": "zone", "psu": "psu"},
}


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """The fixture's respondents of one country, with indicators of each answer."""
    found = pd.read_csv(DESIGN)
    found = found[found["country"] == "BB"].drop(columns="country").reset_index(drop=True)
    score = (found["trust"] - 1) / 3
    indicators = {f"o{k}": (found["trust"] == k).astype(float).where(found["trust"].notna()) for k in range(1, 5)}
    return found.assign(score=score, **indicators)


def in_svy(people: pd.DataFrame, columns: dict[str, str], variable: str) -> dict[tuple[str, str], Any]:
    """Estimates of a variable's mean by gender and education."""
    import polars as pl
    import svy

    names = {"weight": "wgt", "strata": "stratum", "psu": "psu"}
    lonely = {"singleton": "center"} if "strata" in columns else {}
    design = svy.Design(**{names[key]: column for key, column in columns.items()}, **lonely)
    sample = svy.Sample(pl.from_pandas(people), design)
    known = [svy.col(name).is_not_null() for name in ("gender", "education", variable)]
    found = sample.estimation.mean(variable, by=["gender", "education"], where=known, deff="wr")
    return {row.by_level: row for row in found.estimates}


def ours(people: pd.DataFrame, columns: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    levels = {"gender": "mf", "education": ("hi", "mid", "lo")}
    study = Study.from_dict(
        {
            "name": "svy",
            "survey": {"source": "none.csv", "country": {"constant": "BB"}} | columns,
            "attributes": {
                name: {"levels": {v: {"codes": [v], "persona": v} for v in held}} for name, held in levels.items()
            },
            "questions": {"trust": {"text": "?", "options": {k: str(k) for k in range(1, 5)}}},
        }
    )
    survey = read_survey(study, people)
    grids = [grid_from_counts(count(survey), study, survey.countries, ("gender", "education"))]
    return distributions_table(grids, study, survey.countries), survey_effects(grids, study, survey.countries)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_shares_means_and_design_effects_equal_svys(people: pd.DataFrame, variant: str) -> None:
    cells, effects = ours(people, VARIANTS[variant])
    means = in_svy(people, VARIANTS[variant], "score")
    assert len(cells) == 4 * len(means) == 24
    for option in range(1, 5):
        theirs = in_svy(people, VARIANTS[variant], f"o{option}")
        for _, row in cells[cells["option"] == option].iterrows():
            found, mean = (each[row["gender"], row["education"]] for each in (theirs, means))
            assert row["p"] == pytest.approx(found.est, abs=1e-10)
            assert row["std_error"] == pytest.approx(found.se, abs=1e-10)
            assert row["n"] == found.n
            assert row["deff"] == pytest.approx(mean.deff, rel=1e-9)
    for _, row in effects.iterrows():
        held = {name: row[name] for name in ("gender", "education")}
        ends = (held | {row["attribute"]: row[level]} for level in ("reference", "treated"))
        a, b = (means[end["gender"], end["education"]] for end in ends)
        assert row["shift"] == pytest.approx(b.est - a.est, abs=1e-10)
        if "psu" not in VARIANTS[variant] and "strata" not in VARIANTS[variant]:  # the two cells share nobody
            assert row["std_error"] == pytest.approx(np.hypot(a.se, b.se), abs=1e-10)
