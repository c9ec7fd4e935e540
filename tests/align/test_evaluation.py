from __future__ import annotations

from align.evaluation import Item
from align.prompts import Encoded
from align.questions import Asked
from align.scoring import ROWS
from align.trie import build_trie


def test_tokens_of_an_item_by_hand():
    """1 2 3 and 1 2 5 before the last tokens, which are only predicted: four nodes, or two rows of three."""
    options = (Encoded((1, 2, 3, 4), 2), Encoded((1, 2, 5, 6), 2))
    asked = Asked("NO", "trust", 2, (options,), build_trie(options))
    assert Item(asked, None).tokens == 4
    assert Item(asked, None, ROWS).tokens == 6
