from __future__ import annotations

import json

import pytest

from align.fit import main


def test_the_card_says_how_it_was_trained(folder, run):
    stop = "fit.early_stopping={questions: [taxes], patience: 4}"
    changes = ["fit.epochs=4", stop, "fit.batch=2", "fit.warmup=0.5", "fit.clip=2", "fit.lora.targets=[q_proj, v_proj]"]
    argv = [str(folder / "study.yaml"), "--out", str(run.path)]
    assert main([*argv, *(word for change in changes for word in ("--set", change))]) == 0
    card = (run.model("ace") / "adapter" / "README.md").read_text()
    log = [json.loads(line) for line in (run.model("ace") / "train.jsonl").read_text().splitlines()]
    told = [line for line in log if "validation" in line]
    assert [line["epoch"] for line in told] == [1, 2, 3, 4]
    best = min(told[2:], key=lambda line: line["validation"]["loss"])
    assert {line["question"] for line in log if "question" in line} == {"trust"}
    for words in (
        "AdamW at learning rate 0.01, after a linear warm-up over 50% of the steps, "
        "2 questions (each in one country) per step, gradients clipped at norm 2.",
        "on q_proj, v_proj. Seed 0.",
        f"Of 4 epochs planned, epoch {best['epoch']} is kept",
        "Trained on: trust; in Norway, Sweden.",
    ):
        assert words in card
    rows = [line for line in card.splitlines() if line.startswith("| questions that chose the epoch |")]
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["base model", "8"],
        ["with this adapter", "8"],
        ["a perfect model", "8"],
    ]
    kept = best["validation"]["scores"]
    assert float(rows[1].split(" | ")[3]) == pytest.approx(kept["effect_distance"], abs=6e-5), (
        "the best epoch's adapter"
    )
    assert float(rows[1].split(" | ")[4].strip(" |")) == pytest.approx(kept["alignment"], abs=0.06)
