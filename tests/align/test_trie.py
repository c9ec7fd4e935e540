from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from align.prompts import Encoded
from align.trie import build_trie


def test_worked_by_hand():
    # 1 2 5 | 6     two prompts (1 2) and (1 3), options 5 6 and 7; the last tokens are never nodes
    # 1 2 | 7
    # 1 3 | 7
    trie = build_trie([Encoded((1, 2, 5, 6), 2), Encoded((1, 2, 7), 2), Encoded((1, 3, 7), 2)])
    assert trie.ids.tolist() == [1, 2, 5, 3]
    assert trie.depth.tolist() == [0, 1, 2, 1]
    assert trie.end.tolist() == [4, 3, 3, 4]
    predicted = {
        (s, r, t) for s, r, t in zip(trie.sequence.tolist(), trie.row.tolist(), trie.token.tolist(), strict=True)
    }
    assert predicted == {(0, 1, 5), (0, 2, 6), (1, 1, 7), (2, 3, 7)}
    assert attention(trie).tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, False, False, True],
    ]


def attention(trie):
    """True where the row's node sees the column's: its ancestors and itself, as the class says."""
    k = np.arange(len(trie.ids))
    return (k[None, :] <= k[:, None]) & (k[:, None] < trie.end[None, :])


sequences = st.lists(
    st.lists(st.integers(0, 3), min_size=2, max_size=7).flatmap(
        lambda ids: st.integers(1, len(ids) - 1).map(lambda start: Encoded(tuple(ids), start))
    ),
    min_size=1,
    max_size=12,
)


@given(sequences)
def test_every_prediction_sees_exactly_its_own_prefix(encoded):
    trie = build_trie(encoded)
    sees = attention(trie)
    seen = {}
    for row, token, sequence in zip(trie.row, trie.token, trie.sequence, strict=True):
        prefix = trie.ids[sees[row]].tolist()
        ids = list(encoded[sequence].ids)
        assert ids[: len(prefix)] == prefix
        assert ids[len(prefix)] == token
        assert trie.depth[row] == len(prefix) - 1
        seen.setdefault(int(sequence), []).append(len(prefix))
    for i, item in enumerate(encoded):
        assert sorted(seen[i]) == list(range(item.start, len(item.ids)))


@given(sequences)
def test_every_distinct_prefix_is_one_node(encoded):
    prefixes = {item.ids[:k] for item in encoded for k in range(1, len(item.ids))}
    trie = build_trie(encoded)
    assert len(trie.ids) == len(prefixes)
    assert np.all(trie.end > np.arange(len(trie.ids)))
