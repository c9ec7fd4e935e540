"""Groups and ranges worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diagnostics.equity import group_range, persona_groups, tier_groups


def test_range_of_group_means_by_hand() -> None:
    """Means 50, 80 and 70; the cell without a group does not count."""
    values = np.array([40.0, 60, 80, 70, 0])
    assert group_range(values, np.array([0, 0, 2, 3, -1])) == 30
    assert np.isnan(group_range(values, np.array([1, 1, 1, 1, -1])))
    assert np.isnan(group_range(values, np.full(5, -1)))


def test_personas_are_the_finest_over_countries_and_questions() -> None:
    keys = pd.DataFrame(
        {
            "country": ["A", "A", "B", "A", "B"],
            "home": ["city", None, "city", "farm", "farm"],
            "sex": ["man", "man", "man", "man", "woman"],
            "granularity": [2, 1, 2, 2, 2],
        }
    )
    assert persona_groups(keys, ["home", "sex"]).tolist() == [0, -1, 0, 1, 2]
    assert persona_groups(keys[1:2], ["home", "sex"]).tolist() == [0]
    assert persona_groups(keys[:0], ["home", "sex"]).tolist() == []


def test_tiers_of_countries() -> None:
    keys = pd.DataFrame({"country": ["A", "B", "C", "A"]})
    assert tier_groups(keys, {"A": "high", "B": "low"}).tolist() == [0, 1, -1, 0]
    assert tier_groups(keys, {}).tolist() == [-1, -1, -1, -1]
