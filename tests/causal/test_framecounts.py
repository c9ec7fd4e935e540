from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal import framecounts
from causal.counts import Counts, count
from causal.counttable import counter
from causal.effects import survey_effects
from causal.errors import InputError
from causal.framecounts import FrameCounts, count_frame
from causal.grid import grid_from_counts, subsets
from causal.ignorability import checks
from causal.study import Study
from causal.survey import Survey, read_survey

To = Callable[[pd.DataFrame], Any]


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A local Spark session, where pyspark and Java are."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: pip install '.[spark]'")
    if shutil.which("java") is None:
        pytest.skip("PySpark needs Java, and there is no java on the path")
    from pyspark.sql import SparkSession

    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.memory": "1g"}
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def to_polars(frame: pd.DataFrame) -> Any:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return polars.from_arrow(pa.Table.from_pandas(frame, preserve_index=False)).lazy()


def to_duckdb(frame: pd.DataFrame) -> Any:
    import duckdb

    table = pa.Table.from_pandas(frame, preserve_index=False)
    return duckdb.connect().from_arrow(table)


@pytest.fixture(params=["pandas", "pyarrow", "polars", "duckdb", "spark"])
def to_engine(request: pytest.FixtureRequest) -> To:
    """Return what hands a data frame to each engine."""
    if request.param == "spark":
        session = request.getfixturevalue("spark")
        return lambda frame: session.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False))
    as_arrow: To = lambda frame: pa.Table.from_pandas(frame, preserve_index=False)  # noqa: E731
    return {"pandas": lambda frame: frame, "pyarrow": as_arrow, "polars": to_polars, "duckdb": to_duckdb}[request.param]


def assert_same_counts(found: Counts, expected: Counts) -> None:
    for key in ("country", "levels", "n", "respondents"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), err_msg=key)
    for key in ("w", "w2"):
        np.testing.assert_allclose(getattr(found, key), getattr(expected, key), rtol=1e-12, err_msg=key)
    assert (found.psus is None) == (expected.psus is None)
    if found.psus is None or expected.psus is None:
        return
    for key in ("psu", "cell", "stratum", "df"):
        np.testing.assert_array_equal(getattr(found.psus, key), getattr(expected.psus, key), err_msg=key)
    for one, other in zip(found.psus.w, expected.psus.w, strict=True):
        np.testing.assert_allclose(one.toarray(), other.toarray(), rtol=1e-12)


def assert_same_survey(found: FrameCounts, expected: Survey) -> None:
    assert_same_counts(found.counts, count(expected))
    for key in ("countries", "respondents", "without_country", "tells_missing"):
        assert getattr(found, key) == getattr(expected, key), key
    np.testing.assert_array_equal(found.unanswered, expected.unanswered)
    np.testing.assert_array_equal(found.unknown, expected.unknown)


