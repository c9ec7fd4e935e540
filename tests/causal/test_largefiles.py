from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal import largefiles
from causal.audit import main
from causal.counts import count
from causal.counttable import read_any
from causal.errors import InputError
from causal.framecounts import FrameCounts
from causal.study import Study
from causal.survey import Survey, read_survey
from causal.yamlfile import write_yaml


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make 400 respondents times 7 columns too many for memory."""
    monkeypatch.setattr(largefiles, "LARGE", 400 * 7 - 1)


@pytest.fixture
def stored(raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path) -> Study:
    """Return the small study with its respondents in a Parquet file, whose name looks like a pattern."""
    path = tmp_path / "survey[1]*.parquet"
    respondents.to_parquet(path)
    respondents[:30].to_parquet(tmp_path / "survey1.parquet")
    raw["survey"]["source"] = str(path)
    return Study.from_dict(raw)


def test_size_decides(stored: Study, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(read_any(stored), FrameCounts)
    monkeypatch.setattr(largefiles, "LARGE", 400 * 7)
    assert isinstance(read_any(stored), Survey)


def test_duckdb_counts_the_very_file(stored: Study, large: None) -> None:
    found = read_any(stored)
    expected = count(read_survey(stored))
    assert isinstance(found, FrameCounts)
    np.testing.assert_array_equal(found.counts.n, expected.n)
    np.testing.assert_allclose(found.counts.w2, expected.w2, rtol=1e-12)
    assert found.data_hash == hashlib.sha256(Path(stored.survey.source).read_bytes()).hexdigest()


def test_who_needs_respondents_gets_them(stored: Study, large: None, respondents: pd.DataFrame) -> None:
    path = Path(stored.survey.source)
    respondents.assign(st=0).to_parquet(path)
    survey = stored.survey.model_copy(update={"strata": "st"})
    assert isinstance(read_any(stored.model_copy(update={"survey": survey})), Survey)


def test_names_that_differ_by_case_are_refused(
    raw: dict[str, Any], stored: Study, large: None, respondents: pd.DataFrame
) -> None:
    raw["attributes"]["gender"]["column"] = "Sex"
    respondents.assign(Sex=respondents["sex"]).to_parquet(stored.survey.source)
    with pytest.raises(InputError, match="differ from Sex by upper and lower case"):
        read_any(Study.from_dict(raw))


def test_a_file_damaged_inside_is_refused(stored: Study, large: None) -> None:
    path = Path(stored.survey.source)
    data = bytearray(path.read_bytes())
    data[4:600] = bytes(596)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be counted"):
        read_any(stored)


def test_a_large_file_is_audited(
    raw: dict[str, Any], stored: Study, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yaml(raw, tmp_path / "study.yaml")
    assert main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "large")]) == 0
    table = pd.read_parquet(tmp_path / "large" / "survey_effects.parquet")
    monkeypatch.setattr(largefiles, "LARGE", 10**9)
    assert main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "small")]) == 0
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "small" / "survey_effects.parquet"), rtol=1e-9)
