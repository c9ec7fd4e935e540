from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from align import engine
from align.measure import main
from causal.tables import read_distributions, read_effects


@pytest.fixture
def argv(folder, run):
    return [str(folder / "study.yaml"), "--out", str(run.path), "--label", "base"]


def test_tables_hold_every_persona_and_equal_plain_transformers(study, folder, run, argv, capsys):
    assert main([*argv, "--set", "effects.granularity=full"]) == 0
    table = read_distributions(run.model("base") / "distributions.parquet")
    assert len(table) == 2 * (3 + 4 + 2) * 4
    assert str(run.model("base") / "effects.parquet") in capsys.readouterr().out

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from align.prompts import wording

    model = AutoModelForCausalLM.from_pretrained(folder / "tiny-model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny-model")
    persona = {"gender": "woman", "place": "village"}
    words = wording(study, "SE", "taxes", persona)
    logp = []
    for option in words.options:
        prompt = f"<|user|>{words.prompt}<|end|>\n<|assistant|>"
        ids = tokenizer(prompt + option, return_tensors="pt")["input_ids"]
        start = len(tokenizer(prompt)["input_ids"])
        with torch.no_grad():
            scores = torch.log_softmax(model(ids).logits[0], dim=-1)
        logp.append(sum(scores[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1])))
    expected = np.exp(logp) / np.exp(logp).sum()
    own = (table["country"] == "SE") & (table["question"] == "taxes")
    own &= (table["gender"] == "woman") & (table["place"] == "village")
    np.testing.assert_allclose(table[own].sort_values("option")["p"], expected, atol=1e-5)


def test_effects_are_differences_of_its_own_distributions(run, argv):
    assert main(argv) == 0
    cells = read_distributions(run.model("base") / "distributions.parquet").set_index(
        ["country", "question", "gender", "place"]
    )
    effects = read_effects(run.model("base") / "effects.parquet")
    assert len(effects) == 2 * 3 * (2 + 2)
    for row in effects.itertuples():
        ends = []
        for level in (row.reference, row.treated):
            gender, place = (level, row.place) if row.attribute == "gender" else (row.gender, level)
            ends.append(cells.loc[(row.country, row.question, gender, place)].sort_values("option")["p"].to_numpy())
        mean = [p @ np.arange(1, len(p) + 1) for p in ends]
        assert row.shift == pytest.approx((mean[1] - mean[0]) / (len(ends[0]) - 1))
    assert effects["n_reference"].isna().all()


def test_finished_work_is_kept_and_changed_inputs_are_measured_again(run, argv, capsys):
    assert main(argv) == 0
    path = run.model("base") / "distributions.parquet"
    first = path.stat().st_mtime_ns
    assert main(argv) == 0
    assert "kept" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == first
    assert main([*argv, "--set", "prompt.layout=persona-first"]) == 0
    assert path.stat().st_mtime_ns != first
    assert (
        json.loads(run.manifest_path.read_text())["steps"]["measure/base"]["inputs"]["prompt"]["layout"]
        == "persona-first"
    )


