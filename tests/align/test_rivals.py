"""Rivals by name: which there are, what each is, what is kept and what is made again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from align.fit import main
from align.rivals import RIVALS, make_rivals, rivals_asked, training_temperature, variant
from causal.errors import InputError
from causal.runs import RIVALS_STEP, Run
from causal.study import Study
from causal.tables import distributions_schema, read_distributions, read_effects, write_table
from diagnostics.inputs import load_inputs


@pytest.fixture
def argv(folder, run):
    return [str(folder / "study.yaml"), "--out", str(run.path)]


def with_fit(study: Study, **changes) -> Study:
    settings = type(study.fit).model_validate(study.fit.model_dump() | changes)
    return study.model_copy(update={"fit": settings})


def test_all_but_the_main_model_itself(study):
    assert rivals_asked(None, study, "ace") == ()
    assert rivals_asked("all", study, "ace") == tuple(name for name in RIVALS if name != "ace")
    assert rivals_asked("all", study, "mine") == RIVALS
    assert rivals_asked("uniform, anchor", study, "ace") == ("anchor", "uniform")
    assert rivals_asked("temperature", study, "ace") == ("base", "temperature"), "it is made from base"


def test_a_label_that_is_another_model_s_name_is_refused(study):
    other = with_fit(study, schedule=[{"epochs": 2, "effect": 1}], epochs=None)
    for label, said in (("ace", other), ("base", study), ("uniform", study)):
        with pytest.raises(InputError, match=f"--label {label} is also the name of a rival"):
            rivals_asked("all", said, label)
    assert rivals_asked("base", other, "ace") == ("base",)
    spelled = with_fit(study, schedule=[{"epochs": 1, "anchor": 1}, {"epochs": 1, "effect": 1}], epochs=None)
    assert "ace" not in rivals_asked("all", spelled, "ace")


def test_an_unknown_rival_names_the_nearest(argv, capsys):
    assert main([*argv, "--baselines", "base,ankor"]) == 2
    assert "did you mean anchor?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("schedule", "epochs", "total"),
    [("paper", 4, 4), ([{"epochs": 1, "anchor": 2}, {"epochs": 2, "effect": 5, "level_w1": 1}], None, 3)],
)
def test_trained_rivals_differ_by_their_schedule_alone(study, schedule, epochs, total):
    own = with_fit(study, schedule=schedule, epochs=epochs, weights="precision", seed=4, lora={"rank": 3})
    for name in ("anchor", "effect", "level_kl"):
        (stage,) = variant(own, name).fit.stages
        assert (stage.epochs, stage.weights) == (total, {name: 1.0})
    paper = variant(own, "ace").fit.stages
    assert [stage.weights for stage in paper] == [{"anchor": 1.0}, {"effect": 1.0}]
    assert [stage.epochs for stage in paper] == [2, 2]
    for name in ("anchor", "effect", "level_kl", "ace"):
        fit = variant(own, name).fit
        assert fit.model_dump(exclude={"schedule", "epochs"}) == own.fit.model_dump(exclude={"schedule", "epochs"})
        assert variant(own, name).prompt == own.prompt
    reflecting = variant(own, "anthropological")
    assert (reflecting.prompt.style, reflecting.fit) == ("anthropological", own.fit)


STOPPED = ["--set", "fit.schedule=effect", "--set", "fit.early_stopping={questions: [taxes]}"]


@pytest.mark.parametrize("asked", ["all", "ace,uniform"])
def test_the_paper_s_schedule_with_one_last_epoch_to_choose_from_is_refused_before_training(run, argv, capsys, asked):
    assert main([*argv, "--label", "mine", "--baselines", asked, *STOPPED, "--set", "fit.epochs=2"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "--baselines ace" in said
    assert "raise fit.epochs to 4 or more" in said
    assert "leave ace out" in said
    assert not run.model("mine").exists(), "refused before anything is trained"


def test_early_stopping_goes_with_the_paper_s_schedule_from_three_epochs_in_all(study):
    """Halved, four epochs leave two to choose from; an odd three are rounded up to them."""
    stopping = {"schedule": "effect", "early_stopping": {"questions": ["taxes"]}}
    for epochs in (3, 4):
        paper = variant(with_fit(study, epochs=epochs, **stopping), "ace").fit.stages
        assert [stage.epochs for stage in paper] == [2, 2]
    for name in ("anchor", "level_kl"):
        assert variant(with_fit(study, epochs=2, **stopping), name).fit.stages[0].epochs == 2


def tables(run, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = run.model(label)
    return read_distributions(folder / "distributions.parquet"), read_effects(folder / "effects.parquet")


def test_rivals_without_training(run, argv, study, capsys):
    untrained = ["base", "anthropological", "temperature", "marginal", "uniform"]
    assert main([*argv, "--label", "mine", "--baselines", ",".join(untrained)]) == 0
    said = capsys.readouterr().out
    assert "rival 2 of 5: anthropological" in said
    assert run.labels() == ["mine", *untrained]
    assert run.inputs(RIVALS_STEP) == {"main": "mine", "rivals": untrained}
    base, reflecting = tables(run, "base")[0], tables(run, "anthropological")[0]
    assert np.abs(base["p"] - reflecting["p"]).max() > 1e-3
    assert run.inputs("measure/anthropological")["prompt"]["style"] == "anthropological"
    assert Study.load(run.study_path).prompt.style == "plain", "the run's study is the one its user wrote"
    options = base.groupby(["country", "question", "gender", "place"])["option"].transform("size")
    uniform, still = tables(run, "uniform")
    np.testing.assert_allclose(uniform["p"].sort_values(), (1 / options).sort_values())
    shares, also_still = tables(run, "marginal")
    for effects in (still, also_still):
        assert (effects["shift"] == 0).all()
        assert (effects["estimator"] == "model").all()
    survey = read_distributions(run.survey_distributions).astype({"n": float})
    one = survey[(survey["country"] == "SE") & (survey["question"] == "taxes")]
    expected = [np.average(rows["p"], weights=rows["n"]) for _, rows in one.groupby("option")]
    theirs = shares[(shares["country"] == "SE") & (shares["question"] == "taxes")]
    np.testing.assert_allclose(theirs["p"].to_numpy().reshape(4, 4), np.tile(expected, (4, 1)))
    temperature = run.inputs("measure/temperature")["temperature"]
    scaled = base["p"] ** (1 / temperature)
    cell = [base[name] for name in ("country", "question", "gender", "place")]
    np.testing.assert_allclose(tables(run, "temperature")[0]["p"], scaled / scaled.groupby(cell).transform("sum"))


def test_the_model_without_an_adapter_is_scored_once_for_all_that_are_trained(run, argv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("causal.progress._SECONDS", 0.0)
    alone = Run(tmp_path / "alone")
    shutil.copytree(run.path, alone.path)
    assert main([argv[0], "--out", str(alone.path), "--label", "mine", "--set", "fit.schedule=effect"]) == 0
    capsys.readouterr()
    assert main([*argv, "--label", "mine", "--baselines", "effect"]) == 0
    told = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if line.startswith("scores")]
    assert list(dict.fromkeys(told)) == ["scores before mine", "scores after mine", "scores after effect"]
    cards = [
        (of.model(label) / "adapter" / "README.md").read_text() for of, label in ((run, "effect"), (alone, "mine"))
    ]
    scores = [[line for line in card.splitlines() if line.startswith("| held-out")] for card in cards]
    assert scores[0] == scores[1] != []


def test_a_rival_s_variant_does_not_become_the_run_s_study(run, argv):
    assert main([*argv, "--label", "mine", "--baselines", "anthropological,effect"]) == 0
    kept = Study.load(run.study_path)
    assert (kept.prompt.style, kept.fit.schedule) == ("plain", "paper")
    assert main([*argv, "--label", "mine", "--baselines", "anthropological"]) == 0
    assert run.rivals() == ["anthropological", "effect"], "those made earlier are still rivals"


def test_the_temperature_is_chosen_on_the_training_cells_alone(run, study):
    """A model whose answers are the survey's squared is right at T = 2; on the held-out question it is so at T = 5."""
    survey = read_distributions(run.survey_distributions).astype({"p": float})
    power = survey["question"].map({"trust": 2.0, "taxes": 2.0, "work": 5.0})
    cell = [survey[name] for name in ("country", "question", "gender", "place")]
    p = survey["p"] ** power
    model = survey.assign(p=p / p.groupby(cell).transform("sum"))
    assert study.fit.held_out.questions == ("work",)
    assert training_temperature(study, run, model) == pytest.approx(2, rel=1e-4)
    assert training_temperature(study, run, model.sample(frac=1, random_state=1)) == pytest.approx(2, rel=1e-4)
    others = with_fit(study, held_out={"questions": ["trust", "taxes"]})
    assert training_temperature(others, run, model) == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize(("power", "said"), [(100, "the highest looked at"), (0.01, "the lowest looked at")])
