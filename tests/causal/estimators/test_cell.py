from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as t_quantile
from statsmodels.stats import proportion  # not in a test: its import would count against hypothesis' deadline

from causal.estimators.cell import CellDesign, Cells, contrast
from causal.estimators.result import Estimates

Z = norm.ppf(0.975)


def cells(counts: np.ndarray | list[int] | list[list[int]]) -> Cells:
    """Unweighted cells from option counts of shape (..., K)."""
    counts = np.atleast_2d(np.asarray(counts, dtype=float))
    n = counts.sum(axis=-1)
    p = counts / n[:, None]
    return Cells(p, p / n[:, None], n, n)


def compare(
    reference: Cells, treated: Cells, confidence: float = 0.95, covariance: np.ndarray | float = 0.0
) -> Estimates:
    rows, options = reference.p.shape
    score = np.broadcast_to(np.arange(options) / (options - 1), (rows, options))
    crossed = np.stack([matrix(options, value) for value in np.broadcast_to(covariance, rows)])
    given = crossed if np.any(covariance) or reference.design else None
    return contrast(reference, treated, score, np.full(rows, options), confidence, given)


def matrix(options: int, variance: float) -> np.ndarray:
    """A covariance of shares in which the mean score has the given variance."""
    score = np.arange(options) / (options - 1)
    even = np.eye(options) / options - 1 / options**2
    return variance / (score @ even @ score) * even


def designed(counts: list[int], variance: float, df: float = np.inf, df_limit: float = np.inf) -> Cells:
    """A cell of the given answers and design-based variance."""
    plain = cells(counts)
    return replace(plain, design=CellDesign(matrix(len(counts), variance)[None], np.array([df]), np.array([df_limit])))


@pytest.mark.parametrize(
    ("treated", "reference", "expected"),
    [
        # Newcombe 1998, Statistics in Medicine 17, 873, table II: method 10, hybrid score without continuity
        # correction; 56/70 - 48/80.
        ((56, 70), (48, 80), (0.2, 0.0524, 0.3339)),
        # No event at either end. Each Wilson interval is (0, z**2 / (n + z**2)), worked by hand.
        ((0, 10), (0, 20), (0.0, -(Z**2) / (20 + Z**2), Z**2 / (10 + Z**2))),
        # Everybody against nobody, by hand: both ends of the interval meet at 1.
        ((10, 10), (0, 20), (1.0, 1 - np.hypot(Z**2 / (10 + Z**2), Z**2 / (20 + Z**2)), 1.0)),
    ],
)
def test_two_options_give_newcombes_hybrid_score_interval(
    treated: tuple[int, int], reference: tuple[int, int], expected: tuple[float, float, float]
) -> None:
    (x, m), (y, n) = treated, reference
    found = compare(cells([n - y, y]), cells([m - x, x]))
    shift, low, high = expected
    assert found.shift[0] == pytest.approx(shift, abs=1e-12)
    assert found.conf_low[0] == pytest.approx(low, abs=5e-5)
    assert found.conf_high[0] == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_two_options_equal_statsmodels_newcombe(m: int, n: int, a: float, b: float, confidence: float) -> None:
    x, y = round(a * m), round(b * n)
    found = compare(cells([n - y, y]), cells([m - x, x]), confidence)
    (l1, u1), (l2, u2) = (
        proportion.proportion_confint(k, size, 1 - confidence, method="wilson") for k, size in ((x, m), (y, n))
    )
    shift = x / m - y / n
    assert found.conf_low[0] == pytest.approx(shift - np.hypot(x / m - l1, u2 - y / n), abs=1e-9)
    assert found.conf_high[0] == pytest.approx(shift + np.hypot(u1 - x / m, y / n - l2), abs=1e-9)


