"""The joint test against Pearson's, against enumerated deals, and in simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from causal.estimators.newcombe import Freedom
from causal.estimators.wald import Shares, Wald, wald


def shares(counts: np.ndarray | list[int] | list[list[int]]) -> Shares:
    """Unweighted cells from option counts of shape (..., K)."""
    counts = np.atleast_2d(np.asarray(counts, dtype=float))
    n = counts.sum(axis=1)
    p = counts / n[:, None]
    return Shares(p, independent(p) / n[:, None, None], 1 / n, n, None)


def independent(p: np.ndarray) -> np.ndarray:
    return p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]


TABLES = st.integers(2, 6).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 40), min_size=k, max_size=k)] * 2))


@given(TABLES)
def test_statistic_is_pearsons_over_all_deals_of_the_answers(pair: tuple[list[int], list[int]]) -> None:
    table = np.array(pair)
    assume(table.sum(axis=1).min() > 0)
    found = wald(shares(pair[0]), shares(pair[1]))
    chosen = table[:, table.sum(axis=0) > 0]
    assert found.df[0] == chosen.shape[1] - 1
    total = table.sum()
    expected = stats.chi2_contingency(chosen, correction=False).statistic * (total - 1) / total
    assert found.statistic[0] == pytest.approx(expected, abs=1e-9)
    assert 0 <= found.p_value[0] <= 1


@pytest.mark.parametrize("pair", [([3, 1, 0], [0, 2, 3]), ([2, 1, 1, 0], [4, 0, 1, 1]), ([5, 1], [1, 2])])
def test_p_value_is_that_of_a_gamma_with_the_moments_of_all_deals(pair: tuple[list[int], list[int]]) -> None:
    table = np.array(pair)
    answers = np.repeat(np.arange(table.shape[1]), table.sum(axis=0))
    deals = []
    for first in itertools.combinations(range(len(answers)), int(table[0].sum())):
        one = np.bincount(answers[list(first)], minlength=table.shape[1])
        deals.append(stats.chi2_contingency([one, table.sum(axis=0) - one], correction=False).statistic)
    mean, variance = np.mean(deals), np.var(deals)
    pearson = stats.chi2_contingency(table, correction=False).statistic
    found = wald(shares(pair[0]), shares(pair[1]))
    assert found.p_value[0] == pytest.approx(
        stats.gamma.sf(pearson, mean**2 / variance, scale=variance / mean), rel=1e-9
    )


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_large_cells_give_the_textbook_test(k: int) -> None:
    rng = np.random.default_rng(k)
    p = np.linspace(1, 2, k) / np.linspace(1, 2, k).sum()
    tables = rng.multinomial([20_000, 30_000], p, (50, 2))
    found = wald(shares(tables[:, 0]), shares(tables[:, 1]))
    expected = [stats.chi2_contingency(table, correction=False).pvalue for table in tables]
    np.testing.assert_allclose(found.p_value, expected, atol=2e-3)


def test_nothing_to_tell_apart() -> None:
    same = wald(shares([10, 0, 0]), shares([12, 0, 0]))
    assert (same.statistic[0], same.df[0], same.p_value[0]) == (0, 0, 1)
    one_each = wald(shares([1, 0]), shares([0, 1]))
    assert one_each.p_value[0] == 1  # both deals of one answer each are as far apart
    nobody = Shares(np.full((1, 2), np.nan), np.full((1, 2, 2), np.nan), np.full(1, np.nan), np.full(1, np.nan), None)
    empty = wald(nobody, shares([3, 4]))
    assert np.isnan([empty.statistic[0], empty.df[0], empty.p_value[0]]).all()


def test_options_beyond_a_questions_own_change_nothing() -> None:
    plain, padded = (wald(shares([2, 5, 9, *zeros]), shares([7, 4, 1, *zeros])) for zeros in ([], [0, 0]))
    for name in ("statistic", "df", "p_value"):
        assert getattr(padded, name)[0] == pytest.approx(getattr(plain, name)[0], rel=1e-12), name


@given(TABLES)
def test_swapping_the_ends_changes_nothing(pair: tuple[list[int], list[int]]) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    there, back = wald(shares(pair[0]), shares(pair[1])), wald(shares(pair[1]), shares(pair[0]))
    for name in ("statistic", "p_value"):
        assert getattr(there, name)[0] == pytest.approx(getattr(back, name)[0], abs=1e-9), name


MANY = 1e12


def designed(counts: list[int], covariance: np.ndarray, df: float = MANY, limit: float = MANY) -> Shares:
    plain = shares(counts)
    freedom = Freedom(np.array([df]), np.array([MANY]), np.array([limit]))
    return Shares(plain.p, covariance[None], plain.unit, plain.n, freedom)


REFERENCE, TREATED = [3000, 4000, 3000], [3200, 4000, 2800]


def matrices(factor: float) -> list[np.ndarray]:
    return [factor * shares(counts).covariance[0] for counts in (REFERENCE, TREATED)]


def test_variance_three_times_as_large_divides_the_statistic_by_three() -> None:
    plain = wald(shares(REFERENCE), shares(TREATED))
    ends = [designed(counts, v) for counts, v in zip((REFERENCE, TREATED), matrices(3.0), strict=True)]
    found = wald(*ends)
    assert found.statistic[0] == pytest.approx(plain.statistic[0] / 3, rel=1e-3)  # not quite: each cell's own shares
    assert found.p_value[0] == pytest.approx(stats.chi2.sf(found.statistic[0], 2), rel=1e-2)


def test_what_two_cells_share_is_taken_back_but_not_below_independent_answers() -> None:
    plain = wald(shares(REFERENCE), shares(TREATED)).statistic[0]
    ends = [designed(counts, v) for counts, v in zip((REFERENCE, TREATED), matrices(3.0), strict=True)]
    half = (ends[0].covariance + ends[1].covariance) / 2
    assert wald(*ends, 0.5 * half).statistic[0] == pytest.approx(plain / 1.5, rel=1e-3)
    assert wald(*ends, 0.9 * half).statistic[0] == pytest.approx(plain, rel=1e-12)


def test_few_clusters_make_it_an_f() -> None:
    ends = [designed(counts, v, 6) for counts, v in zip((REFERENCE, TREATED), matrices(3.0), strict=True)]
    found = wald(*ends)
    # Welch: 6 + 6 where both variances are alike; F with 2 and 2 * 12 degrees of freedom (Thomas and Rao)
    assert found.p_value[0] == pytest.approx(stats.f.sf(found.statistic[0] / 2, 2, 24), rel=1e-2)
    ends = [designed(counts, v, 6, 8) for counts, v in zip((REFERENCE, TREATED), matrices(3.0), strict=True)]
    assert wald(*ends).p_value[0] == pytest.approx(stats.f.sf(found.statistic[0] / 2, 2, 16), rel=1e-2)


def test_unlike_design_effects_follow_rao_and_scott() -> None:
    """Second order, against the eigenvalues of the generalised design effect matrix, on the first two options."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 5)) * np.array([[3.0], [1.0], [1.0]])
    extra = (root - root.mean(axis=0)) @ (root - root.mean(axis=0)).T * 1e-4
    counts = [40_000, 30_000, 30_000], [40_300, 30_000, 29_700]
    ends = [designed(list(c), shares(list(c)).covariance[0] + extra) for c in counts]
    found = wald(*ends)
    p = np.sum(counts, axis=0) / np.sum(counts)
    simple = independent(p[None])[0] * 2 / 100_000
    full = ends[0].covariance[0] + ends[1].covariance[0]
    delta = np.linalg.eigvals(np.linalg.inv(simple[:2, :2]) @ full[:2, :2]).real
    d = (np.array(counts[1]) - np.array(counts[0])) / 100_000
    pearson = d[:2] @ np.linalg.inv(simple[:2, :2]) @ d[:2]
    assert delta.max() / delta.min() > 3
    assert found.statistic[0] == pytest.approx(pearson / delta.mean(), rel=1e-3)
    spread = (delta**2).mean() / delta.mean() ** 2
    expected = stats.chi2.sf(pearson / delta.mean() / spread, 2 / spread)
    assert found.p_value[0] == pytest.approx(expected, rel=5e-3)


