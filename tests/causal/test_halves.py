from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.audit import audit_survey, main
from causal.counts import count, on_grid
from causal.errors import InputError
from causal.halves import halve, halves_check, training_half
from causal.runs import Run
from causal.study import Study
from causal.survey import Survey, read_survey
from causal.tables import estimated_by, read_distributions, read_effects

HALF = {"fit": {"held_out": {"respondents": "half"}}}
TABLES = {"training_distributions.parquet", "training_effects.parquet"}


@pytest.fixture
def halved(raw: dict[str, Any]) -> Study:
    return Study.from_dict(raw | HALF)


def designed(raw: dict[str, Any], psus: dict[str, list[int]], people: int = 3, seed: int = 0) -> Survey:
    """Each country's strata by their number of PSUs, ``people`` respondents in each PSU."""
    rows = [
        (country, f"{country}{s}", f"{country}{s}-{unit}")
        for country, strata in psus.items()
        for s, units in enumerate(strata)
        for unit in range(units)
        for _ in range(people)
    ]
    frame = pd.DataFrame(rows, columns=["nation", "region", "place"])
    frame = frame.assign(sex="M", edu="uni", residence="city", trust="never", v="no", w=1.0)
    declared = raw["survey"] | {"strata": "region", "psu": "place"}
    return read_survey(Study.from_dict(raw | {"survey": declared, "fit": HALF["fit"] | {"seed": seed}}), frame)


def test_psus_stay_whole_and_every_stratum_and_country_is_halved(raw: dict[str, Any]) -> None:
    survey = designed(raw, {"NA": [1, 1, 1, 4, 5], "NO": [7, 2], "SE": [4]})
    trained = training_half(survey)
    design = survey.design
    assert design is not None
    by_psu = np.bincount(design.psu, trained)
    assert set(by_psu) == {0, 3}, "a PSU is in one half as a whole"
    units = by_psu / 3
    by_stratum = np.bincount(design.stratum, units)
    sizes = np.bincount(design.stratum)
    assert (np.abs(2 * by_stratum - sizes) <= 1).all()
    assert (np.abs(2 * np.bincount(design.country, units) - np.bincount(design.country)) <= 1).all()
    assert 0 < by_stratum[:3].sum() < 3, "odd ones are dealt in turn, not all to one half"


def test_without_a_design_respondents_are_dealt_out_by_country(halved: Study, respondents: pd.DataFrame) -> None:
    survey = read_survey(halved, respondents)
    trained, sizes = training_half(survey), np.bincount(survey.country)
    assert (np.abs(2 * np.bincount(survey.country, trained) - sizes) <= 1).all()
    runs = np.diff(np.flatnonzero(np.diff(trained[survey.country == 0])))
    assert runs.max() > 2, "in random order, not every other row"


def test_each_unit_is_in_either_half_with_probability_one_half(raw: dict[str, Any]) -> None:
    # 400 countries with a stratum of one PSU and a stratum of two
    survey = designed(raw, {f"C{i:03d}": [1, 2] for i in range(400)}, people=1)
    trained = training_half(survey).reshape(400, 3)
    np.testing.assert_allclose(trained.mean(axis=0), 0.5, atol=4 * 0.5 / np.sqrt(400))
    assert set(trained.sum(axis=1)) == {1, 2}


def test_halves_are_the_same_whatever_the_other_countries_and_the_seed(raw: dict[str, Any]) -> None:
    both = designed(raw, {"NA": [6, 5], "NO": [4]})
    alone = designed(raw, {"NO": [4]}, seed=5)
    here = both.country == both.countries.index("NO")
    np.testing.assert_array_equal(training_half(both)[here], training_half(alone))


