"""Covariances over domains against those of ``causal.linearisation``, which agree with R's survey package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.domains import Domains
from causal.effects import survey_effects
from causal.grid import grid_from_counts
from causal.study import Study
from causal.survey import read_survey


@pytest.mark.parametrize(
    "design", [{}, {"psu": "c"}, {"strata": "s"}, {"psu": "c", "strata": "s"}], ids=["none", "psu", "strata", "both"]
)
def test_standard_errors_of_contrasts(design: dict[str, str], one_question: Callable[..., Study]) -> None:
    study = one_question(("a", "b"), 3, survey={"weight": "w", **design}, effects={"granularity": "full"})
    rng = np.random.default_rng(0)
    n = 300
    people = pd.DataFrame({name: rng.integers(0, 2, n) for name in ("a", "b")})
    people = people.assign(q=rng.integers(1, 4, n), w=rng.uniform(0.5, 3, n), s=np.arange(n) // 100)
    people["c"] = np.minimum(people["s"] * 8 + rng.integers(0, 8, n), 16)  # the last stratum has one PSU
    people.loc[::7, "q"] = np.nan
    survey = read_survey(study, people)
    names = tuple(study.attributes)
    table = survey_effects([grid_from_counts(count(survey), study, survey.countries, names)], study, survey.countries)
    cells = table[table["attribute"] == "a"]

    keep = np.arange(n) % 11 > 0  # respondents outside every domain belong to the sample
    a, b = people["a"].to_numpy(), people["b"].to_numpy()
    everybody = np.flatnonzero(np.ones(n, dtype=bool))
    weight = people["w"].to_numpy() * people["q"].notna().to_numpy()
    score = np.nan_to_num((people["q"].to_numpy() - 1) / 2)
    values = linearised(score, weight, a, b)
    domains = Domains.of(b, 2, everybody, survey.country, survey.design)
    np.testing.assert_allclose(np.sqrt(domains.covariance(values[None])[:, 0, 0, 0]), cells["std_error"], rtol=1e-10)

    fewer = linearised(score[keep], weight[keep], a[keep], b[keep])
    some = Domains.of(b[keep], 2, everybody[keep], survey.country, survey.design)
    zero_filled = np.zeros((1, n, 1))
    zero_filled[0, keep] = fewer
    np.testing.assert_allclose(some.covariance(fewer[None]), domains.covariance(zero_filled))


def linearised(score: np.ndarray, weight: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return each respondent's part in the difference of the two means of the own domain ``b``."""
    values = np.zeros_like(score)
    for domain in (0, 1):
        for level, sign in ((0, -1), (1, 1)):
            own = (b == domain) & (a == level)
            values[own] = sign * weight[own] * (score[own] - np.average(score[own], weights=weight[own]))
            values[own] /= weight[own].sum()
    return values[:, None]


def test_units_are_psus_with_an_answer_by_their_weight(one_question: Callable[..., Study]) -> None:
    study = one_question(("a",), 2, survey={"psu": "c"})
    people = pd.DataFrame({"a": [0, 1] * 4, "q": 1, "c": [1, 1, 2, 2, 3, 3, 4, 4]})
    survey = read_survey(study, people)
    group: Any = np.array([0, 0, 0, 0, 1, 1, 0, 1])
    weight = np.array([1.0, 2, 0, 0, 1, 0, 3, 2])[:, None]
    domains = Domains.of(group, 2, np.arange(8), survey.country, survey.design)
    # PSUs 1 and 4 with 3 each; 3 and 4 with 1 and 2: 3**2 / (1 + 4)
    np.testing.assert_allclose(domains.units(weight), [[2], [9 / 5]])
    assert domains.df_limit == 3
    alone = Domains.of(group, 2, np.arange(8), survey.country, None)
    np.testing.assert_allclose(alone.units(weight), [[6**2 / 14], [9 / 5]])  # respondents
    np.testing.assert_array_equal(domains.units(0 * weight), [[0], [0]])
