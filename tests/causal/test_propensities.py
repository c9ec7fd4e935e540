"""A comparison's propensities are fitted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import causal.propensities
from causal.audit import main
from causal.simulate import simulate
from causal.study import Study


def test_an_audit_fits_each_comparison_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[bytes] = []
    fit = causal.propensities.propensities

    def counting(x: np.ndarray, arm: np.ndarray, *others: Any) -> Any:
        fitted.append(x.tobytes() + arm.tobytes())
        return fit(x, arm, *others)

    monkeypatch.setattr("causal.propensities.propensities", counting)
    monkeypatch.setattr("causal.audit._write_report", lambda *_: None)
    made = simulate(200, attributes=2, questions=1, age=0.8, seed=1)
    made.data.to_csv(tmp_path / "simulated.csv", index=False)
    sections = made.study.model_dump(mode="json", exclude_none=True)
    sections["effects"]["estimator"] = ["cell", "aipw"]
    Study.from_dict(sections).save(tmp_path / "study.yaml")
    assert main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")]) == 0
    assert len(fitted) == len(set(fitted)) == 4  # two countries, two attributes
    assert "aipw" in set(pd.read_parquet(tmp_path / "run" / "survey_effects.parquet")["estimator"])
