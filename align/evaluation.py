"""A model on one (country, question) against the survey: the objectives of a stage, and the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from align.objectives import alignment_score, anchor, cdf_shift, effect, level_kl, level_w1
from align.parallel import ALONE, Processes
from align.questions import Asked
from align.scoring import TREE, Way, option_logprobs, training_passes
from align.sharding import idle
from align.targets import Target
from causal.fitsettings import Stage

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """One (country, question) to train or evaluate on: its trie, its targets, and how the model can be scored."""

    asked: Asked
    target: Target
    way: Way = TREE

    @property
    def tokens(self) -> int:
        """How many tokens go through the model."""
        trie = self.asked.trie
        return len(trie.ids) if self.way is TREE else sum(map(len, trie.paths()))

    @property
    def judged_by(self) -> bytes:
        """A hash of all that `evaluate` takes from it: what is asked, how, and the survey's own answers."""
        trie, target = self.asked.trie, self.target
        asked = (trie.ids, trie.end, trie.row, trie.token, trie.sequence)
        answered = (target.reference, target.treated, target.belongs, target.p_reference, target.p_treated)
        told = (self.way.name, self.asked.options, *(array.tolist() for array in (*asked, *answered)))
        return sha256(repr(told).encode()).digest()

    @cached_property
    def passes(self) -> int:
        """How often it goes through the model."""
        return training_passes(self.asked.trie, self.way)


@dataclass(frozen=True)
class Scores:
    """Mean effect distance (d_CDF) and alignment score S of a model on some toggles and their cells."""

    effect_distance: float
    alignment: float


@dataclass(frozen=True)
class Validation:
    """A model on the validation questions: the loss that chooses the epoch, its objectives, and the scores."""

    loss: float
    objectives: dict[str, float]
    scores: Scores


def objectives(model: Any, item: Item, stage: Stage) -> dict[str, torch.Tensor]:
    """Return the objectives that a stage weighs, from one forward pass over an item."""
    return _objectives(_ends(model, item), item.target, stage)


def weighted_sum(losses: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
    """Return a stage's loss from its objectives."""
    import torch

    return torch.stack([weight * losses[name] for name, weight in stage.weights.items()]).sum()


def evaluate(
    model: Any, items: Sequence[Item], processes: Processes = ALONE, told: Callable[[], None] = lambda: None
) -> Scores:
    """Return the mean effect distance over toggles and S over the part's cells at their ends, without gradients.

    Both are against the survey's own cells and weigh all toggles alike, whatever training does. Each of this process's
    items is told when it is done.
    """
    import torch

    def judge(item: Item) -> _Judged:
        found = _judged(_ends(model, item), item.target)
        told()
        return found

    with torch.no_grad():
        return _scores(_share_out(model, items, judge, processes))


def validate(model: Any, items: Sequence[Item], stage: Stage, processes: Processes = ALONE) -> Validation:
    """Return a stage's loss over validation items, each counting alike as in training, and their scores."""
    import torch

    def judge(item: Item) -> tuple[dict[str, float], _Judged]:
        ends = _ends(model, item)
        losses = {name: value.item() for name, value in _objectives(ends, item.target, stage).items()}
        return losses, _judged(ends, item.target)

    with torch.no_grad():
        found = _share_out(model, items, judge, processes)
    means = {name: float(np.mean([losses[name] for losses, _ in found])) for name in stage.weights}
    loss = sum(weight * means[name] for name, weight in stage.weights.items())
    return Validation(loss, means, _scores([judged for _, judged in found]))


def _share_out(model: Any, items: Sequence[Item], judge: Callable[[Item], T], processes: Processes) -> list[T]:
    def mine() -> list[T]:
        found = []
        for turn in processes.turns([item.passes for item in items]):
            if turn.item is not None:
                found.append(judge(items[turn.item]))
            idle(model, turn.idle)
        return found

    return processes.collect(processes.through_model(mine))


@dataclass(frozen=True)
class _Ends:
    """The model's log-probabilities at both ends of every toggle, shape (toggles, K)."""

    reference: torch.Tensor
    treated: torch.Tensor


@dataclass(frozen=True)
class _Judged:
    """An item's effect distances, one per toggle, and alignment scores, one per cell of its part."""

    distances: list[float]
    scores: list[float]


def _ends(model: Any, item: Item) -> _Ends:
    logp = option_logprobs(model, item.asked.trie, item.asked.options, item.way)
    return _Ends(logp[item.target.reference], logp[item.target.treated])


def _objectives(ends: _Ends, target: Target, stage: Stage) -> dict[str, torch.Tensor]:
    import torch

    survey = (target.goal_reference, target.goal_treated, target.weight)
    reference, treated, weight = (torch.as_tensor(values).to(ends.reference) for values in survey)
    levels = ends.reference, ends.treated, reference, treated, weight
    found = {
        "anchor": lambda: anchor(*levels),
        "effect": lambda: effect(ends.reference.exp(), ends.treated.exp(), treated - reference, weight),
        "level_kl": lambda: level_kl(*levels),
        "level_w1": lambda: level_w1(*levels),
    }
    return {name: found[name]() for name in stage.weights}


def _judged(ends: _Ends, target: Target) -> _Judged:
    import torch

    reference, treated = (torch.as_tensor(p).to(ends.reference) for p in (target.p_reference, target.p_treated))
    moved = cdf_shift(ends.treated.exp() - ends.reference.exp()) - cdf_shift(treated - reference)
    cells: dict[int, float] = {}
    for positions, logp, p in (
        (target.reference, ends.reference, reference),
        (target.treated, ends.treated, treated),
    ):
        cells.update(zip(positions.tolist(), alignment_score(logp.exp(), p).tolist(), strict=True))
    scores = [score for position, score in cells.items() if target.belongs[position]]
    return _Judged(moved.abs().mean(dim=-1).tolist(), scores)


def _scores(found: Sequence[_Judged]) -> Scores:
    distances = [distance for judged in found for distance in judged.distances]
    return Scores(float(np.mean(distances)), float(np.mean([score for judged in found for score in judged.scores])))
