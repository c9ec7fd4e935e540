"""Tries through a model: the log-probability of every option after every prompt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.batches import Batch, forest_batch, row_batches, trie_batch, trunk_batch
from align.masks import tree_masks
from align.prompts import Encoded
from align.trie import Trie

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
"""Largest difference of a probability between a way of scoring and one-by-one scoring, in float32."""
COARSE_TOLERANCE = 0.03
"""The same in bfloat16, whose own noise reaches half of this (docs/engine.md)."""
ROW_TOKENS = 2048
"""Tokens of plain rows that go through the model together in training."""
FLEX_MULTIPLE = 512
"""Forests are padded to a multiple of this, so that FlexAttention compiles for few lengths (its blocks are 128)."""


def by_tree(model: Any, tries: Sequence[Trie], tokens: int) -> torch.Tensor:
    """Score tries as a padded batch under dense tree masks, shape (sequences of all tries,)."""
    return _by_masks(plain(model), trie_batch(tries))


def by_forest(model: Any, tries: Sequence[Trie], tokens: int) -> torch.Tensor:
    """Score tries side by side in one row under a FlexAttention block mask, which skips what no node sees."""
    causal = plain(model)
    dense = causal.config.get_text_config()._attn_implementation
    causal.set_attn_implementation("flex_attention")
    try:
        return _by_masks(causal, forest_batch(tries, FLEX_MULTIPLE))
    finally:
        causal.set_attn_implementation(dense)


def by_prefix(model: Any, tries: Sequence[Trie], tokens: int) -> torch.Tensor:
    """Score each trie's shared prefix once into a cache, and what follows it as plain rows on copies of the cache."""
    import torch

    causal = plain(model)
    return torch.cat([_by_prefix(causal, trie, tokens) for trie in tries])


def by_rows(model: Any, tries: Sequence[Trie], tokens: int) -> torch.Tensor:
    """Score every root-to-leaf path as a plain row, at most so many tokens at once: for any causal model."""
    causal = plain(model)
    return _sum(_predict(causal, batch) for batch in row_batches(tries, [0] * len(tries), tokens))


def _by_prefix(causal: Any, trie: Trie, tokens: int) -> torch.Tensor:
    if not trie.trunk:
        return by_rows(causal, [trie], tokens)
    trunk, caches = trunk_batch(trie), []
    scores = [_predict(causal, trunk, lambda output: caches.append(output.past_key_values), use_cache=True)]
    for batch in row_batches([trie], [trie.trunk], tokens):
        cache = copy.deepcopy(caches[0])  # a forward pass writes into its cache
        cache.batch_repeat_interleave(len(batch.ids))
        scores.append(_predict(causal, batch, past_key_values=cache, use_cache=True))
    return _sum(scores)


@dataclass(frozen=True)
class Way:
    """A way to score tries: its name in words, and a function of model, tries and tokens at once."""

    name: str
    score: Callable[[Any, Sequence[Trie], int], torch.Tensor]


FOREST = Way("token trees under FlexAttention", by_forest)
TREE = Way("token trees", by_tree)
PREFIX = Way("a cache of the shared prefix", by_prefix)
ROWS = Way("plain rows", by_rows)


def sequence_logprobs(model: Any, trie: Trie, way: Way = TREE) -> torch.Tensor:
    """Return each sequence's summed log-probability of its option tokens (paper eq. 2).

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        A decoder that can be scored in this way (see `align.engine`). Gradients flow if they are enabled.
    trie : Trie
        All prompts and options of one (country, question).
    way : Way
        `TREE` or `ROWS`. Rows go through the model `ROW_TOKENS` at a time, whatever memory is free: a training that
        goes on must have the bits of one that was not killed.

    Returns
    -------
    Tensor, shape (sequences,), float32
    """
    return way.score(model, [trie], ROW_TOKENS)


def training_passes(trie: Trie, way: Way) -> int:
    """Return how often `sequence_logprobs` goes through the model."""
    return 1 if way is TREE else sum(1 for _ in row_batches([trie], [0], ROW_TOKENS))


def option_logprobs(model: Any, trie: Trie, options: int, way: Way = TREE) -> torch.Tensor:
    """Return log-probabilities renormalised over the K options (paper eq. 3), shape (prompts, K)."""
    import torch

    return torch.log_softmax(sequence_logprobs(model, trie, way).reshape(-1, options), dim=-1)


