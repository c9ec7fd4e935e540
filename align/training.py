"""The training loop: one step per (country, question) trie, checkpoint after every step, resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.objectives import ace, alignment_score, effect
from align.questions import Asked
from align.scoring import option_logprobs
from align.targets import Target
from causal.errors import RunError
from causal.files import replace_file, write_text
from causal.sections import FitSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Item:
    """One (country, question) to train or evaluate on: its trie and its targets."""

    asked: Asked
    target: Target


@dataclass(frozen=True)
class Scores:
    """Mean effect distance (d_CDF) and alignment score S of a model on some items."""

    effect_distance: float
    alignment: float


@dataclass(frozen=True)
class Stage:
    """Weights of anchor and effect (paper eq. 14) during one epoch."""

    alpha: float
    beta: float


def stages(fit: FitSettings) -> list[Stage]:
    """Return one stage per epoch; ``paper`` anchors in the first half and aligns effects in the second."""
    anchor, effects = Stage(1.0, 0.0), Stage(0.0, 1.0)
    if fit.schedule == "paper":
        return [anchor] * (fit.epochs // 2) + [effects] * (fit.epochs // 2)
    return [anchor if fit.schedule == "anchor" else effects] * fit.epochs


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
        loss = _loss(model, item, stage)
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} at step {step + 1} ({item.target.question}); lower fit.learning_rate. "
                f"The last good state is in {checkpoint}"
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        line = {"step": step + 1, "epoch": epoch + 1, "country": item.target.country, "question": item.target.question}
        line |= {"alpha": stage.alpha, "beta": stage.beta, "loss": loss.item()}
        with (folder / "train.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        _save_checkpoint(checkpoint, model, optimiser, step + 1, inputs)
        say(step + 1, loss.item())
    model.eval()


def evaluate(model: Any, items: Sequence[Item]) -> Scores:
    """Return the mean effect distance over toggles and S over cells (toggle ends), without gradients."""
    import torch

    distances, scores = [], []
    with torch.no_grad():
        for item in items:
            (reference, treated), (p0, p1) = _ends(model, item)
            distances += [
                effect(r[None].exp(), t[None].exp(), a[None], b[None]).item()
                for r, t, a, b in zip(reference, treated, p0, p1, strict=True)
            ]
            cells: dict[int, float] = {}
            for positions, logp, p in ((item.target.reference, reference, p0), (item.target.treated, treated, p1)):
                values = alignment_score(logp.exp(), p)
                cells.update(zip(positions.tolist(), values.tolist(), strict=True))
            scores += list(cells.values())
    return Scores(float(np.mean(distances)), float(np.mean(scores)))


def _plan(fit: FitSettings, items: int) -> list[tuple[int, Stage, int]]:
    """Return (epoch, stage, item) of every step."""
    plan = []
    for epoch, stage in enumerate(stages(fit)):
        order = np.random.default_rng([fit.seed, epoch]).permutation(items)
        plan += [(epoch, stage, int(index)) for index in order]
    return plan


def _loss(model: Any, item: Item, stage: Stage) -> torch.Tensor:
    (reference, treated), (p0, p1) = _ends(model, item)
    return ace(reference, treated, p0, p1, stage.alpha, stage.beta)


def _ends(model: Any, item: Item) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return the model's log-probabilities and the survey's probabilities at both ends of every toggle."""
    import torch

    logp = option_logprobs(model, item.asked.trie, item.asked.options)
    target = item.target
    survey = tuple(
        torch.tensor(p, dtype=logp.dtype, device=logp.device) for p in (target.p_reference, target.p_treated)
    )
    return (logp[target.reference], logp[target.treated]), (survey[0], survey[1])


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