def bad_folder(tmp_path):
    (tmp_path / "none").mkdir()
    return str(tmp_path / "none")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--model", "no-such-model"], "no model 'no-such-model'"),
        (["--model", "./no/such"], "no model './no/such'"),
        (["--model", bad_folder], "holds no config.json"),
        (["--adapter", bad_folder], "holds no adapter_config.json"),
        (["--adapter", "./no/such"], "holds no adapter_config.json"),
        (["--adapter", ""], "--adapter is empty"),
        (["--label", "../up"], "use letters"),
        (["--set", "survey.missing=[99]"], "the study changed since the survey effects"),
        (["--set", "name=another"], "holds the run of study 'tiny'"),
    ],
)
def test_bad_input_is_one_message_and_leaves_results_untouched(run, argv, tmp_path, capsys, extra, says):
    assert main(argv) == 0
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*argv, *(part(tmp_path) if callable(part) else part for part in extra)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_broken_model_folder_is_named(folder, argv, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    assert main([*argv, "--model", str(broken)]) == 2
    error = capsys.readouterr().err
    assert "cannot be loaded" in error
    assert not error.rstrip().endswith(":"), "what follows the colon in a library's message is on its next line"


def test_without_survey_effects_the_audit_is_asked_for(folder, tmp_path, capsys):
    assert main([str(folder / "study.yaml"), "--out", str(tmp_path / "empty"), "--label", "base"]) == 2
    assert "causal.audit" in capsys.readouterr().err
    assert not (tmp_path / "empty").exists()


def test_countries_and_personas_reach_the_answers(run, argv):
    assert main(argv) == 0
    table = read_distributions(run.model("base") / "distributions.parquet")
    first = table[(table["question"] == "taxes") & (table["option"] == 1)]
    assert first["p"].nunique() == len(first), "eight prompts, eight answers"
    assert set(itertools.product(*(set(first[c]) for c in ("country", "gender", "place")))) == set(
        first[["country", "gender", "place"]].itertuples(index=False, name=None)
    )


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from align import engine, parts, plan
plan.CPU_TOKENS = 300  # several packs
kill, moment = int(sys.argv[1]), sys.argv[2]
scored = 0
def score(self, pack, plainly=engine.Engine.score):
    global scored
    scored += 1
    if moment == "scoring" and scored == kill:
        os.kill(os.getpid(), signal.SIGKILL)
    print(f"pack {' '.join(one.country + '/' + one.question for one in pack)}", file=sys.stderr, flush=True)
    return plainly(self, pack)
def replace(self, target, plainly=Path.replace):
    if moment == "writing" and scored == kill and target.suffix == ".safetensors":
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "tables" and target.name == "effects.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    return plainly(self, target)
engine.Engine.score, Path.replace = score, replace
from align.measure import main
sys.exit(main(sys.argv[3:]))
"""


def measured(argv, kill, moment):
    """Measure in a process of its own; return its exit code and the packs it scored."""
    command = [sys.executable, "-c", KILLED, str(kill), moment, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    packs = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("pack ")]
    return done.returncode, packs, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "moment"), [(1, "scoring"), (3, "scoring"), (2, "writing"), (0, "tables")])
def test_a_killed_measurement_goes_on_and_ends_bitwise_equal(study, folder, run, argv, kill, moment):
    whole = [*argv[:-1], "whole"]
    code, everything, error = measured(whole, 0, "never")
    assert code == 0, error
    assert len(everything) >= 3
    assert len({question for pack in everything for question in pack}) == sum(map(len, everything)) == 6
    code, before, _ = measured(argv, kill, moment)
    assert code == -9
    base = run.model("base")
    assert not (base / "effects.parquet").exists()
    assert "measure/base" not in json.loads(run.manifest_path.read_text())["steps"]
    code, after, error = measured(argv, 0, "never")
    assert code == 0, error
    whole_packs = len(everything) if moment == "tables" else kill - 1
    assert after == everything[whole_packs:], "at most the pack at hand is lost"
    assert before[:whole_packs] == everything[:whole_packs]
    for name in ("distributions", "effects", "off_options"):
        assert (base / f"{name}.parquet").read_bytes() == (run.model("whole") / f"{name}.parquet").read_bytes()
    assert not (base / "parts").exists()


def test_off_options_hold_one_minus_the_probability_of_all_options(study, folder, run, argv, capsys):
    assert main(argv) == 0
    table = pd.read_parquet(run.model("base") / "off_options.parquet")
    assert list(table) == ["country", "question", "gender", "place", "granularity", "off_option"]
    assert len(table) == 2 * 3 * 4

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from align.prompts import wording

    model = AutoModelForCausalLM.from_pretrained(folder / "tiny-model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny-model")
    words = wording(study, "SE", "taxes", {"gender": "woman", "place": "village"})
    ids = tokenizer(f"<|user|>{words.prompt}<|end|>\n<|assistant|>", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        p = torch.softmax(model(ids).logits[0, -1], dim=-1)
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ABCD"]
    own = table[(table["country"] == "SE") & (table["question"] == "taxes")]
    own = own[(own["gender"] == "woman") & (own["place"] == "village")]
    assert own["off_option"].item() == pytest.approx(1 - float(p[letters].sum()), abs=1e-5)
    worst = table.loc[table["off_option"].idxmax()]
    told = f"mean {table['off_option'].mean():.3f}, worst {worst['off_option']:.3f} ({worst['country']}, "
    assert f"probability off the options: {told}{worst['question']})" in capsys.readouterr().out


def test_a_label_whose_training_has_begun_is_not_measured(run, argv, capsys):
    state = run.model("base") / "checkpoint" / "state.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"steps of a training")
    assert main(argv) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "label base is a model that align.fit has begun to train" in said
    assert "choose another --label" in said
    assert state.is_file()


def test_a_label_may_be_called_as_a_file_of_the_run(run, argv):
    assert main([*argv, "--label", "manifest"]) == 0
    assert run.inputs("measure/manifest")


def test_what_a_kill_at_the_very_end_left_is_removed(run, argv, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr("align.parts.Parts.remove", lambda self: None)
        assert main(argv) == 0
    assert (run.model("base") / "parts").is_dir()
    assert main(argv) == 0
    assert "base: kept" in capsys.readouterr().out
    assert not (run.model("base") / "parts").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_anywhere_is_one_message(argv, monkeypatch, capsys, error):
    def full(*given):
        raise error

    monkeypatch.setattr("align.measure.measure_model", full)
    assert main(argv) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("failed: memory ran out. Finished work is kept")


def test_other_errors_are_not_taken_for_memory(argv, monkeypatch):
    def broken(*given):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("align.measure.measure_model", broken)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        main(argv)


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_probabilities_that_are_no_numbers_are_one_message(run, argv, monkeypatch, capsys, wrong):
    """Of one persona in the middle, whom the comparison with scoring one by one does not look at."""
    plainly, asked = engine.Engine.score, []

    def score(self, pack):
        found = plainly(self, pack)
        asked.extend(pack)
        if len(asked) > 1:
            found[-1] = np.array(found[-1])
            found[-1][1] = wrong
        return found

    monkeypatch.setattr(engine.Engine, "score", score)
    monkeypatch.setattr("align.answers.WINDOW", 1)
    assert main(argv) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"not finite (question {asked[-1].question}, {asked[-1].country})" in told
    assert not run.inputs("measure/base")
    assert (run.model("base") / "parts").is_dir(), "what was scored before is kept"
