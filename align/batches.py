"""Tries laid out as the rectangles of tokens that a model takes: whole tries, a forest, or plain rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from align.trie import Trie


@dataclass(frozen=True)
class Batch:
    """Token rows of equal length for one forward pass, and which of their places predict which tokens.

    Attributes
    ----------
    ids, depth, end : ndarray of int, shape (rows, length)
        Token, position, and the first index after the subtree, as in `Trie`. Padding has position 0 and sees itself,
        so that no row of the attention is empty (which would be NaN).
    at : ndarray of int, shape (predictions,)
        Flat index (row * length + column) of the place that predicts.
    token, sequence : ndarray of int, shape (predictions,)
        The token predicted, and its sequence, counted through all tries.
    sequences : int
        Number of sequences of all tries.
    """

    ids: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    at: np.ndarray
    token: np.ndarray
    sequence: np.ndarray
    sequences: int


def trie_batch(tries: Sequence[Trie]) -> Batch:
    """Lay out each trie as one row, padded to the longest."""
    width = max(len(trie.ids) for trie in tries)
    ids, depth, end = _blank(len(tries), width)
    for i, trie in enumerate(tries):
        size = len(trie.ids)
        ids[i, :size], depth[i, :size], end[i, :size] = trie.ids, trie.depth, trie.end
    at = np.concatenate([i * width + trie.row for i, trie in enumerate(tries)])
    return Batch(ids, depth, end, at, *_predicted(tries))


def forest_batch(tries: Sequence[Trie], multiple: int) -> Batch:
    """Lay out all tries side by side in one row, padded to a multiple of a block's length."""
    first = np.cumsum([0, *(len(trie.ids) for trie in tries)])
    size = first[-1]
    ids, depth, end = _blank(1, -(-size // multiple) * multiple)
    ids[0, :size] = np.concatenate([trie.ids for trie in tries])
    depth[0, :size] = np.concatenate([trie.depth for trie in tries])
    end[0, :size] = np.concatenate([trie.end + start for trie, start in zip(tries, first, strict=False)])
    at = np.concatenate([trie.row + start for trie, start in zip(tries, first, strict=False)])
    return Batch(ids, depth, end, at, *_predicted(tries))


def row_batches(tries: Sequence[Trie], skip: Sequence[int], tokens: int) -> Iterator[Batch]:
    """Lay out every path from root to leaf as a plain row, rows of similar length together.

    Parameters
    ----------
    tries : sequence of Trie
        Of one or more items.
    skip : sequence of int
        How many nodes at the start of each trie are left out (`Trie.trunk`, or 0).
    tokens : int
        Largest size of a batch in tokens, those left out counted in, if it has more than one row.
    """
    rows = [_Row(i, path[skip[i] :]) for i, trie in enumerate(tries) for path in trie.paths() if len(path) > skip[i]]
    rows.sort(key=lambda row: -len(row.nodes))
    offset = np.cumsum([0, *(trie.sequences for trie in tries)])
    todo = [np.ones(len(trie.ids), dtype=bool) for trie in tries]  # nodes whose predictions no row has made yet
    while rows:
        many = max(1, tokens // (len(rows[0].nodes) + skip[rows[0].trie]))
        yield _rows_batch(tries, rows[:many], todo, offset)
        rows = rows[many:]


@dataclass(frozen=True)
class _Row:
    trie: int
    nodes: np.ndarray


def _rows_batch(tries: Sequence[Trie], rows: Sequence[_Row], todo: list[np.ndarray], offset: np.ndarray) -> Batch:
    width = len(rows[0].nodes)
    ids, depth, end = _blank(len(rows), width)
    at, token, sequence = [], [], []
    for i, row in enumerate(rows):
        trie, nodes = tries[row.trie], row.nodes
        ids[i, : len(nodes)], depth[i, : len(nodes)] = trie.ids[nodes], trie.depth[nodes]
        place = np.full(len(trie.ids), -1)
        place[nodes] = np.arange(len(nodes))
        mine = (place[trie.row] >= 0) & todo[row.trie][trie.row]
        todo[row.trie][nodes] = False
        at.append(i * width + place[trie.row[mine]])
        token.append(trie.token[mine])
        sequence.append(trie.sequence[mine] + offset[row.trie])
    return Batch(ids, depth, end, np.concatenate(at), np.concatenate(token), np.concatenate(sequence), int(offset[-1]))


def trunk_batch(trie: Trie) -> Batch:
    """Lay out the nodes that all sequences share as one plain row."""
    size = trie.trunk
    ids, depth, end = _blank(1, size)
    ids[0], depth[0] = trie.ids[:size], trie.depth[:size]
    mine = trie.row < size
    return Batch(ids, depth, end, trie.row[mine], trie.token[mine], trie.sequence[mine], trie.sequences)


def _blank(rows: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, depth and end of nothing but padding."""
    shape = (rows, width)
    ids, depth = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    return ids, depth, np.tile(np.arange(1, width + 1, dtype=np.int64), (rows, 1))


def _predicted(tries: Sequence[Trie]) -> tuple[np.ndarray, np.ndarray, int]:
    offset = np.cumsum([0, *(trie.sequences for trie in tries)])
    token = np.concatenate([trie.token for trie in tries])
    sequence = np.concatenate([trie.sequence + start for trie, start in zip(tries, offset, strict=False)])
    return token, sequence, int(offset[-1])
