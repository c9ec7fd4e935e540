from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from families import save

from align.checkpoints import Checkpoint
from align.fit import main
from causal.audit import main as audit
from causal.runs import file_hash
from causal.study import Study
from causal.tables import read_distributions, toggles_fingerprint
from diagnostics.report import main as report


@pytest.fixture
def argv(folder, run):
    return [str(folder / "study.yaml"), "--out", str(run.path)]


def test_a_fit_leaves_adapter_card_log_and_tables(run, argv, capsys):
    assert main(argv) == 0
    ace = run.model("ace")
    assert {path.name for path in ace.iterdir()} == {
        "adapter",
        "distributions.parquet",
        "effects.parquet",
        "off_options.parquet",
        "train.jsonl",
    }
    log = [json.loads(line) for line in (ace / "train.jsonl").read_text().splitlines()]
    assert {line["question"] for line in log} == {"trust", "taxes"}, "work is held out"
    card = (ace / "adapter" / "README.md").read_text()
    assert "Trained on: trust, taxes; in Norway, Sweden.\nHeld out: questions work.\n" in card
    assert "Schedule (`paper`): 1 epoch of 1 x `anchor`, then 1 epoch of 1 x `effect`." in card
    assert card.count("| held-out questions | ") == 3
    record = json.loads(run.manifest_path.read_text())["steps"]["fit/ace"]["inputs"]
    assert file_hash(run.survey_effects) in card
    assert record["survey_toggles"] == toggles_fingerprint(run.survey_effects, ["gender", "place"])
    assert record["fit"]["held_out"] == {"questions": ["work"], "personas": [], "countries": [], "respondents": None}
    config = json.loads((ace / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.05)
    assert config["base_model_name_or_path"] == Study.load(argv[0]).model.name, "a folder"
    assert card.startswith("---\nlibrary_name: peft\ntags:"), "no folder of ours as a model of the hub"
    assert config["target_modules"] == sorted(config["target_modules"]), "the same bytes in equal runs"
    assert "**Prompt.** Layout `question-first`, options as `letters`, style `plain`." in card
    assert not list((ace / "adapter").glob("*.bin")), "safetensors only"
    assert str(ace / "adapter") in capsys.readouterr().out


def test_scoring_what_is_held_out_says_how_far_it_is(argv, monkeypatch, capsys):
    monkeypatch.setattr("causal.progress._SECONDS", 0.0)
    assert main(argv) == 0
    told = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines() if line.startswith("scores")]
    assert told == [f"scores {when} ace: {done} of 2" for when in ("before", "after") for done in (1, 2)]


def test_the_adapter_measured_by_itself_gives_the_same_table(run, argv):
    """Loads the adapter with plain peft, in a fresh model, and measures that."""
    from align.measure import main as measure

    assert main(argv) == 0
    adapter = str(run.model("ace") / "adapter")
    assert measure([*argv, "--label", "again", "--adapter", adapter]) == 0
    assert measure([*argv, "--label", "base"]) == 0
    ace, again, base = (
        read_distributions(run.model(name) / "distributions.parquet")["p"] for name in ("ace", "again", "base")
    )
    np.testing.assert_allclose(ace, again, atol=1e-6)
    assert np.abs(ace - base).max() > 0.01, "training must have moved something"