def test_shift_and_standard_error_by_hand() -> None:
    # reference: 2, 1, 1 of 4; treated: 0, 1, 4 of 5; scores 0, .5, 1
    found = compare(cells([2, 1, 1]), cells([0, 1, 4]))
    mean_r, mean_t = (0.5 + 1) / 4, (0.5 + 4) / 5
    var_r = (2 * mean_r**2 + (0.5 - mean_r) ** 2 + (1 - mean_r) ** 2) / 4**2
    var_t = ((0.5 - mean_t) ** 2 + 4 * (1 - mean_t) ** 2) / 5**2
    assert found.shift[0] == pytest.approx(mean_t - mean_r, abs=1e-15)
    assert found.std_error[0] == pytest.approx(np.sqrt(var_r + var_t), abs=1e-15)


def test_options_beyond_a_questions_own_change_nothing() -> None:
    plain = compare(cells([2, 3, 4]), cells([4, 3, 2]))
    reference, treated = cells([2, 3, 4, 0, 0]), cells([4, 3, 2, 0, 0])
    padded = contrast(reference, treated, np.array([[0, 0.5, 1, 0, 0]]), np.array([3]), 0.95)
    for name in ("shift", "std_error", "conf_low", "conf_high", "p_value"):
        assert getattr(padded, name)[0] == pytest.approx(getattr(plain, name)[0], abs=1e-14), name


def test_empty_cell_gives_nan_throughout() -> None:
    nobody = Cells(np.full((1, 3), np.nan), np.full((1, 3), np.nan), np.zeros(1), np.zeros(1))
    found = compare(nobody, cells([1, 2, 3]))
    for name in ("shift", "std_error", "conf_low", "conf_high", "p_value"):
        assert np.isnan(getattr(found, name)).all(), name


COUNTS = st.integers(2, 6).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 60), min_size=k, max_size=k)] * 2))


@given(COUNTS)
def test_swapping_the_ends_mirrors_the_result(pair: tuple[list[int], list[int]]) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    there, back = compare(cells(pair[0]), cells(pair[1])), compare(cells(pair[1]), cells(pair[0]))
    assert there.shift[0] == pytest.approx(-back.shift[0], abs=1e-14)
    assert there.conf_low[0] == pytest.approx(-back.conf_high[0], abs=1e-12)
    assert there.conf_high[0] == pytest.approx(-back.conf_low[0], abs=1e-12)
    assert there.std_error[0] == pytest.approx(back.std_error[0], abs=1e-14)
    assert there.p_value[0] == pytest.approx(back.p_value[0], abs=1e-9)


@given(COUNTS)
def test_reversing_the_scale_mirrors_the_result(pair: tuple[list[int], list[int]]) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    there, back = compare(cells(pair[0]), cells(pair[1])), compare(cells(pair[0][::-1]), cells(pair[1][::-1]))
    assert there.conf_low[0] == pytest.approx(-back.conf_high[0], abs=1e-12)
    assert there.conf_high[0] == pytest.approx(-back.conf_low[0], abs=1e-12)


@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_p_value_is_below_alpha_where_the_interval_leaves_out_zero(
    pair: tuple[list[int], list[int]], confidence: float
) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    found = compare(cells(pair[0]), cells(pair[1]), confidence)
    assume(min(abs(found.conf_low[0]), abs(found.conf_high[0])) > 1e-9)
    left_out = bool(found.conf_low[0] > 0 or found.conf_high[0] < 0)
    assert (found.p_value[0] < 1 - confidence) == left_out


@given(COUNTS)
def test_interval_holds_the_shift_and_stays_in_range(pair: tuple[list[int], list[int]]) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    found = compare(cells(pair[0]), cells(pair[1]))
    assert -1 - 1e-12 <= found.conf_low[0] <= found.shift[0] + 1e-12
    assert found.shift[0] - 1e-12 <= found.conf_high[0] <= 1 + 1e-12


@pytest.mark.parametrize("options", [2, 3, 5, 10])
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_cells_where_all_answer_the_same_still_have_an_interval(options: int, size: int) -> None:
    for place in range(options):
        same = cells(np.eye(options)[place] * size)
        found = compare(same, same)
        assert found.shift[0] == 0
        assert found.std_error[0] == 0
        assert found.p_value[0] == pytest.approx(1)
        assert 0 < found.conf_high[0] <= 1
        assert found.conf_low[0] == pytest.approx(-found.conf_high[0])


