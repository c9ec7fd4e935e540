from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal.counts import count
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts, subsets
from causal.study import Study
from causal.survey import read_survey
from causal.tables import (
    distributions_schema,
    effects_schema,
    read_distributions,
    read_effects,
    toggles_fingerprint,
    validate_distributions,
    validate_effects,
    write_table,
)

NAMES = ["gender", "education", "residence"]


@pytest.fixture
def both(study: Study, respondents: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the small survey's two tables; some of its cells are empty."""
    survey = read_survey(study, respondents.head(120))
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    return distributions_table(grids, study, survey.countries), survey_effects(grids, study, survey.countries)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected)
    for name in expected.columns:
        for a, b in zip(found[name], expected[name], strict=True):
            if isinstance(b, list | np.ndarray):
                assert list(a) == list(b)
            else:
                assert (pd.isna(a) and pd.isna(b)) or a == b, name


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_both_tables_come_back_as_they_were(
    both: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, suffix: str
) -> None:
    cells, effects = both
    assert effects["p_treated"].isna().any()
    write_table(cells, tmp_path / f"d{suffix}", distributions_schema(NAMES))
    write_table(effects, tmp_path / f"e{suffix}", effects_schema(NAMES))
    assert_same(read_distributions(tmp_path / f"d{suffix}"), cells)
    assert_same(read_effects(tmp_path / f"e{suffix}"), effects)


def test_levels_named_na_or_true_survive_csv(tmp_path: Path) -> None:
    table = distribution_rows(["NA", "None"])
    write_table(table, tmp_path / "d.csv", distributions_schema(["a"]))
    assert read_distributions(tmp_path / "d.csv")["a"].tolist() == ["NA", "NA", "None", "None"]


