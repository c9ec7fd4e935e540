"""How much memory is free on a device, and how its end shows."""

from __future__ import annotations

from typing import Any

_TOLD = ("out of memory", "can't allocate memory", "not enough memory")


def free_memory(device: Any) -> int:
    """Return the bytes free on a torch device now."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; torch has no class of its own for it on a CPU."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in _TOLD)