def test_plain_transformers_and_peft_give_the_same_option_probabilities(study, run, argv):
    """Our code only words the prompt: the template, the tokens and the sums are done here, one row per option."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from align.measure import main as measure
    from align.prompts import wording

    assert main(argv) == 0
    adapter = run.model("ace") / "adapter"
    assert measure([*argv, "--label", "again", "--adapter", str(adapter)]) == 0
    table = read_distributions(run.model("again") / "distributions.parquet")
    tokenizer = AutoTokenizer.from_pretrained(study.model.name)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(study.model.name), str(adapter)).eval()
    seen = 0
    for (country, question, gender, place), rows in table.groupby(["country", "question", "gender", "place"]):
        asked = wording(study, country, question, {"gender": gender, "place": place})
        chat = [{"role": "user", "content": asked.prompt}]
        start = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        before = tokenizer(start, add_special_tokens=False)["input_ids"]
        sums = []
        for option in asked.options:
            ids = tokenizer(start + option, add_special_tokens=False, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logp = model(ids).logits[0].log_softmax(-1)
            sums.append(sum(logp[i - 1, ids[0, i]] for i in range(len(before), ids.shape[1])))
        np.testing.assert_allclose(torch.stack(sums).softmax(0), rows.sort_values("option")["p"], atol=1e-4)
        seen += len(rows)
    assert seen == len(table)


def test_finished_training_is_kept_until_an_input_changes(run, argv, capsys):
    assert main(argv) == 0
    written = (run.model("ace") / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    assert main(argv) == 0
    assert "kept" in capsys.readouterr().out
    assert (run.model("ace") / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == written
    assert main([*argv, "--set", "fit.seed=1"]) == 0
    assert (run.model("ace") / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns != written


def test_training_is_reproducible(run, argv):
    assert main([*argv, "--label", "one"]) == 0
    assert main([*argv, "--label", "two"]) == 0
    files = [run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_supported_is_exit_2(folder, tmp_path, capsys):
    from causal.audit import audit_survey
    from causal.runs import Run
    from causal.study import Study
    from causal.survey import read_survey

    strict = ["--set", "effects.support=500"]
    study = Study.load(folder / "study.yaml", strict[1:])
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(study), run)
    assert main([str(folder / "study.yaml"), "--out", str(run.path), *strict]) == 2
    assert "no toggle" in capsys.readouterr().err


def test_a_lost_table_is_measured_again_without_training(run, argv, capsys):
    assert main(argv) == 0
    written = (run.model("ace") / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    first = read_distributions(run.model("ace") / "distributions.parquet")["p"]
    (run.model("ace") / "distributions.parquet").unlink()
    assert main(argv) == 0
    assert "kept" in capsys.readouterr().out
    assert (run.model("ace") / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == written
    np.testing.assert_allclose(read_distributions(run.model("ace") / "distributions.parquet")["p"], first, atol=1e-6)


def test_killed_between_training_and_measuring(run, argv, monkeypatch):
    import align.measure

    def killed(*_):
        raise KeyboardInterrupt

    assert main(argv) == 0
    with monkeypatch.context() as patched:
        patched.setattr(align.measure, "measure_model", killed)
        assert main([*argv, "--set", "fit.seed=1"]) == 130
    assert run.labels() == [], "the old tables are not the new adapter's"
    assert main([*argv, "--set", "fit.seed=1"]) == 0
    assert run.labels() == ["ace"]


def test_a_trained_label_is_not_measured_over(run, argv, capsys):
    from align.measure import main as measure

    assert main(argv) == 0
    assert measure([*argv, "--label", "ace"]) == 2
    assert "choose another" in capsys.readouterr().err


@pytest.mark.parametrize("rivals", [[], ["--label", "mine", "--baselines", "anchor,uniform"]])
def test_a_measured_label_is_not_trained_over(run, argv, capsys, rivals):
    """Neither as the main model nor as a rival; and a label that is being trained is not yet a measured one."""
    from align.measure import main as measure

    label = "anchor" if rivals else "base"
    assert measure([*argv, "--label", label]) == 0
    before, path = run.manifest(), run.model(label) / "distributions.parquet"
    written = path.read_bytes()
    capsys.readouterr()
    assert main([*argv, *(rivals or ["--label", label])]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"label {label}" in said
    assert ("leave it out of --baselines" if rivals else "choose another --label") in said
    assert path.read_bytes() == written
    assert run.manifest() == before
    assert not list(run.path.glob("models/*/checkpoint")), "refused before anything is trained"


HELD = "fit.held_out={questions: [work], countries: [SE], personas: [{gender: woman, place: city}]}"


def test_held_out_parts_reach_card_log_and_report(run, argv):
    from align.measure import main as measure
    from diagnostics.report import main as report

    schedule = "fit.schedule=[{epochs: 1, level_kl: 1, effect: 100}]"
    argv = [*argv, "--set", HELD, "--set", schedule, "--set", "fit.weights=precision", "--set", "fit.epochs="]
    assert measure([*argv, "--label", "base"]) == 0
    assert main(argv) == 0
    log = [json.loads(line) for line in (run.model("ace") / "train.jsonl").read_text().splitlines()]
    assert {line["country"] for line in log} == {"NO"}
    card = (run.model("ace") / "adapter" / "README.md").read_text()
    out = "Held out: questions work; countries Sweden; personas gender woman and place city."
    assert f"Trained on: trust, taxes; in Norway.\n{out}\n" in card
    assert "Schedule: 1 epoch of 100 x `effect` + 1 x `level_kl`." in card
    assert "toggles weighted by how well the survey knows them" in card
    # a question in a country has four toggles, two of which touch the persona
    assert "4 supported toggles" in card
    rows = [cells for line in card.splitlines() if len(cells := line.strip("| ").split(" | ")) == 5][2:]
    parts = ["questions", "countries, questions trained on", "personas, questions and countries trained on"]
    assert [(row[0], row[2]) for row in rows[::3]] == [
        (f"held-out {part}", count) for part, count in zip(parts, "884", strict=True)
    ]
    assert report([str(run.path), "--quiet"]) == 0
    numbers = json.loads((run.path / "scores.json").read_text())
    assert numbers["held_out_personas"] == [{"gender": "woman", "place": "city"}]
    for label, first in (("base", 0), ("ace", 1)):
        splits = numbers["labels"][label]["splits"]
        toggles = {"all": 24, "trained": 4, "held_out": 8, "held_out_countries": 8, "held_out_personas": 4}
        assert {name: part["toggles"] for name, part in splits.items()} == toggles
        names = ("held_out", "held_out_countries", "held_out_personas")
        for name, row, perfect in zip(names, rows[first::3], rows[2::3], strict=True):
            assert float(row[3]) == pytest.approx(splits[name]["effect_distance"], abs=6e-5)
            assert float(row[4]) == pytest.approx(splits[name]["S"], abs=0.06)
            assert perfect[1] == "a perfect model"
            assert float(perfect[3]) == pytest.approx(splits[name]["effect_distance_ceiling"], abs=0.003)
            assert float(perfect[4]) == pytest.approx(splits[name]["S_ceiling"], abs=0.5)


def test_validation_questions_are_a_part_of_the_report(run, argv):
    from align.measure import main as measure
    from diagnostics.report import main as report

    argv = [*argv, "--set", "fit.epochs=4", "--set", "fit.early_stopping={questions: [taxes]}"]
    assert measure([*argv, "--label", "base"]) == 0
    assert main(argv) == 0
    assert report([str(run.path), "--quiet"]) == 0
    numbers = json.loads((run.path / "scores.json").read_text())
    assert numbers["validation"] == ["taxes"]
    assert numbers["held_out"] == ["work"]
    splits = numbers["labels"]["ace"]["splits"]
    assert {name: part["toggles"] for name, part in splits.items()} == {
        "all": 24,
        "trained": 8,
        "validation": 8,
        "held_out": 8,
    }
    log = [json.loads(line) for line in (run.model("ace") / "train.jsonl").read_text().splitlines()]
    told = [line for line in log if "validation" in line]
    best = next(line for line in told if line["epoch"] == told[-1]["best_epoch"])["validation"]["scores"]
    assert splits["validation"]["effect_distance"] == pytest.approx(best["effect_distance"], abs=1e-5)
    assert splits["validation"]["S"] == pytest.approx(best["alignment"], abs=1e-3)
    assert "chose the epoch" in (run.path / "report.html").read_text()


def test_no_supported_validation_toggle_is_exit_2(argv, capsys, monkeypatch):
    import align.fit

    prepared = align.fit.prepare
    monkeypatch.setattr(align.fit, "prepare", lambda *a: prepared(*a) | {"validation": []})
    assert main([*argv, "--set", "fit.epochs=4", "--set", "fit.early_stopping={questions: [taxes]}"]) == 2
    assert "no toggle of taxes is supported" in capsys.readouterr().err


def test_halved_respondents_are_trained_on_in_one_half_and_scored_in_the_other(folder, tmp_path, monkeypatch):
    import align.training
    from align.measure import main as measure
    from causal.audit import audit_survey
    from causal.runs import Run
    from causal.survey import read_survey
    from causal.tables import read_effects

    halves = ["--set", "fit.held_out.respondents=half"]
    halved = Study.load(folder / "study.yaml", halves[1:])
    run = Run.for_study(halved, tmp_path / "run")
    audit_survey(read_survey(halved), run)
    whole, learnt = [str(folder / "study.yaml"), "--out", str(run.path)], []
    trained_on = align.training.train

    def noted(model, items, *rest):
        learnt.extend(items)
        return trained_on(model, items, *rest)

    monkeypatch.setattr(align.training, "train", noted)
    assert main(whole) == 2, "the tables are of half of the respondents"
    assert main([*whole, *halves]) == 0
    half = read_effects(run.training_effects)
    for item in learnt:
        own = (half["country"] == item.target.country) & (half["question"] == item.target.question)
        finest = half[own & half["supported"] & (half["granularity"] == 2)]
        np.testing.assert_array_equal(item.target.p_treated, np.stack(finest["p_treated"]))
    card = (run.model("ace") / "adapter" / "README.md").read_text()
    assert "Held out: questions work; half of the respondents.\n" in card
    assert f"SHA-256 `{file_hash(run.training_effects)}`" in card
    assert "granularity, against the half of the respondents that training never saw:" in card
    rows = [cells for line in card.splitlines() if len(cells := line.strip("| ").split(" | ")) == 5][2:]
    assert [row[0] for row in rows[::3]] == [
        "what it was trained on, as the other half of the respondents answered",
        "held-out questions",
    ]
    assert measure([*whole, *halves, "--label", "base"]) == 0
    assert report([str(run.path), "--quiet"]) == 0
    labels = json.loads((run.path / "scores.json").read_text())["labels"]
    for label, first in (("base", 0), ("ace", 1)):
        for split, row in zip(("trained", "held_out"), rows[first::3], strict=True):
            part = labels[label]["splits"][split]
            assert float(row[3]) == pytest.approx(part["effect_distance"], abs=6e-5), "scored as the report scores"
            assert float(row[4]) == pytest.approx(part["S"], abs=0.06)
    page = (run.path / "report.html").read_text()
    assert "Every figure is of half of the respondents" in page
    assert "These are half of the respondents: respondents were dealt out" in page
    assert "respondent halves" in page
    record = json.loads(run.manifest_path.read_text())["steps"]["fit/ace"]["inputs"]
    assert record["training_toggles"] == toggles_fingerprint(run.training_effects, ["gender", "place"])


def test_nothing_left_to_train_on_is_exit_2(argv, capsys):
    assert main([*argv, "--set", "fit.held_out={personas: [{gender: man}, {gender: woman}]}"]) == 2
    assert "hold less out" in capsys.readouterr().err
    assert main([*argv, "--set", "fit.held_out={countries: [NO, SE]}"]) == 2
    assert "every country is held out" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["fit.schedule=[{epochs: 2, effect: 1}]", "fit.weights=precision"])
def test_another_schedule_or_weighting_does_not_go_on_from_the_checkpoint(run, argv, monkeypatch, capsys, change):
    epochs = ["--set", "fit.epochs="] if "schedule" in change else []
    interrupt(monkeypatch, argv, 3)
    state = run.model("ace") / "checkpoint" / "state.safetensors"
    held = state.read_bytes()
    assert main([*argv, *epochs, "--set", change]) == 2
    told = capsys.readouterr().err
    assert "holds 3 steps of an unfinished training with other inputs (" in told
    assert f"fit.{change[4:10]}" in told
    assert state.read_bytes() == held
    assert main([*argv, *epochs, "--set", change, "--resume", "never"]) == 0
    assert main([*argv, *epochs, "--set", change, "--label", "fresh"]) == 0
    one, two = (run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("ace", "fresh"))
    assert one.read_bytes() == two.read_bytes()


def interrupt(monkeypatch, argv, step):
    """Begin a training and end it with Ctrl-C after a step."""
    taken = Checkpoint.save

    def killed(self, model, optimiser, progress):
        taken(self, model, optimiser, progress)
        if progress.step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", killed)
        assert main(argv) == 130


def test_a_training_begun_with_other_settings_leaves_the_finished_one_alone(run, argv, monkeypatch, capsys):
    assert main(argv) == 0
    folder, other = run.model("ace"), [*argv, "--set", "fit.seed=7"]
    finished = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    interrupt(monkeypatch, other, 3)
    capsys.readouterr()
    assert main(argv) == 0
    assert "ace: kept, trained before" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in finished} == finished, "adapter, card, log and tables"
    assert (folder / "checkpoint" / "state.safetensors").is_file()
    assert main(other) == 0, "which goes on"
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    assert main([*other, "--label", "fresh"]) == 0
    one, two = (run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("ace", "fresh"))
    assert one.read_bytes() == two.read_bytes()


def test_what_training_does_not_depend_on_does_not_train_anew(run, argv, capsys):
    """Words added to the card, another graph and another confidence level: the same toggles are learnt."""
    assert main(argv) == 0
    card = run.model("ace") / "adapter" / "README.md"
    card.write_text(card.read_text() + "\nOur paper: somewhere.\n")
    words = ["--set", "effects.confidence=0.9", "--set", "graph={edges: [[gender, place]]}"]
    assert audit([argv[0], "--out", str(run.path), *words]) == 0
    before = file_hash(run.model("ace") / "adapter" / "adapter_model.safetensors")
    capsys.readouterr()
    assert main([*argv, *words]) == 0
    assert "ace: kept, trained before" in capsys.readouterr().out
    assert "Our paper" in card.read_text()
    assert file_hash(run.model("ace") / "adapter" / "adapter_model.safetensors") == before
    assert report([str(run.path), "--quiet"]) == 0
    assert audit([argv[0], "--out", str(run.path), "--set", "effects.support=60"]) == 0
    assert report([str(run.path), "--quiet"]) == 2
    assert "label ace was trained on survey effects that have changed since" in capsys.readouterr().err


def test_a_half_to_judge_by_without_a_supported_toggle_is_refused_before_training(run, argv, monkeypatch, capsys):
    import align.fit

    prepared = align.fit.prepare
    monkeypatch.setattr(
        align.fit, "prepare", lambda *a: {part: of if part == "trained" else [] for part, of in prepared(*a).items()}
    )
    halves = ["--set", "fit.held_out.respondents=half"]
    assert audit([argv[0], "--out", str(run.path), *halves]) == 0
    assert main([*argv, *halves]) == 2
    assert "the half that is left to judge by supports no toggle" in capsys.readouterr().err
    assert not (run.model("ace") / "checkpoint").exists()


def test_a_last_step_too_far_leaves_no_adapter(run, argv, capsys):
    """Nothing after the only step computes a loss, so only the scores tell."""
    changes = ["fit.learning_rate=1e25", "fit.epochs=1", "fit.batch=4", "fit.schedule=effect"]
    assert main([*argv, *(word for change in changes for word in ("--set", change))]) == 1
    told = capsys.readouterr().err
    assert "after the last step the model's probabilities are not finite" in told
    assert "Lower fit.learning_rate or set fit.clip, and train anew with --resume never" in told
    assert not (run.model("ace") / "adapter").exists()
    assert not run.inputs("fit/ace")


class Bars:
    """Stands for the progress bars and keeps what that of the training is told."""

    def __init__(self):
        self.told = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def add_task(self, name, total, note):
        if name.startswith("training"):
            self.told.append(("add", total))
        return name

    def advance(self, bar):
        assert bar.startswith("scores")

    def reset(self, bar, completed, note):
        self.told.append(("reset", completed))

    def update(self, bar, completed, note):
        self.told.append(("update", completed))


def test_the_time_left_of_a_resumed_run_is_from_its_own_steps(run, argv, monkeypatch):
    """A bar that jumps to the steps done before would take them for fast ones; a reset starts the clock."""
    import causal.progress

    taken, bars = Checkpoint.save, Bars()

    def killed(self, model, optimiser, progress):
        taken(self, model, optimiser, progress)
        if progress.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", killed)
        assert main(argv) == 130
    with monkeypatch.context() as patched:
        patched.setattr(causal.progress, "progress_bars", lambda **_: bars)
        patched.setattr("align.measure.measure_model", lambda *_: None)
        patched.setattr("align.measure.say_result", lambda *_: None)
        assert main(argv) == 0
    assert bars.told == [("add", 8), ("reset", 6), ("update", 7), ("update", 8)]


def first_loss_by_hand(study, run, path):
    """The mean effect loss over everything trained on, and its gradient's norm over fresh LoRA weights.

    Each persona with each option goes through the model by itself; only the words and the tokens are the package's.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from align.lora import with_lora
    from align.models import load_model
    from align.questions import ask
    from causal.tables import read_effects

    loaded = load_model(str(path))
    model = with_lora(AutoModelForCausalLM.from_pretrained(path).requires_grad_(False), study.fit)
    effects = read_effects(run.survey_effects)
    rows = effects[effects["supported"] & (effects["question"] != "work")].to_dict("records")
    losses: dict[tuple[str, str], list[torch.Tensor]] = {}
    for row in rows:
        held = {name: row[name] for name in study.attributes if isinstance(row[name], str)}
        who = [held | {row["attribute"]: row[end]} for end in ("reference", "treated")]
        cdf = []
        for options in ask(study, loaded, row["country"], row["question"], who).encoded:
            sums = []
            for item in options:
                logp = model(input_ids=torch.tensor([item.ids])).logits[0].log_softmax(dim=-1)
                sums.append(sum(logp[i - 1, item.ids[i]] for i in range(item.start, len(item.ids))))
            cdf.append(torch.stack(sums).softmax(dim=0).cumsum(dim=0))
        goal = torch.tensor(np.cumsum(row["p_treated"] - row["p_reference"]), dtype=torch.float32)
        losses.setdefault((row["country"], row["question"]), []).append((cdf[1] - cdf[0] - goal).abs().mean())
    found = {key: torch.stack(each).mean() for key, each in losses.items()}
    torch.stack(list(found.values())).mean().backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return {key: value.item() for key, value in found.items()}, torch.cat(gradients).norm().item()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["bloom", pytest.param("mamba", marks=pytest.mark.slow)])
