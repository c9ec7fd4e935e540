from __future__ import annotations

import json
from itertools import product
from math import comb

import numpy as np
import pytest

from align.card import ceiling
from align.fit import main
from align.targets import Target


def test_the_ceiling_of_a_toggle_by_enumeration():
    """K=2, shares .4 and .5 of 15 and 200 people: d_CDF = |shift - truth| / 2, S = 100 (1 - |share - truth|)."""
    target = Target(
        "x",
        "q",
        ({"a": "0"}, {"a": "1"}),
        np.array([True, False]),
        np.array([0]),
        np.array([1]),
        np.array([[0.6, 0.4]]),
        np.array([[0.5, 0.5]]),
        np.array([15.0]),
        np.array([200.0]),
        np.array([[-0.1, 0.1]]),
        np.array([1.0]),
    )
    at = {(n, p): [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)] for n, p in ((15, 0.4), (200, 0.5))}
    ends = product(enumerate(at[15, 0.4]), enumerate(at[200, 0.5]))
    distance = sum(w0 * w1 * abs(k1 / 200 - k0 / 15 - 0.1) / 2 for (k0, w0), (k1, w1) in ends)
    score = 100 * (1 - sum(w * abs(k / 15 - 0.4) for k, w in enumerate(at[15, 0.4])))
    found = ceiling([target] * 60)  # 200 draws of each
    assert found.effect_distance == pytest.approx(distance, abs=0.003)
    assert found.alignment == pytest.approx(score, abs=1.0), "only the cell of the part itself"


def test_a_cell_counts_once_in_the_ceiling_of_S():
    """Three toggles share their reference, which is known exactly: one perfect cell and three noisy ones."""
    three, ones = np.ones((3, 1)), np.ones(3)
    ends = np.array([[0.5, 0.5]]) * three
    sizes = (1e9 * ones, 10 * ones)
    places = np.zeros(3, dtype=int), np.array([1, 2, 3])
    target = Target("x", "q", ({},) * 4, np.ones(4, dtype=bool), *places, ends, ends, *sizes, 0 * ends, ones)
    spread = sum(comb(10, k) * 0.5**10 * abs(k / 10 - 0.5) for k in range(11))
    assert ceiling([target]).alignment == pytest.approx(100 * (1 - 0.75 * spread), abs=0.7)


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