def difference(model: Any, trie: Trie, encoded: Sequence[Sequence[Encoded]], way: Way = TREE, tokens: int = 1) -> float:
    """Return by how much a way of scoring differs from one-by-one scoring; see `distance`."""
    import torch

    with torch.no_grad():
        return distance(model, encoded, way.score(model, [trie], tokens))


def distance(model: Any, encoded: Sequence[Sequence[Encoded]], scores: torch.Tensor) -> float:
    """Return by how much a question's scores differ from one-by-one scoring, on the first and the last prompt.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        What they were scored with.
    encoded : sequence of sequence of Encoded
        The question's prompts, and their options.
    scores : Tensor, shape (sequences,)
        Log-probabilities, prompt by prompt, option by option.

    Returns
    -------
    float
        The largest difference of a probability, both as the model gives them and renormalised over the options.
    """
    import torch

    options = len(encoded[0])
    with torch.no_grad():
        alone = one_by_one_logprobs(model, [*encoded[0], *encoded[-1]]).reshape(2, options)
    found = scores.reshape(-1, options)[[0, -1]]
    apart = [(found.exp() - alone.exp()).abs(), (found.softmax(dim=-1) - alone.softmax(dim=-1)).abs()]
    return float(torch.stack(apart).max())


def one_by_one_logprobs(model: Any, encoded: Sequence[Encoded]) -> torch.Tensor:
    """Score each sequence alone with the model's own forward pass: the reference for every other way.

    The output layer is that of the other ways, in float32, so that what differs is what they do otherwise.
    """
    import torch

    causal = plain(model)
    found = []
    for item in encoded:
        ids = torch.tensor([item.ids], device=causal.device)
        with _fine_output(causal):
            logits = causal(input_ids=ids, use_cache=False).logits[0].float()
        logp = torch.log_softmax(logits[item.start - 1 : -1], dim=-1)
        found.append(logp.gather(1, ids[0, item.start :, None]).sum())
    return torch.stack(found)


def plain(model: Any) -> Any:
    """Return the transformers model inside a peft one; LoRA layers stay active in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _by_masks(causal: Any, batch: Batch) -> torch.Tensor:
    import torch

    return _predict(
        causal,
        batch,
        position_ids=torch.from_numpy(batch.depth).to(causal.device),
        attention_mask=tree_masks(causal, batch),
    )


def _predict(
    causal: Any, batch: Batch, keep: Callable[[Any], None] | None = None, use_cache: bool = False, **inputs: Any
) -> torch.Tensor:
    """Return each sequence's summed log-probability of the tokens that this batch predicts, shape (sequences,)."""
    import torch

    device = causal.device
    places, which = torch.unique(torch.from_numpy(batch.at).to(device), return_inverse=True)
    logits = _selected_logits(
        causal, places, keep, input_ids=torch.from_numpy(batch.ids).to(device), use_cache=use_cache, **inputs
    )
    logp = logits[which, torch.from_numpy(batch.token).to(device)] - torch.logsumexp(logits, dim=-1)[which]
    total = torch.zeros(batch.sequences, device=device, dtype=logp.dtype)
    return total.index_add(0, torch.from_numpy(batch.sequence).to(device), logp)


def _selected_logits(
    causal: Any, places: torch.Tensor, keep: Callable[[Any], None] | None, **inputs: Any
) -> torch.Tensor:
    """Run the whole model, but its output layer only at some places; shape (places, vocabulary), float32 or finer.

    The model's own forward pass stays in charge, so what a family does to its logits (softcapping, scaling) is done.
    """
    head = causal.get_output_embeddings()
    selected = head.register_forward_pre_hook(lambda module, given: (given[0].flatten(0, 1)[places][None],))
    try:
        with _fine_output(causal):
            output = causal(**inputs)
    finally:
        selected.remove()
    if keep:
        keep(output)
    logits = output.logits[0]
    return logits.float() if logits.element_size() < 4 else logits


@contextmanager
def _fine_output(causal: Any) -> Iterator[None]:
    """Let a model compute its output layer in float32."""
    finer = causal.get_output_embeddings().register_forward_hook(_in_float32)
    try:
        yield
    finally:
        finer.remove()


def _in_float32(head: Any, given: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """Redo a half-precision output layer in float32: bfloat16 noise there exceeds a small model's effects."""
    import torch

    if type(head) is not torch.nn.Linear or head.weight.element_size() >= 4:
        return logits
    bias = None if head.bias is None else head.bias.float()
    return torch.nn.functional.linear(given[0].float(), head.weight.float(), bias)


def _sum(scores: Iterable[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(list(scores)).sum(dim=0)