def test_parquet_says_what_it_is(both: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    write_table(both[1], tmp_path / "e.parquet", effects_schema(NAMES))
    schema = pq.read_schema(tmp_path / "e.parquet")
    assert json.loads(schema.metadata[b"ace_align"]) == {"table": "effects", "version": 1, "attributes": NAMES}
    assert schema.field("p_reference").type == pa.list_(pa.float64())
    assert schema.field("n_treated").type == pa.int64()


def test_wrong_kind_version_or_file_is_refused(both: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    cells, effects = both
    path = tmp_path / "d.parquet"
    write_table(cells, path, distributions_schema(NAMES))
    with pytest.raises(InputError, match="is no effects table of version 1"):
        read_effects(path)
    table = pq.read_table(path)
    meta = {b"ace_align": json.dumps({"table": "distributions", "version": 2, "attributes": NAMES}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), path)
    with pytest.raises(InputError, match="is no distributions table of version 1"):
        read_distributions(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="nothing about itself"):
        read_distributions(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="no readable Parquet"):
        read_distributions(path)
    with pytest.raises(InputError, match="does not exist"):
        read_effects(tmp_path / "none.parquet")
    write_table(cells, tmp_path / "d.csv", distributions_schema(NAMES))
    with pytest.raises(InputError, match="column attribute, reference"):
        read_effects(tmp_path / "d.csv")
    write_table(effects.assign(shift="far"), tmp_path / "e.csv", effects_schema(NAMES))
    with pytest.raises(InputError, match="no readable effects table"):
        read_effects(tmp_path / "e.csv")


def test_failed_write_leaves_the_old_table(both: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    write_table(both[0], path, distributions_schema(NAMES))
    before = path.read_bytes()
    with pytest.raises(pa.ArrowInvalid):
        write_table(both[0].assign(p="much"), path, distributions_schema(NAMES))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["d.parquet"]


def distribution_rows(levels: list[str]) -> pd.DataFrame:
    rows = [
        {"country": "X", "question": "q", "a": level, "granularity": 1, "option": k, "p": p}
        | {"std_error": 0.1, "n": 12, "n_eff": 11.5}
        for level in levels
        for k, p in ((1, 0.25), (2, 0.75))
    ]
    return pd.DataFrame(rows).astype({"n": "Int64"})


def at(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        if isinstance(value, list):
            table[column] = [value if i == row else old for i, old in enumerate(table[column])]
        else:
            table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (at("p", 2, 1.25), "row 2 (1 in all): p must lie in [0, 1]"),
        (at("p", 1, np.nan), "row 1 (1 in all): p must lie in [0, 1]"),
        (at("p", 3, 0.7), "row 2 (2 in all): the options' p of this cell must sum to 1"),
        (at("std_error", 1, -0.1), "row 1 (1 in all): std_error must be 0 or more"),
        (at("n", 3, 0), "row 3 (1 in all): n must be 1 or more, or null"),
        (at("option", 1, 1), "row 1 (1 in all): this cell and option stand twice"),
        (at("option", 1, 3), "row 0 (2 in all): options must run 1..K"),
        (at("option", 0, 0), "row 0 (1 in all): options must run 1..K"),
        (at("granularity", 2, 0), "row 2 (1 in all): granularity must count the specified attributes"),
        (at("a", 2, None), "row 2 (1 in all): granularity must count the specified attributes"),
        (lambda table: table.drop(columns="n_eff"), "column n_eff is missing"),
    ],
)
def test_each_rule_of_the_distributions_names_the_row(
    change: Callable[[pd.DataFrame], pd.DataFrame], expected: str
) -> None:
    table = distribution_rows(["lo", "hi"])
    validate_distributions(table, ["a"])
    with pytest.raises(InputError) as caught:
        validate_distributions(change(table), ["a"], "here.parquet")
    assert str(caught.value).startswith(f"here.parquet: {expected}")


def test_message_shows_what_the_row_holds() -> None:
    with pytest.raises(InputError, match="it holds country=X, question=q, a=hi, granularity=1, option=1, p=7"):
        validate_distributions(at("p", 2, 7)(distribution_rows(["lo", "hi"])), ["a"])


def effect_rows() -> pd.DataFrame:
    rows = [
        {"country": "X", "question": "q", "attribute": "a", "reference": "lo", "treated": "hi", "a": None, "b": held}
        | {"granularity": 2, "estimator": "cell", "estimand": "total", "n_reference": 10, "n_treated": 12}
        | {"n_eff_reference": 10.0, "n_eff_treated": 12.0, "supported": True, "shift": 0.5, "std_error": 0.1}
        | {"conf_low": 0.3, "conf_high": 0.7, "p_value": 0.01, "q_value": 0.02}
        | {"p_reference": [0.5, 0.5, 0.0], "p_treated": [0.0, 0.5, 0.5]}
        | {"effect_low": [-0.7, -0.2, 0.3], "effect_high": [-0.3, 0.2, 0.7]}
        | {"cdf_low": [-0.7, -0.7, 0.0], "cdf_high": [-0.3, -0.3, 0.0]}
        | {"wald_statistic": 9.0, "wald_df": 2.0, "wald_p_value": 0.01, "family_q_value": 0.02}
        for held in ("x", "y", "z")
    ]
    return pd.DataFrame(rows).astype({"n_reference": "Int64", "n_treated": "Int64"})


BOUNDS = "low and effect_high must be as long as p_reference"
DISAGREE = "shift must follow from p_reference and p_treated"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (at("attribute", 1, "c"), "row 1 (1 in all): attribute must be one of the study's"),
        (at("shift", 1, 1.2), "row 1 (1 in all): shift must lie in [-1, 1]"),
        (at("estimand", 2, "causal"), "row 2 (1 in all): unknown estimand"),
        (at("p_value", 0, 1.5), "row 0 (1 in all): p_value must lie in [0, 1]"),
        (at("q_value", 0, -0.5), "row 0 (1 in all): q_value must lie in [0, 1]"),
        (at("conf_low", 1, 0.6), "row 1 (1 in all): the interval must hold the shift"),
        (at("conf_high", 1, np.nan), "row 1 (1 in all): the interval must hold the shift"),
        (at("b", 2, "x"), "row 2 (1 in all): this toggle stands twice"),
        (at("b", 2, None), "row 2 (1 in all): granularity must count"),
        (at("granularity", 0, 1), "row 0 (1 in all): granularity must count"),
        (at("shift", 1, 0.4), f"row 1 (1 in all): {DISAGREE}"),
        (at("shift", 1, np.nan), f"row 1 (1 in all): {DISAGREE}"),
        (at("p_treated", 1, [0.5, 0.5, 0.0]), f"row 1 (1 in all): {DISAGREE}"),
        (at("p_treated", 1, [0.0, 0.4, 0.5]), f"row 1 (1 in all): {DISAGREE}"),
        (at("p_treated", 1, [0.1, 0.3, 0.6, 0.0]), f"row 1 (1 in all): {DISAGREE}"),
        (at("p_treated", 1, [-0.25, 1.0, 0.25]), f"row 1 (1 in all): {DISAGREE}"),
        (at("p_treated", 1, [1.0]), f"row 1 (1 in all): {DISAGREE}"),
        (at("wald_p_value", 1, 1.5), "row 1 (1 in all): wald_p_value must lie in [0, 1]"),
        (at("family_q_value", 1, -0.1), "row 1 (1 in all): family_q_value must lie in [0, 1]"),
        (at("wald_statistic", 1, -1.0), "row 1 (1 in all): wald_statistic must be 0 or more"),
        (at("wald_df", 1, -1.0), "row 1 (1 in all): wald_df must be 0 or more"),
        (at("effect_low", 1, [-0.7, 0.1, 0.3]), f"row 1 (1 in all): effect_{BOUNDS}"),
        (at("effect_high", 1, [-0.3, 0.2, 0.4]), f"row 1 (1 in all): effect_{BOUNDS}"),
        (at("effect_high", 1, [-0.3, 0.2, 1.1]), f"row 1 (1 in all): effect_{BOUNDS}"),
        (at("effect_high", 1, [-0.3, 0.2, np.nan]), f"row 1 (1 in all): effect_{BOUNDS}"),
        (at("effect_low", 1, [-0.7, -0.2]), f"row 1 (1 in all): effect_{BOUNDS}"),
        (at("effect_high", 2, None), f"row 2 (1 in all): effect_{BOUNDS}"),
        (at("cdf_low", 1, [-0.4, -0.7, 0.0]), f"row 1 (1 in all): cdf_{BOUNDS.replace('effect', 'cdf')}"),
        (at("cdf_high", 1, [-0.3, -0.3, 0.1]), f"row 1 (1 in all): cdf_{BOUNDS.replace('effect', 'cdf')}"),
        (lambda table: table.drop(columns=["shift", "a"]), "column a, shift is missing"),
    ],
)
def test_each_rule_of_the_effects_names_the_row(change: Callable[[pd.DataFrame], pd.DataFrame], expected: str) -> None:
    table = effect_rows()
    validate_effects(table, ["a", "b"])
    with pytest.raises(InputError) as caught:
        validate_effects(change(table), ["a", "b"])
    assert str(caught.value).startswith(f"effects: {expected}")


