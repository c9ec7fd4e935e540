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


MISSING_LABELS = {-1: "synthetic: Don't know", -2: "synthetic: No answer", -4: "synthetic: Not asked"}
"""Labels of a made-up survey in an official layout; the wording is ours."""


def _wvs7(n: int) -> tuple[pd.DataFrame, dict[str, dict[Any, str]]]:
    """Respondents with wave 7's column names and codes, and made-up labels."""
    rng = np.random.default_rng(7)
    codes: dict[str, list[int]] = {
        "H_URBRURAL": [1, 2],
        "Q1": [1, 2, 3, 4, -1, -2],
        "Q49": [*range(1, 11), -2],
        "Q56": [1, 2, 3],
        "Q94": [0, 1, 2, -1],
        "Q111": [1, 2, 3],
        "Q152": [1, 2, 3, 4],
        "Q221": [1, 2, 3, 4],
        "Q223": [1, 2, 566001],
        "Q242": [*range(11), -1],
        "Q254": [1, 2, 3, 4, 5],
        "Q260": [1, 2],
        "Q262": [20, 40, 60],
        "Q273": [1, 2, 3, 4, 5, 6, -2],
        "Q275": [0, 1, 2, 3, 4, 5, 6, 7, 8, -2],
        "Q275R": [1, 2, 3],
    }
    frame = pd.DataFrame({name: rng.choice(np.array(held, dtype=float), n) for name, held in codes.items()})
    frame.insert(0, "B_COUNTRY_ALPHA", rng.choice(["KEN", "NGA", "USA"], n))
    frame.insert(1, "W_WEIGHT", rng.uniform(0.5, 2, n).round(3))
    labels: dict[str, dict[Any, str]] = {
        name: {code: f"made-up {name} {code}" for code in held if code >= 0} | MISSING_LABELS
        for name, held in codes.items()
        if name != "Q262"
    }
    labels["Q49"] = {1: "made-up low end", 10: "made-up high end"} | MISSING_LABELS
    return frame, labels


def _issp(n: int) -> tuple[pd.DataFrame, dict[str, dict[Any, str]]]:
    """Respondents with the column names and codes of an ISSP module of the 2010s, and made-up labels."""
    rng = np.random.default_rng(8)
    agree = {1: "Agree (made up)", 2: "Neither (made up)", 3: "Disagree (made up)", 8: "Can't choose", 9: "No answer"}
    labels: dict[str, dict[Any, str]] = {
        "v5": agree,
        "v6": {1: "Yes (made up)", 2: "No (made up)", 9: "No answer"},
        "v7": {1: "Kettle", 2: "Lamp", 3: "Spoon", 9: "No answer"},
        "v8": {0: "Not at all (made up)", 10: "Completely (made up)", 98: "Don't know", 99: "No answer"},
        "SEX": {1: "made-up man", 2: "made-up woman", 9: "No answer"},
        "DEGREE": {code: f"made-up degree {code}" for code in range(7)} | {9: "No answer"},
        "URBRURAL": {code: f"made-up place {code}" for code in range(1, 6)} | {7: "Other answer", 9: "No answer"},
        "MARITAL": {code: f"made-up state {code}" for code in range(1, 7)} | {7: "Refused", 9: "No answer"},
    }
    codes = {name: list(held) for name, held in labels.items()} | {"v8": [*range(11), 98, 99]}
    frame = pd.DataFrame({name: rng.choice(np.array(held, dtype=float), n) for name, held in codes.items()})
    frame.insert(0, "studyno", 6670.0)
    frame.insert(1, "c_alphan", rng.choice(["AU", "NO"], n))
    frame["WEIGHT"] = rng.uniform(0.5, 2, n).round(3)
    return frame, labels


def write_official(path: Path, frame: pd.DataFrame, labels: dict[str, dict[Any, str]], declared: bool = True) -> Path:
    """Write an SPSS or Stata file; ``declared`` makes SPSS declare the codes 8, 9, 98, 99 or -5 to -1 missing."""
    import pyreadstat

    wording = {name: f"Made-up wording of {name}" for name in frame.columns}
    held = {name: values for name, values in labels.items() if name in frame.columns}
    if path.suffix == ".dta":
        pyreadstat.write_dta(frame, path, column_labels=wording, variable_value_labels=held)
        return path
    issp = "SEX" in frame
    ranges: dict[str, Any] = {
        name: [code for code in values if code in (8, 9, 98, 99)] if issp else [{"lo": -5, "hi": -1}]
        for name, values in held.items()
    }
    pyreadstat.write_sav(
        frame,
        path,
        column_labels=wording,
        variable_value_labels=held,
        missing_ranges=ranges if declared else None,
    )
    return path


@pytest.fixture
def official(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small survey in an official layout: survey, file name, changes to the frame."""

    def write(
        survey: str,
        name: str,
        n: int = 900,
        change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
        relabel: dict[str, dict[Any, str]] | None = None,
        declared: bool = True,
    ) -> Path:
        frame, labels = {"wvs7": _wvs7, "issp": _issp}[survey](n)
        frame, labels = change(frame), labels | (relabel or {})
        path = tmp_path / name
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
            return path
        return write_official(path, frame, labels, declared)

    return write