def test_a_temperature_that_is_as_far_as_one_looks_is_said(run, argv, study, monkeypatch, capsys, power, said):
    survey = read_distributions(run.survey_distributions)
    cell = [survey[name] for name in ("country", "question", "gender", "place")]
    p = survey["p"].astype(float) ** power
    base = survey.assign(p=p / p.groupby(cell).transform("sum"))
    path = run.model("base") / "distributions.parquet"
    write_table(base, path, distributions_schema(list(study.attributes)))
    monkeypatch.setattr("align.measure.measure_once", lambda *_: None)
    monkeypatch.setattr("align.rivals._write", lambda *_: None)
    make_rivals(study, run, "no model", "mine", ("base", "temperature"), lambda _: None)
    assert said in capsys.readouterr().out


def test_a_temperature_did_not_see_what_chooses_epochs(folder, run, argv):
    asked = [*argv, "--set", "fit.early_stopping.questions=[taxes]", "--set", "fit.epochs=4"]
    assert main([*asked, "--label", "mine", "--baselines", "temperature"]) == 0
    seen = {model.label: model.validation for model in load_inputs(str(run.path)).everyone}
    assert seen == {"base": (), "mine": ("taxes",), "temperature": ("taxes",)}


def test_the_temperature_weighs_toggles_as_training_does(run, study):
    """Against a plain search over T with the weights written out."""
    from align.targets import targets

    rng = np.random.default_rng(2)
    survey = read_distributions(run.survey_distributions).astype({"p": float})
    cell = [survey[name] for name in ("country", "question", "gender", "place")]
    p = survey["p"] ** rng.uniform(0.5, 4, len(survey))
    model = survey.assign(p=p / p.groupby(cell).transform("sum"))
    precise = with_fit(study, weights="precision")
    place = model.set_index(["country", "question", "gender", "place"]).sort_values("option")["p"]

    def loss(temperature: float) -> float:
        total = 0.0
        for target in targets(precise, read_effects(run.survey_effects))["trained"]:
            for low, high, p0, p1, weight in zip(
                target.reference, target.treated, target.p_reference, target.p_treated, target.weight, strict=True
            ):
                for end, ours in ((low, p0), (high, p1)):
                    who = target.personas[end]
                    q = place.loc[(target.country, target.question, who["gender"], who["place"])] ** (1 / temperature)
                    total -= weight / target.weight.sum() * (ours * np.log(q / q.sum())).sum()
        return total

    found = training_temperature(precise, run, model)
    grid = np.geomspace(found / 1.05, found * 1.05, 21)
    assert np.argmin([loss(one) for one in grid]) == 10
    assert found != pytest.approx(training_temperature(study, run, model), rel=1e-4)


