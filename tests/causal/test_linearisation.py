"""Standard errors against those of R's survey package; fixtures/design.R made the expected values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from causal.counts import count
from causal.design import nest
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.estimators.cell import Cells
from causal.grid import Grid, grid_from_counts, scores, subsets
from causal.linearisation import quadratic
from causal.sections import Attribute
from causal.study import Study
from causal.survey import Survey, read_survey

FIXTURES = Path(__file__).parent / "fixtures"
LEVELS = {"gender": ["m", "f"], "education": ["hi", "mid", "lo"], "residence": ["urban", "rural"]}
QUESTIONS = {"trust": [1, 2, 3, 4], "vote": [0, 1]}
VARIANTS: dict[str, dict[str, str]] = {
    "unweighted": {},
    "weighted": {"weight": "w"},
    "stratified": {"weight": "w", "strata": "stratum"},
    "clustered": {"weight": "w", "psu": "cluster"},
    "designed": {"weight": "w", "strata": "stratum", "psu": "psu"},
    "designed_unweighted": {"strata": "stratum", "psu": "psu"},
    "lonely": {"weight": "w", "strata": "zone", "psu": "psu"},
}


def study_of(variant: str) -> Study:
    levels = {a: {v: {"codes": [v], "persona": v} for v in values} for a, values in LEVELS.items()}
    options = {q: {k: f"option {k}" for k in codes} for q, codes in QUESTIONS.items()}
    return Study.from_dict(
        {
            "name": "design",
            "survey": {"source": str(FIXTURES / "design.csv"), "country": "country"} | VARIANTS[variant],
            "attributes": {name: {"levels": held} for name, held in levels.items()},
            "questions": {name: {"text": "?", "options": held} for name, held in options.items()},
            "effects": {"granularity": "all"},
        }
    )


@pytest.fixture(scope="module", params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def survey(variant: str) -> Survey:
    return read_survey(study_of(variant))


@pytest.fixture(scope="module")
def grids(survey: Survey) -> list[Grid]:
    counts = count(survey)
    return [grid_from_counts(counts, survey.study, survey.countries, subset) for subset in subsets(survey.study)]


@pytest.fixture(scope="module")
def in_r(variant: str) -> pd.DataFrame:
    """What R found for the variant, levels as in our tables."""
    found = pd.read_csv(FIXTURES / "design_r.csv", keep_default_na=False, na_values=[""])
    return found[found["variant"] == variant].drop(columns="variant")


def assert_agree(ours: pd.DataFrame, theirs: pd.DataFrame, keys: list[str]) -> None:
    """Compare estimate and standard error of rows with the same keys; each side has every row."""
    both = ours[[*keys, "estimate", "std_error"]].merge(theirs, how="outer", on=keys, suffixes=("", "_r"))
    assert len(both) == len(theirs) == len(ours)
    np.testing.assert_allclose(both["estimate"], both["estimate_r"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(both["std_error"], both["std_error_r"], rtol=0, atol=1e-8)


def test_every_share_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    table = distributions_table(grids, survey.study, survey.countries).rename(columns={"p": "estimate"})
    assert_agree(table, in_r[in_r["what"] == "p"], ["country", "question", *LEVELS, "option"])


def test_every_shift_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    table = survey_effects(grids, survey.study, survey.countries).rename(columns={"shift": "estimate"})
    for name in LEVELS:  # R names the treated cell
        toggled = table["attribute"] == name
        table.loc[toggled, name] = table.loc[toggled, "treated"]
    table = table.dropna(subset="estimate")
    assert_agree(table, in_r[in_r["what"] == "shift"], ["country", "question", *LEVELS, "attribute"])


def test_every_mean_and_its_standard_error_equal_rs(survey: Survey, grids: list[Grid], in_r: pd.DataFrame) -> None:
    """The mean score and its variance, which the intervals rest on."""
    rows = []
    for grid in grids:
        for place in np.ndindex(grid.n.shape):
            if grid.n[place] == 0:
                continue
            p, v = grid.p[place], grid.v[place]
            score = scores(survey.study)[place[-1]]
            variance = (
                quadratic(grid.design.covariance[place], score) if grid.design else (v * (score - p @ score) ** 2).sum()
            )
            levels: dict[str, Any] = dict.fromkeys(LEVELS)
            levels |= {name: LEVELS[name][i] for name, i in zip(grid.attributes, place[1:-1], strict=True)}
            key = {"country": survey.countries[place[0]], "question": list(QUESTIONS)[place[-1]]}
            rows.append(key | levels | {"estimate": p @ score, "std_error": np.sqrt(variance)})
    assert_agree(pd.DataFrame(rows), in_r[in_r["what"] == "mean"], ["country", "question", *LEVELS])


@pytest.fixture(scope="module")
def matrices_in_r(variant: str) -> pd.DataFrame:
    found = pd.read_csv(FIXTURES / "covariance_r.csv", keep_default_na=False, na_values=[""])
    return found[found["variant"] == variant].drop(columns="variant")


def every_pair(attribute: Attribute) -> tuple[tuple[int, int], ...]:
    return tuple(combinations(range(len(attribute.levels)), 2))


@pytest.fixture(scope="module")
def paired(survey: Survey) -> list[Grid]:
    """The grids of covariance_r.csv, with the covariance of every two levels of an attribute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attribute, "pairs", property(every_pair))
        counts, asked = count(survey), (("education",), tuple(LEVELS))
        return [grid_from_counts(counts, survey.study, survey.countries, subset) for subset in asked]


