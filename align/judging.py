"""Is a way of scoring right for a model? It is if it equals scoring one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from align.memory import free_memory, out_of_memory
from align.parallel import note
from align.plan import SHARE
from align.scoring import COARSE_TOLERANCE, TOLERANCE, Way, difference, distance, plain
from align.sharding import is_sharded, recover

if TYPE_CHECKING:
    import torch

    from align.questions import Asked

OUT_OF_MEMORY = "out of memory"
"""What is said of a way for which memory does not suffice: it may be right all the same."""
_UNFIT = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    ImportError,
    AssertionError,
    MemoryError,
)
"""What a model raises that is given a mask, a position or a cache that it was not made for, or too much of them."""


class Judge:
    """Compares ways of scoring with scoring one by one: on the model, and if it is coarse, on a float32 copy too.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        In evaluation mode. It is copied if it is whole and memory has room; where it has not after all, or it cannot
        be copied, that is said once and it is compared as it is.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._coarse = plain(model).dtype.itemsize < 4
        self._copied = self._coarse and not is_sharded(model)

    def unfit(self, asked: Asked, way: Way, tokens: int) -> str | None:
        """Return why a way is wrong for a question, or None if it is right."""
        why = _why(self.model, lambda: difference(self.model, asked.trie, asked.encoded, way, tokens), self._limit)
        return why or self._unfit_in_float32(asked, way, tokens)

    def unfit_in_pack(self, asked: Asked, scores: torch.Tensor) -> str | None:
        """Return why a question's scores, made beside others', are wrong, or None if they are right."""
        return _why(self.model, lambda: distance(self.model, asked.encoded, scores), self._limit)

    @property
    def _limit(self) -> float:
        return COARSE_TOLERANCE if self._coarse else TOLERANCE

    def _unfit_in_float32(self, asked: Asked, way: Way, tokens: int) -> str | None:
        causal = plain(self.model)
        if not self._copied or 4 * causal.num_parameters() > SHARE * free_memory(causal.device):
            return None
        try:
            finer = copy.deepcopy(causal).float()
        except _UNFIT as error:
            self._go_without_copy(_said(error))
            return None
        why = _why(finer, lambda: difference(finer, asked.trie, asked.encoded, way, tokens), TOLERANCE)
        if why != OUT_OF_MEMORY:
            return why
        self._go_without_copy(why)
        return None

    def _go_without_copy(self, why: str) -> None:
        self._copied = False
        note(
            f"no float32 copy of the model to compare on ({why}); it is compared as it is, at {COARSE_TOLERANCE:g} "
            f"instead of {TOLERANCE:g}"
        )


def _why(model: Any, compare: Callable[[], float], limit: float) -> str | None:
    try:
        apart = compare()
    except _UNFIT as error:
        recover(model)
        return _said(error)
    return None if apart <= limit else f"probabilities differ by {apart:.2g}, allowed are {limit:g}"


def _said(error: Exception) -> str:
    return OUT_OF_MEMORY if out_of_memory(error) else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
