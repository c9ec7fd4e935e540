from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from align.batches import forest_batch, row_batches, trie_batch, trunk_batch
from align.prompts import Encoded
from align.trie import build_trie

sequences = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=7).flatmap(
        lambda ids: st.integers(1, len(ids) - 1).map(lambda start: Encoded(tuple(ids), start))
    ),
    min_size=1,
    max_size=10,
)
forests = st.lists(sequences, min_size=1, max_size=3)


def wanted(forest):
    """Every prediction that the sequences ask for: (sequence, context, token)."""
    flat = [item for encoded in forest for item in encoded]
    return sorted(
        (i, item.ids[:k], item.ids[k]) for i, item in enumerate(flat) for k in range(item.start, len(item.ids))
    )


def predicted(batch, before=lambda row: ()):
    """Every prediction of a batch with the tokens that its place sees."""
    width = batch.ids.shape[1]
    k = np.arange(width)
    found = []
    for at, token, sequence in zip(batch.at, batch.token, batch.sequence, strict=True):
        row, q = divmod(int(at), width)
        seen = (k <= q) & (q < batch.end[row])
        assert batch.depth[row][seen].tolist() == list(range(batch.depth[row][seen][0], batch.depth[row][q] + 1))
        found.append((int(sequence), tuple(batch.ids[row][seen].tolist()), int(token)))
    return found


def as_row(batch):
    """A plain row's places see all before them, whatever ``end`` says."""
    rows, width = batch.ids.shape
    return type(batch)(**{**vars(batch), "end": np.full((rows, width), width)})


@given(forests)
def test_every_place_of_a_tree_or_forest_sees_its_own_context(forest):
    tries = [build_trie(encoded) for encoded in forest]
    assert sorted(predicted(trie_batch(tries))) == wanted(forest)
    assert sorted(predicted(forest_batch(tries, 16))) == wanted(forest)
    assert forest_batch(tries, 16).ids.size % 16 == 0


@given(forests)
def test_padding_sees_itself_and_nothing_else_and_is_seen_by_none(forest):
    tries = [build_trie(encoded) for encoded in forest]
    for batch, sizes in (
        (trie_batch(tries), [len(trie.ids) for trie in tries]),
        (forest_batch(tries, 32), [sum(len(trie.ids) for trie in tries)]),
    ):
        k = np.arange(batch.ids.shape[1])
        for row, size in enumerate(sizes):
            sees = (k[None, :] <= k[:, None]) & (k[:, None] < batch.end[row][None, :])
            assert (sees[size:] == np.eye(len(k), dtype=bool)[size:]).all()
            assert not sees[:size, size:].any()


@given(forests, st.integers(1, 30))
def test_rows_make_every_prediction_once_within_the_budget(forest, tokens):
    tries = [build_trie(encoded) for encoded in forest]
    batches = list(row_batches(tries, [0] * len(tries), tokens))
    assert sorted(found for batch in batches for found in predicted(as_row(batch))) == wanted(forest)
    assert all(len(batch.ids) == 1 or batch.ids.size <= tokens for batch in batches)


@given(sequences, st.integers(1, 30))
def test_a_trunk_and_the_rows_after_it_make_every_prediction_once(encoded, tokens):
    encoded = [Encoded((7, 8, 9, *item.ids), item.start + 3) for item in encoded]
    trie = build_trie(encoded)
    size = trie.trunk
    inner = [item.ids[:-1] for item in encoded]
    common = next((i for i, at in enumerate(zip(*inner, strict=False)) if len(set(at)) > 1), min(map(len, inner)))
    longest = max(inner, key=len)
    # where every sequence lies on one path, all of it is the trunk
    assert size == (len(longest) if all(longest[: len(ids)] == ids for ids in inner) else common)
    trunk = tuple(trie.ids[:size].tolist())
    found = predicted(as_row(trunk_batch(trie)))
    for batch in row_batches([trie], [size], tokens):
        assert batch.depth[0, 0] == size
        found += [(s, trunk + context, token) for s, context, token in predicted(as_row(batch))]
        assert len(batch.ids) == 1 or len(batch.ids) * (batch.ids.shape[1] + size) <= tokens
    assert sorted(found) == wanted([encoded])
