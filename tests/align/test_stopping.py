from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from align.stopping import Stopping


def test_by_hand():
    state = Stopping()
    for epoch, loss in ((3, 2.0), (4, 1.0), (5, 1.0), (6, 1.5)):
        state = state.after(epoch, loss)
    assert state == Stopping(loss=1.0, epoch=4, waited=2), "of equal losses the earlier"


@given(st.lists(st.floats(0, 10), min_size=1))
def test_the_first_of_the_lowest_and_the_epochs_since(losses):
    state = Stopping()
    for epoch, loss in enumerate(losses, start=1):
        state = state.after(epoch, loss)
    best = losses.index(min(losses)) + 1
    assert (state.loss, state.epoch, state.waited) == (min(losses), best, len(losses) - best)