def test_wider_confidence_gives_a_wider_interval() -> None:
    narrow, wide = (compare(cells([5, 5, 5]), cells([3, 5, 9]), confidence) for confidence in (0.9, 0.99))
    assert wide.conf_low[0] < narrow.conf_low[0] < narrow.conf_high[0] < wide.conf_high[0]


def shapes(options: int) -> dict[str, np.ndarray]:
    k = np.arange(options)
    made = {
        "uniform": np.ones(options),
        "skewed": 0.5**k,
        "skewed the other way": 0.5 ** k[::-1],
        "extreme": np.r_[0.95, np.full(options - 1, 0.05 / (options - 1))],
        "U-shaped": np.r_[1, np.full(options - 2, 0.2), 1],
    }
    return {name: weights / weights.sum() for name, weights in made.items()}


def coverage(options: int, sizes: tuple[int, int], draws: int = 2000) -> dict[tuple[str, str], tuple[float, float]]:
    """Share of intervals that hold the true shift, ours and Wald's, for every pair of shapes."""
    rng = np.random.default_rng([options, *sizes])
    score = np.arange(options) / (options - 1)
    found = {}
    for (name_r, r), (name_t, t) in itertools.product(shapes(options).items(), repeat=2):
        reference, treated = cells(rng.multinomial(sizes[0], r, draws)), cells(rng.multinomial(sizes[1], t, draws))
        result, truth = compare(reference, treated), float((t - r) @ score)
        ours = (result.conf_low <= truth + 1e-12) & (truth - 1e-12 <= result.conf_high)
        wald = np.abs(result.shift - truth) <= Z * result.std_error + 1e-12
        found[name_r, name_t] = (ours.mean(), wald.mean())
    return found


@pytest.mark.parametrize("options", [2, 3, 5, 10])
@pytest.mark.parametrize("sizes", [(10, 10), (10, 60), (30, 30), (100, 100), (1000, 1000)])
def test_interval_keeps_its_coverage_whatever_the_shape(options: int, sizes: tuple[int, int]) -> None:
    error = 3 * np.sqrt(0.93 * 0.07 / 2000)
    too_low = {pair: ours for pair, (ours, _) in coverage(options, sizes).items() if ours < 0.93 - error}
    assert not too_low


@pytest.mark.parametrize("options", [2, 3, 5, 10])
def test_wald_falls_short_in_cells_of_ten_where_ours_does_not(options: int) -> None:
    ours, wald = np.array(list(coverage(options, (10, 10)).values())).T
    assert ours.mean() > 0.945
    assert wald.mean() < 0.93
    assert wald.min() < 0.905
    assert wald.min() < ours.min() - 0.02


def test_interval_keeps_its_coverage_with_weights() -> None:
    rng = np.random.default_rng(0)
    score = np.arange(4) / 3

    def draw(p: np.ndarray, n: int) -> Cells:
        answers = rng.choice(4, (2000, n), p=p)
        w = rng.lognormal(0, 0.7, (2000, n))
        share = (w / w.sum(axis=1, keepdims=True))[..., None] * (answers[..., None] == np.arange(4))
        squares = (w**2).sum(axis=1)
        return Cells(share.sum(axis=1), (share**2).sum(axis=1), np.full(2000, n), w.sum(axis=1) ** 2 / squares)

    r, t = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.7, 0.2, 0.05, 0.05])
    found = compare(draw(r, 40), draw(t, 40))
    truth = (t - r) @ score
    assert ((found.conf_low <= truth) & (truth <= found.conf_high)).mean() > 0.93 - 0.017


MANY = 1e9  # degrees of freedom


