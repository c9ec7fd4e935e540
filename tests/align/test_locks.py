"""One process at a time on a label, and no lock left by one that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.fit import main
from align.locks import at_work
from align.measure import main as measure
from causal.errors import InputError

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(300)
"""


@pytest.fixture
def argv(folder, run):
    return [str(folder / "study.yaml"), "--out", str(run.path)]


@pytest.fixture
def holder(run):
    """Another process, with the operating system's own lock on the label ace."""
    (run.path / "models").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path / "models" / ".ace.lock")], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_label_that_another_process_is_at_work_on_is_refused_until_that_is_gone(run, argv, holder, capsys):
    for command in (
        lambda: main(argv),
        lambda: measure([*argv, "--label", "ace"]),
        lambda: main([*argv, "--label", "mine", "--baselines", "uniform,ace"]),
    ):
        assert command() == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "another process is at work on label ace" in said
        assert "accelerate launch" in said
    assert not list(run.path.glob("models/*/*")), "nothing was begun"
    assert measure([*argv, "--label", "base"]) == 0, "another label is free"
    holder.kill()
    holder.wait()
    assert main(argv) == 0
    assert run.labels() == ["base", "ace"]


def test_a_lock_lasts_as_long_as_the_work(run):
    with at_work(run, ["one", "two"]):
        for label in ("one", "two"):
            with pytest.raises(InputError, match=f"label {label}"), at_work(run, ["free", label]):
                raise AssertionError
        with at_work(run, ["free"]):
            pass
    with pytest.raises(KeyboardInterrupt), at_work(run, ["one"]):
        raise KeyboardInterrupt
    with at_work(run, ["one", "two"]):
        pass


@pytest.mark.slow
def test_a_second_run_of_the_same_label_ends_and_a_killed_one_s_goes_on(run, argv, capsys):
    long = [*argv, "--set", "fit.epochs=30"]
    log = run.model("ace") / "checkpoint" / "train.jsonl"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([sys.executable, "-m", "align.fit", *long], env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 240
        while not (log.is_file() and log.read_text().count("\n") >= 3):
            assert first.poll() is None, first.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert main(long) == 2
        assert "another process is at work" in capsys.readouterr().err
        assert first.poll() is None, "it had not ended by itself"
    finally:
        first.kill()
        first.communicate()
    assert main(long) == 0
    lines = (run.model("ace") / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 121))
