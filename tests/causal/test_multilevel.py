from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

from causal.multilevel import Cells, Components, fit_components, partially_pool

CUBE = np.array(list(itertools.product("ab", "cd", "ef")))


def test_one_way_shrinks_each_cell_by_what_its_people_are_worth():
    """A level of its own for each persona: the textbook's one-way random effects, n s2 / (1 + n s2) of the way."""
    cells = Cells(np.array([["x"], ["y"]]), np.array([10.0, 10.0]), np.array([[0.2, 0.8], [0.6, 0.4]]))
    found = partially_pool(cells, Components(np.array([0.0]), 0.3))
    # 10 x .3 / (1 + 10 x .3) = .75 of the way from the mean of .4
    np.testing.assert_allclose(found[:, 0], [0.4 - 0.75 * 0.2, 0.4 + 0.75 * 0.2])


def test_unequal_cells_by_hand():
    """Weights of the mean are 1 / (s2 + 1/n): with s2 = .1, n = 10 and 5 they are 5 and 10/3, so .6 and .4."""
    cells = Cells(np.array([["x"], ["y"]]), np.array([10.0, 5.0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    found = partially_pool(cells, Components(np.array([0.0]), 0.1))
    # mean .6 x .5 + .4 x 1 = .7; shrunk by .1 / .2 = .5 and .1 / .3
    np.testing.assert_allclose(found[:, 0], [0.7 - 0.5 * 0.2, 0.7 + 0.3 / 3])


def test_without_differences_all_answer_like_the_whole_and_with_large_ones_nothing_moves():
    rng = np.random.default_rng(0)
    n, p = rng.uniform(5, 50, 8), rng.dirichlet(np.ones(4), 8)
    cells = Cells(CUBE, n, p)
    np.testing.assert_allclose(partially_pool(cells, Components(np.zeros(3), 0.0)), np.tile(n @ p / n.sum(), (8, 1)))
    np.testing.assert_allclose(partially_pool(cells, Components(np.zeros(3), 1e6)), p, atol=1e-6)


def test_main_effects_alone_are_additive_least_squares():
    """With large main effects and no rest, prediction is weighted least squares on the attributes' levels."""
    rng = np.random.default_rng(1)
    n, p = rng.uniform(50, 90, 8), rng.dirichlet(np.full(3, 40.0), 8)
    design = np.column_stack([np.ones(8), *(CUBE[:, i] == CUBE[0, i] for i in range(3))])
    root = np.sqrt(n)[:, None]
    expected = design @ np.linalg.lstsq(root * design, root * p, rcond=None)[0]
    found = partially_pool(Cells(CUBE, n, p), Components(np.full(3, 1e6), 0.0))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_components_of_a_balanced_one_way_design_are_the_analysis_of_variance():
    """Restricted likelihood's estimate there is closed: the variance between cells less that of sampling."""
    rng = np.random.default_rng(2)
    shares = rng.beta(8, 8, 40)
    levels = np.array([[f"level {i}"] for i in range(40)])
    cells = Cells(levels, np.full(40, 200.0), np.column_stack([shares, 1 - shares]))
    found = fit_components([cells])
    mean = shares.mean()
    # one level per persona: only the sum of both components can be told
    assert found.attributes[0] + found.rest == pytest.approx(
        shares.var(ddof=1) / (mean * (1 - mean)) - 1 / 200, rel=1e-3
    )


def test_components_maximise_the_restricted_likelihood():
    """An independent likelihood, of the contrasts of each question's cells, is nowhere higher."""
    rng = np.random.default_rng(3)
    questions = [made(rng, 0.25, 0.1, 60) for _ in range(6)]
    for place, own in enumerate((slice(0, 5), slice(3, 8))):  # as many personas, not the same
        whole = questions[place]
        questions[place] = Cells(whole.levels[own], whole.n[own], whole.p[own])

    def likelihood(variances):
        total = 0.0
        for cells in questions:
            size = len(cells.n)
            same = [cells.levels[:, i, None] == cells.levels[None, :, i] for i in range(3)] + [np.eye(size)]
            covariance = sum(v * s for v, s in zip(variances, same, strict=True)) + np.diag(1 / cells.n)
            contrast = np.linalg.svd(np.ones((1, size)))[2][1:]
            cdf = cells.p.cumsum(axis=1)[:, :-1]
            pool = cells.n @ cdf / cells.n.sum()
            values = contrast @ ((cdf - pool) / np.sqrt(pool * (1 - pool)))
            of = multivariate_normal(cov=contrast @ covariance @ contrast.T)
            total += np.mean([of.logpdf(column) for column in values.T])
        return total

    found = fit_components(questions)
    best = np.append(found.attributes, found.rest)
    assert (best[:3] > 1e-3).any()
    for place, factor in itertools.product(range(4), (0.95, 1.05)):
        other = best.copy()
        other[place] *= factor
        assert likelihood(other) <= likelihood(best) + 1e-5


@pytest.mark.parametrize("dominant", [0.1, 0.15])
def test_a_dominant_attribute_does_not_hide_small_ones(dominant):
    """Where one component is a hundred times the others, they are still found: two starts of an independent search
    over standard deviations, without bounds, end no higher and at the same place."""
    rng, variances = np.random.default_rng(1), np.array([0.001, 0.001, dominant])
    questions = []
    for _ in range(50):
        middle = rng.uniform(0.3, 0.7)
        moves = [rng.normal(0, v**0.5, 2)[(CUBE[:, i] == CUBE[0, i]).astype(int)] for i, v in enumerate(variances)]
        share = middle + np.sqrt(middle * (1 - middle)) * (sum(moves) + rng.normal(0, 0.0005**0.5, 8))
        answers = rng.binomial(300, np.clip(share, 0.01, 0.99)) / 300
        questions.append(Cells(CUBE, np.full(8, 300.0), np.column_stack([answers, 1 - answers])))
    same = np.stack([*(CUBE[:, i, None] == CUBE[None, :, i] for i in range(3)), np.eye(8)])
    contrast = np.linalg.svd(np.ones((1, 8)))[2][1:]
    seen = np.array([one.p[:, 0] for one in questions])
    middle = seen.mean(axis=1, keepdims=True)
    values = contrast @ ((seen - middle) / np.sqrt(middle * (1 - middle))).T

    def deviance(deviations):
        total = contrast @ (np.tensordot(deviations**2, same, axes=1) + np.eye(8) / 300) @ contrast.T
        return len(questions) * np.linalg.slogdet(total)[1] + np.sum(values * np.linalg.solve(total, values))

    found = fit_components(questions)
    best = np.append(found.attributes, found.rest)
    for start in (0.01, 0.1):
        other = minimize(deviance, np.full(4, start), method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-6})
        assert deviance(best**0.5) <= other.fun + 0.01
        np.testing.assert_allclose(best, other.x**2, atol=2e-5, rtol=0.02)
    assert best[:3] == pytest.approx(variances, rel=0.6)


def made(rng, main, rest, n, truth=None):
    """Answers of three options to one question, from normal effects on a latent scale."""
    effect = sum(rng.normal(0, main / 2**0.5, 2)[(CUBE[:, i] == CUBE[0, i]).astype(int)] for i in range(3))
    place = effect + rng.normal(0, rest, 8)
    cdf = norm.cdf(np.array([[-0.5, 0.5]]) + place[:, None])
    p = np.diff(cdf, axis=1, prepend=0, append=1)
    if truth is not None:
        truth.append(p)
    return Cells(CUBE, np.full(8, float(n)), rng.multinomial(n, p) / n)


@pytest.mark.parametrize(("main", "rest"), [(0.3, 0.0), (0.3, 0.15), (0.0, 0.0), (0.1, 0.3)])
def test_pooled_cells_are_nearer_to_the_truth_than_the_cells(main, rest):
    """Small cells of a known truth: levels and effects, and never worse by more than a little where nothing helps."""
    rng, truth = np.random.default_rng(4), []
    questions = [made(rng, main, rest, 30, truth) for _ in range(40)]
    components = fit_components(questions)
    found = [partially_pool(cells, components) for cells in questions]

    def error(many, of=lambda p: p.cumsum(axis=1)):
        return np.mean([np.abs(of(one) - of(true)).mean() for one, true in zip(many, truth, strict=True)])

    def effects(p):
        return (p[4:] - p[:4]).cumsum(axis=1)

    raw = [cells.p for cells in questions]
    assert error(found) < 0.85 * error(raw)
    assert error(found, effects) < 0.85 * error(raw, effects)
    if not main and not rest:
        assert error(found, effects) < 0.35 * error(raw, effects)


def test_components_know_which_attribute_matters():
    rng = np.random.default_rng(5)
    questions = []
    for _ in range(30):
        move = rng.normal(0, 0.15, 2)
        share = np.clip(0.5 + move[(CUBE[:, 1] == "c").astype(int)], 0.05, 0.95)
        questions.append(Cells(CUBE, np.full(8, 60.0), np.column_stack([share, 1 - share])))
    found = fit_components(questions)
    assert found.attributes[1] == pytest.approx(0.15**2 / 0.25, rel=0.5)
    assert max(found.attributes[0], found.attributes[2], found.rest) < 0.02 * found.attributes[1]


def test_answers_alike_are_no_evidence():
    """A question that everybody answers alike neither fails nor says that personas are alike elsewhere."""
    rng = np.random.default_rng(6)
    questions = [made(rng, 0.3, 0.1, 100) for _ in range(5)]
    alone = Cells(CUBE, np.full(8, 500.0), np.tile([0.0, 1.0, 0.0], (8, 1)))
    found, without = fit_components([*questions, alone]), fit_components(questions)
    np.testing.assert_array_equal(found.attributes, without.attributes)
    np.testing.assert_allclose(partially_pool(alone, found), alone.p)
    np.testing.assert_allclose(partially_pool(alone, fit_components([alone])), alone.p)


def test_no_questions_or_unlike_ones_are_refused():
    with pytest.raises(ValueError, match="none"):
        fit_components([])
    cells = Cells(CUBE, np.full(8, 9.0), np.full((8, 2), 0.5))
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        fit_components([cells, Cells(CUBE[:, :2], cells.n, cells.p)])


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 6))
def test_predictions_are_distributions(seed, personas, options):
    rng = np.random.default_rng(seed)
    cells = Cells(CUBE[:personas], rng.uniform(1, 500, personas), rng.dirichlet(np.full(options, 0.3), personas))
    found = partially_pool(cells, Components(rng.exponential(0.1, 3), float(rng.exponential(0.1))))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
