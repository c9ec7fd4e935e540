"""The score tables against independent recomputations from the two tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.ceiling import toggle_sizes
from causal.runs import Run
from causal.study import Study
from causal.tables import read_distributions, read_effects
from diagnostics.ceiling import perfect_toggles
from diagnostics.classify import CLASSES
from diagnostics.diagnosis import MARGINAL, NO_EFFECT, PERFECT, UNIFORM, diagnose, supported_cells
from diagnostics.inputs import load_inputs
from diagnostics.report import main
from diagnostics.scores import scores

KEY = ["country", "question", "gender", "home"]


def _merged(run: Run, label: str) -> pd.DataFrame:
    survey = read_distributions(run.survey_distributions)
    model = read_distributions(run.model(label) / "distributions.parquet")
    return survey.merge(model[[*KEY, "option", "p"]], on=[*KEY, "option"], suffixes=("", "_model"))


def test_alignment_equals_a_plain_loop(compared: Run) -> None:
    expected: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _, cell in _merged(compared, "base").groupby(KEY, dropna=False):
        cell = cell.sort_values("option")
        w1 = (cell["p"].cumsum() - cell["p_model"].cumsum()).abs().sum()
        expected[cell["granularity"].iloc[0]].append(100 * (1 - w1 / 2))
    inputs = load_inputs(str(compared.path))
    numbers = scores(inputs, diagnose(inputs))["labels"]["base"]["splits"]["all"]
    assert numbers["S"] == pytest.approx(np.mean(np.concatenate(list(expected.values()))))
    for granularity, values in expected.items():
        item = numbers["by_granularity"][str(granularity)]
        assert (item["S"], item["cells"]) == (pytest.approx(np.mean(values)), len(values))


def test_toggles_equal_a_plain_loop(compared: Run) -> None:
    survey, model = read_effects(compared.survey_effects), read_effects(compared.model("base") / "effects.parquet")
    both = survey.merge(
        model, on=["country", "question", "attribute", "reference", "treated", "gender", "home"], suffixes=("", "_m")
    )
    rows = diagnose(load_inputs(str(compared.path))).models
    rows = rows[rows["label"] == "base"]
    assert len(rows) == survey["supported"].sum() == len(both)
    for (_, found), (_, row) in zip(rows.iterrows(), both.iterrows(), strict=True):
        ours = np.cumsum(np.subtract(row["p_treated"], row["p_reference"]))
        theirs = np.cumsum(np.subtract(row["p_treated_m"], row["p_reference_m"]))
        assert found["distance"] == pytest.approx(np.abs(ours - theirs).mean())
        assert (found["delta_m"], found["delta_d"]) == (row["shift_m"], row["shift"])


def test_reference_rows(compared: Run, toy: SimpleNamespace) -> None:
    """Uniform toy.answers and no effect need no model; the perfect model beats both labels' rivals."""
    survey = read_effects(compared.survey_effects)
    still = np.mean(
        [
            np.abs(np.cumsum(np.subtract(t, r))).mean()
            for r, t in zip(survey["p_reference"], survey["p_treated"], strict=True)
        ]
    )
    found = diagnose(load_inputs(str(compared.path)))
    item = scores(load_inputs(str(compared.path)), found)["labels"]["base"]["splits"]["all"]
    assert item["effect_distance_no_effect"] == pytest.approx(still)
    assert item["effect_distance_ceiling"] < item["effect_distance"] < item["effect_distance_no_effect"]
    assert item["S_uniform"] < item["S"] < item["S_ceiling"]
    assert sum(item["classes_ceiling"].values()) == pytest.approx(1)
    assert set(found.cells["label"]) == {"base", "ace", PERFECT, UNIFORM, MARGINAL}
    assert set(found.toggles["label"]) == {"base", "ace", PERFECT, NO_EFFECT}


def test_the_eraser_erases_and_training_helps(compared: Run) -> None:
    inputs = load_inputs(str(compared.path))
    found = diagnose(inputs)
    numbers = scores(inputs, found)
    base, ace = (numbers["labels"][label]["splits"]["held_out"] for label in ("base", "ace"))
    assert base["classes"]["erased"] > 0.5
    assert ace["classes"]["aligned"] > base["classes"]["aligned"]
    assert numbers["changes"]["ace"]["held_out"]["difference"] == pytest.approx(
        ace["effect_distance"] - base["effect_distance"]
    )
    assert numbers["changes"]["ace"]["held_out"]["questions"] == 2
    assert numbers["changes"]["ace"]["held_out"]["effect_of_training"] is True
    np.testing.assert_allclose(found.models[[f"p_{name}" for name in CLASSES]].sum(axis=1), 1)


def test_splits_divide_the_toggles(compared: Run) -> None:
    inputs = load_inputs(str(compared.path))
    splits = scores(inputs, diagnose(inputs))["labels"]["base"]["splits"]
    assert splits["trained"]["toggles"] + splits["held_out"]["toggles"] == splits["all"]["toggles"]


