from __future__ import annotations

from dataclasses import replace

import numpy as np

from align.evaluation import Item
from align.prompts import Encoded
from align.questions import Asked
from align.scoring import ROWS
from align.targets import Target
from align.trie import build_trie


def test_tokens_of_an_item_by_hand():
    """1 2 3 and 1 2 5 before the last tokens, which are only predicted: four nodes, or two rows of three."""
    options = (Encoded((1, 2, 3, 4), 2), Encoded((1, 2, 5, 6), 2))
    asked = Asked("NO", "trust", 2, (options,), build_trie(options))
    assert Item(asked, None).tokens == 4
    assert Item(asked, None, ROWS).tokens == 6


def test_an_item_is_judged_by_all_that_its_scores_come_from_and_no_more():
    options = (Encoded((1, 2, 3, 4), 2), Encoded((1, 2, 5, 6), 2))
    others = (Encoded((1, 2, 3, 4), 2), Encoded((1, 2, 5, 7), 2))
    asked = Asked("NO", "trust", 2, (options, others), build_trie([*options, *others]))
    ends, p = np.array([0]), np.array([[0.25, 0.75]])
    n = np.array([30.0])
    target = Target("NO", "trust", ({}, {}), np.array([True, True]), ends, ends + 1, p, p, n, n, p, p, np.ones(1))
    item = Item(asked, target)
    same = replace(target, goal_reference=1 - p, goal_treated=1 - p, weight=2 * n, n_treated=n + 1)
    assert Item(asked, same).judged_by == item.judged_by
    swapped = Asked("NO", "trust", 2, (others, options), build_trie([*others, *options]))
    turned = Asked("NO", "trust", 2, (options[::-1], others), build_trie([*options[::-1], *others]))
    for other in (
        Item(asked, target, ROWS),
        Item(swapped, target),
        Item(turned, target),
        *(
            Item(asked, replace(target, **{name: values}))
            for name, values in (
                ("reference", ends + 1),
                ("treated", ends),
                ("belongs", np.array([True, False])),
                ("p_reference", 1 - p),
                ("p_treated", 1 - p),
            )
        ),
    ):
        assert other.judged_by != item.judged_by
