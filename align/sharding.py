"""A model's frozen weights dealt out over processes, a layer whole only while it is used (torch's FSDP)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from align.parallel import Processes
from align.scoring import plain
from causal.errors import InputError

if TYPE_CHECKING:
    import torch


def shard(model: Any, processes: Processes) -> None:
    """Leave each process its part of a model's weights; a layer's others come when a pass reaches it, and go again.

    The weights that LoRA adds later belong to no shard: every process has them whole, so gradients, optimiser,
    checkpoints and adapter are those of processes that have the whole model. From here on every process must go
    through the model equally often, or the others wait for ever; see `Processes.turns` and `idle`.

    Parameters
    ----------
    model : PreTrainedModel
        Frozen, the same in every process; changed in place. Each layer goes to the GPU, where there is one, on its own,
        so that the whole has to fit into the host's memory only.
    processes : Processes
        Who shares the weights; nothing is done unless they are to.

    Raises
    ------
    InputError
        The model does not say what its layers are.
    """
    if not processes.sharded:
        return
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (processes.count,))
    for part in (*_layers(model), model):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def is_sharded(model: Any) -> bool:
    """Tell whether a process has a part of the model only."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(plain(model), FSDPModule)


def held(model: Any) -> list[torch.Tensor]:
    """Return the weights and buffers that are in this process: its parts of what is sharded, the rest whole."""
    from torch.distributed.tensor import DTensor

    tensors = (*model.parameters(), *model.buffers())
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def recover(model: Any) -> None:
    """Make a sharded model ready again after an error within a pass."""
    if is_sharded(model):
        plain(model).reset_iter_state()


def idle(model: Any, passes: int) -> torch.Tensor:
    """Go through the model with a single token so often, for the sake of the others; return 0, to add to a loss.

    Its gradient is 0 too, but the backward pass goes through all layers, as theirs does.
    """
    import torch

    causal = plain(model)
    token = torch.zeros((1, 1), dtype=torch.long, device=causal.device)
    found = torch.zeros((), device=causal.device)
    for _ in range(passes):
        found = found + 0 * causal(input_ids=token, use_cache=False).logits.float().sum()
    return found


def _layers(model: Any) -> list[Any]:
    """Return the layers, those inside others first."""
    names = set(model._no_split_modules or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        raise InputError(
            f"{type(model).__name__} does not say what its layers are, so it cannot be sharded; "
            "launch it without FSDP if it fits on one device"
        )
    return found[::-1]
