"""Groups and ranges worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from diagnostics.equity import Groups, group_range, persona_groups, tier_groups


def blocks(*numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"question": numbers})


def test_range_of_group_means_by_hand() -> None:
    """Means 50, 80 and 70; the cell without a group does not count."""
    values = np.array([40.0, 60, 80, 70, 0])
    assert group_range(values, Groups.of(np.array([0, 0, 2, 3, -1]), blocks(0, 0, 0, 0, 0))) == pytest.approx(30)
    assert np.isnan(group_range(values, Groups.of(np.array([1, 1, 1, 1, -1]), blocks(0, 0, 0, 0, 0))))
    assert np.isnan(group_range(values, Groups.of(np.full(5, -1), blocks(0, 0, 0, 0, 0))))


def test_a_group_without_the_hard_question_is_not_better_served() -> None:
    """Question 0 is hard (50) and 1 easy (90), for both groups alike; the plain means 70 and 90 are 20 apart."""
    values, group = np.array([50.0, 90, 90]), np.array([0, 0, 1])
    assert group_range(values, Groups.of(group, blocks(0, 1, 1))) == pytest.approx(0, abs=1e-9)
    values[2] = 94
    assert group_range(values, Groups.of(group, blocks(0, 1, 1))) == pytest.approx(4)


def test_groups_that_share_no_block_are_not_compared() -> None:
    assert np.isnan(group_range(np.array([50.0, 90]), Groups.of(np.array([0, 1]), blocks(0, 1))))
    chain = Groups.of(np.array([0, 1, 1, 2]), blocks(0, 0, 1, 1))
    assert group_range(np.array([50.0, 60, 80, 95]), chain) == pytest.approx(25)  # 10 up, then 15
    stray = Groups.of(np.array([7, 0, 1, 1, 2]), blocks(9, 0, 0, 1, 1))
    assert group_range(np.array([3.0, 50, 60, 80, 95]), stray) == pytest.approx(25), "group 7 has a block of its own"
    assert stray.group.tolist() == [-1, 0, 1, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_means_are_those_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 4, 60), "question": rng.integers(0, 8, 60), "y": rng.normal(size=60)})
    fitted = smf.ols("y ~ C(g) + C(question)", data).fit().params
    means = [0.0, *(fitted[f"C(g)[T.{g}]"] for g in (1, 2, 3))]
    groups = Groups.of(data["g"].to_numpy(), data[["question"]])
    assert group_range(data["y"].to_numpy(), groups) == pytest.approx(max(means) - min(means))


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
