from __future__ import annotations

import pytest

from causal.presets.issp import ISSP


def test_ten_topics_are_the_papers() -> None:
    assert set(ISSP.modules.values()) == {
        *("citizenship", "environment", "family", "health", "national_identity", "religion", "role_of_government"),
        *("social_inequality", "social_networks", "work_orientations"),
    }


@pytest.mark.parametrize(
    ("number", "topic"),  # as cited by users of these files, see docs/study.md
    [
        (7600, "social_inequality"),
        (5400, "social_inequality"),
        (6770, "work_orientations"),
        (5900, "family"),
        (10000, "family"),
        (6980, "social_networks"),
        (4950, "religion"),
        (1950, "role_of_government"),
    ],
)
def test_module_by_archive_number(number: int, topic: str) -> None:
    assert ISSP.modules[number] == topic


def test_no_archive_number_is_given_twice() -> None:
    assert len(ISSP.modules) == 37


def test_tiers_have_names() -> None:
    assert set(ISSP.tiers) <= set(ISSP.country_names)
