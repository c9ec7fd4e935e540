from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

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
    assert "cannot be loaded" in capsys.readouterr().err


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
