"""Score many questions: pick the fastest way that is right for this model, pack tries, stay within memory."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from align.masks import no_tree
from align.parallel import ALONE, Processes, note
from align.plan import SHARE, free_memory, token_budget
from align.scoring import (
    COARSE_TOLERANCE,
    FOREST,
    PREFIX,
    ROW_TOKENS,
    ROWS,
    TOLERANCE,
    TREE,
    Way,
    difference,
    plain,
)
from align.sharding import is_sharded, recover
from causal.errors import InputError

if TYPE_CHECKING:
    import torch

    from align.questions import Asked


WAYS = (FOREST, TREE, PREFIX, ROWS)
TRAINABLE = (TREE, ROWS)
"""Those whose gradients are known to be right on every device: a cache is written to in place, and FlexAttention has no
backward pass on a CPU."""


def trainable_way(model: Any, questions: Iterable[Asked], processes: Processes = ALONE) -> Way:
    """Return the fastest way to train that equals one-by-one scoring on the largest questions; say what does not.

    It is the same in all processes, which have to be given the same questions.

    Raises
    ------
    InputError
        No way of scoring that gradients flow through equals one-by-one scoring with this model.
    """
    engine = Engine(model, ROW_TOKENS, TRAINABLE, processes)
    engine.check(sorted(questions, key=lambda asked: -len(asked.trie.ids)))
    return engine.way


class Engine:
    """Scores questions with one model, and never in a way that was not seen to equal one-by-one scoring.

    Ways are tried from the fastest to the plainest, on the first question and again on each that is larger than all
    before it. One that fails to equal one-by-one scoring is given up for good, which is said on stderr.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        Any decoder-only language model of transformers, in evaluation mode.
    budget : int, optional
        Tokens in one forward pass; by default what `align.plan.token_budget` finds.
    ways : sequence of Way
        What to try, fastest first. Those that a look at the model rules out are not tried, which is said as well.
    processes : Processes
        Who does the same on the same questions; a way that is wrong in one is given up by all.

    Attributes
    ----------
    budget : int
        Tokens in one forward pass; halved whenever memory runs out.
    """

    def __init__(
        self, model: Any, budget: int | None = None, ways: Sequence[Way] = WAYS, processes: Processes = ALONE
    ) -> None:
        self.model = model
        self._processes = processes
        self.budget = budget or token_budget(plain(model))
        self._ways = _possible(plain(model), ways)
        self._largest = (0, 0)

    @property
    def way(self) -> Way:
        """The way of scoring in use."""
        return self._ways[0]

    def score(self, pack: Sequence[Asked]) -> list[np.ndarray]:
        """Return each question's log-probabilities, not renormalised: arrays of float64, shape (personas, K).

        Raises
        ------
        InputError
            No way of scoring equals one-by-one scoring with this model.
        torch.OutOfMemoryError
            Memory does not suffice for a single row.
        """
        import torch

        with torch.no_grad():
            self.check(pack)
            scores = self._within_memory(pack).double().cpu().numpy()
        ends = np.cumsum([asked.trie.sequences for asked in pack])
        parts = np.split(scores, ends[:-1])
        return [part.reshape(-1, asked.options) for part, asked in zip(parts, pack, strict=True)]

    def check(self, questions: Iterable[Asked]) -> None:
        """Compare the way in use with one-by-one scoring on each question that is larger than all before it; go on to
        the next way if it is wrong.

        Raises
        ------
        InputError
            No way is left.
        """
        for asked in questions:
            self._check(asked)

    def _check(self, asked: Asked) -> None:
        size = (len(asked.trie.ids), int(asked.trie.depth.max()))
        if all(now <= before for now, before in zip(size, self._largest, strict=True)):
            return
        while why := next(filter(None, self._processes.gather(self._wrong(asked))), None):
            given_up = self._ways.pop(0)
            if not self._ways:
                raise InputError(
                    f"this model cannot be scored: {given_up.name} and one-by-one scoring differ on question "
                    f"{asked.question} ({why}), so nothing measured with it would be right"
                )
            _say_given_up(given_up, why, self.way)
        self._largest = (max(size[0], self._largest[0]), max(size[1], self._largest[1]))

    def _wrong(self, asked: Asked) -> str | None:
        """Return why the way in use is wrong for a question, or None if it is right."""
        for model, limit in _judges(self.model):
            try:
                apart = difference(model, asked.trie, asked.encoded, self.way, self.budget)
            except _UNFIT as error:
                if _out_of_memory(error):
                    raise
                recover(model)
                return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            if not apart <= limit:
                return f"probabilities differ by {apart:.2g}, allowed are {limit:g}"
        return None

    def _within_memory(self, pack: Sequence[Asked]) -> torch.Tensor:
        """Score a pack; when memory runs out, halve the budget and the pack, and score what is left alone as rows."""
        import torch

        try:
            return self.way.score(self.model, [asked.trie for asked in pack], self.budget)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or (self.budget == 1 and len(pack) == 1):
                raise
        self.budget = max(1, self.budget // 2)
        if len(pack) == 1 and self.way is not ROWS:
            self._ways, self._largest = [ROWS], (0, 0)
            self.check(pack)
        print(f"out of memory; going on with {self.way.name}, {self.budget} tokens at once", file=sys.stderr)
        half = len(pack) // 2
        return torch.cat([self._within_memory(part) for part in (pack[:half], pack[half:]) if part])


_UNFIT = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, ImportError)
"""What a model raises that is given a mask, a position or a cache that it was not made for."""


def _out_of_memory(error: BaseException) -> bool:
    import torch

    told = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in told)


def _possible(causal: Any, ways: Sequence[Way]) -> list[Way]:
    """Return the ways that a look at the model does not rule out; say why if it does."""
    if why := no_tree(causal):
        found = [way for way in ways if way not in (FOREST, TREE)]
        _say_given_up(TREE, why, found[0])
        return found
    flexible = causal.device.type == "cuda" and getattr(causal, "_supports_flex_attn", False)
    return [way for way in ways if way is not FOREST or flexible]


def _say_given_up(way: Way, why: str, following: Way) -> None:
    note(f"this model cannot be scored by {way.name} ({why}); trying {following.name}")


def _judges(model: Any) -> Iterator[tuple[Any, float]]:
    """Give the models to compare on, and what each may differ by: itself; if it is coarse and whole, a float32 copy."""
    causal = plain(model)
    if causal.dtype.itemsize >= 4:
        yield model, TOLERANCE
        return
    yield model, COARSE_TOLERANCE
    if is_sharded(model):
        return
    if 4 * sum(weight.numel() for weight in causal.parameters()) < SHARE * free_memory(causal.device):
        yield copy.deepcopy(causal).float(), TOLERANCE