def with_design(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    strata = rng.integers(0, 4, len(frame))
    return frame.assign(st=np.array(["n", "e", "s", "w"])[strata], psu=strata * 10 + rng.integers(0, 6, len(frame)))


def test_engines_count_what_memory_counts(raw: dict[str, Any], respondents: pd.DataFrame, to_engine: To) -> None:
    """Weights, missing codes and nulls, two countries, people without one, levels from several codes."""
    respondents.loc[::29, "nation"] = None
    study = Study.from_dict(raw)
    before = respondents.copy()
    assert_same_survey(count_frame(study, to_engine(respondents)), read_survey(study, respondents))
    pd.testing.assert_frame_equal(respondents, before)


def test_engines_count_within_psus(raw: dict[str, Any], respondents: pd.DataFrame, to_engine: To) -> None:
    raw["survey"] |= {"strata": "st", "psu": "psu"}
    study, frame = Study.from_dict(raw), with_design(respondents)
    frame.loc[::31, "nation"] = None
    assert_same_survey(count_frame(study, to_engine(frame)), read_survey(study, frame))


def test_engines_count_numbers_without_weights(one_question: Any, to_engine: To) -> None:
    """Codes as floats with NaN, as integers and as booleans; PSUs without strata; a constant country."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "a": rng.choice([0.0, 1.0, np.nan], 200),
            "b": rng.choice([0, 1], 200),
            "q": rng.choice([1.0, 2.0, 3.0, np.nan], 200),
            "psu": rng.integers(0, 9, 200),
        }
    )
    study = one_question(("a", "b"), survey={"psu": "psu"})
    assert_same_survey(count_frame(study, to_engine(frame)), read_survey(study, frame))
    yes = Study.from_dict(
        study.model_dump(mode="json", exclude_none=True)
        | {"questions": {"q": {"text": "?", "options": {True: "yes", False: "no"}}}}
    )
    frame["q"] = rng.choice([True, False], 200)
    assert_same_survey(count_frame(yes, to_engine(frame)), read_survey(yes, frame))


def test_one_column_may_serve_twice_and_names_may_be_odd(one_question: Any, to_engine: To) -> None:
    """A question that is also an attribute; names of ours; a dot."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"n": rng.integers(0, 2, 90), "w": rng.integers(1, 4, 90), "usable": rng.integers(1, 3, 90)})
    raw = one_question(("a",), options=2).model_dump(mode="json", exclude_none=True)
    raw["survey"]["weight"] = "w"
    raw["attributes"]["a"]["column"] = "n"
    raw["questions"] = {
        "c0": {"text": "?", "column": "n", "options": {0: "no", 1: "yes"}},
        "q": {"text": "?", "column": "usable", "options": {1: "no", 2: "yes"}},
    }
    study = Study.from_dict(raw)
    assert_same_survey(count_frame(study, to_engine(frame)), read_survey(study, frame))


def test_dots_in_names_count_or_are_refused(one_question: Any, to_engine: To, request: pytest.FixtureRequest) -> None:
    raw = one_question(("a.b",), options=2).model_dump(mode="json", exclude_none=True)
    study = Study.from_dict(raw)
    frame = pd.DataFrame({"a.b": [0, 1, 0, 1, 1], "q": [1, 2, 2, 1, 1]})
    if "spark" in request.node.callspec.id:
        assert "rename a.b" in refusal(study, to_engine(frame))
    else:
        assert_same_survey(count_frame(study, to_engine(frame)), read_survey(study, frame))


CODES = st.sampled_from([0, 1, 2, 9, None])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["x", "y", None]), CODES, CODES, CODES, st.floats(1e-6, 1e6), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    ),
    clustered=st.booleans(),
)
def test_any_small_frame_is_counted_or_refused_alike(rows: list[tuple[Any, ...]], clustered: bool) -> None:
    frame = pd.DataFrame(rows, columns=["land", "a", "b", "q", "w", "psu"])
    level = {f"l{i}": {"codes": [i], "persona": f"l{i}"} for i in (0, 1)}
    study = Study.from_dict(
        {
            "name": "any",
            "survey": {"source": "x", "country": "land", "weight": "w", "missing": [9]}
            | ({"psu": "psu"} if clustered else {}),
            "attributes": {"a": {"levels": level, "missing": [2]}, "b": {"levels": level, "missing": [2]}},
            "questions": {"q": {"text": "?", "options": {0: "no", 1: "maybe", 2: "yes"}}},
        }
    )
    assert_same_survey_or_refusal(study, frame)


def assert_same_survey_or_refusal(study: Study, frame: pd.DataFrame) -> None:
    try:
        expected = read_survey(study, frame)
    except InputError as error:
        expected_message = str(error)
    else:
        assert_same_survey(count_frame(study, to_duckdb(frame)), expected)
        return
    assert refusal(study, to_duckdb(frame.astype({"land": "str"}))) == expected_message


def audited(source: Survey | FrameCounts) -> tuple[pd.DataFrame, list[Any]]:
    study, counts_for = source.study, counter(source)
    grids = [grid_from_counts(counts_for(subset), study, source.countries, subset) for subset in subsets(study)]
    table = survey_effects(grids, study, source.countries)
    return table, checks(source, table)