def matrix_rows(values: np.ndarray, key: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = combinations_with_replacement(range(len(values)), 2)
    return [key | {"first": k + 1, "second": m + 1, "ours": values[k, m]} for k, m in pairs]


def trust_cells(grid: Grid, survey: Survey) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """Every answered cell of the question trust: its place on the grid and its names in R's table."""
    for place in np.ndindex(grid.n.shape[:-1]):
        levels: dict[str, Any] = dict.fromkeys(LEVELS)
        levels |= {name: LEVELS[name][i] for name, i in zip(grid.attributes, place[1:], strict=True)}
        if grid.n[(*place, 0)]:
            yield (*place, 0), {"country": survey.countries[place[0]], "question": "trust", **levels}


def test_covariances_of_a_cells_shares_equal_rs(
    survey: Survey, paired: list[Grid], matrices_in_r: pd.DataFrame
) -> None:
    rows = []
    for grid in paired:
        for place, key in trust_cells(grid, survey):
            one = Cells(grid.p[place][None], grid.v[place][None], grid.n[place][None], grid.n_eff[place][None])
            found = one.covariance[0] if grid.design is None else grid.design.covariance[place]
            rows += matrix_rows(found, key)
    both = pd.DataFrame(rows).merge(matrices_in_r[matrices_in_r["what"] == "own"], how="outer")
    assert len(both) == len(rows)
    np.testing.assert_allclose(both["ours"], both["value"], rtol=0, atol=1e-13)


def test_covariances_of_two_levels_shares_equal_rs(
    survey: Survey, paired: list[Grid], matrices_in_r: pd.DataFrame
) -> None:
    """Reference and treated level, and steps between adjacent ones."""
    theirs = matrices_in_r[matrices_in_r["what"] == "crossed"]
    if survey.design is None:  # nobody is in two cells
        np.testing.assert_allclose(theirs["value"], 0, atol=1e-16)
        return
    rows = []
    for grid in paired:
        assert grid.design is not None
        for axis, name in enumerate(grid.attributes, start=1):
            shape = (*grid.n.shape[:axis], *grid.n.shape[axis + 1 :])
            for i, (base, treated) in enumerate(every_pair(survey.study.attributes[name])):
                found = grid.design.crossed[name][i].reshape(*shape, 4, 4)
                for place, key in trust_cells(grid, survey):
                    values = found[(*place[:axis], *place[axis + 1 :])]
                    if place[axis] == treated and not np.isnan(values).any():
                        rows += matrix_rows(values, key | {"attribute": name, "base": LEVELS[name][base]})
    both = pd.DataFrame(rows).merge(theirs, how="outer")
    assert len(both) == len(rows)
    np.testing.assert_allclose(both["ours"], both["value"], rtol=0, atol=1e-13)


def test_design_effects_equal_rs(survey: Survey, grids: list[Grid], matrices_in_r: pd.DataFrame) -> None:
    table = distributions_table(grids, survey.study, survey.countries)
    cells = table[table["option"] == 1]
    theirs = matrices_in_r[matrices_in_r["what"] == "deff"]
    both = theirs.merge(cells, how="left", on=["country", "question", *LEVELS])
    assert both["n"].notna().all()
    one_answer = both["value"].isna()  # 0 / 0
    assert both.loc[one_answer, "deff"].isna().all()
    np.testing.assert_allclose(both.loc[~one_answer, "deff"], both.loc[~one_answer, "value"], rtol=1e-10)


def test_fixture_has_what_it_is_for(in_r: pd.DataFrame) -> None:
    people = pd.read_csv(FIXTURES / "design.csv")
    assert people.groupby("country")["psu"].nunique().gt(3).all()
    psus = people.drop_duplicates(["country", "zone", "psu"])
    assert psus.groupby(["country", "zone"]).size().eq(1).sum() == 2
    assert people[["trust", "vote", "gender", "education"]].isna().any().all()
    assert set(in_r["what"]) == {"p", "mean", "shift"}
    assert in_r["std_error"].gt(0.01).mean() > 0.9


def one_cell_design(one_question: Any, people: pd.DataFrame) -> Grid:
    study = one_question(("a",), options=2, survey={"strata": "s", "psu": "c"})
    survey = read_survey(study, people)
    return grid_from_counts(count(survey), study, survey.countries, ("a",))


# a, answer, stratum, PSU; the third PSU of the second stratum has nobody who answered
PEOPLE = [
    *[(0, 2, 1, 1), (0, 1, 1, 1), (0, 2, 1, 2), (1, 1, 1, 2)],
    *[(0, 1, 2, 1), (1, 2, 2, 1), (0, 1, 2, 2), (1, None, 2, 3)],
]


def test_variance_and_covariance_by_hand(one_question: Any) -> None:
    design = one_cell_design(one_question, pd.DataFrame(PEOPLE, columns=["a", "q", "s", "c"])).design
    assert design is not None
    # a=0: five answered, two with score 1: m = .4. Sums over PSUs of (y - m) / 5: stratum 1: (.6 - .4) / 5 = .04 and
    # .6 / 5 = .12; stratum 2: -.08, -.08 and 0 for the PSU without an answer.
    # variance = 2/1 * 2 * .04**2 + 3/2 * (2 * .08**2 - .16**2 / 3)
    low = 2 * 2 * 0.04**2 + 1.5 * (2 * 0.08**2 - 0.16**2 / 3)
    # a=1: two answered, m = .5: stratum 1: 0 and -.25; stratum 2: .25, 0, 0
    high = 2 * 2 * 0.125**2 + 1.5 * (0.25**2 - 0.25**2 / 3)
    # deviations: stratum 1: (-.04, .04) and (.125, -.125); stratum 2: the product of sums is -.16 * .25
    shared = 2 * (-2 * 0.04 * 0.125) + 1.5 * (-0.08 * 0.25 + 0.16 * 0.25 / 3)
    two = np.array([[1, -1], [-1, 1]])  # the first of two shares moves as the second does, the other way
    np.testing.assert_allclose(design.covariance[0, :, 0], [low * two, high * two], rtol=1e-12)
    np.testing.assert_allclose(design.crossed["a"][0][0, 0], shared * two, rtol=1e-12)
    # a=0: PSUs of 2, 1, 1 and 1 people count for 5**2 / 7; a=1: two of 1 count for two. 5 PSUs less 2 strata in all.
    np.testing.assert_allclose(design.df[0, :, 0], [25 / 7 - 1, 1])
    assert design.df_limit[0, :, 0].tolist() == [3, 3]


def directly(people: pd.DataFrame, levels: tuple[str, str]) -> tuple[float, float]:
    """Shift and variance of one contrast in one country, as R has it: one linearised value per respondent."""
    kept = people["q"].notna()
    linear = np.zeros(len(people))
    shift = 0.0
    for sign, level in zip((-1, 1), levels, strict=True):
        cell = kept & (people["a"] == level)
        w = people["w"].where(cell, 0)
        mean = (w * people["q"].fillna(0)).sum() / w.sum()
        shift += sign * mean
        linear += sign * w * (people["q"].fillna(0) - mean) / w.sum()
    variance = 0.0
    for _, stratum in people.assign(linear=linear).groupby("s"):
        totals = stratum.groupby("c")["linear"].sum()
        variance += len(totals) / (len(totals) - 1) * ((totals - totals.mean()) ** 2).sum()
    return shift, variance


@pytest.mark.parametrize("contrasts", ["reference", "adjacent"])
def test_shifts_of_an_ordered_attribute_equal_the_direct_computation(contrasts: str) -> None:
    rng = np.random.default_rng(7)
    n = 300
    people = pd.DataFrame({"s": rng.integers(0, 3, n), "c": rng.integers(0, 5, n), "w": rng.uniform(0.5, 3, n)})
    people["a"] = rng.choice(["low", "middle", "high", "top"], n)
    people["q"] = (rng.random(n) < 0.2 + 0.12 * people["c"]).where(rng.random(n) > 0.1).astype(float)
    levels = {name: {"codes": [name], "persona": name} for name in ("low", "middle", "high", "top")}
    study = Study.from_dict(
        {
            "name": "ordered",
            "survey": {"source": "n.csv", "country": {"constant": "X"}, "weight": "w", "strata": "s", "psu": "c"},
            "attributes": {"a": {"levels": levels, "contrasts": contrasts}},
            "questions": {"q": {"text": "?", "options": {0: "no", 1: "yes"}}},
        }
    )
    survey = read_survey(study, people)
    grid = grid_from_counts(count(survey), study, survey.countries, ("a",))
    table = survey_effects([grid], study, survey.countries)
    names = list(levels)
    before = names if contrasts == "adjacent" else ["low"] * 3
    assert list(zip(table["reference"], table["treated"], strict=True)) == list(zip(before, names[1:], strict=False))
    for _, row in table.iterrows():
        shift, variance = directly(people, (row["reference"], row["treated"]))
        assert row["shift"] == pytest.approx(shift, abs=1e-12)
        assert row["std_error"] == pytest.approx(np.sqrt(variance), abs=1e-12)


def test_lonely_psu_is_centred_at_the_mean_of_all_psus(one_question: Any) -> None:
    people = pd.DataFrame([(0, 2, 1, 1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 2, 2)], columns=["a", "q", "s", "c"])
    design = one_cell_design(one_question, people).design
    assert design is not None
    # m = .5; the lonely PSU's sum is 2 * .5 / 4 = .25; the others' are equal, so stratum 2 adds nothing
    assert design.covariance[0, 0, 0, 1, 1] == pytest.approx(0.25**2)


def test_empty_cells_have_no_variance(one_question: Any) -> None:
    people = pd.DataFrame([(0, 2, 1, 1), (0, 1, 1, 2)], columns=["a", "q", "s", "c"])
    design = one_cell_design(one_question, people).design
    assert design is not None
    assert np.isnan(design.covariance[0, 1]).all()
    assert np.isnan(design.crossed["a"][0]).all()


def test_respondents_as_psus_equal_no_psus_at_all(one_question: Any) -> None:
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"a": rng.integers(0, 2, 90), "b": rng.integers(0, 2, 90), "q": rng.integers(1, 4, 90)})
    people = people.assign(w=rng.uniform(0.5, 2, 90), person=np.arange(90))
    tables = []
    for design in ({}, {"psu": "person"}):
        study = one_question(("a", "b"), survey={"weight": "w"} | design, effects={"granularity": "all"})
        survey = read_survey(study, people)
        grids = [grid_from_counts(count(survey), study, survey.countries, subset) for subset in subsets(study)]
        tables.append(survey_effects(grids, study, survey.countries))
    for name in ("std_error", "conf_low", "conf_high", "p_value", "wald_statistic", "wald_df", "wald_p_value"):
        np.testing.assert_allclose(tables[1][name], tables[0][name], rtol=0, atol=1e-9, err_msg=name)
    for name in ("effect_low", "effect_high", "cdf_low", "cdf_high"):
        one, other = (np.stack(table[name].dropna().tolist()) for table in tables)
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-9, err_msg=name)


