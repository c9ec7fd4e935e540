"""Tree attention masks in the form that a model family takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from align.batches import Batch

if TYPE_CHECKING:
    import torch

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


def no_tree(causal: Any) -> str | None:
    """Return why a model's layers cannot take a tree mask at all, or None if they may."""
    config = causal.config.get_text_config()
    if getattr(causal, "_is_stateful", False):
        return "it is recurrent"
    if other := sorted({kind for kind in _layer_types(config) if kind not in (FULL, SLIDING, CHUNKED)}):
        return f"it has layers of {', '.join(other).replace('_', ' ')}"
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return "its local attention counts places in the row"
    if getattr(config, "attn_temperature_tuning", False) and not all(config.no_rope_layers):
        return "it scales attention by places in the row"
    if getattr(config, "alibi", False):
        return "its attention biases count places in the row"
    return None


def tree_masks(causal: Any, batch: Batch) -> Any:
    """Return the attention mask of a batch of tries: one, or one by kind of layer where a family has several.

    Under ``sdpa`` a mask is boolean of shape (rows, 1, length, length), True where seen; under ``eager`` it is added,
    0 where seen; under ``flex_attention`` it is a block mask. Windows and chunks count depth, not places.
    """
    import torch

    config = causal.config.get_text_config()
    device = causal.device
    depth, end = torch.from_numpy(batch.depth).to(device), torch.from_numpy(batch.end).to(device)
    kinds = set(_layer_types(config))
    if not kinds & {SLIDING, CHUNKED}:
        kind = SLIDING if not kinds and getattr(config, "sliding_window", None) else FULL
        return _mask(causal, _sees(kind, config, depth, end), depth.shape)
    return {kind: _mask(causal, _sees(kind, config, depth, end), depth.shape) for kind in (FULL, *sorted(kinds))}


def _layer_types(config: Any) -> list[str]:
    return list(getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ())


def _sees(kind: str, config: Any, depth: torch.Tensor, end: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return whether place q of row b sees place k, as a function of index tensors (FlexAttention's ``mask_mod``)."""

    reach = depth + config.sliding_window if kind == SLIDING else depth  # booleans over pairs of places, not numbers

    def sees(b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        seen = (k <= q) & (q < end[b, k])
        if kind == SLIDING:
            seen = seen & (depth[b, q] < reach[b, k])
        elif kind == CHUNKED:
            size = config.attention_chunk_size
            seen = seen & (depth[b, q] // size == depth[b, k] // size)
        return seen

    return sees


def _mask(causal: Any, sees: Callable[..., torch.Tensor], shape: torch.Size) -> Any:
    import torch

    rows, length = shape
    device = causal.device
    implementation = causal.config.get_text_config()._attn_implementation
    if implementation == "flex_attention":
        from torch.nn.attention.flex_attention import create_block_mask

        return create_block_mask(sees, rows, None, length, length, device=device.type)
    place = torch.arange(length, device=device)
    seen = sees(torch.arange(rows, device=device)[:, None, None], 0, place[None, :, None], place[None, None, :])[
        :, None
    ]
    if implementation == "sdpa":
        return seen
    lowest = torch.finfo(causal.dtype).min  # a boolean mask under eager attention would be silently wrong
    return torch.zeros(seen.shape, dtype=causal.dtype, device=device).masked_fill(~seen, lowest)
