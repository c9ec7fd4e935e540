"""Which questions go through the model together: packs of similar size, up to a budget of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from align.memory import free_memory

CPU_TOKENS = 2048
"""Tokens in one forward pass on a CPU; more gain nothing there."""
CUDA_TOKENS = 65536
"""The same on a GPU."""
SHARE = 0.5
"""Share of the free memory that a forward pass may fill."""
PAIR = 4
"""Bytes for each pair of tokens in a forest while its block mask is made, which goes through dense boolean ones."""


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
    attention output: 8 hidden sizes; gate, up and product of the feed-forward: 3 intermediate sizes, of the widest
    layer) or at the output layer (logits in float32 and their exponentials, if every token predicted). A dense tree
    mask adds 5 bytes (boolean, and float32 where a kernel wants it so) for each of at most `CPU_TOKENS` other tokens of
    a trie.

    Parameters
    ----------
    config : PretrainedConfig
        Of the text model.
    element : int
        Bytes of one number of the model's body.
    """
    hidden = config.hidden_size
    intermediate = _largest(config, "intermediate_size") or 4 * hidden
    experts = _largest(config, "num_experts_per_tok") or 1
    inside = element * (8 * hidden + 3 * intermediate * experts)
    return inside + 2 * 4 * config.vocab_size + 5 * CPU_TOKENS


def bytes_per_pass(config: Any, element: int) -> int:
    """Return what a forward pass holds however few its tokens are: a float32 copy of a coarse output layer."""
    return 4 * config.vocab_size * config.hidden_size if element < 4 else 0


def token_budget(causal: Any) -> int:
    """Return how many tokens one forward pass of a model may have on its device, by the memory free now."""
    cuda = causal.device.type == "cuda"
    config, element = causal.config.get_text_config(), causal.dtype.itemsize
    room = max(0.0, SHARE * free_memory(causal.device) - bytes_per_pass(config, element))
    fitting = _tokens_in(room, bytes_per_token(config, element), PAIR if cuda else 0)
    return max(1, min(CUDA_TOKENS if cuda else CPU_TOKENS, int(fitting)))


def _tokens_in(room: float, each: int, pair: int) -> float:
    """Return the n with ``each * n + pair * n**2 == room``."""
    return 2 * room / (each + math.sqrt(each**2 + 4 * pair * room))


def _largest(config: Any, name: str) -> int | None:
    """Return a size of a model's layers; some families list it layer by layer."""
    found = getattr(config, name, None)
    return max(found) if isinstance(found, list | tuple) else found