def test_a_model_that_takes_no_tree_is_trained_by_plain_rows(folder, run, argv, family, make_tokenizer, capsys):
    model = save(family, folder / f"tiny-{family}", make_tokenizer(chat=True))
    changes = ["fit.epochs=2", "fit.schedule=effect", "fit.batch=4", "fit.lora.dropout=0"]
    argv = [*argv, "--model", str(model), *(word for change in changes for word in ("--set", change))]
    assert main(argv) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "token trees" in line and "plain rows" in line]
    why = "it is recurrent" if family == "mamba" else ""
    assert len(told) == 1, "said once"
    assert told[0].startswith(f"note: this model cannot be scored by token trees ({why}")
    log = [json.loads(line) for line in (run.model("ace") / "train.jsonl").read_text().splitlines()]
    study = Study.load(folder / "study.yaml", changes)
    losses, norm = first_loss_by_hand(study, run, model)
    first = {(line["country"], line["question"]): line for line in log if line["step"] == 1}
    assert first.keys() == losses.keys()
    for key, line in first.items():
        assert line["loss"] == pytest.approx(losses[key], rel=1e-4), key
        assert line["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    assert np.mean([r["loss"] for r in log if r["step"] == 2]) < np.mean(list(losses.values())), "it learns"
    again = ["--label", "again", "--set", "fit.checkpoint_activations=always"]
    assert main([*argv, *again]) == 0
    ace, other = (run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("ace", "again"))
    assert ace.read_bytes() == other.read_bytes(), "activations computed again change no bit"


def test_a_model_that_rows_do_not_suit_either_is_refused(argv, monkeypatch, capsys):
    import align.scoring

    right = align.scoring._sum
    monkeypatch.setattr("align.engine.no_tree", lambda causal: "it is made up")
    monkeypatch.setattr(align.scoring, "_sum", lambda scores: right(scores) / 2)
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert "this model cannot be scored: plain rows and one-by-one scoring differ on question taxes" in err


TWO_STAGES = "fit.schedule=[{epochs: 8, anchor: 1, level_w1: 1}, {epochs: 12, level_kl: 1, effect: 100}]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "steps"), [(["fit.epochs=20"], 5), (["fit.epochs=", TWO_STAGES], 36)], ids=["paper", "second stage"]
)
def test_kill_9_and_resume_ends_bitwise_equal(run, argv, schedule, steps):
    longer = [*argv, *(word for change in schedule for word in ("--set", change))]
    assert main([*longer, "--label", "whole"]) == 0
    command = [sys.executable, "-m", "align.fit", *longer, "--label", "cut"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = run.model("cut") / "checkpoint" / "train.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= steps):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run.model("cut") / "adapter").exists()
    assert main([*longer, "--label", "cut"]) == 0
    whole, cut = (run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    assert (run.model("cut") / "train.jsonl").read_text() == (run.model("whole") / "train.jsonl").read_text()


@pytest.mark.parametrize("damage", ["cut", "another table"])
def test_damaged_effects_of_the_survey_are_one_message(run, argv, capsys, damage):
    path = run.survey_effects
    path.write_bytes(path.read_bytes()[:500] if damage == "cut" else run.survey_distributions.read_bytes())
    assert main(argv) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "survey_effects.parquet is no readable effects table" in said


def test_the_cells_of_the_training_half_are_not_replaced_by_those_one_is_judged_by(run, argv, capsys):
    halves = ["--set", "fit.held_out.respondents=half"]
    assert audit([argv[0], "--out", str(run.path), *halves]) == 0
    run.training_distributions.unlink()
    capsys.readouterr()
    assert main([*argv, *halves, "--label", "mine", "--baselines", "marginal"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "training_distributions.parquet is missing" in said


def test_memory_that_runs_out_while_scoring_is_one_message(run, argv, monkeypatch, capsys):
    import torch

    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("align.evaluation.evaluate", full)
    assert main(argv) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("failed: memory ran out. Finished work is kept")


def test_a_seed_too_large_for_the_generator_is_refused_at_once(argv, capsys):
    assert main([*argv, "--set", f"fit.seed={2**64}"]) == 2
    assert "fit.seed" in capsys.readouterr().err