def test_unsupported_cells_and_toggles_stay_out(tmp_path: Path, toy: SimpleNamespace) -> None:
    study = Study.from_dict(toy.raw())
    data = toy.answers(n=60)
    data = data[~((data["gender"] == 1) & (data["home"] == 1)) | (data.index < 12)]
    run = toy.make_run(tmp_path / "run", study, data)
    toy.add_label(run, study, "base", toy.shrunk)
    survey, counts = read_effects(run.survey_effects), read_distributions(run.survey_distributions)
    found = diagnose(load_inputs(str(run.path)))
    assert 0 < survey["supported"].sum() < len(survey)
    assert len(found.models) == survey["supported"].sum()
    enough = counts[(counts["n"] >= 10) & (counts["option"] == 1)]
    assert (found.cells["label"] == "base").sum() == len(enough) < (counts["option"] == 1).sum()


def test_the_perfect_model_s_effects_are_smaller_than_the_survey_s(tmp_path: Path, toy: SimpleNamespace) -> None:
    """By what the standard errors say of each attribute: sqrt(1 - sum(se^2) / sum(shift^2)), by a plain loop."""
    study = Study.from_dict(toy.raw())
    run = toy.make_run(tmp_path / "run", study, toy.answers(n=300))
    toy.add_label(run, study, "base", toy.shrunk)
    found = diagnose(load_inputs(str(run.path))).toggles
    perfect = found[found["label"] == PERFECT].reset_index(drop=True)
    survey = read_effects(run.survey_effects)
    survey = survey[survey["supported"]].reset_index(drop=True)
    share = np.empty(len(survey))
    for name in study.attributes:
        own = (survey["attribute"] == name).to_numpy()
        noise, size = (survey.loc[own, "std_error"] ** 2).sum(), (survey.loc[own, "shift"] ** 2).sum()
        share[own] = np.sqrt(max(0, 1 - noise / size))
    assert (share < 0.97).all()
    ends = [np.stack(survey[f"p_{end}"]) for end in ("reference", "treated")]
    classes = perfect_toggles(*ends, *toggle_sizes(survey), np.full(len(survey), 3), study.diagnosis.tau, share).classes
    np.testing.assert_allclose(perfect[list(CLASSES)].to_numpy(), classes)


def test_cells_count_as_supported_where_toggles_do(compared: Run) -> None:
    """Ten weights of .05, summed one after the other, give n_eff a hair below ten."""
    inputs = load_inputs(str(compared.path))
    weights = np.full(10, 0.05)
    n_eff = np.bincount(np.zeros(10, dtype=int), weights)[0] ** 2 / np.bincount(np.zeros(10, dtype=int), weights**2)[0]
    assert 10 - 1e-9 < n_eff < 10
    table = inputs.distributions.assign(n=10, n_eff=n_eff)
    assert len(supported_cells(replace(inputs, distributions=table)).keys) == len(supported_cells(inputs).keys) > 0


def test_a_question_that_nobody_answered_may_be_the_widest(tmp_path: Path, toy: SimpleNamespace) -> None:
    """A model is asked it all the same; the survey's table does not have it."""
    study = Study.from_dict(toy.raw())
    run = toy.make_run(tmp_path / "run", study)
    toy.add_label(run, study, "base", toy.shrunk)
    inputs = load_inputs(str(run.path))
    (model,) = inputs.models
    first = model.distributions[model.distributions["question"] == "q0"]
    extra = pd.concat([first[first["option"] == 1].assign(question="wide", option=k, p=0.2) for k in range(1, 6)])
    asked = replace(model, distributions=pd.concat([model.distributions, extra], ignore_index=True))
    before, after = diagnose(inputs).cells, diagnose(replace(inputs, models=(asked,))).cells
    pd.testing.assert_frame_equal(before, after)


def test_adjacent_steps_and_ranges_are_diagnosed_row_for_row(tmp_path: Path, toy: SimpleNamespace) -> None:
    raw = toy.raw()
    raw["attributes"]["age"] = {
        "contrasts": "adjacent",
        "levels": {
            "young": {"range": [None, 35], "persona": "under 35"},
            "middle": {"range": [35, 60], "persona": "35 to 59"},
            "old": {"range": [60, None], "persona": "60 or more"},
        },
    }
    study, data = Study.from_dict(raw), toy.answers()
    run = toy.make_run(tmp_path / "run", study, data.assign(age=np.random.default_rng(1).integers(18, 90, len(data))))
    toy.add_label(run, study, "base", toy.shrunk)
    assert Study.load(run.study_path).attributes == study.attributes
    survey, rows = read_effects(run.survey_effects), diagnose(load_inputs(str(run.path))).models
    kept = survey[survey["supported"]].reset_index(drop=True)
    steps = kept[kept["attribute"] == "age"]
    assert set(zip(steps["reference"], steps["treated"], strict=True)) == {("young", "middle"), ("middle", "old")}
    names = ["question", "attribute", "reference", "treated", "gender", "home", "age"]
    pd.testing.assert_frame_equal(rows[names], kept[names])
    np.testing.assert_allclose(rows["delta_m"], 0.1 * kept["shift"], atol=1e-12)  # a tenth of the way from uniform
    assert main([str(run.path), "--quiet"]) == 0
    assert "Of age, each level is compared with the one before it" in (run.path / "report.html").read_text()
