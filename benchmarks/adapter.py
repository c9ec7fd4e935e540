"""An adapter in other hands: lm-evaluation-harness with plain peft must give the probabilities that the run recorded.

Without a run folder, one is made: CCES 2016, one epoch. lm-evaluation-harness loads the base model's folder and the
adapter by itself (``HFLM(pretrained=..., peft=...)``), gets prompts and options as text, and scores each pair. What it
finds, renormalised over the options, is compared with ``models/<label>/distributions.parquet``. More than 1e-4 apart
is an error.

Run: python benchmarks/adapter.py [RUN] [--label ace] [--quick] [--seed 0] [--json FILE]. It needs lm-eval and the
built-in model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _measuring import probabilities, requests
from alignment import STUDIES, command
from rich.console import Console
from rich.progress import track

from causal.runs import Run
from causal.study import Study

TOLERANCE = 1e-4


def make_run(folder: Path, label: str) -> None:
    """Audit CCES 2016 and train on it for an epoch."""
    from align.fit import main as fit
    from causal.audit import main as audit

    changed = {"effects.granularity": "full", "fit.schedule": "best", "fit.epochs": "1"}
    words = [word for name, value in changed.items() for word in ("--set", f"{name}={value}")]
    study = str(STUDIES / "cces2016.yaml")
    command(audit, [study, "--out", str(folder), *words])
    command(fit, [study, "--out", str(folder), "--label", label, "--model", "smollm2", *words])


def recorded(run: Run, study: Study, label: str) -> pd.Series:
    """Return the run's probabilities of the full personas, by country, question, levels and option."""
    from causal.tables import read_distributions

    table = read_distributions(run.model(label) / "distributions.parquet")
    full = table[table["granularity"] == len(study.attributes)]
    if full.empty:
        raise SystemExit(f"{label} was not measured on personas with every attribute (effects.granularity: full)")
    return full.set_index(["country", "question", *study.attributes, "option"])["p"]


def in_other_hands(harness: Any, study: Study, country: str, question: str, who: list[dict[str, str]]) -> np.ndarray:
    """Return lm-evaluation-harness's probabilities of a question, shape (personas, K)."""
    from align.prompts import encode, wording

    encoded = encode(harness.tokenizer, [wording(study, country, question, one) for one in who], question)
    found = harness.loglikelihood(requests(harness.tokenizer, encoded), disable_tqdm=True)
    return probabilities(np.array([score for score, _ in found]), len(encoded[0]))


def apart(run: Run, label: str, questions: int | None, seed: int) -> dict[str, float]:
    """Return, for each (country, question) asked, by how much probabilities differ at most."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from align.models import locate_model
    from align.prompts import personas

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    study = Study.load(run.path / "study.yaml")
    table = recorded(run, study, label)
    keys = list(dict.fromkeys(zip(table.index.get_level_values(0), table.index.get_level_values(1), strict=True)))
    keys = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))[:questions]]
    who = personas(study, [len(study.attributes)])
    base = locate_model(
        json.loads(run.manifest_path.read_text(encoding="utf-8"))["steps"][f"fit/{label}"]["inputs"]["model"]
    )
    adapter = str(run.model(label) / "adapter")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    harness = HFLM(pretrained=base, peft=adapter, device=device, dtype="float32", batch_size=8, add_bos_token=False)
    found = {}
    for country, question in track(keys, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        theirs = in_other_hands(harness, study, country, question, who)
        ours = [
            [table[(country, question, *persona.values(), option)] for option in range(1, theirs.shape[1] + 1)]
            for persona in who
        ]
        found[f"{country} {question}"] = float(np.abs(theirs - np.array(ours)).max())
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run folder with a trained label (default: one is made)")
    parser.add_argument("--label", default="ace")
    parser.add_argument("--quick", action="store_true", help="two questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if importlib.util.find_spec("lm_eval") is None:
        print("error: lm_eval not installed: pip install lm-eval", file=sys.stderr)
        raise SystemExit(2)
    folder = arguments.run or Path("runs") / "adapter"
    if arguments.run is None:
        make_run(folder, arguments.label)
    found = apart(Run(folder), arguments.label, 2 if arguments.quick else None, arguments.seed)
    for name, difference in found.items():
        print(f"{name}: {difference:.2g}")
    worst = max(found.values())
    print(f"largest difference of a probability: {worst:.2g} (allowed {TOLERANCE:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"largest_difference": worst, **found}, indent=2) + "\n", encoding="utf-8")
    if worst > TOLERANCE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