def test_halves_are_surveys_that_add_up_to_the_whole(raw: dict[str, Any], respondents: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    people = respondents.assign(region=rng.integers(0, 3, 400), place=rng.integers(0, 30, 400), age=np.arange(400.0))
    study = Study.from_dict(
        raw | HALF | {"survey": raw["survey"] | {"strata": "region", "psu": "place"}, "covariates": {"age": {}}}
    )
    whole = read_survey(study, people)
    halves = halve(whole)
    sides = (halves.evaluation, halves.training)

    def grid(survey: Survey) -> Any:
        return on_grid(count(survey), [0, 1, 2], [2, 3, 2], 2)

    for name in ("n", "w", "w2", "asked"):
        total = sum(getattr(grid(side), name) for side in sides)
        np.testing.assert_allclose(total, getattr(grid(whole), name), atol=1e-9)
    assert whole.design is not None
    trained = training_half(whole)
    np.testing.assert_array_equal(halves.training.covariates["age"], whole.covariates["age"][trained])
    for side, chosen in zip(sides, (~trained, trained), strict=True):
        assert side.design is not None
        psu = np.unique(np.column_stack([whole.design.psu[chosen], side.design.psu]), axis=0)
        assert len(psu) == len(np.unique(psu[:, 1])) == side.design.psu.max() + 1
        was, became = whole.design.stratum[psu[:, 0]], side.design.stratum[psu[:, 1]]
        strata = np.unique(np.column_stack([was, became]), axis=0)
        assert len(strata) == len(np.unique(was)) == len(np.unique(became)), "the halves keep their strata"


def test_too_few_units_counts_and_frames_are_refused(
    raw: dict[str, Any], respondents: pd.DataFrame, halved: Study
) -> None:
    with pytest.raises(InputError, match=r"at least 4 PSUs in every country.*fewer are in NO \(3\)"):
        halve(designed(raw, {"NA": [4], "NO": [2, 1]}))
    few = pd.concat([respondents[respondents["nation"] == "NA"], respondents[respondents["nation"] == "NO"].head(3)])
    with pytest.raises(InputError, match=r"at least 4 respondents in every country.*fewer are in NO \(3\)"):
        halve(read_survey(halved, few))
    from causal.framecounts import count_frame

    with pytest.raises(InputError, match=r"fit.held_out.respondents deals the respondents out, so a frame outside"):
        count_frame(halved, respondents)
    plain = Study.from_dict(raw)
    with pytest.raises(InputError, match="counts have none; give the survey's file of respondents"):
        halve(count_frame(plain, respondents))


def test_a_lopsided_half_is_a_warning(raw: dict[str, Any]) -> None:
    even = halves_check(halve(designed(raw, {"NA": [4, 4], "NO": [4]})))
    assert (even.verdict, even.statistic) == ("pass", 0.5)
    assert "18 of 36, dealt out at random by PSU within strata" in even.meaning
    survey = designed(raw, {"NA": [4]})
    rows = np.repeat(np.arange(12), np.where(np.arange(12) < 3, 5, 1))  # the first PSU has 15 people, the others 3
    large = pd.DataFrame({"nation": "NA", "region": "r", "place": (rows // 3).astype(str)})
    large = large.assign(sex="M", edu="uni", residence="city", trust="never", v="no", w=1.0)
    uneven = halves_check(halve(read_survey(survey.study, large)))
    assert uneven.verdict == "warn"
    assert uneven.statistic == pytest.approx(6 / 24)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))


SET = ["--set", "fit.held_out.respondents=half"]


def test_the_audit_writes_both_halves_and_goes_back(
    study_folder: Path, no_report: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = study_folder / "run"
    argv = [str(study_folder / "study.yaml"), "--out", str(run)]
    assert main(argv) == 0
    everybody = read_effects(run / "survey_effects.parquet")
    assert not TABLES & {path.name for path in run.iterdir()}
    capsys.readouterr()
    assert main([*argv, *SET]) == 0
    said = capsys.readouterr().out
    assert "effects of each attribute, from half of the respondents" in said
    assert "pass  respondent halves: These effects and all checks are of half of the respondents: 200 of 400" in said
    assert all(f"{run / name}\n" in said for name in TABLES)
    shown, learnt = read_effects(run / "survey_effects.parquet"), read_effects(run / "training_effects.parquet")
    toggle = ["country", "question", "attribute", "treated", "gender", "education", "residence"]
    pd.testing.assert_frame_equal(shown[toggle], learnt[toggle])
    for end in ("n_reference", "n_treated"):
        assert (shown[end] + learnt[end]).tolist() == everybody[end].tolist()
    assert (shown["shift"] != learnt["shift"]).mean() > 0.9
    answered = read_distributions(run / "training_distributions.parquet")
    assert answered.loc[answered["granularity"] == 0].groupby("question")["p"].sum().tolist() == pytest.approx([2, 2])
    checks = json.loads((run / "checks.json").read_text())
    finest = shown[shown["granularity"] == 3]
    assert f"{shown['supported'].sum()} of {len(shown)} toggles" in next(
        check["meaning"] for check in checks if check["name"] == "support"
    )
    assert finest["n_treated"].sum() < everybody.loc[everybody["granularity"] == 3, "n_treated"].sum()
    stamp = (run / "training_effects.parquet").stat().st_mtime_ns
    assert main([*argv, *SET]) == 0
    assert (run / "training_effects.parquet").stat().st_mtime_ns == stamp, "kept"
    (run / "training_effects.parquet").unlink()
    assert main([*argv, *SET]) == 0
    pd.testing.assert_frame_equal(read_effects(run / "training_effects.parquet"), learnt)
    assert main(argv) == 0
    assert not TABLES & {path.name for path in run.iterdir()}
    pd.testing.assert_frame_equal(read_effects(run / "survey_effects.parquet"), everybody)


def test_killed_while_it_writes_the_folder_holds_no_audit(
    halved: Study, study: Study, respondents: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(halved, respondents), run)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    everybody = read_survey(study, respondents)
    monkeypatch.setattr("causal.ignorability.write_checks", killed)
    with pytest.raises(KeyboardInterrupt):
        audit_survey(everybody, run)
    with pytest.raises(InputError, match="has no survey effects yet"):
        run.require_survey(halved)


def test_tables_of_other_people_than_the_study_says_are_refused(
    halved: Study, study: Study, respondents: pd.DataFrame, tmp_path: Path
) -> None:
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(study, respondents), run)
    with pytest.raises(InputError, match=r"are of all respondents, and by fit.held_out.respondents .* half of them"):
        run.require_survey(halved)
    audit_survey(read_survey(halved, respondents), run)
    run.require_survey(halved)
    with pytest.raises(InputError, match=r"are of half of the respondents, .* all of them"):
        run.require_survey(study)
    run.training_effects.unlink()
    with pytest.raises(InputError, match=r"training_effects.parquet is missing, from which training learns"):
        run.require_survey(halved)


def test_adjusted_rows_are_of_the_evaluation_half_only(
    raw: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path
) -> None:
    raw["effects"] = {"estimator": ["cell", "pooled", "aipw"], "granularity": [1]}
    study = Study.from_dict(raw | HALF)
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(study, respondents), run)
    shown, learnt = read_effects(run.survey_effects), read_effects(run.training_effects)
    assert set(shown["estimator"]) == {"cell", "pooled", "aipw"}
    assert set(learnt["estimator"]) == {"cell", "pooled"}
    aipw = estimated_by(shown, "aipw")
    assert (aipw["n_treated"].to_numpy() <= estimated_by(shown)["n_treated"].to_numpy()).all()


def test_counts_are_refused_before_anything_is_written(
    study_folder: Path, no_report: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame(
        {"nation": "NA", "sex": "M", "edu": "uni", "residence": "city", "item": ["trust", "v"], "a": ["never", "no"]}
    ).assign(k=40).to_csv(study_folder / "counts.csv", index=False)
    counts = ["--set", "survey.source=counts.csv", "--set", "survey.weight="]
    counts += ["--set", "survey.counts={question: item, option: a, count: k}"]
    argv = [str(study_folder / "study.yaml"), "--out", str(study_folder / "run"), *counts]
    for more in (["--dry-run"], []):
        assert main([*argv, *SET, *more]) == 2
        assert "counts have none; give the survey's file of respondents" in capsys.readouterr().err
    assert not (study_folder / "run").exists()


def distance(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Mean d_CDF (eq. 11) of two effects tables over the toggles that both support."""
    rows = (one["supported"] & other["supported"]).to_numpy()
    effects = [
        np.stack((table["p_treated"] - table["p_reference"])[rows].tolist()).cumsum(axis=1) for table in (one, other)
    ]
    return float(np.abs(effects[0] - effects[1]).mean())


def test_sampling_noise_flatters_nobody(one_question: Callable[..., Study], tmp_path: Path) -> None:
    # Nobody's attributes move anything: three options, each with probability 1/3, so F(1 - F) = 2/9 at both cuts.
    # A model that learnt the training cells by heart is off from the evaluation half by a normal error with variance
    # 2/9 (1/n + 1/n + 1/n + 1/n) over the four cells of n, whose mean size is sqrt(2/pi) of its root; the third CDF
    # value is always 1.
    rng = np.random.default_rng(3)
    names = tuple("abcd")
    people = pd.DataFrame({name: rng.integers(0, 2, 64_000) for name in names} | {"q": rng.integers(1, 4, 64_000)})
    plain, study = one_question(names), one_question(names, **HALF)
    run = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(plain, people), run)
    everybody = read_effects(run.survey_effects)
    assert distance(everybody, everybody) == 0, "against the people it was trained on, noise is perfection"
    audit_survey(read_survey(study, people), run)
    shown, learnt = read_effects(run.survey_effects), read_effects(run.training_effects)
    sizes = [table[end].to_numpy(float) for table in (shown, learnt) for end in ("n_reference", "n_treated")]
    floor = 2 / 3 * np.sqrt(2 / np.pi) * np.sqrt(2 / 9 * sum(1 / n for n in sizes)).mean()
    assert distance(learnt, shown) == pytest.approx(floor, rel=0.25)
