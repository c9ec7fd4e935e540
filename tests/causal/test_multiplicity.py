"""Hierarchical q-values against the procedure itself, run at many levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats import multitest

from causal.multiplicity import hierarchical, with_q_values


def benjamini_hochberg(p: np.ndarray, level: float) -> np.ndarray:
    """The step-up procedure as published: reject the k smallest, k the largest with p_(k) <= k * level / n."""
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= level * np.arange(1, len(p) + 1) / len(p) * (1 + 1e-12))
    return p <= (ordered[below[-1]] if len(below) else -1)


def simes(p: np.ndarray) -> float:
    return float((np.sort(p) * len(p) / np.arange(1, len(p) + 1)).min())


def procedure(p: np.ndarray, family: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Benjamini and Bogomolov: hypotheses rejected, and whether the family of each is selected."""
    families = range(family.max() + 1)
    selected = benjamini_hochberg(np.array([simes(p[family == f]) for f in families]), level)
    rejected = np.zeros(len(p), dtype=bool)
    for f in np.flatnonzero(selected):
        rejected[family == f] = benjamini_hochberg(p[family == f], level * selected.sum() / len(selected))
    return rejected, selected[family]


@st.composite
def hypotheses(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    share = st.one_of(st.floats(1e-290, 1), st.sampled_from([0.0, 1e-280, 1e-9, 0.001, 0.01, 0.01, 0.05, 1.0]))
    p = draw(st.lists(share, min_size=sum(sizes), max_size=sum(sizes)))
    family = np.repeat(np.arange(len(sizes)), sizes)
    order = np.array(draw(st.permutations(range(len(p)))))
    return np.array(p)[order], family[order]


@given(hypotheses())
def test_q_values_are_the_levels_at_which_the_procedure_rejects(given: tuple[np.ndarray, np.ndarray]) -> None:
    p, family = given
    toggles, families = hierarchical(p, family)
    assert (toggles >= families).all()
    levels = np.unique(np.r_[toggles, families, 0.01, 0.05, 0.1, 0.3, 0.7])
    between = np.r_[levels, (levels[1:] + levels[:-1]) / 2]
    for level in between[(between > 0) & (between < 1)]:
        rejected, selected = procedure(p, family, level)
        clear = ~np.isclose(toggles, level, rtol=1e-9, atol=0)  # there rounding decides
        np.testing.assert_array_equal(rejected[clear], (toggles <= level)[clear])
        clear = ~np.isclose(families, level, rtol=1e-9, atol=0)
        np.testing.assert_array_equal(selected[clear], (families <= level)[clear])


@given(hypotheses())
def test_a_selected_family_has_a_rejected_toggle(given: tuple[np.ndarray, np.ndarray]) -> None:
    p, family = given
    toggles, families = hierarchical(p, family)
    for f in range(family.max() + 1):
        assert toggles[family == f].min() == pytest.approx(families[family == f][0], rel=1e-12)


@given(st.lists(st.floats(1e-290, 1), min_size=1, max_size=30))
def test_one_family_is_benjamini_and_hochbergs(p: list[float]) -> None:
    toggles, families = hierarchical(np.array(p), np.zeros(len(p), dtype=int))
    np.testing.assert_allclose(toggles, multitest.multipletests(p, method="fdr_bh")[1], rtol=1e-12)
    np.testing.assert_allclose(families, simes(np.array(p)), rtol=1e-12)


def test_by_hand() -> None:
    p = np.array([0.001, 0.04, 0.9, 0.02, 0.03, 0.6])
    toggles, families = hierarchical(p, np.array([0, 0, 0, 1, 1, 2]))
    # adjusted within: .003, .06, .9; .03, .03; .6, so the families' p are .003, .03, .6, adjusted .009, .045, .6
    np.testing.assert_allclose(families, [0.009] * 3 + [0.045] * 2 + [0.6])
    # the first family's second toggle needs .06 * 3 / R(q) <= q: with R = 2, from .045 on, q = .09. Its third needs
    # .9 * 3 / 3: 1 (from .6 on R = 3: .9). The second family's needs .03 * 3 / 2 = .045, as it has.
    np.testing.assert_allclose(toggles, [0.009, 0.09, 0.9, 0.045, 0.045, 0.6])


def test_tiny_p_values_stay_apart() -> None:
    p = np.r_[1e-250, 1e-200, np.full(98, 0.5)]
    toggles, _ = hierarchical(p, np.arange(100) % 2)
    assert toggles[0] == pytest.approx(1e-250 * 50 * 2)
    assert toggles[1] == pytest.approx(1e-200 * 50)


def rows(p: list[float], question: list[str], attribute: list[str], supported: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"question": question, "attribute": attribute, "p_value": p, "supported": supported})


def test_a_family_is_a_question_and_an_attribute_over_supported_rows() -> None:
    table = rows([0.01, 0.2, 0.03, 0.0001, np.nan], [*"qqrqq"], [*"abaaa"], [True, True, True, False, True])
    found = with_q_values(table)
    assert "q_value" not in table
    # three families of one toggle each: q-values are Benjamini and Hochberg's over them
    np.testing.assert_allclose(found["q_value"], [0.03, 0.2, 0.045, np.nan, np.nan])
    np.testing.assert_allclose(found["family_q_value"], [0.03, 0.2, 0.045, np.nan, np.nan])
    none = with_q_values(table.assign(supported=False))
    assert none[["q_value", "family_q_value"]].isna().all(axis=None)


def test_false_discoveries_stay_below_the_level() -> None:
    """Average false discovery proportion over selected families, and of the selection; toggles share respondents."""
    rng = np.random.default_rng(0)
    families, size, level = 40, 30, 0.1
    family = np.repeat(np.arange(families), size)
    true = (rng.random((families, size)) < 0.4) & (np.arange(families) < 12)[:, None]
    within, selection, power, flat_within = [], [], [], []
    for _ in range(300):
        noise = np.sqrt(0.3) * rng.normal(size=(families, 1)) + np.sqrt(0.7) * rng.normal(size=true.shape)
        p = 2 * norm.sf(np.abs(noise + 3 * true)).ravel()
        toggles, by_family = (values.reshape(true.shape) for values in hierarchical(p, family))
        selected, rejected = by_family[:, 0] <= level, toggles <= level
        false = (rejected & ~true).sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
        within.append(false[selected].mean() if selected.any() else 0.0)
        selection.append((selected & ~true.any(axis=1)).sum() / max(selected.sum(), 1))
        power.append(rejected[true].mean())
        flat = (multitest.multipletests(p, method="fdr_bh")[1] <= level).reshape(true.shape)
        hit = flat.any(axis=1)
        flat_within.append(((flat & ~true).sum(axis=1)[hit] / flat.sum(axis=1)[hit]).mean() if hit.any() else 0.0)
    error = np.std(within) / np.sqrt(len(within))
    assert np.mean(within) < level + 2 * error
    assert np.mean(selection) < level
    assert np.mean(power) > 0.5
    assert np.mean(flat_within) > 1.5 * level  # one Benjamini and Hochberg over everything does not control this