def test_variance_four_times_as_large_gives_the_interval_of_a_quarter_of_the_respondents() -> None:
    # two options: without a design the interval is Wilson's at n, so at deff 4 it is Wilson's at n / 4
    plain = 0.25 / 400
    found = compare(designed([200, 200], 4 * plain, MANY, MANY), designed([200, 200], 4 * plain, MANY, MANY))
    quarter = compare(cells([50, 50]), cells([50, 50]))
    assert found.std_error[0] == pytest.approx(np.sqrt(8 * plain))
    assert found.conf_high[0] == pytest.approx(quarter.conf_high[0], abs=1e-12)


@pytest.mark.parametrize("variance", [0.0, 1e-9, 0.25 / 400])
def test_small_or_degenerate_design_variance_never_narrows_the_interval(variance: float) -> None:
    found = compare(designed([200, 200], variance, MANY, MANY), designed([200, 200], variance, MANY, MANY))
    plain = compare(cells([200, 200]), cells([200, 200]))
    assert found.std_error[0] == pytest.approx(np.sqrt(2 * variance))
    assert found.conf_high[0] == pytest.approx(plain.conf_high[0], abs=1e-12)


def test_interval_where_all_answer_the_same_in_a_design_is_kishs() -> None:
    found = compare(designed([10, 0], 0.0, 9, 90), designed([10, 0], 0.0, 9, 90), covariance=np.array([0.0]))
    plain = compare(cells([10, 0]), cells([10, 0]))
    assert (found.conf_low[0], found.conf_high[0]) == pytest.approx((plain.conf_low[0], plain.conf_high[0]))
    assert found.p_value[0] == pytest.approx(1)


def test_few_clusters_widen_the_interval_by_students_quantile() -> None:
    plain = 0.25 / 4000
    ends = designed([2000, 2000], plain, 4, MANY), designed([2000, 2000], plain, 4, MANY)
    wide, narrow = compare(*ends), compare(cells([2000, 2000]), cells([2000, 2000]))
    ratio = t_quantile.ppf(0.975, 8) / t_quantile.ppf(0.975, 2 * 3999)  # Welch: 4 + 4 where variances are equal
    assert wide.conf_high[0] / narrow.conf_high[0] == pytest.approx(ratio, rel=1e-3)
    limited = designed([2000, 2000], plain, 4, 5), designed([2000, 2000], plain, 4, 5)
    ratio = t_quantile.ppf(0.975, 5) / t_quantile.ppf(0.975, 2 * 3999)
    assert compare(*limited).conf_high[0] / narrow.conf_high[0] == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize(("rho", "used"), [(-0.5, -0.5), (0.3, 0.3), (0.8, 0.75), (1.0, 0.75)])
def test_covariance_enters_standard_error_and_interval(rho: float, used: float) -> None:
    variance = 4 * 0.25 / 400
    ends = designed([200, 200], variance, MANY, MANY), designed([200, 200], variance, MANY, MANY)
    found, apart = compare(*ends, covariance=np.array([rho * variance])), compare(*ends)
    assert found.std_error[0] == pytest.approx(apart.std_error[0] * np.sqrt(1 - rho))
    # both half-widths are equal, so the joint one is sqrt(2 - 2 rho) of them instead of sqrt(2); at a design effect
    # of 4, three quarters of the variance came from the clusters and may be taken back
    assert found.conf_high[0] == pytest.approx(apart.conf_high[0] * np.sqrt(1 - used), rel=1e-9)


