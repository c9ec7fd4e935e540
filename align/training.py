"""The training loop: batches of (country, question) tries, a checkpoint after every step, early stopping, resume."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from align.activations import recompute, recompute_if_large, within_memory
from align.checkpoints import Checkpoint, Progress, adapter_weights, truncate_log
from align.evaluation import Item, Validation, objectives, validate, weighted_sum
from align.parallel import ALONE, Processes, Turn
from align.sharding import idle
from align.writing import writing
from causal.errors import RunError
from causal.fitsettings import FitSettings, Stage

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Step:
    """One step of the optimiser.

    Attributes
    ----------
    number, epoch : int
        From 1.
    stage : Stage
        What the loss weighs.
    batch : tuple of int
        The items whose mean loss it follows.
    ends_epoch, chooses : bool
        Whether an epoch ends with it, and whether early stopping may choose that epoch: those of the last stage.
    """

    number: int
    epoch: int
    stage: Stage
    batch: tuple[int, ...]
    ends_epoch: bool
    chooses: bool


def plan_steps(fit: FitSettings, items: int) -> list[Step]:
    """Return every step: each epoch takes all items in an order of its own, in batches, the last maybe smaller."""
    stages = [stage for stage in fit.stages for _ in range(stage.epochs)]
    first_of_last = len(stages) - fit.stages[-1].epochs
    plan: list[Step] = []
    for epoch, stage in enumerate(stages):
        order = np.random.default_rng([fit.seed, epoch]).permutation(items).tolist()
        for start in range(0, items, fit.batch):
            batch, ends = tuple(order[start : start + fit.batch]), start + fit.batch >= items
            plan.append(Step(len(plan) + 1, epoch + 1, stage, batch, ends, ends and epoch >= first_of_last))
    return plan


def begins_stage(plan: Sequence[Step], step: Step) -> bool:
    """Tell whether a step is the first that weighs other objectives than the step before it."""
    return step.number > 1 and plan[step.number - 2].stage.weights != step.stage.weights


def learning_rate(fit: FitSettings, step: int, steps: int) -> float:
    """Return the rate of a step (from 1): rising linearly over the share ``warmup`` of all steps, then constant."""
    return fit.learning_rate * min(1.0, step / max(1, math.ceil(fit.warmup * steps)))


def train(
    model: Any,
    items: Sequence[Item],
    fit: FitSettings,
    checkpoint: Checkpoint,
    say: Callable[[int, float], None],
    validation: Sequence[Item] = (),
    processes: Processes = ALONE,
) -> int | None:
    """Train a peft model in place, going on from the checkpoint if there is one.

    Every item seeds torch from the seed, its step and itself, and every epoch draws its order from the seed and its
    number. So a run that was killed and resumed ends as one that was not, and several processes as one.

    Parameters
    ----------
    model : PeftModel
        LoRA layers that require gradients.
    items : sequence of Item
        What to train on, each once per epoch.
    fit : FitSettings
        Epochs, schedule, batch, learning rate, seed.
    checkpoint : Checkpoint
        Where the state and the log of the steps go.
    say : callable
        Called with the number of steps done and the last loss.
    validation : sequence of Item
        What early stopping looks at after every epoch.
    processes : Processes
        Who shares the work.

    Returns
    -------
    int or None
        The epoch whose adapter the model has, from 1; None without early stopping.

    Raises
    ------
    InputError
        The checkpoint is damaged, or of another training.
    RunError
        The loss or its gradient is not finite, memory ran out, or the disk is full; the last checkpoint is intact.
    """
    import torch

    weights = list(adapter_weights(model).values())
    optimiser = torch.optim.AdamW(weights, lr=fit.learning_rate)
    plan = plan_steps(fit, len(items))
    progress = processes.together(lambda: checkpoint.load(model, optimiser))
    _require_one_state(processes, progress, checkpoint)
    processes.on_main(lambda: _tidy(checkpoint, progress))
    model.train()
    if progress.step < len(plan):
        processes.together(lambda: _set_activations(model, items, fit, processes))
    for step in plan[progress.step :]:
        if begins_stage(plan, step):
            optimiser.state.clear()  # what the gradients of other objectives were would set the size of its steps
        if fit.early_stopping and progress.stopping.waited >= fit.early_stopping.patience:
            break
        lines = _take_step(model, items, fit, step, len(plan), optimiser, processes, checkpoint)
        found = _validate(model, validation, fit, processes) if validation and step.ends_epoch else None
        progress = _advance(progress, step, found)
        if found is not None:
            told = {"step": step.number, "epoch": step.epoch, "validation": asdict(found)}
            lines.append(told | {"best_epoch": progress.stopping.epoch or None})
        processes.on_main(partial(_keep, checkpoint, model, optimiser, lines, progress))
        say(step.number, float(np.mean([line["loss"] for line in lines if "loss" in line])))
    if validation:
        processes.together(lambda: checkpoint.load_best(model, progress.stopping.epoch))
    model.eval()
    return progress.stopping.epoch if validation else None


def _take_step(
    model: Any,
    items: Sequence[Item],
    fit: FitSettings,
    step: Step,
    steps: int,
    optimiser: torch.optim.Optimizer,
    processes: Processes,
    checkpoint: Checkpoint,
) -> list[dict[str, Any]]:
    """Follow the gradient of a batch's mean loss; return one line of the log per item."""
    import torch

    weights = list(adapter_weights(model).values())
    batch = [items[index] for index in step.batch]
    turns = processes.turns([item.passes for item in batch])
    changeable = fit.checkpoint_activations == "auto" and not processes.sharded  # going back would take all of them
    mine = ", ".join(batch[turn.item].target.question for turn in turns if turn.item is not None)
    found = processes.through_model(
        lambda: within_memory(model, changeable, lambda: _accumulate(model, items, turns, step, fit.seed), mine)
    )
    told = processes.collect(found)
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    processes.add_up(gradients)
    norm = torch.nn.utils.get_total_norm(gradients)
    rate = learning_rate(fit, step.number, steps)
    names = ", ".join(item.target.question for item in batch)
    processes.together(lambda: _require_finite(told, norm.item(), step, names, checkpoint))
    if fit.clip is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, fit.clip, norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return [line | {"learning_rate": rate, "gradient_norm": norm.item()} for line in told]


