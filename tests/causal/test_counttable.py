from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal.counttable import CountTable, counter, read_any, read_count_table
from causal.distributions import distributions_table
from causal.effects import survey_effects
from causal.errors import InputError
from causal.grid import grid_from_counts, subsets
from causal.ignorability import checks
from causal.study import Study
from causal.survey import Survey, read_survey

PERSONA = ["nation", "sex", "edu", "residence"]
COUNTS = {"question": "item", "option": "answer", "count": "k"}
SHARES = {"question": "item", "option": "answer", "proportion": "p", "n": "n"}


@pytest.fixture
def unweighted(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the small study without weights; a gender that is not known has a code of its own."""
    del raw["survey"]["weight"]
    raw["attributes"]["gender"]["missing"] = ["?"]
    return raw


def tabulate(people: pd.DataFrame, persona: list[str], answered: bool = False) -> pd.DataFrame:
    """Count people by persona, question and option, independently of the package."""
    wide = people.fillna({"sex": "?", "trust": "silent", "v": "silent"})
    long = wide.melt(id_vars=persona, value_vars=["trust", "v"], var_name="item", value_name="answer")
    if answered:
        long = long[~long["answer"].isin(["dk", "silent"])]
    table = long.groupby([*persona, "item", "answer"]).size().rename("k").reset_index()
    cell = table.groupby([*persona, "item"])["k"]
    return table.assign(n=cell.transform("sum"), p=table["k"] / cell.transform("sum"))


def with_counts(raw: dict[str, Any], counts: dict[str, str], source: Path | str = "none.csv") -> Study:
    survey = raw["survey"] | {"counts": counts, "source": str(source), "missing": ["dk", "silent"]}
    return Study.from_dict(raw | {"survey": survey})


def results(source: Survey | CountTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    counts_for, study = counter(source), source.study
    grids = [grid_from_counts(counts_for(subset), study, source.countries, subset) for subset in subsets(study)]
    return survey_effects(grids, study, source.countries), distributions_table(grids, study, source.countries)


def assert_same_results(
    a: Survey | CountTable,
    b: Survey | CountTable,
    tolerance: float,
    samples: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Compare both tables; ``samples`` are the two sides' respondents per country where a table tells fewer.

    The variance of a domain mean has the factor N / (N - 1), with N the country's whole sample.
    """
    for left, right in zip(results(a), results(b), strict=True):
        if samples is not None:
            factor = [left["country"].map(dict(zip(a.countries, n, strict=True))) for n in samples]
            ours, theirs = (n / (n - 1) for n in factor)
            left["std_error"] *= np.sqrt(theirs / ours)
            if "deff" in left:
                left["deff"] *= theirs / ours
        pd.testing.assert_frame_equal(left, right, rtol=0, atol=tolerance)


def told(counted: CountTable, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """Return the respondents per country that a table of answers tells, and those of its microdata."""
    answered = (survey.answers >= 0).astype(int)
    by_country = [answered[survey.country == i].sum(axis=0).max() for i in range(len(survey.countries))]
    return np.array(by_country), np.bincount(survey.country)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_count_table_gives_what_its_microdata_give_at_every_granularity(
    unweighted: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"t{suffix}"
    table = tabulate(respondents, PERSONA)
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    counted = read_any(with_counts(unweighted, COUNTS, path))
    survey = read_survey(Study.from_dict(unweighted), respondents.fillna({"sex": "?"}))
    assert isinstance(counted, CountTable)
    assert_same_results(counted, survey, 1e-12)
    assert counted.respondents == survey.respondents == 400
    np.testing.assert_allclose(counted.unanswered, survey.unanswered, rtol=0, atol=1e-12)
    np.testing.assert_allclose(counted.unknown, survey.unknown, rtol=0, atol=1e-12)


def test_proportions_with_n_give_the_same_too(unweighted: dict[str, Any], respondents: pd.DataFrame) -> None:
    counted = read_count_table(with_counts(unweighted, SHARES), tabulate(respondents, PERSONA, answered=True))
    survey = read_survey(Study.from_dict(unweighted), respondents.fillna({"sex": "?"}))
    assert_same_results(counted, survey, 1e-9, told(counted, survey))


def test_json_items_give_the_same_too(unweighted: dict[str, Any], respondents: pd.DataFrame, tmp_path: Path) -> None:
    table = tabulate(respondents, PERSONA, answered=True)
    items = [
        {
            "question_id": key[-1],
            "question_text": "?",
            "options": {code: code for code in rows["answer"]},
            "demographics": dict(zip(PERSONA, key[:-1], strict=True)),
            "p_real": dict(zip(rows["answer"], rows["p"], strict=True)),
            "sample_count": int(rows["n"].iloc[0]),
        }
        for key, rows in table.groupby([*PERSONA, "item"])
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(items))
    counted = read_any(Study.from_dict(unweighted | {"survey": unweighted["survey"] | {"source": str(path)}}))
    survey = read_survey(Study.from_dict(unweighted), respondents.fillna({"sex": "?"}))
    assert_same_results(counted, survey, 1e-9, told(counted, survey))


def test_rounded_proportions_leave_whole_numbers_of_respondents(one_question: Any) -> None:
    study = one_question(("a", "b"), survey={"counts": SHARES}, effects={"granularity": "all"})
    shares, sizes = [0.15, 0.25, 0.6], {(0, 0): 295, (0, 1): 606, (1, 0): 516, (1, 1): 871}
    counts = np.outer(list(sizes.values()), shares)
    assert counts.sum(axis=0).sum() != 2288  # floats miss it by a hair
    rows = [("q", a, b, k, share, n) for (a, b), n in sizes.items() for k, share in enumerate(shares, start=1)]
    frame = pd.DataFrame(rows, columns=["item", "a", "b", "answer", "p", "n"])
    _, distributions = results(read_count_table(study, frame))
    everyone = distributions[distributions["granularity"] == 0]
    assert everyone["n"].tolist() == [2288] * 3
    np.testing.assert_allclose(everyone["p"], shares, rtol=0, atol=1e-12)


def test_read_survey_points_a_count_table_to_its_own_reader(unweighted: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"read it with causal\.read_count_table"):
        read_survey(with_counts(unweighted, COUNTS))


def test_overlapping_granularities_are_not_added_up(unweighted: dict[str, Any], respondents: pd.DataFrame) -> None:
    parts = [tabulate(respondents, ["nation", *names]) for names in ([], ["sex"], ["edu"], PERSONA[1:])]
    parts[1] = parts[1][parts[1]["sex"] != "?"]
    counted = read_count_table(with_counts(unweighted, COUNTS), pd.concat(parts, ignore_index=True))
    survey = read_survey(Study.from_dict(unweighted), respondents.fillna({"sex": "?"}))
    assert_same_results(counted, survey, 1e-12)


def test_coarse_personas_leave_finer_toggles_unsupported_with_nobody_in_them(
    unweighted: dict[str, Any], respondents: pd.DataFrame
) -> None:
    table = pd.concat([tabulate(respondents, ["nation", name]) for name in ("sex", "edu")], ignore_index=True)
    counted = read_count_table(with_counts(unweighted, COUNTS), table.assign(residence=None))
    effects = results(counted)[0]
    known = effects[effects["n_reference"] > 0]
    assert set(zip(known["attribute"], known["granularity"], strict=True)) == {("gender", 1), ("education", 1)}
    others = effects.drop(known.index)
    assert len(others) > 0
    assert (others[["n_reference", "n_treated"]] == 0).all(axis=None)
    assert not others["supported"].any()
    people = respondents[
        (respondents["nation"] == "NO") & respondents["trust"].isin(["never", "rarely", "often", "always"])
    ]
    row = known[(known["attribute"] == "gender") & (known["question"] == "trust") & (known["country"] == "NO")]
    assert row["n_reference"].item() == (people["sex"] == "M").sum()
    (check,) = [check for check in checks(counted, effects) if check.name == "count table"]
    assert check.verdict == "warn"
    assert "gender, education, residence" in check.meaning


def test_nonresponse_is_only_told_where_the_table_counts_it(
    unweighted: dict[str, Any], respondents: pd.DataFrame
) -> None:
    known = respondents.dropna(subset="sex")
    for answered in (False, True):
        counted = read_count_table(with_counts(unweighted, COUNTS), tabulate(known, PERSONA, answered=answered))
        found = {check.name: check for check in checks(counted, results(counted)[0])}
        assert ("item nonresponse" in found) is not answered
        assert ("nonresponse is not known" in found["count table"].meaning) is answered


def test_a_table_without_any_granularity_asked_for_is_refused(
    unweighted: dict[str, Any], respondents: pd.DataFrame
) -> None:
    unweighted["effects"]["granularity"] = "full"
    table = tabulate(respondents, ["nation", "sex"]).assign(edu=None, residence=None)
    with pytest.raises(InputError, match="holds personas that specify gender; the study asks for granularity 3"):
        read_count_table(with_counts(unweighted, COUNTS), table)


def test_an_empty_attribute_that_means_unknown_is_found_out(
    unweighted: dict[str, Any], respondents: pd.DataFrame
) -> None:
    table = tabulate(respondents, PERSONA)
    table["sex"] = table["sex"].replace("?", None)
    with pytest.raises(InputError, match=r"without gender count fewer people.*where it means 'unknown', write a code"):
        read_count_table(with_counts(unweighted, COUNTS), table)


def test_questions_may_differ_in_granularity(one_question: Any) -> None:
    study = one_question(("a", "b"), survey={"counts": COUNTS, "country": "land"}, effects={"granularity": "all"})
    rows = [("X", 0, None, 1, 4), ("X", 1, None, 2, 6), ("Y", 0, 0, 1, 3), ("Y", 1, 1, 2, 5)]
    frame = pd.DataFrame(rows, columns=["land", "a", "b", "answer", "k"]).assign(item="q")
    table = read_count_table(study, frame)
    by_a = table.counts_for(["a"])
    assert by_a.country.tolist() == [0, 0, 1, 1]
    assert by_a.n[:, 0].tolist() == [[4, 0, 0], [0, 6, 0], [3, 0, 0], [0, 5, 0]]
    assert table.counts_for(["a", "b"]).country.tolist() == [1, 1]
    assert table.counts_for(["b"]).country.tolist() == [1, 1]
    assert table.counts_for([]).n.sum() == 18


def test_the_hash_follows_the_counts(unweighted: dict[str, Any], respondents: pd.DataFrame) -> None:
    table = tabulate(respondents, PERSONA)
    study = with_counts(unweighted, COUNTS)
    first = read_count_table(study, table).data_hash
    assert read_count_table(study, table.assign(unused=1)).data_hash == first
    table.loc[0, "k"] += 1
    assert read_count_table(study, table).data_hash != first
