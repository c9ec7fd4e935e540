"""The table of all methods, against plain recomputations from the tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.runs import Run, file_hash
from causal.study import Study
from causal.tables import distributions_schema, read_distributions, read_effects, toggles_fingerprint, write_table
from diagnostics.comparison import compare, comparison_tables
from diagnostics.diagnosis import MARGINAL, PERFECT, UNIFORM, diagnose
from diagnostics.inputs import load_inputs
from diagnostics.origins import origin_notes
from diagnostics.report import main

KEY = ["country", "question", "gender", "home"]
TOGGLE = ["country", "question", "attribute", "reference", "treated", "gender", "home"]


def numbers(run: Run, *labels: str):
    inputs = load_inputs(str(run.path), labels or None)
    return compare(inputs, diagnose(inputs))


def add_rivals(run: Run, study: Study, toy: SimpleNamespace) -> None:
    """Add three rivals of the label ace: one trained as it was, one on other questions, and a computed one."""
    toy.add_label(run, study, "anchor", toy.near, trained=True)
    toy.add_label(run, study, "effect", toy.near)
    fit = run.inputs("fit/ace") | {"fit": {"held_out": {"questions": ["q5"]}}}
    run.record(study, "fit/effect", fit, [])
    toy.add_label(run, study, "uniform", lambda table: pd.Series(1 / 3, index=table.index))
    made_from = {
        "survey_distributions": run.survey_distributions,
        "learnt_distributions": run.survey_distributions,
        "learnt_effects": run.survey_effects,
    }
    record = run.inputs("measure/uniform") | {name: file_hash(path) for name, path in made_from.items()}
    files = [run.model("uniform") / f"{name}.parquet" for name in ("distributions", "effects")]
    run.record(study, "measure/uniform", record | {"computed": "uniform"}, files)
    run.record(study, "baselines", {"main": "ace", "rivals": ["base", "anchor", "effect", "uniform"]}, [])


def merged(run: Run, label: str) -> pd.DataFrame:
    """The survey's cells of held-out questions with a label's answers, one row per cell, answers as arrays."""
    survey = read_distributions(run.survey_distributions)
    model = read_distributions(run.model(label) / "distributions.parquet")
    both = survey.merge(model[[*KEY, "option", "p"]], on=[*KEY, "option"], suffixes=("", "_m")).sort_values("option")
    cells = both.groupby([*KEY, "granularity"], dropna=False).agg(p=("p", np.array), m=("p_m", np.array)).reset_index()
    return cells[cells["question"].isin(["q4", "q5"])]


def test_measures_of_levels_equal_a_plain_loop(compared: Run) -> None:
    found = numbers(compared)["held_out"]["base"]
    cells = merged(compared, "base")
    rows = []
    for _, cell in cells.iterrows():
        score = 100 * (1 - sum(abs(sum(cell["m"][: k + 1]) - sum(cell["p"][: k + 1])) for k in range(3)) / 2)
        error = abs(sum(k * (cell["m"][k] - cell["p"][k]) for k in range(3))) / 2
        rows.append(
            (cell["granularity"], cell["gender"], cell["home"], score, error, cell["m"].argmax() == cell["p"].argmax())
        )
    table = pd.DataFrame(rows, columns=["granularity", "gender", "home", "score", "error", "modal"])
    assert found["cells"] == len(table) == 2 * 9
    assert found["S"] == pytest.approx(table["score"].mean())
    assert found["NMAE"] == pytest.approx(table["error"].mean())
    assert found["modal_accuracy"] == pytest.approx(table["modal"].mean())
    assert found["S_by_granularity"] == {
        str(size): pytest.approx(value) for size, value in table.groupby("granularity")["score"].mean().items()
    }
    personas = table[table["granularity"] == 2].groupby(["gender", "home"])
    for name, published in (("score", "S"), ("error", "NMAE")):
        means = personas[name].mean()
        assert len(means) == 4
        assert found["range_over_personas"][published] == pytest.approx(means.max() - means.min())
    assert found["tier_gap"]["S"] is None, "the study has no tiers"


def test_measures_of_effects_equal_a_plain_loop(compared: Run) -> None:
    survey, model = read_effects(compared.survey_effects), read_effects(compared.model("ace") / "effects.parquet")
    both = survey[survey["supported"]].merge(model, on=TOGGLE, suffixes=("", "_m"))
    both = both[both["question"].isin(["q4", "q5"])]
    found = numbers(compared)["held_out"]["ace"]
    assert found["toggles"] == len(both) == 12
    apart = [
        np.abs(np.cumsum(row["p_treated_m"] - row["p_reference_m"] - row["p_treated"] + row["p_reference"])).mean()
        for _, row in both.iterrows()
    ]
    assert found["effect_distance"] == pytest.approx(np.mean(apart))
    ours, theirs = both["shift_m"].to_numpy(dtype=float), both["shift"].to_numpy(dtype=float)
    cosine = (ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum())
    assert found["shift_correlation"] == pytest.approx(cosine)
    shares = dict(found["classes"])
    uncertain = shares.pop("undetermined")
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["aligned"] == pytest.approx((np.abs(ours - theirs) <= 0.05).mean())
    rows = diagnose(load_inputs(str(compared.path))).models
    rows = rows[(rows["label"] == "ace") & (rows["split"] == "held_out")]
    assert uncertain == pytest.approx((rows["certain_class"] == "undetermined").mean())


def test_trivial_rules_are_in_every_part_and_have_no_effect(compared: Run) -> None:
    found = numbers(compared)
    assert list(found) == ["held_out", "trained", "all"]
    for part in found.values():
        assert list(part) == ["base", "ace", MARGINAL, UNIFORM, PERFECT]
        for name in (MARGINAL, UNIFORM):
            assert part[name]["shift_correlation"] is None
            assert part[name]["classes"]["flipped"] == part[name]["classes"]["stereotyped"] == 0
        assert part[UNIFORM]["effect_distance"] == part[MARGINAL]["effect_distance"]
        assert part[UNIFORM]["S"] < part[MARGINAL]["S"] < part[PERFECT]["S"] < 100
        assert 0 < part[PERFECT]["effect_distance"] < part["base"]["effect_distance"]
        assert part[PERFECT]["classes"]["undetermined"] is None
        assert 0 < part[PERFECT]["range_over_personas"]["S"] < part[MARGINAL]["range_over_personas"]["S"]
    effects = read_effects(compared.survey_effects)
    assert effects["supported"].all()
    noise, size = np.square(effects["std_error"]).sum(), np.square(effects["shift"]).sum()
    assert found["all"][PERFECT]["shift_correlation"] == pytest.approx(np.sqrt(1 - noise / size))
    survey = read_distributions(compared.survey_distributions)
    whole = survey[survey["granularity"] == 0].set_index(["question", "option"])["p"]
    scores = [
        100 * (1 - np.abs(np.cumsum(rows["p"].to_numpy() - whole[question].to_numpy())).sum() / 2)
        for (question, *_), rows in survey.groupby(["question", "gender", "home"], dropna=False)
    ]
    assert found["all"][MARGINAL]["S"] == pytest.approx(np.mean(scores))
    assert found["all"][MARGINAL]["S_by_granularity"]["0"] == pytest.approx(100)


def test_a_training_half_gives_the_marginal(compared: Run, study: Study) -> None:
    """A half whose people all answer evenly: its country marginal is the uniform one."""
    cells = read_distributions(compared.survey_distributions).assign(p=1 / 3)
    write_table(cells, compared.training_distributions, distributions_schema(list(study.attributes)))
    found = numbers(compared)["all"]
    assert found[MARGINAL]["S"] == pytest.approx(found[UNIFORM]["S"])


def test_rivals_are_compared_but_not_shown_in_detail(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    add_rivals(compared, study, toy)
    inputs = load_inputs(str(compared.path))
    assert [model.label for model in inputs.models] == ["base", "ace"]
    assert [model.label for model in inputs.rivals] == ["anchor", "uniform"]
    assert list(inputs.left_out) == ["effect"]
    assert "holds out other parts" in inputs.left_out["effect"]
    found = numbers(compared)["held_out"]
    assert list(found) == ["base", "ace", "anchor", "uniform", MARGINAL, PERFECT], "uniform is there as a label"
    assert found["anchor"] == found["ace"]
    named = load_inputs(str(compared.path), ["base", "anchor"])
    assert [model.label for model in named.models] == ["base", "anchor"]
    assert {model.label for model in named.everyone} == {"base", "ace", "anchor", "uniform"}


def test_the_computed_and_the_measured_uniform_agree(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    before = numbers(compared)["held_out"][UNIFORM]
    add_rivals(compared, study, toy)
    after = numbers(compared)["held_out"]["uniform"]
    for name in ("S", "NMAE", "modal_accuracy", "effect_distance"):
        assert after[name] == pytest.approx(before[name])
    assert after["classes"] == pytest.approx(before["classes"])


def test_a_rival_made_from_other_tables_is_stale(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    add_rivals(compared, study, toy)
    record = compared.inputs("measure/uniform") | {"survey_distributions": "other"}
    files = [compared.model("uniform") / f"{name}.parquet" for name in ("distributions", "effects")]
    compared.record(study, "measure/uniform", record, files)
    assert main([str(compared.path), "--quiet"]) == 2
    shown = load_inputs(str(compared.path), ["base", "ace"])
    assert "align.fit STUDY --baselines uniform" in shown.left_out["uniform"]
    assert UNIFORM in compare(shown, diagnose(shown))["all"]


def test_the_tier_gap_by_hand(tmp_path: Path, toy: SimpleNamespace) -> None:
    raw = toy.raw()
    raw["survey"] = {"source": "x.csv", "country": "land", "tiers": {"A": "high", "B": "low"}}
    study = Study.from_dict(raw)
    data = toy.answers().assign(
        land=lambda rows: np.where(rows.index % 3 == 0, "A", np.where(rows.index % 3 == 1, "B", "C"))
    )
    run = toy.make_run(tmp_path / "run", study, data)
    toy.add_label(run, study, "base", lambda rows: rows["p"].where(rows["country"] == "A", 0.5 * rows["p"] + 0.5 / 3))
    found = numbers(run)["all"]
    survey = read_distributions(run.survey_distributions)
    means = {}
    for country, rows in survey[survey["country"] != "C"].groupby("country"):
        cells = rows.groupby(KEY, dropna=False)["p"]
        half = [100 * (1 - np.abs(np.cumsum(0.5 * p.to_numpy() - 0.5 / 3)).sum() / 2) for _, p in cells]
        means[country] = 100.0 if country == "A" else float(np.mean(half))
    assert found["base"]["tier_gap"]["S"] == pytest.approx(100 - means["B"])
    assert 0 < found[PERFECT]["tier_gap"]["S"] < 1
    inputs = load_inputs(str(run.path))
    (table,) = comparison_tables(inputs, found and {"all": found})
    assert "tier gap" in table.head


def test_the_table_is_on_stdout_in_the_page_and_in_the_scores(
    compared: Run, study: Study, toy: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    add_rivals(compared, study, toy)
    assert main([str(compared.path)]) == 0
    out = capsys.readouterr().out
    page = (compared.path / "report.html").read_text(encoding="utf-8")
    stored = json.loads((compared.path / "scores.json").read_text(encoding="utf-8"))
    assert list(stored["labels"]) == ["base", "ace"]
    assert stored["comparison"] == numbers(compared)
    tables = re.findall(r'<table class="compared">.*?</table>', page, flags=re.DOTALL)
    assert len(tables) == 3
    for part, table in zip(stored["comparison"].values(), tables, strict=True):
        rows = re.findall(r"<tr[^>]*><td>(.*?)</td>(.*?)</tr>", table)
        assert [name for name, _ in rows] == list(part)
        for name, row in rows:
            values = re.findall(r">([^<]+)</td>", row)
            assert f"{part[name]['S']:.1f}" in values
            assert f"{part[name]['effect_distance']:.4f}" in values
            assert re.search(rf"^{name} +{' +'.join(map(re.escape, values))} *$", out, flags=re.MULTILINE)
    assert "no fair comparison" in tables[1]
    assert "left out effect" in out
    detail = page[: page.index("All methods side by side")]
    assert ">ace<" in detail
    assert ">anchor<" not in detail


def captions(run: Run) -> dict[str, str]:
    inputs = load_inputs(str(run.path))
    found = compare(inputs, diagnose(inputs))
    return dict(zip(found, (table.caption for table in comparison_tables(inputs, found)), strict=True))


def retrain(run: Run, study: Study, **fit: object) -> None:
    """Record that the label ace was trained with other settings."""
    record = run.inputs("fit/ace")
    run.record(study, "fit/ace", record | {"fit": record["fit"] | fit}, [])


def test_validation_questions_are_a_part_of_their_own(compared: Run, study: Study) -> None:
    retrain(compared, study, early_stopping={"questions": ["q3"], "patience": 1})
    inputs = load_inputs(str(compared.path))
    found = compare(inputs, diagnose(inputs))
    assert list(found) == ["held_out", "validation", "trained", "all"]
    assert [part["ace"]["toggles"] for part in found.values()] == [2 * 6, 6, 3 * 6, 6 * 6]
    said = captions(compared)["validation"]
    assert "chose the epoch" in said
    assert "not trained on, but not as clean as" in said
    assert main([str(compared.path), "--quiet"]) == 0
    page = (compared.path / "report.html").read_text(encoding="utf-8")
    assert "On the 1 question that chose its epoch, the effect distance went from" in page
    assert "trained on 3 of 6 questions, never on q4, q5, its epoch chosen on q3" in page
    assert "chose the epoch" in (compared.path / "figures" / "scatter.svg").read_text(encoding="utf-8")


def test_a_rival_that_learnt_what_chooses_the_epoch_is_left_out(
    compared: Run, study: Study, toy: SimpleNamespace
) -> None:
    add_rivals(compared, study, toy)
    assert "anchor" in numbers(compared)["held_out"]
    retrain(compared, study, early_stopping={"questions": ["q3"], "patience": 1})
    assert "anchor" not in numbers(compared)["validation"]
    assert "holds out other parts" in load_inputs(str(compared.path)).left_out["anchor"]


def test_a_rival_alone_has_no_scatter(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    """All labels in detail are stale, a rival is not."""
    add_rivals(compared, study, toy)
    for label in ("base", "ace"):
        (compared.model(label) / "effects.parquet").write_bytes(b"")
    assert main([str(compared.path), "--skip-stale", "--quiet"]) == 0
    assert not (compared.path / "figures" / "scatter.svg").is_file()


def test_rivals_trained_otherwise_are_named(compared: Run, study: Study, toy: SimpleNamespace) -> None:
    add_rivals(compared, study, toy)
    retrain(compared, study, schedule="effect", seed=7)
    assert not origin_notes(load_inputs(str(compared.path)))
    retrain(compared, study, schedule="effect", learning_rate=1e-3, epochs=5)
    fit = compared.inputs("fit/anchor")
    compared.record(study, "fit/anchor", fit | {"fit": fit["fit"] | {"epochs": 2, "learning_rate": 2e-5}}, [])
    (said,) = origin_notes(load_inputs(str(compared.path)))
    assert said.startswith(
        "Not all were trained alike: ace with epochs 6 and learning_rate 0.001; "
        "anchor with epochs 2 and learning_rate 2e-05."
    )


def test_what_captions_say_of_halves(tmp_path: Path, toy: SimpleNamespace) -> None:
    """Where respondents are halved, nobody has seen the answers that are scored against."""
    texts = {}
    for respondents in (None, "half"):
        study = Study.from_dict(toy.raw(fit={"held_out": {"questions": ["q4", "q5"], "respondents": respondents}}))
        run = toy.make_run(tmp_path / str(respondents), study)
        toy.add_label(run, study, "base", toy.shrunk)
        toy.add_label(run, study, "ace", toy.near, trained=True)
        if respondents:
            learnt = toggles_fingerprint(run.training_effects, list(study.attributes))
            run.record(study, "fit/ace", run.inputs("fit/ace") | {"training_toggles": learnt}, [])
        retrain(run, study, early_stopping={"questions": ["q3"], "patience": 1})
        assert main([str(run.path), "--quiet"]) == 0
        texts[respondents] = captions(run), (run.path / "report.html").read_text(encoding="utf-8")
    whole, page = texts[None]
    assert "have seen these answers" in whole["trained"]
    assert "other half" not in " ".join(whole.values())
    assert "can learn their noise" in page
    assert "is the survey itself with" in page
    halved, page = texts["half"]
    for part in ("validation", "trained", "all"):
        assert "as the other half of the respondents answered" in halved[part]
    assert "other half" not in halved["held_out"]
    assert "seen these answers" not in page
    assert "can learn their noise" not in page
    assert "is the survey itself with" not in page


def test_where_nothing_is_held_out_trained_methods_have_seen_all(compared: Run, study: Study) -> None:
    retrain(compared, study, held_out={})
    assert list(captions(compared)) == ["all"]
    assert "have seen these answers" in captions(compared)["all"]


def test_every_heading_of_the_comparison_is_explained_beside_it(compared: Run) -> None:
    assert main([str(compared.path), "--quiet"]) == 0
    page = (compared.path / "report.html").read_text(encoding="utf-8")
    words = page[page.index("All methods side by side") : page.index('<table class="compared">')]
    table = page[page.index('<table class="compared">') :]
    for heading in ("corr.", "NMAE", "range of S", "effect dist.", "modal acc.", "undetermined"):
        assert f">{heading}</th>" in table
        assert f"<em>{heading}</em>" in words
