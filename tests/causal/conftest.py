"""A small survey with known shape: two countries, three attributes (one with three levels), four options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.study import Study
from causal.yamlfile import write_yaml

SCALE = {"never": "Never", "rarely": "Rarely", "often": "Often", "always": "Always"}


def _raw() -> dict[str, Any]:
    return {
        "name": "small",
        "survey": {"source": "survey.csv", "country": "nation", "weight": "w", "missing": ["dk"]},
        "attributes": {
            "gender": {
                "column": "sex",
                "levels": {
                    "male": {"codes": ["M"], "persona": "a man"},
                    "female": {"codes": ["F"], "persona": "a woman"},
                },
            },
            "education": {
                "column": "edu",
                "levels": {
                    "high": {"codes": ["uni", "phd"], "persona": "with a degree"},
                    "middle": {"codes": ["school"], "persona": "with a school leaving certificate"},
                    "low": {"codes": ["none"], "persona": "without schooling"},
                },
            },
            "residence": {
                "levels": {
                    "urban": {"codes": ["city"], "persona": "in a city"},
                    "rural": {"codes": ["village"], "persona": "in a village"},
                },
            },
        },
        "questions": {
            "trust": {"text": "Do you trust people?", "options": dict(SCALE)},
            "vote": {"column": "v", "text": "Do you vote?", "options": {"no": "No", "yes": "Yes"}},
        },
        "effects": {"granularity": "all"},
    }


def _respondents(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "nation": rng.choice(["NA", "NO"], n),
            "sex": rng.choice(["M", "F", None], n, p=[0.48, 0.48, 0.04]),
            "edu": rng.choice(["uni", "phd", "school", "none"], n, p=[0.3, 0.1, 0.5, 0.1]),
            "residence": rng.choice(["city", "village"], n, p=[0.7, 0.3]),
            "trust": rng.choice([*SCALE, "dk", None], n, p=[0.1, 0.3, 0.3, 0.2, 0.05, 0.05]),
            "v": rng.choice(["no", "yes", None], n, p=[0.35, 0.6, 0.05]),
            "w": rng.uniform(0.2, 3.0, n),
        }
    )


@pytest.fixture
def raw() -> dict[str, Any]:
    """Return the small study as plain data, to be changed at will."""
    return _raw()


@pytest.fixture
def study(raw: dict[str, Any]) -> Study:
    """Return the small study."""
    return Study.from_dict(raw)


@pytest.fixture
def respondents() -> pd.DataFrame:
    """Return 400 simulated respondents of the small study."""
    return _respondents(400)


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """Return a folder that holds the small study and its survey as files."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_yaml(_raw(), folder / "study.yaml")
    _respondents(400).to_csv(folder / "survey.csv", index=False)
    return folder


@pytest.fixture
def one_question() -> Callable[..., Study]:
    """Return a maker of unweighted studies with one question and two-level attributes coded 0 and 1."""

    def make(attributes: tuple[str, ...] = ("a",), options: int = 3, **sections: Any) -> Study:
        levels = {f"{x}{i}": {"codes": [i], "persona": f"{x}{i}"} for i in (0, 1) for x in ("l",)}
        question = {"text": "?", "options": {k: f"option {k}" for k in range(1, options + 1)}}
        plain = {
            "name": "one",
            "survey": {"source": "none.csv", "country": {"constant": "X"}} | sections.pop("survey", {}),
            "attributes": {name: {"levels": levels} for name in attributes},
            "questions": {"q": question},
        }
        return Study.from_dict(plain | sections)

    return make
