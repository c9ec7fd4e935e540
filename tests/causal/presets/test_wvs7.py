from __future__ import annotations

from collections import Counter
from itertools import pairwise

from causal.presets.wvs7 import WVS7

# The questionnaire's own table of contents: first question of each section, and the first of the demographics.
FIRST = [1, 46, 57, 106, 112, 121, 131, 152, 158, 164, 176, 199, 235, 260]


def test_thirteen_topics_share_out_the_259_questions() -> None:
    assert set(WVS7.topics) == {f"Q{i}" for i in range(1, 260)}
    assert list(Counter(WVS7.topics.values()).values()) == [after - first for first, after in pairwise(FIRST)]


def test_questions_are_q1_to_q259_and_nothing_derived() -> None:
    assert all(WVS7.is_question(f"Q{i}") for i in range(1, 260))
    assert not any(map(WVS7.is_question, ("Q0", "Q01", "Q260", "Q300", "Q94R", "Q234A", "Q275", "q1", "Q1000")))


def test_attributes_have_the_papers_reference_and_treated_levels() -> None:
    levels = {name: list(ways[0].levels) for name, ways in WVS7.attributes.items()}
    assert levels == {
        "gender": ["male", "female"],
        "education": ["college", "no_college"],
        "residence": ["urban", "rural"],
        "marital_status": ["married", "not_married"],
    }


def test_fourteen_countries_stand_in_three_tiers_and_all_have_names() -> None:
    paper = ["AUS", "CHL", "EGY", "ETH", "DEU", "GBR", "IND", "JPN", "MEX", "NZL", "NGA", "PHL", "RUS", "USA"]
    assert sorted(WVS7.tiers) == sorted(paper)
    assert len(set(WVS7.tiers.values())) == 3
    assert set(WVS7.tiers) <= set(WVS7.country_names)
    assert all(len(code) == 3 and code.isupper() for code in WVS7.country_names)


def test_exceptions_are_questions() -> None:
    assert {*WVS7.nominal, *WVS7.no_answer, *WVS7.order} <= set(WVS7.topics)
    assert not WVS7.nominal & {*WVS7.no_answer, *WVS7.order}