def clustered_questions(
    rng: np.random.Generator, questions: int, psus: int, size: int, between: bool = False
) -> tuple[Survey, float]:
    """Simulate independent questions on one sample: PSUs with an effect of their own, weights, small cells of b=1.

    Answers depend on a and not on b, which may be a property of PSUs.
    """
    level = {"levels": {f"l{i}": {"codes": [i], "persona": f"p{i}"} for i in (0, 1)}}
    question = {"text": "?", "options": {k: f"o{k}" for k in range(4)}}
    study = Study.from_dict(
        {
            "name": "clustered",
            "survey": {"source": "none.csv", "country": {"constant": "X"}},
            "attributes": {"a": level, "b": level},
            "questions": {f"q{i}": question for i in range(questions)},
        }
    )
    psu = np.repeat(np.arange(psus), size)
    a = rng.random(len(psu)) < 0.5
    b = psu % 4 == 1 if between else rng.random(len(psu)) < 0.25
    shared = rng.normal(size=(psus, questions))[psu]
    latent = np.sqrt(0.15) * shared + np.sqrt(0.85) * rng.normal(size=shared.shape)
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.2, 0.2]])
    answers = (latent[..., None] > norm.ppf(p.cumsum(axis=1)[:, :3])[a.astype(int)][:, None, :]).sum(axis=-1)
    one = np.zeros(len(psu), dtype=int)
    levels = np.column_stack([a, b]).astype(np.int16)
    weight = rng.lognormal(0, 0.4, len(psu))
    survey = Survey(study, ("X",), one, levels, answers.astype(np.int16), weight, "", 0, nest(one, None, psu))
    return survey, float((p[1] - p[0]) @ np.arange(4) / 3)


