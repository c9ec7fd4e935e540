"""Which questions go through the model together: packs of similar size, up to a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CPU_TOKENS = 2048
"""Tokens in one forward pass on a CPU; more gain nothing there."""
CUDA_TOKENS = 65536
"""The same on a GPU."""
SHARE = 0.5
"""Share of the free memory that a forward pass may fill."""


def packs(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Group items into packs, largest first, so that padding each pack to its largest item stays in the budget.

    Parameters
    ----------
    sizes : sequence of int
        Tokens (trie nodes) of each item.
    budget : int
        Tokens in a pack, padding counted in. An item larger than that is a pack of its own.

    Returns
    -------
    list of list of int
        Positions in ``sizes``. Equal input gives equal packs: a run that goes on makes the packs it made before.
    """
    found: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        if found and sizes[found[-1][0]] * (len(found[-1]) + 1) <= budget:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def bytes_per_token(config: Any, element: int) -> int:
    """Return an upper estimate of what a token of a forward pass without gradients holds at its peak, in bytes.

    The widest moment is either inside a layer (hidden state in, out and normalised, queries, keys, values and
    attention output: 8 hidden sizes; gate, up and product of the feed-forward: 3 intermediate sizes) or at the output
    layer (logits in float32 and their exponentials, if every token predicted). A dense tree mask adds 5 bytes (boolean,
    and float32 where a kernel wants it so) for each of at most `CPU_TOKENS` other tokens of a trie.

    Parameters
    ----------
    config : PretrainedConfig
        Of the text model.
    element : int
        Bytes of one number of the model's body.
    """
    hidden = config.hidden_size
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    experts = getattr(config, "num_experts_per_tok", None) or 1
    inside = element * (8 * hidden + 3 * intermediate * experts)
    return inside + 2 * 4 * config.vocab_size + 5 * CPU_TOKENS


def free_memory(device: Any) -> int:
    """Return the bytes free on a torch device now."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def token_budget(causal: Any) -> int:
    """Return how many tokens one forward pass of a model may have on its device, by the memory free now."""
    most = CUDA_TOKENS if causal.device.type == "cuda" else CPU_TOKENS
    each = bytes_per_token(causal.config.get_text_config(), causal.dtype.itemsize)
    return max(1, min(most, int(SHARE * free_memory(causal.device) / each)))