def test_a_tuned_model_is_not_overwritten_by_a_rival(run, argv, capsys):
    assert main([*argv, "--label", "uniform"]) == 0
    capsys.readouterr()
    assert main([*argv, "--baselines", "anchor,uniform"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "label uniform" in said
    assert "leave it out of --baselines" in said
    assert set(adapters(run)) == {"uniform"}, "refused before the main model and the other rivals are trained"


def test_a_rival_that_could_not_be_asked_is_refused_before_anything_is_trained(folder, run, argv, monkeypatch, capsys):
    """A context that the plain prompts fit into and the anthropological ones do not."""
    monkeypatch.setattr("align.questions._context", lambda config: 400)
    assert main([*argv, "--baselines", "anchor,anthropological"]) == 2
    assert "the model's context has 400" in capsys.readouterr().err
    assert not adapters(run)
    assert main([*argv, "--baselines", "anchor"]) == 0


def adapters(run) -> dict[str, int]:
    paths = (run.path / "models").glob("*/adapter/adapter_model.safetensors")
    return {path.parts[-3]: path.stat().st_mtime_ns for path in paths}


def written(run) -> dict[str, int]:
    return {path.parts[-2]: path.stat().st_mtime_ns for path in (run.path / "models").glob("*/distributions.parquet")}


@pytest.mark.slow
def test_all_rivals_are_made_once_compared_and_made_again_only_where_something_changed(run, argv, capsys):
    from diagnostics.report import main as report

    everything = [*argv, "--label", "mine", "--baselines", "all", "--set", "fit.schedule=effect"]
    assert main(everything) == 0
    assert set(run.labels()) == {"mine", *RIVALS}
    assert set(adapters(run)) == {"mine", "anchor", "effect", "ace", "level_kl"}
    first, made = adapters(run), written(run)
    files = [run.model(name) / "adapter" / "adapter_model.safetensors" for name in ("mine", "effect", "level_kl")]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()

    assert main(everything) == 0
    assert capsys.readouterr().out.count(": kept,") == 5 + 10, "five trainings, and everybody's tables"
    assert (adapters(run), written(run)) == (first, made), "nothing is made twice"

    assert report([str(run.path)]) == 0
    shown = capsys.readouterr().out
    compared = json.loads((run.path / "scores.json").read_text())["comparison"]
    assert list(compared) == ["held_out", "trained", "all"]
    for part in compared.values():
        assert set(part) >= {"mine", *RIVALS, "perfect model"}
    assert all(name in shown for name in RIVALS)

    changed = [word.replace("fit.schedule=effect", "fit.schedule=anchor") for word in everything]
    assert main(changed) == 0
    again = adapters(run)
    assert [name for name in first if again[name] != first[name]] == ["mine"], "a schedule is the main model's alone"
    assert main([*changed, "--set", "fit.seed=3"]) == 0
    last, remade = adapters(run), written(run)
    assert all(last[name] != again[name] for name in last), "training depends on the seed"
    assert {name for name in made if remade[name] == made[name]} == {
        "base",
        "anthropological",
        "temperature",
        "marginal",
        "uniform",
    }
    shutil.rmtree(run.model("anchor") / "adapter")
    assert main([*changed, "--set", "fit.seed=3"]) == 0
    assert {name for name, at in adapters(run).items() if at != last[name]} == {"anchor"}
