from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pandas as pd
import pytest

from align.ceiling import ceiling, sizes_of_cells
from align.targets import Target, run_targets
from causal.audit import audit_survey
from causal.heldout import TRAINED
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey
from causal.tables import read_distributions


def test_the_ceiling_of_a_toggle_by_enumeration():
    """K=2, shares .4 and .5 of 15 and 200 people: d_CDF = |shift - truth| / 2, S = 100 (1 - |share - truth|)."""
    target = Target(
        "x",
        "q",
        ({"a": "0"}, {"a": "1"}),
        np.array([True, False]),
        np.array([0]),
        np.array([1]),
        np.array([[0.6, 0.4]]),
        np.array([[0.5, 0.5]]),
        np.array([15.0]),
        np.array([200.0]),
        np.array([[0.6, 0.4]]),
        np.array([[0.5, 0.5]]),
        np.array([1.0]),
    )
    at = {(n, p): [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)] for n, p in ((15, 0.4), (200, 0.5))}
    ends = product(enumerate(at[15, 0.4]), enumerate(at[200, 0.5]))
    distance = sum(w0 * w1 * abs(k1 / 200 - k0 / 15 - 0.1) / 2 for (k0, w0), (k1, w1) in ends)
    score = 100 * (1 - sum(w * abs(k / 15 - 0.4) for k, w in enumerate(at[15, 0.4])))
    found = ceiling([target] * 60, {("x", "q", (("a", "0"),)): 15.0})  # 200 draws of each
    assert found.effect_distance == pytest.approx(distance, abs=0.003)
    assert found.alignment == pytest.approx(score, abs=1.0), "only the cell of the part itself"


def test_a_cell_counts_once_in_the_ceiling_of_S():
    """Three toggles share their reference, which is known exactly: one perfect cell and three noisy ones."""
    three, ones = np.ones((3, 1)), np.ones(3)
    ends = np.array([[0.5, 0.5]]) * three
    sizes = (1e9 * ones, 10 * ones)
    places = np.zeros(3, dtype=int), np.array([1, 2, 3])
    personas = tuple({"a": level} for level in "0123")
    target = Target("x", "q", personas, np.ones(4, dtype=bool), *places, ends, ends, *sizes, ends, ends, ones)
    worth = {("x", "q", (("a", level),)): 1e9 if level == "0" else 10.0 for level in "0123"}
    spread = sum(comb(10, k) * 0.5**10 * abs(k / 10 - 0.5) for k in range(11))
    assert ceiling([target], worth).alignment == pytest.approx(100 * (1 - 0.75 * spread), abs=0.7)


def test_somebody_who_answers_four_times_tells_once(folder, tmp_path):
    """Copies within a PSU are nobody new: as few people, as low a ceiling."""
    people = pd.read_csv(folder / "people.csv")
    people["person"] = np.arange(len(people))
    pd.concat([people] * 4).to_csv(tmp_path / "fourfold.csv", index=False)
    fourfold = [f"survey.source={tmp_path / 'fourfold.csv'}", "survey.psu=person"]
    found = []
    for name, changes in (("once", []), ("fourfold", fourfold)):
        study = Study.load(folder / "study.yaml", changes)
        run = Run.for_study(study, tmp_path / name)
        audit_survey(read_survey(study), run)
        sizes = sizes_of_cells(study, read_distributions(run.survey_distributions))
        found.append(ceiling(run_targets(study, run)[TRAINED], sizes))
    assert found[1].alignment == pytest.approx(found[0].alignment, abs=0.05)
    assert found[1].effect_distance == pytest.approx(found[0].effect_distance, rel=0.02)