def test_effects_and_checks_are_those_of_the_respondents(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"] |= {"strata": "st", "psu": "psu"}
    study, frame = Study.from_dict(raw), with_design(respondents)
    table, found = audited(count_frame(study, to_duckdb(frame)))
    expected, wanted = audited(read_survey(study, frame))
    pd.testing.assert_frame_equal(table, expected, rtol=1e-9)
    assert [(check.name, check.verdict, check.meaning) for check in found] == [
        (check.name, check.verdict, check.meaning) for check in wanted
    ]


def refusal(study: Study, frame: Any) -> str:
    with pytest.raises(InputError) as refused:
        count_frame(study, frame)
    return str(refused.value)


def test_unknown_codes_have_the_message_of_memory(study: Study, respondents: pd.DataFrame, to_engine: To) -> None:
    respondents.loc[:6, "sex"] = "X"
    respondents.loc[3:4, "v"] = "perhaps"
    with pytest.raises(InputError) as expected:
        read_survey(study, respondents)
    assert refusal(study, to_engine(respondents)) == str(expected.value)
    assert "X (7 rows)" in str(expected.value)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, 1e60])
def test_unusable_weights_are_counted(study: Study, respondents: pd.DataFrame, to_engine: To, bad: float) -> None:
    respondents.loc[[2, 7, 9], "w"] = bad
    assert "weight (column w): 3 of 400 rows are missing, zero, negative" in refusal(study, to_engine(respondents))


def test_weights_that_are_text_are_refused(study: Study, respondents: pd.DataFrame, to_engine: To) -> None:
    frame = respondents.assign(w=respondents["w"].map(str))
    assert "weight (column w) is of type" in refusal(study, to_engine(frame))


def test_missing_ids_of_the_design_are_counted_by_respondent(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    raw["survey"] |= {"psu": "psu"}
    frame = with_design(respondents).astype({"psu": "Int64"})
    frame.loc[10:14, "psu"] = pd.NA
    assert "survey.psu (column psu): 5 of 400 rows are empty" in refusal(Study.from_dict(raw), to_duckdb(frame))


def test_columns_of_lists_are_refused(study: Study, respondents: pd.DataFrame, to_engine: To) -> None:
    refused = refusal(study, to_engine(respondents.assign(trust=[["never"]] * 400)))
    assert re.search(r"column .*trust holds lists", refused)


def test_absent_columns_and_other_objects_are_refused(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    study = Study.from_dict(raw)
    raw["questions"]["trusts"] = raw["questions"].pop("trust")
    wrong = Study.from_dict(raw)
    assert "did you mean 'trust'" in refusal(wrong, to_duckdb(respondents))
    assert "builtins.list is no frame" in refusal(study, [1, 2])


def test_what_needs_respondents_is_refused(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    strata = Study.from_dict(raw | {"survey": raw["survey"] | {"strata": "st"}})
    assert "survey.strata without survey.psu" in refusal(strata, to_duckdb(with_design(respondents)))
    adjusting = Study.from_dict(raw | {"covariates": {"age": {}}, "effects": {"estimator": ["cell", "aipw"]}})
    assert "effects.estimator aipw adjusts" in refusal(adjusting, to_duckdb(respondents.assign(age=40)))


def test_read_survey_says_who_takes_other_frames(study: Study, respondents: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"causal\.count_frame"):
        read_survey(study, to_duckdb(respondents))


def test_the_hash_follows_the_data_and_not_the_engine(study: Study, respondents: pd.DataFrame) -> None:
    one = count_frame(study, to_duckdb(respondents)).data_hash
    shuffled = respondents.sample(frac=1, random_state=1)
    assert count_frame(study, shuffled).data_hash == one
    assert count_frame(study, respondents.replace({"nation": {"NO": "SE"}})).data_hash != one
    respondents.loc[0, "w"] *= 1.01
    assert count_frame(study, respondents).data_hash != one


def test_a_frame_that_changes_between_readings_is_refused(
    study: Study, respondents: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, readings = framecounts._groups, iter([respondents, respondents[1:]])
    monkeypatch.setattr(
        framecounts, "_groups", lambda study, name, _: groups(study, name, framecounts._selected(study, next(readings)))
    )
    assert "changes from one reading to the next" in refusal(study, respondents)
