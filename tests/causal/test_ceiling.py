"""Ceilings against exact sums over every possible small survey."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from causal.ceiling import cell_sizes, perfect_alignment, perfect_distance, redraw, toggle_sizes
from causal.closeness import alignment_score, effect_distance
from causal.counts import count
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.grid import grid_from_counts, subsets
from causal.simulate import simulate
from causal.survey import read_survey


def _exact(p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and probabilities of the second of two options among n respondents."""
    k = np.arange(n + 1)
    return k / n, np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in k])


def test_alignment_of_two_options_is_the_binomial_mean_deviation() -> None:
    """With K=2, S = 100 (1 - |share - p|); n_eff of 11.6 is 12 respondents. The padded third option is never drawn."""
    p, options, n_eff = np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0]]), np.array([2, 2]), np.array([11.6, 30.0])
    expected = []
    for second, n in ((0.3, 12), (0.8, 30)):
        share, weight = _exact(second, n)
        expected.append(100 * (1 - (weight * np.abs(share - second)).sum()))
    np.testing.assert_allclose(perfect_alignment(p, options, n_eff, replicates=20_000), expected, atol=0.2)


def test_distance_of_two_options_by_enumeration() -> None:
    """Draws of both ends are independent; d_CDF = |share_b - share_a - truth| / 2."""
    (low, at_low), (high, at_high) = _exact(0.4, 15), _exact(0.5, 20)
    weight = at_low[:, None] * at_high[None, :]
    expected = (weight * np.abs(high[None, :] - low[:, None] - 0.1)).sum() / 2
    reference, treated, sizes = np.array([[0.6, 0.4]]), np.array([[0.5, 0.5]]), (np.array([15.0]), np.array([20.0]))
    found = perfect_distance(reference, treated, *sizes, np.array([2]), replicates=20_000)
    np.testing.assert_allclose(found, [expected], atol=0.002)


def test_seeds_repeat_and_differ() -> None:
    p, options, n = np.array([[0.2, 0.5, 0.3]]), np.array([3]), np.array([10.0])
    for found in (
        lambda seed: perfect_alignment(p, options, n, seed=seed),
        lambda seed: perfect_distance(p, p[:, ::-1], n, n, options, seed=seed),
    ):
        assert found(1) == found(1) != found(2)


def test_a_redrawn_cell_has_whole_respondents_and_at_least_one() -> None:
    p = np.tile([0.2, 0.5, 0.3], (500, 1))
    for n_eff, n in ((0.2, 1), (7.4, 7)):
        drawn = redraw(np.random.default_rng(0), p, np.full(500, n_eff)) * n
        np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-12)
        np.testing.assert_allclose(drawn.sum(axis=1), n)
        # four standard errors of the mean of 500 n respondents
        np.testing.assert_allclose(drawn.mean(axis=0) / n, [0.2, 0.5, 0.3], atol=4 * np.sqrt(0.25 / 500 / n))


def test_sizes_of_cells_by_hand() -> None:
    """Country A, one attribute: variances 1.5 and .5 times as large as n_eff says, of 11 and 31 people: on average
    (11 * 1.5 + 31 * .5) / 42. Where answers do not vary there is no design effect, and country B has no other cell."""
    deff = [1.5 * 10 / 8, 0.5 * 30 / 20, np.nan, np.nan]
    keys = pd.DataFrame(
        {"country": [*"AAAB"], "granularity": 1, "n": [11, 31, 5, 9], "n_eff": [8.0, 20, 4, 7], "deff": deff}
    )
    ratio = (11 * 1.5 + 31 * 0.5) / 42
    np.testing.assert_allclose(cell_sizes(keys), [8 / ratio, 20 / ratio, 4 / ratio, 7])


def test_sizes_of_toggles_by_hand() -> None:
    """Two options: variances .25/10 + .16/20 = .033 and .21/30 + .24/40 = .013; both together .046, and .092 found.
    The third toggle's error is not known, and it counts as the others do."""
    rows = pd.DataFrame({"country": ["A"] * 3, "attribute": "a", "granularity": 1})
    rows = rows.assign(p_reference=[[0.5, 0.5], [0.3, 0.7], [0.5, 0.5]], p_treated=[[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    sizes = {"n_eff_reference": [10.0, 30, 8], "n_eff_treated": [20.0, 40, 6]}
    rows = rows.assign(**sizes, std_error=np.sqrt([0.05, 0.042, np.nan]))
    np.testing.assert_allclose(toggle_sizes(rows), np.array([[10, 30, 8], [20, 40, 6]]) / 2)


@pytest.mark.slow
def test_a_perfect_model_s_scores_in_a_clustered_survey() -> None:
    """The truth is scored against simulated surveys whose PSUs differ, and ceilings are what it scores on average."""
    cells, toggles = [], []
    for seed in range(4):
        made = simulate(
            400, questions=20, attributes=2, cluster_sd=1.0, clusters=12, design=True, seed=seed, granularity=[1]
        )
        survey = read_survey(made.study, made.data)
        counts = count(survey)
        grids = [grid_from_counts(counts, made.study, survey.countries, names) for names in subsets(made.study)]
        table, effects = (make(grids, made.study, survey.countries) for make in (distributions_table, survey_effects))
        keys = ["country", "question", *made.study.attributes]
        names = dict.fromkeys(made.study.attributes, "any")
        p, truth = (
            one.fillna(names).pivot_table("p", keys, "option", sort=False) for one in (table, made.distributions)
        )
        first = table.fillna(names).drop_duplicates(keys).set_index(keys).loc[p.index].reset_index()
        options = np.full(len(p), p.shape[1])
        scored = alignment_score(truth.loc[p.index].to_numpy(), p.to_numpy(), options)
        sizes = cell_sizes(first), first["n_eff"].to_numpy(dtype=float)
        cells.append([scored.mean(), *(perfect_alignment(p.to_numpy(), options, size).mean() for size in sizes)])
        low, high = (np.array(effects[name].tolist()) for name in ("p_reference", "p_treated"))
        right = np.array(made.effects["p_treated"].tolist()) - np.array(made.effects["p_reference"].tolist())
        options = np.full(len(low), low.shape[1])
        distance = effect_distance(right, high - low, options).mean()
        sizes = toggle_sizes(effects), effects[["n_eff_reference", "n_eff_treated"]].to_numpy(dtype=float).T
        toggles.append([distance, *(perfect_distance(low, high, *size, options).mean() for size in sizes)])
    scored, ceiling, without = np.mean(cells, axis=0)
    assert abs(ceiling - scored) < 1 < 2 < without - scored  # clusters move means more than single shares
    scored, ceiling, _ = np.mean(toggles, axis=0)
    assert ceiling == pytest.approx(scored, rel=0.03)
