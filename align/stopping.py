"""Early stopping: which epoch is best on questions never trained on, and when to stop looking."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Stopping:
    """What the validation losses so far say.

    Attributes
    ----------
    loss : float
        The lowest validation loss, infinite before the first.
    epoch : int
        The epoch that had it, from 1; 0 before the first.
    waited : int
        Epochs since then.
    """

    loss: float = math.inf
    epoch: int = 0
    waited: int = 0

    def after(self, epoch: int, loss: float) -> Stopping:
        """Return the state after one more epoch; of equal losses the earlier epoch is the better."""
        if loss < self.loss:
            return Stopping(loss, epoch, 0)
        return Stopping(self.loss, self.epoch, self.waited + 1)
