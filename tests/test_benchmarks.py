"""The arithmetic that stands between the benchmarks' runs and what the docs say of them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from causal.study import Study

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("[a-z]*.py"))


@pytest.fixture
def benchmark_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def alignment(benchmark_folder: None) -> Any:
    import alignment

    return alignment


@pytest.fixture
def comparison(benchmark_folder: None) -> Any:
    import comparison

    return comparison


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_says_what_it_does(
    script: str, benchmark_folder: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"python benchmarks/{script}.py" in out, "the docstring has the command"
    assert script not in ("scoring", "training", "alignment") or {"--quick", "--json"} <= set(
        out.replace("[", " ").split()
    )


def test_an_interval_is_that_of_a_mean_of_few(alignment: Any) -> None:
    mean, half = alignment.interval([1, 2, 3])  # t(.975, 2) is 4.3027 in any table, and the standard error 1 / 3 ** .5
    assert (mean, half) == (2, pytest.approx(4.3027 / 3**0.5, abs=1e-4))
    assert [alignment.interval(alike) for alike in ([7], [5, 5])] == [(7, 0), (5, 0)]


def test_without_others_the_papers_two_combinations_are_held_out(alignment: Any) -> None:
    levels = {
        "gender": ["male", "female"],
        "college": ["college", "none"],
        "urban": ["urban", "rural"],
        "married": ["married", "not"],
    }
    attributes = {name: SimpleNamespace(levels=dict.fromkeys(of)) for name, of in levels.items()}
    study = SimpleNamespace(attributes=attributes, fit=SimpleNamespace(held_out=SimpleNamespace(personas=[])))
    assert alignment.held_out_personas(study) == [
        {"gender": "female", "college": "college", "urban": "urban", "married": "married"},
        {"gender": "male", "college": "none", "urban": "rural", "married": "not"},
    ]
    own = [{"gender": "male"}]
    study.fit.held_out.personas = own
    assert alignment.held_out_personas(study) == own


@pytest.mark.parametrize("survey", ["cces2016", "gss2018", "wvs_usa"])
def test_the_settings_of_a_run_are_a_study(survey: str, alignment: Any) -> None:
    path = alignment.STUDIES / f"{survey}.yaml"
    words = alignment.settings(Study.load(path), 4, 3)
    study = Study.load(path, words[1::2])
    assert (study.fit.seed, study.fit.epochs, study.fit.held_out.respondents) == (4, 3, "half")


def seeds_with(S: dict[str, list[float]]) -> list[dict[str, Any]]:
    count = len(S["base"])
    return [{"held_out": {name: {"S": of[i], "S_G0": of[i]} for name, of in S.items()}} for i in range(count)]


def test_the_papers_order_holds_if_every_method_is_above_the_next(comparison: Any) -> None:
    held = {"ace": [90.0, 92.0], "effect": [89.0, 91.0], "base": [80.0, 80.0], "anchor": [70.0, 60.0]}
    assert comparison.order(seeds_with(held), "held_out") == "1 of 1 (over all: ace > effect > base > anchor)"
    turned = held | {"base": [95.0, 80.0]}  # a mean of 87.5
    assert comparison.order(seeds_with(turned), "held_out") == "1 of 1 (over all: ace > effect > base > anchor)"
    turned = held | {"anchor": [95.0, 80.0]}
    assert comparison.order(seeds_with(turned), "held_out") == "0 of 1 (over all: ace > effect > anchor > base)"


def test_a_gain_is_paired_by_seed(comparison: Any) -> None:
    seeds = seeds_with({"best": [91.0, 82.0, 73.0], "base": [90.0, 80.0, 70.0]})  # 1, 2, 3
    assert comparison.gain(seeds, "held_out", "base", "S", 1) == "+2.0 ± 2.5"


def test_a_record_of_another_length_is_refused(
    comparison: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "RECORDS", tmp_path)
    assert comparison.recorded("gss2018") == {}
    (tmp_path / "gss2018.json").write_text('{"epochs": 20, "seeds": {"seed0": {}}}', encoding="utf-8")
    assert comparison.recorded("gss2018") == {"seed0": {}}
    monkeypatch.setitem(comparison.EPOCHS, "gss2018", 3)
    with pytest.raises(SystemExit, match=r"gss2018.json is of 20 epochs, alignment.py trains for 3: remove it"):
        comparison.recorded("gss2018")


def test_the_page_has_the_figures_that_are_kept(comparison: Any) -> None:
    page = comparison.PAGE.read_text(encoding="utf-8")
    kept = {survey: found for survey in comparison.SURVEYS if (found := comparison.recorded(survey))}
    assert kept, "nothing is kept"
    for survey, by_seed in kept.items():
        assert comparison.page_with(page, survey, comparison.tables(survey, list(by_seed.values()))) == page