@given(COUNTS, st.floats(-1, 1), st.floats(1, 5), st.floats(1, 5))
def test_p_value_is_below_alpha_where_the_designs_interval_leaves_out_zero(
    pair: tuple[list[int], list[int]], rho: float, deff_a: float, deff_b: float
) -> None:
    assume(sum(pair[0]) and sum(pair[1]))
    variance = [compare(cells(counts), cells(counts)).std_error[0] ** 2 / 2 for counts in pair]
    a, b = variance[0] * deff_a, variance[1] * deff_b
    ends = designed(pair[0], a, 5, 9), designed(pair[1], b, 7, 9)
    found = compare(*ends, covariance=np.array([rho * np.sqrt(a * b)]))
    assert -1 - 1e-12 <= found.conf_low[0] <= found.shift[0] + 1e-12
    assert found.shift[0] - 1e-12 <= found.conf_high[0] <= 1 + 1e-12
    assume(min(abs(found.conf_low[0]), abs(found.conf_high[0])) > 1e-9)
    assert (found.p_value[0] < 0.05) == bool(found.conf_low[0] > 0 or found.conf_high[0] < 0)


def test_weights_that_go_with_the_answers_widen_beyond_kish() -> None:
    # two at each option; the heavy ones (weight 3) are the extreme answers 1 and 3 of three options
    w, score = np.array([3, 3, 1, 1, 3, 3.0]), np.array([0, 0, 0.5, 0.5, 1, 1])
    share = np.array([6, 2, 6]) / 14
    squares = np.array([18, 2, 18]) / 14**2
    kish = 14**2 / 38
    found = Cells(share[None], squares[None], np.array([6.0]), np.array([kish]))
    plain = Cells(share[None], share[None] / kish, np.array([6.0]), np.array([kish]))
    variance = ((w / 14) ** 2 * (score - 0.5) ** 2).sum()
    assert variance > (share * (np.array([0, 0.5, 1]) - 0.5) ** 2).sum() / kish
    assert compare(found, found).std_error[0] == pytest.approx(np.sqrt(2 * variance))
    assert compare(found, found).conf_high[0] > compare(plain, plain).conf_high[0]


def newcombe(x: int, m: int, y: int, n: int, confidence: float) -> tuple[float, float]:
    """Statsmodels' interval of x/m - y/n."""
    low, high = proportion.confint_proportions_2indep(
        x, m, y, n, method="newcomb", compare="diff", alpha=1 - confidence
    )
    return float(low), float(high)


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_of_options_and_cumulative_shares_equal_statsmodels_newcombe(
    pair: tuple[list[int], list[int]], confidence: float
) -> None:
    reference, treated = (np.array(counts) for counts in pair)
    assume(reference.sum() and treated.sum())
    found = compare(cells(reference), cells(treated), confidence)
    n, m = reference.sum(), treated.sum()
    for k in range(len(reference)):
        expected = newcombe(treated[k], m, reference[k], n, confidence)
        assert (found.effect_low[0, k], found.effect_high[0, k]) == pytest.approx(expected, abs=1e-9)
    for k in range(len(reference) - 1):
        expected = newcombe(treated[: k + 1].sum(), m, reference[: k + 1].sum(), n, confidence)
        assert (found.cdf_low[0, k], found.cdf_high[0, k]) == pytest.approx(expected, abs=1e-9)
    assert found.cdf_low[0, -1] == found.cdf_high[0, -1] == 0


def test_intervals_end_at_a_questions_own_options() -> None:
    reference, treated = cells([2, 3, 4, 0, 0]), cells([4, 3, 2, 0, 0])
    padded = contrast(reference, treated, np.array([[0, 0.5, 1, 0, 0]]), np.array([3]), 0.95)
    plain = compare(cells([2, 3, 4]), cells([4, 3, 2]))
    for name in ("effect_low", "effect_high", "cdf_low", "cdf_high"):
        assert getattr(padded, name)[0].tolist() == pytest.approx([*getattr(plain, name)[0], 0, 0], abs=1e-14), name


def recoded(found: Cells, chosen: list[int]) -> Cells:
    """The same cells where the question is whether the answer is one of these."""
    inside = np.isin(np.arange(found.p.shape[1]), chosen)
    p, v = (np.stack([x[:, ~inside].sum(axis=1), x[:, inside].sum(axis=1)], axis=1) for x in (found.p, found.v))
    design = found.design
    if design is not None:
        to = np.stack([~inside, inside]).astype(float)
        design = replace(design, covariance=to @ design.covariance @ to.T)
    return Cells(p, v, found.n, found.n_eff, design)


