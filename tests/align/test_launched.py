"""Training as it is run: several processes, kills, a full disk, Ctrl-C. Each in processes of its own."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parent))
from families import save

from align.fit import main

ROOT = Path(__file__).parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]
WHOLE, SHARDED = "--multi_gpu", "--use_fsdp"
STOPPING = "fit.early_stopping={questions: [taxes], patience: 3}"


@pytest.fixture
def argv(folder, run):
    return [str(folder / "study.yaml"), "--out", str(run.path)]


def changes(*words: str) -> list[str]:
    return [part for word in words for part in ("--set", word)]


def start(command, **options) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE")} | ONE_THREAD,
        **options,
    )


def launch(how: str, *arguments: str, script: Path | None = None) -> subprocess.Popen:
    what = ["-m", "align.fit"] if script is None else [str(script)]
    command = [*LAUNCH, how, "--main_process_port", "0", "--num_processes", "2", *what, *arguments]
    return start(command)


def finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def launched(*arguments: str, how: str = WHOLE) -> subprocess.CompletedProcess:
    return finish(launch(how, *arguments))


def adapter(run, label) -> Path:
    return run.model(label) / "adapter" / "adapter_model.safetensors"


def log_of(run, label) -> list[dict]:
    return [json.loads(line) for line in (run.model(label) / "train.jsonl").read_text().splitlines()]


def trainers(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that a launcher started, by rank; they are in sessions of their own."""
    children = psutil.Process(process.pid).children(recursive=True)
    return sorted((child for child in children if "RANK" in child.environ()), key=lambda child: child.environ()["RANK"])


def kill_all(process: subprocess.Popen) -> None:
    for one in (psutil.Process(process.pid), *trainers(process)):
        one.kill()
    process.communicate(timeout=60)


def assert_alike(run, first, second) -> None:
    """Two trainings took the same steps up to the rounding of sums."""
    one, two = log_of(run, first), log_of(run, second)
    for left, right in zip(one, two, strict=True):
        assert (left["step"], left["question"]) == (right["step"], right["question"])
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-4)
        assert right["gradient_norm"] == pytest.approx(left["gradient_norm"], rel=1e-3)


