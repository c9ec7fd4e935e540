"""The training loop: one step per (country, question) trie, checkpoint after every step, resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.objectives import alignment_score, anchor, cdf_shift, effect, level_kl, level_w1
from align.questions import Asked
from align.scoring import option_logprobs
from align.targets import Target
from causal.errors import RunError
from causal.files import replace_file, write_text
from causal.fitsettings import FitSettings, Stage

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Item:
    """One (country, question) to train or evaluate on: its trie and its targets."""

    asked: Asked
    target: Target


@dataclass(frozen=True)
class Scores:
    """Mean effect distance (d_CDF) and alignment score S of a model on some toggles and their cells."""

    effect_distance: float
    alignment: float


def train(
    model: Any, items: Sequence[Item], fit: FitSettings, folder: Path, inputs: str, say: Callable[[int, float], None]
) -> None:
    """Train a peft model in place, going on from the checkpoint if one with the same inputs is there.

    Every step seeds torch from the seed and its own number, and every epoch draws its order from the seed
    and its number, so a run that was killed and resumed ends as one that was not.

    Parameters
    ----------
    model : PeftModel
        LoRA layers that require gradients.
    items : sequence of Item
        What to train on; one step each per epoch.
    fit : FitSettings
        Epochs, schedule, learning rate, seed.
    folder : Path
        Where ``checkpoint/state.safetensors`` and ``train.jsonl`` go.
    inputs : str
        Fingerprint of everything the result depends on; another one's checkpoint is not resumed.
    say : callable
        Called with the number of steps done and the last loss.

    Raises
    ------
    RunError
        The loss is not finite; the last checkpoint is intact.
    """
    import torch

    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=fit.learning_rate)
    plan = _plan(fit, len(items))
    checkpoint = folder / "checkpoint" / "state.safetensors"
    done = _load_checkpoint(checkpoint, model, optimiser, inputs)
    _truncate_log(folder / "train.jsonl", done)
    model.train()
    for step in range(done, len(plan)):
        epoch, stage, index = plan[step]
        torch.manual_seed(fit.seed * 1_000_003 + step)
        item = items[index]
        losses = objectives(model, item, stage)
        loss = torch.stack([weight * losses[name] for name, weight in stage.weights.items()]).sum()
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} at step {step + 1} ({item.target.question}); lower fit.learning_rate. "
                f"The last good state is in {checkpoint}"
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        line = {"step": step + 1, "epoch": epoch + 1, "country": item.target.country, "question": item.target.question}
        line |= {"weights": stage.weights, "loss": loss.item()}
        line |= {"objectives": {name: value.item() for name, value in losses.items()}}
        with (folder / "train.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        _save_checkpoint(checkpoint, model, optimiser, step + 1, inputs)
        say(step + 1, loss.item())
    model.eval()


def evaluate(model: Any, items: Sequence[Item]) -> Scores:
    """Return the mean effect distance over toggles and S over the part's cells at their ends, without gradients.

    Both are against the survey's own cells and weigh all toggles alike, whatever training does.
    """
    import torch

    distances, scores = [], []
    with torch.no_grad():
        for item in items:
            target = item.target
            ends = _ends(model, item)
            moved = cdf_shift(ends.treated.exp() - ends.reference.exp()) - cdf_shift(ends.p_treated - ends.p_reference)
            distances += moved.abs().mean(dim=-1).tolist()
            cells: dict[int, float] = {}
            for positions, logp, p in (
                (target.reference, ends.reference, ends.p_reference),
                (target.treated, ends.treated, ends.p_treated),
            ):
                cells.update(zip(positions.tolist(), alignment_score(logp.exp(), p).tolist(), strict=True))
            scores += [score for position, score in cells.items() if target.belongs[position]]
    return Scores(float(np.mean(distances)), float(np.mean(scores)))


def objectives(model: Any, item: Item, stage: Stage) -> dict[str, torch.Tensor]:
    """Return the objectives that a stage weighs, from one forward pass over an item."""
    import torch

    ends = _ends(model, item)
    goal, weight = (torch.as_tensor(v).to(ends.reference) for v in (item.target.effect, item.target.weight))
    levels = ends.reference, ends.treated, ends.p_reference, ends.p_treated, weight
    found = {
        "anchor": lambda: anchor(*levels),
        "effect": lambda: effect(ends.reference.exp(), ends.treated.exp(), goal, weight),
        "level_kl": lambda: level_kl(*levels),
        "level_w1": lambda: level_w1(*levels),
    }
    return {name: found[name]() for name in stage.weights}


def _plan(fit: FitSettings, items: int) -> list[tuple[int, Stage, int]]:
    """Return (epoch, stage, item) of every step."""
    plan = []
    stages = [stage for stage in fit.stages for _ in range(stage.epochs)]
    for epoch, stage in enumerate(stages):
        order = np.random.default_rng([fit.seed, epoch]).permutation(items)
        plan += [(epoch, stage, int(index)) for index in order]
    return plan


@dataclass(frozen=True)
class _Ends:
    """Both ends of every toggle, shape (toggles, K): the model's log-probabilities, the survey's probabilities."""

    reference: torch.Tensor
    treated: torch.Tensor
    p_reference: torch.Tensor
    p_treated: torch.Tensor


def _ends(model: Any, item: Item) -> _Ends:
    import torch

    logp = option_logprobs(model, item.asked.trie, item.asked.options)
    target = item.target
    survey = (torch.as_tensor(p).to(logp) for p in (target.p_reference, target.p_treated))
    return _Ends(logp[target.reference], logp[target.treated], *survey)


def _adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _save_checkpoint(path: Path, model: Any, optimiser: torch.optim.Optimizer, step: int, inputs: str) -> None:
    """Write adapter, optimiser and step whole or not at all."""
    from safetensors.torch import save_file

    tensors = {}
    for name, parameter in _adapter_weights(model).items():
        state = optimiser.state[parameter]
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        tensors[f"exp_avg/{name}"] = state["exp_avg"].contiguous()
        tensors[f"exp_avg_sq/{name}"] = state["exp_avg_sq"].contiguous()
    with replace_file(path) as beside:
        save_file(tensors, beside, metadata={"step": str(step), "inputs": inputs})


def _load_checkpoint(path: Path, model: Any, optimiser: torch.optim.Optimizer, inputs: str) -> int:
    """Restore a checkpoint with the same inputs; return the number of steps done, 0 without one."""
    import torch
    from safetensors import safe_open

    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as stored:
        meta = stored.metadata() or {}
        if meta.get("inputs") != inputs:
            return 0
        step = int(meta["step"])
        with torch.no_grad():
            for name, parameter in _adapter_weights(model).items():
                parameter.copy_(stored.get_tensor(f"weight/{name}"))
                optimiser.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": stored.get_tensor(f"exp_avg/{name}").to(parameter.device),
                    "exp_avg_sq": stored.get_tensor(f"exp_avg_sq/{name}").to(parameter.device),
                }
    return step


def _truncate_log(path: Path, steps: int) -> None:
    """Keep the first lines of the log, those of the steps that the checkpoint holds."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_text(path, "".join(lines[:steps]))
