"""A trie through a model: the log-probability of every option after every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from align.prompts import Encoded
from align.trie import Trie
from causal.errors import InputError

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
"""Largest difference of an option probability between the trie and one-by-one scoring (float32)."""


def sequence_logprobs(model: Any, trie: Trie) -> torch.Tensor:
    """Return each sequence's summed log-probability of its option tokens (paper eq. 2).

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        A decoder under SDPA attention. Gradients flow if they are enabled.
    trie : Trie
        All prompts and options of one (country, question).

    Returns
    -------
    Tensor, shape (sequences,), float32
    """
    import torch

    causal = _causal(model)
    device = next(causal.parameters()).device
    hidden = causal.base_model(
        input_ids=torch.from_numpy(trie.ids).to(device)[None],
        position_ids=torch.from_numpy(trie.depth).to(device)[None],
        attention_mask=torch.from_numpy(trie.attention).to(device)[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    rows, place = torch.unique(torch.from_numpy(trie.row).to(device), return_inverse=True)
    logits = _head(causal, hidden[rows])
    token = torch.from_numpy(trie.token).to(device)
    logp = torch.log_softmax(logits, dim=-1)[place, token]
    total = torch.zeros(trie.sequences, device=device)
    return total.index_add(0, torch.from_numpy(trie.sequence).to(device), logp)


def option_logprobs(model: Any, trie: Trie, options: int) -> torch.Tensor:
    """Return log-probabilities renormalised over the K options (paper eq. 3), shape (prompts, K)."""
    import torch

    return torch.log_softmax(sequence_logprobs(model, trie).reshape(-1, options), dim=-1)


def one_by_one_logprobs(model: Any, encoded: Sequence[Encoded]) -> torch.Tensor:
    """Score each sequence alone with the model's own causal attention: the reference for `check_trie`."""
    import torch

    causal = _causal(model)
    device = next(causal.parameters()).device
    found = []
    for item in encoded:
        ids = torch.tensor([item.ids], device=device)
        logits = causal(input_ids=ids, use_cache=False).logits[0].float()
        logp = torch.log_softmax(logits[item.start - 1 : -1], dim=-1)
        found.append(logp.gather(1, ids[0, item.start :, None]).sum())
    return torch.stack(found)


def check_trie(model: Any, trie: Trie, encoded: Sequence[Sequence[Encoded]]) -> float:
    """Compare the trie with one-by-one scoring on the first and last prompt, and fail loudly.

    Returns
    -------
    float
        The largest difference of an option probability.

    Raises
    ------
    InputError
        The difference exceeds the tolerance: this architecture cannot take the tree mask.
    """
    import torch

    options = len(encoded[0])
    with torch.no_grad():
        packed = option_logprobs(model, trie, options)[[0, -1]].exp()
        alone = one_by_one_logprobs(model, [*encoded[0], *encoded[-1]]).reshape(2, options)
    apart = float((packed - torch.softmax(alone, dim=-1)).abs().max())
    limit = TOLERANCE if packed.device.type == "cpu" else 0.03  # bfloat16 noise
    if not apart <= limit:
        raise InputError(
            f"this model's option probabilities differ by {apart:.2g} between the token trie and one-by-one scoring "
            f"(allowed: {limit:g}); its attention cannot take a tree mask, so nothing measured with it would be right"
        )
    return apart


def _causal(model: Any) -> Any:
    """Return the transformers model inside a peft one; LoRA layers stay active in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _head(causal: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Apply the output layer in float32: bfloat16 noise there exceeds a small model's effects."""
    import torch

    head = causal.get_output_embeddings()
    bias = getattr(head, "bias", None)
    return torch.nn.functional.linear(hidden.float(), head.weight.float(), None if bias is None else bias.float())