def _accumulate(
    model: Any, items: Sequence[Item], turns: Sequence[Turn], step: Step, seed: int
) -> list[dict[str, Any]]:
    """Add up this process's share of the gradient, one item in memory at a time; return what to log of each."""
    import torch

    for weight in adapter_weights(model).values():
        weight.grad = torch.zeros_like(weight)
    lines = []
    for turn in turns:
        if turn.item is None:
            idle(model, turn.idle).backward()
            continue
        index = step.batch[turn.item]
        torch.manual_seed(_item_seed(seed, step.number, index))
        losses = objectives(model, items[index], step.stage)
        loss = weighted_sum(losses, step.stage)
        (loss / len(step.batch) + idle(model, turn.idle)).backward()
        lines.append(_line(items[index], step, loss, losses))
    return lines


def _line(item: Item, step: Step, loss: torch.Tensor, losses: dict[str, torch.Tensor]) -> dict[str, Any]:
    line = {"step": step.number, "epoch": step.epoch, "country": item.target.country, "question": item.target.question}
    line |= {"weights": step.stage.weights, "loss": loss.item()}
    return line | {"objectives": {name: value.item() for name, value in losses.items()}}


def _item_seed(seed: int, step: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, step, index]).generate_state(1, np.uint64)[0])


OTHERWISE = "Lower fit.learning_rate or set fit.clip, and train anew with --resume never"


def _require_finite(
    lines: Sequence[dict[str, Any]], norm: float, step: Step, names: str, checkpoint: Checkpoint
) -> None:
    too = f", from {checkpoint.path} too" if checkpoint.path.is_file() else ""
    for what, value, where in (
        *(("loss", line["loss"], line["question"]) for line in lines),
        ("gradient", norm, names),
    ):
        if not math.isfinite(value):
            raise RunError(
                f"the {what} is {value} at step {step.number} ({where}); the same command would end here again{too}. "
                f"{OTHERWISE}"
            )


def _validate(model: Any, items: Sequence[Item], fit: FitSettings, processes: Processes) -> Validation:
    model.eval()
    found = validate(model, items, fit.stages[-1], processes)
    model.train()
    processes.together(lambda: _require_finite_validation(found))
    return found


def _require_finite_validation(found: Validation) -> None:
    if not math.isfinite(found.loss):
        raise RunError(f"the validation loss is {found.loss}; the same command would end here again. {OTHERWISE}")


def _advance(progress: Progress, step: Step, found: Validation | None) -> Progress:
    counts = found is not None and step.chooses
    stopping = progress.stopping.after(step.epoch, found.loss) if found and counts else progress.stopping
    return Progress(step.number, stopping)


def _keep(
    checkpoint: Checkpoint,
    model: Any,
    optimiser: torch.optim.Optimizer,
    lines: Sequence[dict[str, Any]],
    progress: Progress,
) -> None:
    with writing(checkpoint.log, checkpoint.kept), checkpoint.log.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    checkpoint.save(model, optimiser, progress)


def _tidy(checkpoint: Checkpoint, progress: Progress) -> None:
    checkpoint.clean(progress)
    with writing(checkpoint.log, checkpoint.kept):
        truncate_log(checkpoint.log, progress.step)


def _require_one_state(processes: Processes, progress: Progress, checkpoint: Checkpoint) -> None:
    if len(set(processes.gather(progress))) > 1:
        processes.together(lambda: _differ(checkpoint))


def _differ(checkpoint: Checkpoint) -> None:
    raise RunError(
        f"the processes see different states of {checkpoint.path}; give --out a folder that all of them share"
    )


def _set_activations(model: Any, items: Sequence[Item], fit: FitSettings, processes: Processes) -> None:
    if fit.checkpoint_activations == "always":
        recompute(model)
    elif fit.checkpoint_activations == "auto":
        sizes = [item.tokens for item in items]
        small, stage = items[int(np.argmin(sizes))], fit.stages[0]
        times = max(sizes) / min(sizes)
        recompute_if_large(model, lambda: weighted_sum(objectives(model, small, stage), stage), times, processes)
