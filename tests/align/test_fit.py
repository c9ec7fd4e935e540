from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from align.fit import main
from causal.tables import read_distributions


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
        "train.jsonl",
    }
    log = [json.loads(line) for line in (ace / "train.jsonl").read_text().splitlines()]
    assert {line["question"] for line in log} == {"trust", "taxes"}, "work is held out"
    card = (ace / "adapter" / "README.md").read_text()
    assert "Trained on: trust, taxes. Held out: work." in card
    record = json.loads(run.manifest_path.read_text())["steps"]["fit/ace"]["inputs"]
    assert record["survey_effects"] in card
    assert record["held_out"] == ["work"]
    config = json.loads((ace / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.05)
    assert not list((ace / "adapter").glob("*.bin")), "safetensors only"
    assert str(ace / "adapter") in capsys.readouterr().out


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


@pytest.mark.slow
def test_kill_9_and_resume_ends_bitwise_equal(run, argv):
    longer = [*argv, "--set", "fit.epochs=20"]
    assert main([*longer, "--label", "whole"]) == 0
    command = [sys.executable, "-m", "align.fit", *longer, "--label", "cut"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = run.model("cut") / "train.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 5):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run.model("cut") / "adapter").exists()
    assert main([*longer, "--label", "cut"]) == 0
    whole, cut = (run.model(label) / "adapter" / "adapter_model.safetensors" for label in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    assert log.read_text() == (run.model("whole") / "train.jsonl").read_text()
