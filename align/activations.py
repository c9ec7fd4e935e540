"""Activations kept for the backward pass, or computed again in it where memory asks for that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from align.memory import free_memory, out_of_memory
from align.parallel import ALONE, Processes, note
from align.sharding import held
from causal.errors import InputError, RunError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
ROOM = 1.5
"""How much more than the kept activations a backward pass is taken to need."""


def recompute(model: Any) -> None:
    """Let a model compute its activations again in the backward pass: same gradients in less memory, but slower.

    Raises
    ------
    InputError
        The architecture cannot.
    """
    causal = model.get_base_model()
    if not causal.supports_gradient_checkpointing:
        raise InputError(
            f"{type(causal).__name__} cannot compute its activations again; set fit.checkpoint_activations: never"
        )
    settings = {"use_reentrant": False}
    if hasattr(causal, "activation_checkpointing_enable"):  # transformers' new name
        causal.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
    else:
        causal.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)


def recomputes(model: Any) -> bool:
    """Tell whether a model computes its activations again."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def recompute_if_large(
    model: Any, forward: Callable[[], torch.Tensor], times: float, processes: Processes = ALONE
) -> None:
    """Switch to computing activations again if those of the largest item would not fit into free memory.

    Parameters
    ----------
    model : PeftModel
        In training mode.
    forward : callable
        The loss of a small item, whose activations are counted.
    times : float
        How many times as large the largest item is.
    processes : Processes
        Who does the same; the least memory decides for all.
    """
    needed = max(processes.gather(ROOM * times * _bytes_or_too_many(model, forward)))
    free = min(processes.gather(free_memory(next(model.parameters()).device)))
    if needed > free and model.get_base_model().supports_gradient_checkpointing:
        steps = f"a step would need about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free"
        _say(steps if math.isfinite(needed) else "memory ran out on the smallest question")
        recompute(model)


def _bytes_or_too_many(model: Any, forward: Callable[[], torch.Tensor]) -> float:
    """Return what `kept_bytes` does; infinity if memory does not suffice to count."""
    try:
        return kept_bytes(model, forward)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    _free()
    return math.inf


def kept_bytes(model: Any, forward: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that autograd keeps for the backward pass, the model's own weights left out."""
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in held(model)}
    found: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage
        return tensor.detach()  # a graph that holds a tensor of its own would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = forward()  # held until counted, so that no storage is used twice
    # a sharded model's layers have been freed by now: their storages are empty
    total = sum(storage.nbytes() for place, storage in found.items() if place not in own)
    del kept
    return total


def within_memory(model: Any, may_change: bool, work: Callable[[], T], what: str) -> T:
    """Do something, and again with activations computed anew if memory ran out.

    Raises
    ------
    RunError
        Memory ran out all the same.
    """
    try:
        return work()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        causal = model.get_base_model()
        if not may_change or recomputes(model) or not causal.supports_gradient_checkpointing:
            raise RunError(
                f"out of memory on {what}; the checkpoint holds all steps before. Set "
                "fit.checkpoint_activations: always if it is not, use fewer attributes, or take a smaller "
                "model"
            ) from error
    _say("memory ran out")
    _free()
    recompute(model)
    return within_memory(model, False, work, what)


def _free() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _say(why: str) -> None:
    note(
        f"{why}, so activations are computed again in the backward pass: the same result with less memory, "
        "up to two fifths slower"
    )
