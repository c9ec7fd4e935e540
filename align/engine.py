"""Score many questions: pick the fastest way that is right for this model, pack tries, stay within memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from align.judging import OUT_OF_MEMORY, Judge
from align.masks import no_tree
from align.memory import out_of_memory
from align.parallel import ALONE, Processes, note
from align.plan import packs, token_budget
from align.scoring import FOREST, PREFIX, ROW_TOKENS, ROWS, TREE, Way, plain
from causal.errors import InputError, RunError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from align.questions import Asked


WAYS = (FOREST, TREE, PREFIX, ROWS)
TRAINABLE = (TREE, ROWS)
"""Those whose gradients are known to be right on every device: a cache is written to in place, and FlexAttention has no
backward pass on a CPU."""
_NOTHING = (0, 0)


def trainable_way(model: Any, questions: Iterable[Asked], processes: Processes = ALONE) -> Way:
    """Return the fastest way to train that equals one-by-one scoring on the largest questions; say what does not.

    It is the same in all processes, which have to be given the same questions.

    Raises
    ------
    InputError
        No way of scoring that gradients flow through equals one-by-one scoring with this model.
    RunError
        Memory does not suffice for a single row.
    """
    engine = Engine(model, ROW_TOKENS, TRAINABLE, processes)
    engine.check(sorted(questions, key=lambda asked: -len(asked.trie.ids)))
    return engine.way


class Engine:
    """Scores questions with one model, and never in a way that was not seen to equal one-by-one scoring.

    Ways are tried from the fastest to the plainest: on the first question, again on each that is larger than all
    before it, and on the first pack of several. One that fails to equal one-by-one scoring is given up for good, which
    is said on stderr; so is one that needs more memory for a single question than there is.

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
        Tokens in one forward pass; where memory runs out, half of what it ran out on.
    """

    def __init__(
        self, model: Any, budget: int | None = None, ways: Sequence[Way] = WAYS, processes: Processes = ALONE
    ) -> None:
        self.model = model
        self._judge = Judge(model)
        self._processes = processes
        self.budget = budget or token_budget(plain(model))
        self._ways = _possible(plain(model), ways)
        self._seen = _NOTHING
        self._seen_packed = False

    @property
    def way(self) -> Way:
        """The way of scoring in use."""
        return self._ways[0]

    def score(self, pack: Sequence[Asked]) -> list[np.ndarray]:
        """Return each question's log-probabilities, not renormalised: arrays of float64, shape (personas, K).

        All go through the model together if that is within the budget, else in several passes.

        Raises
        ------
        InputError
            No way of scoring equals one-by-one scoring with this model.
        RunError
            Memory does not suffice for a single row.
        """
        import torch

        found: dict[int, np.ndarray] = {}
        with torch.no_grad():
            while left := [i for i in range(len(pack)) if i not in found]:
                fitting = packs([len(pack[i].trie.ids) for i in left], self.budget)[0]
                part = [left[i] for i in fitting]
                found |= zip(part, self._at_once([pack[i] for i in part]), strict=False)
        return [found[i] for i in range(len(pack))]

    def check(self, questions: Iterable[Asked]) -> None:
        """Compare the way in use with one-by-one scoring on each question that is larger than all before it; go on to
        the next way if it is wrong.

        Raises
        ------
        InputError
            No way is left.
        RunError
            Memory does not suffice for a single row.
        """
        for asked in questions:
            self._check(asked)

    def _check(self, asked: Asked) -> None:
        size = (len(asked.trie.ids), int(asked.trie.depth.max()))
        if all(now <= before for now, before in zip(size, self._seen, strict=True)):
            return
        while why := self._unfit(asked):
            self._fall_back(why, [asked])
        self._seen = (max(size[0], self._seen[0]), max(size[1], self._seen[1]))

    def _unfit(self, asked: Asked) -> str | None:
        """Return why the way in use is wrong for a question in any process."""
        found = self._processes.gather(self._judge.unfit(asked, self.way, self.budget))
        return next(filter(None, found), None)

    def _at_once(self, pack: Sequence[Asked]) -> list[np.ndarray]:
        """Score a pack in one go; nothing if that did not do, and less at once or another way is to be tried."""
        self.check(pack)
        parts = self._through_model(pack)
        if why := self._unfit_in_pack(pack, parts) if parts else OUT_OF_MEMORY:
            self._fall_back(why, pack)
            return []
        return [part.double().cpu().numpy().reshape(-1, asked.options) for part, asked in zip(parts, pack, strict=True)]

    def _through_model(self, pack: Sequence[Asked]) -> Sequence[torch.Tensor]:
        """Return each question's scores, or nothing if memory ran out."""
        try:
            scores = self.way.score(self.model, [asked.trie for asked in pack], self.budget)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return ()
        return scores.split([asked.trie.sequences for asked in pack])

    def _unfit_in_pack(self, pack: Sequence[Asked], parts: Sequence[torch.Tensor]) -> str | None:
        """Return why the first pack of several is wrong: its last question has most beside it."""
        if len(pack) == 1 or self._seen_packed:
            return None
        why = self._judge.unfit_in_pack(pack[-1], parts[-1])
        self._seen_packed = not why
        return why

    def _fall_back(self, why: str, pack: Sequence[Asked]) -> None:
        if why == OUT_OF_MEMORY:
            self._make_room(pack)
        else:
            self._give_up(why, pack[-1])

    def _make_room(self, pack: Sequence[Asked]) -> None:
        """Go on with half as many tokens; if they are one question's, in the next way, as long as there is one."""
        if len(pack) == 1 and len(self._ways) > 1:
            self._give_up(OUT_OF_MEMORY, pack[0])
            return
        if self.budget == 1:
            raise RunError(
                f"out of memory on question {pack[0].question} ({pack[0].country}) even row by row; finished work is "
                "kept. Free memory, use fewer attributes or a smaller model, and run the same command to go on"
            )
        size = len(pack) * max(len(asked.trie.ids) for asked in pack)
        self.budget = max(1, min(self.budget, size) // 2)
        note(f"out of memory; going on with {self.way.name}, {self.budget} tokens (or one row) at once")

    def _give_up(self, why: str, asked: Asked) -> None:
        """Go on with the next way, which has been compared with one-by-one scoring on nothing yet."""
        given_up = self._ways.pop(0)
        if not self._ways:
            raise InputError(
                f"this model cannot be scored: {given_up.name} and one-by-one scoring differ on question "
                f"{asked.question} ({why}), so nothing measured with it would be right"
            )
        self._seen, self._seen_packed = _NOTHING, False
        _say_given_up(given_up, why, self.way)


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
