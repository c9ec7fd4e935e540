"""Rows of adjusting estimators: who they count, what they refuse, and that an audit writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.adjusted import adjusted_rows, used
from causal.audit import main
from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.ignorability import adjustment_check
from causal.overlap import Overlap, overlaps
from causal.propensities import Propensities
from causal.simulate import simulate
from causal.study import Study
from causal.survey import Survey, read_survey
from causal.tables import estimated_by, read_effects


def read(study: Study, data: pd.DataFrame) -> tuple[Survey, pd.DataFrame]:
    survey = read_survey(study, data)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, names) for names in subsets(study)]
    return survey, estimated_by(survey_effects(grids, study, survey.countries))


@pytest.fixture
def adjusting(raw: dict[str, Any]) -> Study:
    """Return the small study with an age to adjust for."""
    raw["covariates"] = {"age": {}}
    raw["effects"] |= {"estimator": ["cell", "aipw"]}
    return Study.from_dict(raw)


@pytest.fixture
def aged(respondents: pd.DataFrame) -> pd.DataFrame:
    """Return the small survey with an age, unknown of every fourth."""
    age = np.random.default_rng(0).integers(18, 90, len(respondents)).astype(float)
    return respondents.assign(age=np.where(np.arange(len(age)) % 4 == 0, np.nan, age))


def test_sizes_count_those_of_whom_everything_is_known(adjusting: Study, aged: pd.DataFrame) -> None:
    survey, cells = read(adjusting, aged)
    sizes = used(survey, cells)
    complete = aged.dropna(subset=["age", "sex", "edu", "residence"])
    for i in (0, 7, len(cells) // 2, len(cells) - 1):
        row = cells.iloc[i]
        codes = {"male": ["M"], "female": ["F"], "high": ["uni", "phd"], "middle": ["school"], "low": ["none"]}
        codes |= {"urban": ["city"], "rural": ["village"]}
        columns = {"gender": "sex", "education": "edu", "residence": "residence"}
        own = complete[complete["nation"] == row["country"]]
        answer = own[{"trust": "trust", "vote": "v"}[row["question"]]]
        own = own[answer.notna() & (answer != "dk")]
        for name in ("gender", "education", "residence"):
            if pd.notna(row[name]):
                own = own[own[columns[name]].isin(codes[row[name]])]
        for j, level in enumerate((row["reference"], row["treated"])):
            w = own.loc[own[columns[row["attribute"]]].isin(codes[level]), "w"]
            assert sizes[i, j] == len(w)
            assert sizes[i, 2 + j] == pytest.approx(w.sum() ** 2 / (w**2).sum() if len(w) else 0)


def test_support_asks_of_those_counted_what_it_asks_of_cells(adjusting: Study, aged: pd.DataFrame) -> None:
    survey, cells = read(adjusting, aged)
    rows = adjusted_rows(survey, cells)
    sizes = rows[["n_reference", "n_treated", "n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float)
    np.testing.assert_array_equal(rows["supported"], (sizes.min(axis=1) >= 10) & rows["shift"].notna())
    assert (cells["supported"] & ~rows["supported"]).any()
    assert not rows["q_value"][~rows["supported"]].notna().any()
    assert rows["q_value"][rows["supported"]].notna().all()
    assert set(rows["estimator"]) == {"aipw"}


def test_nothing_is_added_where_nothing_is_asked(study: Study, respondents: pd.DataFrame) -> None:
    assert len(adjusted_rows(*read(study, respondents))) == 0


def test_an_audit_writes_the_rows_and_the_check(tmp_path: Path) -> None:
    made = simulate(250, attributes=2, questions=2, age=0.8, seed=1)
    made.data.loc[::3, "age"] = np.nan
    made.data.to_csv(tmp_path / "simulated.csv", index=False)
    sections = made.study.model_dump(mode="json", exclude_none=True)
    sections["effects"]["estimator"] = ["cell", "pooled", "aipw"]
    Study.from_dict(sections).save(tmp_path / "study.yaml")
    assert main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")]) == 0
    table = read_effects(tmp_path / "run" / "survey_effects.parquet")
    assert table["estimator"].value_counts().to_dict() == dict.fromkeys(["cell", "pooled", "aipw"], len(table) // 3)
    found = {check["name"]: check for check in json.loads((tmp_path / "run" / "checks.json").read_text())}
    check = found["adjustment"]
    assert check["verdict"] == "warn"  # a third of the ages are unknown
    assert "gender for education, age" in check["meaning"]
    assert re.search(r"At most 3\d\.\d% of the respondents", check["meaning"])


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_count_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: list[str]) -> None:
    pd.DataFrame({"a": [0, 0, 1, 1], "q": "q", "o": [1, 2] * 2, "n": 20}).to_csv(tmp_path / "t.csv", index=False)
    level = {"lo": {"codes": [0], "persona": "one"}, "hi": {"codes": [1], "persona": "other"}}
    study = {
        "name": "counted",
        "survey": {
            "source": "t.csv",
            "country": {"constant": "X"},
            "counts": {"question": "q", "option": "o", "count": "n"},
        },
        "attributes": {"a": {"levels": level}},
        "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
        "effects": {"estimator": ["cell", "aipw"]},
    }
    Study.from_dict(study).save(tmp_path / "study.yaml")
    assert main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run"), *dry]) == 2
    assert "count table has no respondents" in capsys.readouterr().err
    assert not (tmp_path / "run" / "survey_effects.parquet").exists()


def overlap(**changes: Any) -> Overlap:
    plain = {"country": "X", "attribute": "a", "treated": "hi", "adjusted_for": ("b", "age"), "left_out": 0.1}
    plain |= {"bounded": 0.0, "n": 40, "n_eff": 30.0, "fitted": True, "lacks": False}
    return Overlap(**(plain | changes))


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "pass", "a for b, age"),
        ({"left_out": 0.3}, "warn", "At most 30.0%"),
        ({"bounded": 0.02}, "warn", "at most 2.0% have a probability"),
        ({"lacks": True, "bounded": 0.4, "n_eff": 3.0}, "warn", "lacking for a hi in Y (40% of people at the bound)"),
        ({"lacks": True, "bounded": 0.4, "n_eff": 3.0}, "warn", "counts for 30 of its 40 respondents (a hi in X)"),
        ({"fitted": False}, "warn", "Too few respondents to fit anything: a hi in Y"),
        ({"n_eff": 4.0, "n": 50}, "pass", "counts for 4 of its 50 respondents (a hi in Y)"),
    ],
)
def test_adjustment_check(changes: dict[str, Any], verdict: str, words: str) -> None:
    check = adjustment_check([overlap(), overlap(country="Y", **changes)])
    assert check.verdict == verdict
    assert words in check.meaning


def test_overlap_counts_by_hand() -> None:
    # Reference and treated level of one attribute, age known of all but ten of the hundred
    made = simulate(100, countries=1, attributes=1, questions=1, age=2.5, seed=3)
    made.data.loc[:9, "age"] = np.nan
    sections = made.study.model_dump(exclude_none=True)
    sections["effects"] |= {"estimator": ["cell", "aipw"]}
    survey, cells = read(Study.from_dict(sections), made.data)
    (found,) = overlaps(survey, cells, Propensities(survey))
    assert found.left_out == pytest.approx(0.1)
    assert found.adjusted_for == ("age",)
    assert found.fitted
    sizes = made.data["gender"][10:].value_counts()
    assert found.n in sizes.tolist()
    assert 1 <= found.n_eff < found.n
