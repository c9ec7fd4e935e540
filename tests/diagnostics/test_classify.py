"""Every class, every boundary, and probabilities against a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.classify import (
    CLASSES,
    certain_class,
    class_probabilities,
    classify,
    classify_flipped_first,
    indicators,
    interval_error,
)

TAU = 0.05
TABLE = [
    # model, survey, class, class of the paper's literal reading
    (0.10, 0.10, "aligned", "aligned"),
    (0.30, 0.25, "aligned", "aligned"),  # exactly tau apart, though 0.3 - 0.25 is not 0.05 in floats
    (0.20, 0.15, "aligned", "aligned"),
    (0.02, -0.02, "aligned", "flipped"),  # near zero the paper's definitions overlap
    (-0.10, 0.10, "flipped", "flipped"),
    (0.10, -0.10, "flipped", "flipped"),
    (0.30, 0.10, "stereotyped", "stereotyped"),
    (-0.30, -0.10, "stereotyped", "stereotyped"),
    (0.10, 0.30, "erased", "erased"),
    (-0.10, -0.30, "erased", "erased"),
    (0.00, 0.30, "erased", "erased"),  # no sign: not flipped
    (0.00, -0.30, "erased", "erased"),
    (0.30, 0.00, "stereotyped", "stereotyped"),
    (0.00, 0.05, "aligned", "aligned"),
    (0.00, 0.00, "aligned", "aligned"),
]


@pytest.mark.parametrize(("model", "survey", "expected", "literal"), TABLE)
def test_classes(model: float, survey: float, expected: str, literal: str) -> None:
    assert classify(np.array([model]), np.array([survey]), TAU).tolist() == [expected]
    assert classify_flipped_first(np.array([model]), np.array([survey]), TAU).tolist() == [literal]


def test_just_beyond_tau_is_not_aligned() -> None:
    assert classify(np.array([0.15001]), np.array([0.10]), TAU).tolist() == ["stereotyped"]


@pytest.mark.parametrize("model", [0.2, -0.2, 0.03, -0.03, 0.05, 0.0])
@pytest.mark.parametrize("survey", [0.1, -0.1, 0.3, 0.0])
def test_probabilities_against_a_simulation(model: float, survey: float) -> None:
    error = 0.08
    draws = np.random.default_rng(3).normal(survey, error, 200_000)
    simulated = indicators(classify(np.full_like(draws, model), draws, TAU)).mean(axis=0)
    found = class_probabilities(np.array([model]), np.array([survey]), np.array([error]), TAU)
    np.testing.assert_allclose(found[0], simulated, atol=0.004)
    assert found.sum() == pytest.approx(1)


def test_probabilities_without_error_are_the_class() -> None:
    model, survey = (np.array([row[i] for row in TABLE]) for i in (0, 1))
    found = class_probabilities(model, survey, np.zeros(len(TABLE)), TAU)
    assert np.array(CLASSES)[found.argmax(axis=1)].tolist() == [row[2] for row in TABLE]
    assert set(found.ravel()) == {0.0, 1.0}


def test_certain_class_needs_eighty_percent() -> None:
    found = certain_class(np.array([[0.8, 0.2, 0, 0], [0.79, 0.21, 0, 0], [0, 0.1, 0, 0.9]]))
    assert found.tolist() == ["aligned", "undetermined", "flipped"]


def test_interval_error() -> None:
    """A 95% interval of width 2 * 1.959964 has error 1."""
    np.testing.assert_allclose(interval_error(np.array([-1.959964]), np.array([1.959964]), 0.95), [1], atol=1e-6)
