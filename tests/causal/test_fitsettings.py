"""The schedule and its stages, as a study file gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from causal.errors import InputError
from causal.fitsettings import FitSettings, Stage
from causal.study import Study

RAW = {
    "name": "x",
    "survey": {"source": "a.csv", "country": "land", "countries": {"NO": "Norway", "SE": "Sweden"}},
    "attributes": {
        "gender": {"levels": {"male": {"codes": [1], "persona": "m"}, "female": {"codes": [2], "persona": "f"}}},
        "home": {"levels": {"city": {"codes": [1], "persona": "c"}, "farm": {"codes": [2], "persona": "v"}}},
    },
    "questions": {name: {"text": "?", "options": {1: "a", 2: "b"}} for name in ("q1", "q2")},
}


def study(fit: Any, **changes: Any) -> Study:
    return Study.from_dict(RAW | {"fit": fit} | changes)


def complaint(fit: Any, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        study(fit, **changes)
    return str(caught.value)


def test_named_schedules_spelled_out() -> None:
    assert FitSettings().stages == (Stage(epochs=1, anchor=1), Stage(epochs=1, effect=1))
    assert FitSettings(epochs=6).stages == (Stage(epochs=3, anchor=1), Stage(epochs=3, effect=1))
    assert FitSettings(schedule="effect", epochs=3).stages == (Stage(epochs=3, effect=1),)
    assert FitSettings(schedule="anchor").stages == (Stage(epochs=2, anchor=1),)
    assert FitSettings(schedule="level_kl", epochs=5).stages == (Stage(epochs=5, level_kl=1),)
    assert FitSettings(schedule="best", epochs=3).stages == (Stage(epochs=3, level_w1=1, effect=10),)


def test_stages_are_taken_as_they_are() -> None:
    fit = study({"schedule": [{"epochs": 2, "level_kl": 1, "effect": 100}, {"epochs": 1, "level_w1": 0.5}]}).fit
    assert [(stage.epochs, stage.weights) for stage in fit.stages] == [
        (2, {"effect": 100.0, "level_kl": 1.0}),
        (1, {"level_w1": 0.5}),
    ]


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ({"schedule": [{"epochs": 1, "efect": 1}]}, "fit.schedule.0.efect: unknown key; did you mean 'effect'?"),
        ({"schedule": [{"epochs": 1, "level_lk": 1}]}, "did you mean 'level_kl'?"),
        ({"schedule": [{"epochs": 1}]}, "fit.schedule.0: no objective has a weight above 0; give one of anchor"),
        ({"schedule": [{"epochs": 1, "effect": 0}]}, "no objective has a weight above 0"),
        ({"schedule": [{"effect": 1}]}, "fit.schedule.0.epochs: this key is required and missing"),
        ({"schedule": [{"epochs": 0, "effect": 1}]}, "fit.schedule.0.epochs: Input should be greater than or equal"),
        ({"schedule": [{"epochs": 1, "effect": -1}]}, "fit.schedule.0.effect: Input should be greater than or equal"),
        ({"schedule": [{"epochs": 1, "effect": float("inf")}]}, "fit.schedule.0.effect: Input should be a finite"),
        ({"schedule": []}, "schedule is an empty list; give at least one stage"),
        ({"schedule": {"epochs": 1, "effect": 1}}, "fit.schedule: Input should be a list"),
        ({"schedule": "papre"}, "'paper', 'best', 'anchor', 'effect' or 'level_kl' (given: 'papre')"),
        ({"epochs": 2, "schedule": [{"epochs": 1, "effect": 1}]}, "epochs: 2 is given beside a list of stages"),
        ({"epochs": 3}, "3 is odd"),
        ({"weights": "n"}, "fit.weights: Input should be 'equal' or 'precision'"),
        ({"held_out": {"personas": [{"gendre": "male"}]}}, "unknown attribute 'gendre'; did you mean 'gender'?"),
        ({"held_out": {"personas": [{"gender": "femal"}]}}, "gender has no level 'femal'; did you mean 'female'?"),
        ({"held_out": {"personas": [{"home": "x"}]}}, "home has no level 'x'; known are city, farm"),
        ({"held_out": {"personas": [{}]}}, "fit.held_out.personas.0: It should have at least one"),
        ({"held_out": {"personas": {"gender": "male"}}}, "fit.held_out.personas: Input should be a list"),
        ({"early_stopping": {"questions": ["q1"]}}, "early_stopping chooses among the epochs of the last stage"),
        ({"epochs": 4, "early_stopping": {"questions": ["q3"]}}, "unknown question 'q3'; known are q1, q2"),
        ({"epochs": 4, "early_stopping": {"questions": []}}, "fit.early_stopping.questions"),
        ({"epochs": 4, "early_stopping": {"questions": ["q1"], "patience": 0}}, "fit.early_stopping.patience"),
        (
            {"epochs": 4, "early_stopping": {"questions": ["q1", "q2"]}},
            "every question is held out or chooses the epoch",
        ),
        (
            {"epochs": 4, "early_stopping": {"questions": ["q1"]}, "held_out": {"questions": ["q1"]}},
            "'q1' is held out (fit.held_out.questions), so it may not choose the epoch",
        ),
        ({"batch": 0}, "fit.batch: Input should be greater than or equal to 1"),
        ({"warmup": 1}, "fit.warmup: Input should be less than 1"),
        ({"clip": 0}, "fit.clip: Input should be greater than 0"),
        ({"checkpoint_activations": "yes"}, "fit.checkpoint_activations: Input should be 'auto', 'always' or 'never'"),
        ({"lora": {"targets": []}}, "fit.lora.targets"),
        ({"held_out": {"countries": ["N0"]}}, "country 'N0' is not among those that survey.countries names"),
    ],
)
def test_what_cannot_be_is_refused(fit: dict[str, Any], expected: str) -> None:
    message = complaint(fit)
    assert expected in message
    assert message.startswith("study: 1 problem"), "one mistake, one message"


@pytest.mark.parametrize("persona", [{"gender": "male"}, {"gender": "male", "home": "city"}])
def test_held_out_personas_whose_answers_would_be_in_coarser_ones_are_refused(persona: dict[str, str]) -> None:
    """With one attribute at a time, the cell of all city people holds the answers of city men."""
    both = {"held_out": {"personas": [persona]}}
    message = complaint(both, effects={"granularity": [0, 1]})
    assert "fit.held_out.personas.0: personas are trained with 1 of 2 attributes (effects.granularity)" in message
    assert "add 2 to effects.granularity" in message
    study(both)
    study(both, effects={"granularity": [1, "full"]})


@pytest.mark.parametrize(
    "fit",
    [
        {},
        {"schedule": [{"epochs": 2, "effect": 1}], "held_out": {"countries": "NO"}},
        {"epochs": 4, "early_stopping": {"questions": ["q1"]}, "lora": {"targets": ["q_proj"]}, "clip": 1.0},
    ],
)
def test_a_saved_study_loads_again(tmp_path: Path, fit: dict[str, Any]) -> None:
    first = study(fit)
    first.save(tmp_path / "study.yaml")
    assert Study.load(tmp_path / "study.yaml").fit == first.fit


def test_one_target_of_lora_is_a_list_of_one() -> None:
    assert study({"lora": {"targets": "q_proj"}}).fit.lora.targets == ("q_proj",)
    assert study({"lora": {"targets": ["q_proj", "v_proj"]}}).fit.lora.targets == ("q_proj", "v_proj")
    assert study({}).fit.lora.targets == "all-linear"


def test_set_reads_a_schedule_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    study({}).save(path)
    path.write_text(path.read_text().split("\nfit:")[0] + "\n")
    loaded = Study.load(path, ["fit.schedule=[{epochs: 1, anchor: 1}]"])
    assert loaded.fit.stages == (Stage(epochs=1, anchor=1),)
    line = path.read_text().count("\n") + 4
    path.write_text(path.read_text() + "fit:\n  schedule:\n    - epochs: 1\n      efect: 1\n")
    with pytest.raises(InputError, match=rf"line {line}: fit\.schedule\.0\.efect"):
        Study.load(path)


@pytest.mark.parametrize("key", ["learning_rate", "clip"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0, -1e-3])
def test_a_rate_or_a_bound_that_no_step_can_take_is_refused(key, value):
    assert f"fit.{key}" in complaint({key: value})