def wait_for(process: subprocess.Popen, log: Path, lines: int) -> None:
    deadline = time.monotonic() + 240
    while not (log.is_file() and log.read_text().count("\n") >= lines):
        assert process.poll() is None, f"it ended before it could be stopped: {process.stderr.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def broken_script(folder: Path, change: str) -> Path:
    """Return a script that trains with something changed in process 1 alone."""
    script = folder / "broken.py"
    script.write_text(
        "import os, sys, torch, align.training as t\n"
        "from align.fit import main\n"
        f"if os.environ['RANK'] == '1':\n    {change}\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return script


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "how"), [(1, WHOLE), (2, WHOLE), (3, WHOLE), (1, SHARDED), (3, SHARDED)])
def test_two_processes_train_as_one(run, argv, batch, how):
    setting = changes("fit.epochs=4", f"fit.batch={batch}", STOPPING)
    assert main([*argv, *setting, "--label", "one"]) == 0
    done = launched(*argv, *setting, "--label", "two", how=how)
    assert done.returncode == 0, done.stderr
    one, two = log_of(run, "one"), log_of(run, "two")
    names = ("step", "epoch", "country", "question", "weights", "best_epoch")
    assert [[line.get(name) for name in names] for line in one] == [[line.get(name) for name in names] for line in two]
    for first, second in zip(one, two, strict=True):
        for name in ("loss", "gradient_norm", "learning_rate"):
            if name in first:
                assert second[name] == pytest.approx(first[name], rel=1e-4), name
        if "validation" in first:
            assert second["validation"]["loss"] == pytest.approx(first["validation"]["loss"], rel=1e-4)
    first, second = load_file(adapter(run, "one")), load_file(adapter(run, "two"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=2e-5, err_msg=name)
    assert done.stderr.count("have nothing to train on") == (batch == 1), "said once, where it is so"
    assert done.stdout.count("mean |shift|") == 1, "one process speaks"
    assert run.labels() == ["one", "two"]


@pytest.mark.slow
def test_two_processes_train_by_plain_rows_as_one(folder, run, argv, make_tokenizer):
    model = save("bloom", folder / "tiny-bloom", make_tokenizer(chat=True))
    argv = [*argv, "--model", str(model), *changes("fit.epochs=4", "fit.batch=2", "fit.checkpoint_activations=always")]
    assert main([*argv, "--label", "one"]) == 0
    done = launched(*argv, "--label", "two")
    assert done.returncode == 0, done.stderr
    assert sum("token trees" in line and "plain rows" in line for line in done.stderr.splitlines()) == 1
    one, two = log_of(run, "one"), log_of(run, "two")
    assert len(one) == len(two) == 16
    for first, second in zip(one, two, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-4)


@pytest.mark.slow
def test_an_error_in_several_processes_is_said_once(argv):
    done = launched(*argv, *changes("fit.lora.targets=[q_prj]"))
    assert done.returncode != 0
    assert done.stderr.count("error: fit.lora.targets: this model has no layer 'q_prj' for LoRA; it has down_proj") == 1
    assert "align/fit.py" not in done.stderr, "the traceback is the launcher's own"


@pytest.mark.slow
@pytest.mark.parametrize("how", [WHOLE, SHARDED])
def test_an_error_in_the_second_process_alone_ends_both_with_its_message(argv, tmp_path, how):
    """Rank 1 meets a NaN that rank 0 does not see."""
    change = "summed = t.weighted_sum; t.weighted_sum = lambda losses, stage: summed(losses, stage) * float('nan')"
    done = finish(launch(how, *argv, *changes("fit.batch=2"), script=broken_script(tmp_path, change)))
    assert done.returncode != 0
    assert done.stderr.count("failed: the loss is nan at step 1") == 1


@pytest.mark.slow
def test_memory_that_runs_out_in_one_of_two_sharded_processes_ends_both(run, argv, tmp_path):
    """Rank 1 fails within the second step's pass, while rank 0 waits for its weights; nothing hangs or is lost."""
    change = (
        "from transformers.models.llama.modeling_llama import LlamaMLP; whole = LlamaMLP.forward; seen = []\n"
        "    def forward(self, x):\n"
        "        seen.append(self.training)\n"
        "        if sum(seen) == 8: raise torch.OutOfMemoryError('CUDA out of memory')\n"
        "        return whole(self, x)\n"
        "    LlamaMLP.forward = forward"
    )
    setting = changes("fit.batch=2", "fit.epochs=4")
    done = finish(launch(SHARDED, *argv, *setting, "--label", "cut", script=broken_script(tmp_path, change)))
    assert done.returncode != 0
    assert done.stderr.count("failed: out of memory on") == 1
    assert "Traceback" not in done.stderr.partition("torch/distributed/elastic")[0]
    log = run.model("cut") / "checkpoint" / "train.jsonl"
    assert {json.loads(line)["step"] for line in log.read_text().splitlines()} == {1, 2}
    assert main([*argv, *setting, "--label", "cut"]) == 0
    assert main([*argv, *setting, "--label", "whole"]) == 0
    assert_alike(run, "whole", "cut")


@pytest.mark.slow
def test_one_process_where_several_were_asked_for_is_said(run, argv):
    done = finish(start([*LAUNCH, "--num_processes", "2", "-m", "align.fit", *argv]))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: accelerate started one process") == 1


@pytest.mark.parametrize("name", ["DeepSpeed", "Megatron"])
def test_other_ways_to_shard_are_refused(argv, monkeypatch, capsys, name):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED" if name == "DeepSpeed" else "ACCELERATE_USE_MEGATRON_LM", "true")
    assert main(argv) == 2
    assert f"told to use {name}, which align.fit does not" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("first", [WHOLE, SHARDED])
def test_killed_sharded_and_resumed_whole_or_the_other_way_round(run, argv, first):
    setting = changes("fit.epochs=80", "fit.batch=2")
    assert main([*argv, *setting, "--label", "whole"]) == 0
    process = launch(first, *argv, *setting, "--label", "cut")
    wait_for(process, run.model("cut") / "checkpoint" / "train.jsonl", 12)
    kill_all(process)
    assert not adapter(run, "cut").exists()
    done = launched(*argv, *setting, "--label", "cut", how=SHARDED if first == WHOLE else WHOLE)
    assert done.returncode == 0, done.stderr
    assert_alike(run, "whole", "cut")


@pytest.mark.slow
def test_one_of_two_sharded_processes_is_killed(run, argv):
    """The other says so and ends instead of waiting for weights."""
    setting = changes("fit.epochs=400", "fit.batch=2")
    process = launch(SHARDED, *argv, *setting, "--label", "cut")
    wait_for(process, run.model("cut") / "checkpoint" / "train.jsonl", 6)
    trainers(process)[1].kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Connection closed" not in err
    assert (run.model("cut") / "checkpoint" / "state.safetensors").is_file()


@pytest.mark.slow
def test_killed_several_times_at_random_steps_ends_bitwise_equal(run, argv):
    """Batches, warm-up, clipping and early stopping; five kills, each at a moment of its own."""
    setting = changes("fit.epochs=40", "fit.batch=2", "fit.warmup=0.2", "fit.clip=1.0", STOPPING)
    assert main([*argv, *setting, "--label", "whole"]) == 0
    rng, log = np.random.default_rng(0), run.model("cut") / "checkpoint" / "train.jsonl"
    lines, kills = 0, 0
    total = len(log_of(run, "whole"))
    while kills < 4:
        process = start([sys.executable, "-m", "align.fit", *argv, *setting, "--label", "cut"])
        lines += int(rng.integers(3, max(4, total // 6)))
        wait_for(process, log, lines)
        time.sleep(rng.random() / 50)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    assert not adapter(run, "cut").exists()
    assert main([*argv, *setting, "--label", "cut", "--resume", "auto"]) == 0
    assert adapter(run, "cut").read_bytes() == adapter(run, "whole").read_bytes()
    assert log_of(run, "cut") == log_of(run, "whole")


@pytest.mark.slow
def test_workers_that_outlive_a_killed_launcher_keep_their_label(run, argv, capsys):
    setting = [*argv, *changes("fit.epochs=40"), "--label", "cut"]
    first = launch(WHOLE, *setting)
    wait_for(first, run.model("cut") / "checkpoint" / "train.jsonl", 2)
    workers = trainers(first)
    first.kill()
    first.wait()
    assert main(setting) == 2
    assert "another process is at work on label cut" in capsys.readouterr().err
    for worker in workers:
        assert worker.is_running(), "they train on without their launcher"
        worker.kill()
    psutil.wait_procs(workers, timeout=60)
    first.communicate(timeout=60)
    assert main(setting) == 0
    assert [line["step"] for line in log_of(run, "cut")] == list(range(1, 161))


@pytest.mark.slow
def test_two_processes_killed_and_resumed_by_two(run, argv):
    setting = changes("fit.epochs=30", "fit.batch=2")
    assert launched(*argv, *setting, "--label", "whole").returncode == 0
    process = launch(WHOLE, *argv, *setting, "--label", "cut")
    wait_for(process, run.model("cut") / "checkpoint" / "train.jsonl", 20)
    kill_all(process)
    assert launched(*argv, *setting, "--label", "cut").returncode == 0
    assert adapter(run, "cut").read_bytes() == adapter(run, "whole").read_bytes()


@pytest.mark.slow
def test_ctrl_c_is_one_message_exit_130_and_goes_on(run, argv):
    setting = changes("fit.epochs=20")
    process = start([sys.executable, "-m", "align.fit", *argv, *setting, "--label", "cut"])
    wait_for(process, run.model("cut") / "checkpoint" / "train.jsonl", 6)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("interrupted; finished work is kept")
    assert "Traceback" not in err
    assert main([*argv, *setting, "--label", "cut"]) == 0
    assert main([*argv, *setting, "--label", "whole"]) == 0
    assert adapter(run, "cut").read_bytes() == adapter(run, "whole").read_bytes()


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_one_message_and_exit_1(run, argv):
    """The system's own limit on a file's size, met in the middle of writing a checkpoint."""
    limit = 20_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start([sys.executable, "-m", "align.fit", *argv], preexec_fn=small_files)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    (message,) = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert "state.safetensors" in message
    assert "there is no checkpoint yet. Make room, or make it writable, and run the same command to go on" in message
    assert "Traceback" not in err
    left = [path.name for path in (run.model("ace") / "checkpoint").iterdir()]
    assert left == ["train.jsonl"], "no state half-written stays"
    assert main(argv) == 0
