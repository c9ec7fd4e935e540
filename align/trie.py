"""Many prompts to one token trie: every distinct prefix is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align.prompts import Encoded


@dataclass(frozen=True)
class Trie:
    """A token trie in depth-first order, and which of its nodes predict which tokens.

    Attributes
    ----------
    ids, depth, end : ndarray of int, shape (nodes,)
        Token, distance from the root (the position), and the first index after the node's subtree. A node
        ``q`` attends to ``k`` exactly if ``k <= q < end[k]``: to its ancestors and itself.
    row, token, sequence : ndarray of int, shape (predictions,)
        The node whose hidden state predicts, the token predicted, and the sequence it belongs to.
    sequences : int
        Number of sequences (prompt with option).
    """

    ids: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    row: np.ndarray
    token: np.ndarray
    sequence: np.ndarray
    sequences: int

    @property
    def trunk(self) -> int:
        """Number of first nodes that every sequence runs through."""
        alone = (self.end == len(self.ids)) & (self.depth == np.arange(len(self.ids)))
        return int(np.argmin(np.append(alone, False)))

    def paths(self) -> list[np.ndarray]:
        """Return the nodes from the root to each leaf, leaves in order."""
        leaves = np.flatnonzero(self.end == np.arange(1, len(self.end) + 1))
        latest = np.zeros(self.depth.max() + 1, dtype=np.int64)
        found, before = [], 0
        for leaf in leaves.tolist():
            new = np.arange(before, leaf + 1)  # from one leaf to the next, depth first, runs one branch
            latest[self.depth[new]] = new
            found.append(latest[: self.depth[leaf] + 1].copy())
            before = leaf + 1
        return found


def build_trie(encoded: Sequence[Encoded]) -> Trie:
    """Merge token sequences into a trie.

    A sequence's last token is only ever predicted, so it becomes no node unless another runs through it.

    Parameters
    ----------
    encoded : sequence of Encoded
        Sequences with at least one token before the option.
    """
    order = sorted(range(len(encoded)), key=lambda i: encoded[i].ids)
    ids: list[int] = []
    depth: list[int] = []
    end: list[int] = []
    path: list[int] = []  # node at each depth of the sequence being laid down
    before: tuple[int, ...] = ()
    rows: list[int] = []
    tokens: list[int] = []
    owners: list[int] = []
    for i in order:
        item = encoded[i]
        inner = item.ids[:-1]
        shared = _common(before, inner)
        for node in path[shared:]:
            end[node] = len(ids)
        del path[shared:]
        for token in inner[shared:]:
            path.append(len(ids))
            depth.append(len(path) - 1)
            ids.append(token)
            end.append(0)
        before = inner
        for at in range(item.start, len(item.ids)):
            rows.append(path[at - 1])
            tokens.append(item.ids[at])
            owners.append(i)
    for node in path:
        end[node] = len(ids)
    return Trie(_ints(ids), _ints(depth), _ints(end), _ints(rows), _ints(tokens), _ints(owners), len(encoded))


def _ints(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common prefix, by halving: slices compare at C speed."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
