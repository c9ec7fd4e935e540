"""Scores worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causal.closeness import alignment_score
from causal.errors import InputError
from diagnostics.alignment import (
    cells,
    change,
    matching_rows,
    mean_error,
    modal_accuracy,
    padded,
    shift_correlation,
)


def test_modal_accuracy_by_hand() -> None:
    """A hit, a miss, one of two equal options (by lot), either of the survey's two, and uniform over three."""
    model = np.array(
        [[0.6, 0.3, 0.1, 0], [0.6, 0.3, 0.1, 0], [0.4, 0.4, 0.2, 0], [0.1, 0.8, 0.1, 0], [1 / 3] * 3 + [0]]
    )
    survey = np.array([[0.5, 0.3, 0.2, 0], [0.2, 0.5, 0.3, 0], [0.1, 0.9, 0, 0], [0.2, 0.4, 0.4, 0], [0, 0.3, 0.7, 0]])
    np.testing.assert_allclose(modal_accuracy(model, survey), [1, 0, 0.5, 1, 1 / 3])


def test_mean_error_by_hand() -> None:
    """K=3: means 1.5 and 2.3 of 1..3, .8/2. Opposite ends: 1. K=2 padded: .3. Equal means of unequal answers: 0."""
    model = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.6, 0.4, 0], [0.5, 0, 0.5]])
    survey = np.array([[0.2, 0.3, 0.5], [0, 0, 1], [0.9, 0.1, 0], [0, 1, 0]])
    options = np.array([3, 3, 2, 3])
    np.testing.assert_allclose(mean_error(model, survey, options), [0.4, 1, 0.3, 0], atol=1e-12)
    assert (mean_error(model, survey, options) <= 1 - alignment_score(model, survey, options) / 100 + 1e-12).all()


def test_shift_correlation_by_hand() -> None:
    """(.1, .2) and (.2, .1): .04 / .05. The other way round of one toggle changes both signs, and nothing else."""
    model, survey = np.array([0.1, 0.2]), np.array([0.2, 0.1])
    assert shift_correlation(model, survey) == pytest.approx(0.8)
    turned = np.array([1, -1])
    assert shift_correlation(model * turned, survey * turned) == pytest.approx(0.8)
    assert np.corrcoef(model * turned, survey * turned)[0, 1] != pytest.approx(np.corrcoef(model, survey)[0, 1])
    assert np.isnan(shift_correlation(np.zeros(2), survey))


def _table() -> pd.DataFrame:
    rows = []
    for country, home, p in (("A", None, [0.5, 0.5]), ("A", "farm", [0.2, 0.8]), ("B", None, [1.0, 0.0])):
        for option, share in enumerate(p, start=1):
            rows.append(
                {
                    "country": country,
                    "question": "q",
                    "home": home,
                    "granularity": int(home is not None),
                    "option": option,
                    "p": share,
                }
            )
    return pd.DataFrame(rows).assign(n=20, n_eff=20.0, deff=1.0)


def test_cells_do_not_depend_on_the_order_of_rows() -> None:
    table = _table()
    shuffled = table.sample(frac=1, random_state=1)
    one, two = cells(table, ["home"]), cells(shuffled, ["home"])
    place = matching_rows(one.keys, two.keys, ["country", "question", "home"], "shuffled")
    np.testing.assert_array_equal(one.p, [[0.5, 0.5], [0.2, 0.8], [1, 0]])
    np.testing.assert_array_equal(two.p[place], one.p)
    np.testing.assert_array_equal(one.options, [2, 2, 2])


def test_a_missing_row_is_named() -> None:
    keys = cells(_table(), ["home"]).keys
    with pytest.raises(
        InputError, match=r"the model lacks 1 of the survey's 3 rows, the first is country=A, question=q, home=farm"
    ):
        matching_rows(keys, keys[keys["home"].isna()], ["country", "question", "home"], "the model")


def test_padded() -> None:
    np.testing.assert_array_equal(padded(pd.Series([[1.0, 2.0], [3.0]]), 3), [[1, 2, 0], [3, 0, 0]])


def test_change_by_hand() -> None:
    """Question a: two toggles, both -.2; question b: two toggles, -.1 and +.1. Mean -.1.
    Cluster sums of residuals: a: 2(-.1) = -.2; b: 0 + .2 = .2. Error = sqrt(2/1 * .08) / 4 = .1;
    t(.975, 1) = 12.7062, so the interval is -.1 -+ 1.27062."""
    found = change(np.full(4, 0.5), np.array([0.3, 0.3, 0.4, 0.6]), np.array(["a", "a", "b", "b"]))
    assert found.difference == pytest.approx(-0.1)
    assert (found.low, found.high) == (pytest.approx(-1.37062, abs=1e-5), pytest.approx(1.17062, abs=1e-5))
    assert (found.questions, found.clear) == (2, False)
    assert change(np.full(2, 0.5), np.array([0.3, 0.4]), np.array(["a", "b"])).nearer == 2


def test_change_of_one_question_has_no_interval() -> None:
    found = change(np.array([0.1, 0.2]), np.array([0.1, 0.1]), np.array(["a", "a"]))
    assert np.isnan(found.low)
    assert not found.clear
