from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counts import count
from causal.distributions import distributions_table
from causal.errors import InputError
from causal.grid import grid_from_counts, grid_from_table, option_counts, scores, subsets
from causal.study import Study
from causal.survey import read_survey


def test_proportions_and_effective_number_by_hand(one_question: Any) -> None:
    study = one_question(("a",), survey={"weight": "w"})
    people = pd.DataFrame([(0, 1, 1.0), (0, 1, 3.0), (0, 2, 2.0), (0, 3, 2.0)], columns=["a", "q", "w"])
    grid = grid_from_counts(count(read_survey(study, people)), study, ("X",), ("a",))
    np.testing.assert_allclose(grid.p[0, 0, 0], [4 / 8, 2 / 8, 2 / 8])
    np.testing.assert_allclose(grid.v[0, 0, 0], np.array([10, 4, 4]) / 64 * 4 / 3)  # N/(N-1)
    assert grid.n[0, 0, 0] == 4
    assert grid.n_eff[0, 0, 0] == pytest.approx(64 / 18)  # (1+3+2+2)**2 / (1+9+4+4)


def test_empty_cell_has_no_distribution_and_no_respondents(one_question: Any) -> None:
    study = one_question(("a",))
    survey = read_survey(study, pd.DataFrame({"a": [0, 0], "q": [1, 2]}))
    grid = grid_from_counts(count(survey), study, ("X",), ("a",))
    assert np.isnan(grid.p[0, 1]).all()
    assert (grid.n[0, 1, 0], grid.n_eff[0, 1, 0]) == (0, 0)


def test_scores_and_option_counts_by_question(study: Study) -> None:
    assert option_counts(study).tolist() == [4, 2]
    np.testing.assert_allclose(scores(study), [[0, 1 / 3, 2 / 3, 1], [0, 1, 0, 0]])


def test_subsets_run_from_coarse_to_fine(study: Study) -> None:
    assert subsets(study) == [
        (),
        ("gender",),
        ("education",),
        ("residence",),
        ("gender", "education"),
        ("gender", "residence"),
        ("education", "residence"),
        ("gender", "education", "residence"),
    ]


def test_table_of_a_model_is_placed_where_the_counts_were(study: Study, respondents: pd.DataFrame) -> None:
    survey = read_survey(study, respondents)
    grids = [grid_from_counts(count(survey), study, survey.countries, subset) for subset in subsets(study)]
    table = distributions_table(grids, study, survey.countries).sample(frac=1, random_state=0)
    for grid in grids:
        again = grid_from_table(table, study, survey.countries, grid.attributes)
        np.testing.assert_allclose(again.p, grid.p)
        assert not again.v.any()
        assert np.isnan(again.n).all()


@pytest.mark.parametrize("column", ["country", "question", "gender"])
def test_table_with_a_name_that_the_study_lacks_is_refused(
    study: Study, respondents: pd.DataFrame, column: str
) -> None:
    survey = read_survey(study, respondents)
    table = distributions_table(
        [grid_from_counts(count(survey), study, survey.countries, ("gender",))], study, survey.countries
    )
    table.loc[0, column] = "elsewhere"
    with pytest.raises(InputError, match="elsewhere"):
        grid_from_table(table, study, survey.countries, ("gender",))