def shapes(k: int) -> dict[str, np.ndarray]:
    made = {
        "flat": np.ones(k),
        "skewed": 0.5 ** np.arange(k),
        "one end": np.r_[0.95, np.full(k - 1, 0.05 / (k - 1))],
        "both ends": np.r_[1, np.full(k - 2, 0.1), 1],
    }
    return {name: weights / weights.sum() for name, weights in made.items()}


def drawn(rng: np.random.Generator, p: np.ndarray, q: np.ndarray, sizes: tuple[int, int], draws: int = 4000) -> Wald:
    return wald(shares(rng.multinomial(sizes[0], p, draws)), shares(rng.multinomial(sizes[1], q, draws)))


@pytest.mark.parametrize("sizes", [(10, 10), (10, 100), (10, 1000), (30, 60), (300, 300)])
@pytest.mark.parametrize("k", [2, 4, 10])
def test_size_holds_from_ten_respondents_up(k: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng([k, *sizes])
    for name, p in shapes(k).items():
        found = drawn(rng, p, p, sizes).p_value
        assert (found < 0.05).mean() < 0.07, name  # Monte Carlo error .0035; Pearson's reaches .2
        assert (found < 0.01).mean() < 0.025, name


def test_pearson_does_not_hold_it_and_has_no_more_power_where_it_does() -> None:
    rng = np.random.default_rng(0)
    p = shapes(10)["one end"]
    found = drawn(rng, p, p, (10, 1000))
    pearson = stats.chi2.sf(found.statistic, found.df)
    assert (pearson < 0.05).mean() > 0.1
    flat, tilted = np.ones(5) / 5, np.array([0.4, 0.25, 0.15, 0.1, 0.1])
    found = drawn(rng, flat, tilted, (40, 40))
    pearson = stats.chi2.sf(found.statistic * 80 / 79, found.df)
    assert (found.p_value < 0.05).mean() > (pearson < 0.05).mean() - 0.01


def test_size_holds_with_weights_that_go_with_the_answers() -> None:
    rng = np.random.default_rng(0)
    p, factor = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.5, 1.0, 1.5, 2.0])

    def end(n: int) -> Shares:
        answers = rng.choice(4, (4000, n), p=p)
        w = factor[answers] * rng.lognormal(0, 0.4, answers.shape)
        share = (w / w.sum(axis=1, keepdims=True))[..., None] * (answers[..., None] == np.arange(4))
        found, squares = share.sum(axis=1), (share**2).sum(axis=1)
        covariance = np.einsum("rik,ril->rkl", *[share - found[:, None] * share.sum(axis=2, keepdims=True)] * 2)
        unit = squares.sum(axis=1)
        return Shares(found, covariance, unit, 1 / unit, None)

    for sizes in ((10, 40), (60, 60)):
        assert (wald(end(sizes[0]), end(sizes[1])).p_value < 0.05).mean() < 0.065