def test_reading_validates(tmp_path: Path) -> None:
    write_table(at("p", 2, 0.5)(distribution_rows(["lo", "hi"])), tmp_path / "d.parquet", distributions_schema(["a"]))
    with pytest.raises(InputError, match=r"d\.parquet: row 2 \(2 in all\): the options' p"):
        read_distributions(tmp_path / "d.parquet")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(1e-6, 1), min_size=2, max_size=6),
)
def test_any_level_name_and_any_float_survive_parquet(
    tmp_path_factory: pytest.TempPathFactory, levels: list[str], weights: list[float]
) -> None:
    p = np.array(weights) / sum(weights)
    table = pd.DataFrame(
        [
            {"country": "X", "question": "q", "a": level, "granularity": 1, "option": k, "p": share}
            | {"std_error": share / 3, "n": 12, "n_eff": 11.5}
            for level in levels
            for k, share in enumerate(p, start=1)
        ]
    )
    path = tmp_path_factory.mktemp("table") / "d.parquet"
    write_table(table, path, distributions_schema(["a"]))
    found = read_distributions(path)
    assert found["a"].tolist() == table["a"].tolist()
    assert found["p"].tolist() == table["p"].tolist()


@pytest.fixture
def fingerprint(study: Study, respondents: pd.DataFrame, tmp_path: Path) -> Callable[..., str]:
    """Return what gives the fingerprint of the survey's toggles with one value of a row changed."""
    survey = read_survey(study, respondents)
    counts = count(survey)
    grids = [grid_from_counts(counts, study, survey.countries, subset) for subset in subsets(study)]
    effects = survey_effects(grids, study, survey.countries)
    learnt = (effects["granularity"] == effects["granularity"].max()) & effects["supported"]
    rows = {"learnt": learnt, "coarser": effects["granularity"] == 1, "unsupported": ~effects["supported"]}
    first = {row: np.flatnonzero(where)[0] for row, where in rows.items()}

    def of(row: str | None = None, name: str = "", value: Any = None) -> str:
        table = effects.copy()
        if row:
            table[name] = [value if i == first[row] else held for i, held in enumerate(table[name])]
        write_table(table, tmp_path / "e.parquet", effects_schema(NAMES))
        return toggles_fingerprint(tmp_path / "e.parquet", NAMES)

    return of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("country", "XX"),
        ("question", "other"),
        ("reference", "other"),
        ("treated", "other"),
        ("n_eff_reference", 5.5),
        ("n_eff_treated", 5.5),
        ("std_error", 0.5),
        ("p_reference", [1.0, 0.0, 0.0]),
        ("p_treated", [1.0, 0.0, 0.0]),
        ("supported", False),
        ("estimator", "aipw"),
    ],
)
def test_a_toggle_is_another_once_what_is_learnt_of_it_is(
    fingerprint: Callable[..., str], name: str, value: Any
) -> None:
    assert fingerprint("learnt", name, value) != fingerprint()


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ("learnt", "estimand", "not_identified"),
        ("learnt", "conf_low", -1.0),
        ("learnt", "q_value", 0.5),
        ("coarser", "std_error", 0.5),
        ("coarser", "p_treated", [1.0, 0.0, 0.0]),
        ("unsupported", "n_eff_treated", 5.5),
    ],
)
def test_what_is_not_learnt_does_not_make_a_toggle_another(
    fingerprint: Callable[..., str], row: str, name: str, value: Any
) -> None:
    assert fingerprint(row, name, value) == fingerprint()
