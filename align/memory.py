"""How much memory is free on a device, and how its end shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from causal.errors import RunError

_TOLD = ("out of memory", "can't allocate memory", "not enough memory")


def free_memory(device: Any) -> int:
    """Return the bytes that this process may still take on a torch device.

    On CUDA what torch has reserved and does not use counts too; a CPU's memory is shared among the processes that
    accelerate started on this machine.
    """
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    import psutil

    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; torch has no class of its own for it on a CPU."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in _TOLD)


@contextmanager
def memory_ends_in_one_message() -> Iterator[None]:
    """Turn an error that says that memory ran out, wherever it did, into a `RunError`; others pass."""
    try:
        yield
    except RunError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise RunError(
            "memory ran out. Finished work is kept: free some, or take a smaller model, fewer personas "
            "(effects.granularity) or a smaller fit.lora.rank, and run the command again"
        ) from error