@pytest.mark.parametrize(("psus", "size"), [(12, 20), (30, 10), (60, 20)])
def test_interval_keeps_its_coverage_under_clusters_and_weights(psus: int, size: int) -> None:
    covered, normal = [], []
    for seed in range(3):
        survey, truth = clustered_questions(np.random.default_rng([seed, psus]), 400, psus, size)
        grid = grid_from_counts(count(survey), survey.study, survey.countries, ("a", "b"))
        table = survey_effects([grid], survey.study, survey.countries)
        table = table[table["attribute"] == "a"]
        covered.append((table["conf_low"] <= truth) & (truth <= table["conf_high"]))
        normal.append((table["shift"] - truth).abs() <= 1.96 * table["std_error"])
    assert 0.93 < np.mean(covered) < 0.98
    assert np.mean(covered) > np.mean(normal)


@pytest.mark.parametrize(("psus", "size"), [(16, 20), (30, 15), (60, 20)])
@pytest.mark.parametrize("between", [False, True])
def test_joint_test_keeps_its_size_under_clusters_and_weights(psus: int, size: int, between: bool) -> None:
    rejected, naive = [], []
    for seed in range(2):
        survey, _ = clustered_questions(np.random.default_rng([seed, psus]), 400, psus, size, between)
        grid = grid_from_counts(count(survey), survey.study, survey.countries, ("a", "b"))
        table = survey_effects([grid], survey.study, survey.countries)
        table = table[(table["attribute"] == "b") & table["supported"]]
        rejected.append(table["wald_p_value"] < 0.05)
        plain = replace(survey, design=None)
        grid = grid_from_counts(count(plain), survey.study, survey.countries, ("a", "b"))
        found = survey_effects([grid], survey.study, survey.countries)
        naive.append(found.loc[found["attribute"] == "b", "wald_p_value"] < 0.05)
    assert 0.005 < np.mean(rejected) < 0.065  # Monte Carlo error below .008
    if between:
        assert np.mean(naive) > 0.1


def test_intervals_of_options_keep_their_coverage_under_clusters_and_weights() -> None:
    survey, _ = clustered_questions(np.random.default_rng(5), 400, 30, 15)
    grid = grid_from_counts(count(survey), survey.study, survey.countries, ("a", "b"))
    table = survey_effects([grid], survey.study, survey.countries)
    table = table[table["attribute"] == "a"]
    effect = np.array([0.2, 0.1, -0.1, -0.2])
    for kind, truth in (("effect", effect), ("cdf", effect.cumsum())):
        low, high = (np.array(table[f"{kind}_{bound}"].tolist()) for bound in ("low", "high"))
        inside = ((low <= truth + 1e-12) & (truth - 1e-12 <= high))[:, :3]
        assert 0.93 < inside.mean() < 0.985