@pytest.mark.parametrize("clustered", [False, True])
def test_an_options_interval_is_the_shifts_of_choosing_it_or_not(clustered: bool) -> None:
    rng = np.random.default_rng(3)
    ends, k = [], 4
    for n in (17, 60):
        answers, w = rng.integers(0, k, n), rng.lognormal(0, 0.8, n)
        share = (w / w.sum())[:, None] * (answers[:, None] == np.arange(k))
        n_eff = np.array([w.sum() ** 2 / (w**2).sum()])
        found = Cells(share.sum(axis=0)[None], (share**2).sum(axis=0)[None], np.array([float(n)]), n_eff)
        root = rng.normal(size=(k, 6))
        shaped = (root - root.mean(axis=0)) @ (root - root.mean(axis=0)).T
        larger = found.covariance[0] + 0.02 * shaped / np.trace(shaped)
        design = CellDesign(larger[None], np.array([MANY]), np.array([MANY]))
        ends.append(replace(found, design=design) if clustered else found)
    shared = 0.3 * (ends[0].covariance + ends[1].covariance) / 2
    score = np.linspace(0, 1, k)[None]
    options = np.array([k])
    found = contrast(ends[0], ends[1], score, options, 0.9, shared if clustered else None)
    for name, groups in (("effect", [[i] for i in range(k)]), ("cdf", [list(range(i + 1)) for i in range(k - 1)])):
        for i, chosen in enumerate(groups):
            to = np.isin(np.arange(k), chosen).astype(float)
            part = to @ shared[0] @ to * np.array([[1, -1], [-1, 1]])
            pair = (recoded(end, chosen) for end in ends)
            alone = contrast(*pair, np.array([[0.0, 1.0]]), np.array([2]), 0.9, part[None] if clustered else None)
            bounds = getattr(found, f"{name}_low")[0, i], getattr(found, f"{name}_high")[0, i]
            assert bounds == pytest.approx((alone.conf_low[0], alone.conf_high[0]), abs=1e-9)


def test_few_clusters_widen_every_interval_alike() -> None:
    plain = 0.25 / 4000
    found = compare(designed([2000, 2000], plain, 4, MANY), designed([2000, 2000], plain, 4, MANY))
    assert found.effect_high[0].tolist() == pytest.approx([found.conf_high[0]] * 2)
    assert found.cdf_high[0].tolist() == pytest.approx([found.conf_high[0], 0])


def option_coverage(options: int, sizes: tuple[int, int], draws: int = 1000) -> np.ndarray:
    """Coverage of the intervals of options and cumulative shares, shape (pairs of shapes, 2 * options - 1)."""
    rng = np.random.default_rng([options, *sizes, 7])
    rates = []
    for r, t in itertools.product(shapes(options).values(), repeat=2):
        reference, treated = cells(rng.multinomial(sizes[0], r, draws)), cells(rng.multinomial(sizes[1], t, draws))
        found, effect = compare(reference, treated), t - r
        low, high = (
            np.hstack([x, y[:, :-1]])
            for x, y in ((found.effect_low, found.cdf_low), (found.effect_high, found.cdf_high))
        )
        truth = np.r_[effect, effect.cumsum()[:-1]]
        rates.append(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean(axis=0))
    return np.array(rates)


@pytest.mark.parametrize("options", [3, 5, 10])
@pytest.mark.parametrize("sizes", [(10, 10), (10, 60), (30, 30), (1000, 1000)])
def test_intervals_of_options_and_cumulative_shares_keep_their_coverage(options: int, sizes: tuple[int, int]) -> None:
    rates = option_coverage(options, sizes)
    assert rates.mean() > 0.945
    assert rates.mean(axis=1).min() > 0.93  # the worst pair of shapes, over its options
    assert rates.min() > 0.86  # Newcombe's own worst: a share that goes from almost nobody to almost everybody
