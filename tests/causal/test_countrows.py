from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causal.countrows import read_rows
from causal.errors import InputError
from causal.study import Study

COUNTS = {"question": "item", "option": "answer", "count": "k"}
SHARES = {"question": "item", "option": "answer", "proportion": "p", "n": "n"}


def table() -> pd.DataFrame:
    """Hold two cells of one question with three options; one option of the second cell has no row."""
    return pd.DataFrame(
        {
            "item": ["q"] * 5,
            "a": [0, 0, 0, 1, 1],
            "answer": [1, 2, 3, 1, 3],
            "k": [2, 3, 5, 4, 1],
            "p": [0.2, 0.3, 0.5, 0.8, 0.2],
            "n": [10, 10, 10, 5, 5],
        }
    )


def rows(one_question: Any, frame: pd.DataFrame, counts: dict[str, str] | None = None, **survey: Any) -> Any:
    return read_rows(one_question(survey={"counts": counts or COUNTS} | survey), frame)[1]


def test_rows_are_encoded_in_the_order_of_the_study(one_question: Any) -> None:
    found = rows(one_question, table())
    assert found.levels.ravel().tolist() == [0, 0, 0, 1, 1]
    assert found.option.tolist() == [0, 1, 2, 0, 2]
    assert found.count.tolist() == [2, 3, 5, 4, 1]
    assert found.specified.all()


def test_proportions_with_n_are_counts(one_question: Any) -> None:
    assert rows(one_question, table(), SHARES).count.tolist() == pytest.approx([2, 3, 5, 4, 1], abs=1e-12)


def test_rounded_proportions_are_scaled_to_sum_to_n(one_question: Any) -> None:
    frame = table()
    frame["p"] = [0.333, 0.333, 0.3335, 0.8, 0.2]  # sums to .9995
    found = rows(one_question, frame, SHARES)
    assert found.count[:3].sum() == pytest.approx(10, abs=1e-12)
    assert found.count[0] == pytest.approx(10 * 0.333 / 0.9995, abs=1e-12)


def test_cells_of_nobody_are_allowed(one_question: Any) -> None:
    frame = table()
    frame.loc[3:, ["p", "n"]] = [None, 0]
    assert rows(one_question, frame, SHARES).count[3:].tolist() == [0, 0]


def test_two_codes_of_one_level_are_no_duplicates(one_question: Any) -> None:
    study = one_question(survey={"counts": COUNTS}).model_dump(mode="json", exclude_none=True)
    study["attributes"]["a"]["levels"]["l1"]["codes"] = [1, 2]
    more = pd.concat([table(), table()[3:].assign(a=2)], ignore_index=True)
    assert len(read_rows(Study.from_dict(study), more)[1].count) == 7


def test_levels_may_be_ranges_of_numbers(one_question: Any) -> None:
    study = one_question(survey={"counts": COUNTS}).model_dump(mode="json", exclude_none=True)
    study["attributes"]["a"] = {
        "levels": {"low": {"range": [0, 30], "persona": "l"}, "high": {"range": [30, None], "persona": "h"}},
        "missing": [99],
    }
    ages = pd.concat([table()[:3].assign(a=age) for age in (0, 29.5, 30, 80, 99, None)], ignore_index=True)
    found = read_rows(Study.from_dict(study), ages)[1]
    assert found.levels[:, 0].reshape(6, -1)[:, 0].tolist() == [0, 0, 1, 1, -1, -1]
    assert found.specified[:, 0].reshape(6, -1)[:, 0].tolist() == [True] * 5 + [False]
    with pytest.raises(InputError, match=r"attribute a \(column a\): 5 rows hold a value that is no number.*18-34"):
        read_rows(Study.from_dict(study), table().assign(a="18-34"))


def test_questions_that_the_study_does_not_name_are_left_out(one_question: Any) -> None:
    other = table().assign(item="other", answer=77, k=-1)
    assert len(rows(one_question, pd.concat([table(), other])).count) == 5


BAD: dict[str, tuple[dict[str, str], Any, str]] = {
    "negative count": (COUNTS, {(1, "k"): -3}, r"row 2: column k is no whole number.*given: -3"),
    "fractional count": (COUNTS, {(1, "k"): 2.5}, r"row 2: column k is no whole number.*given: 2\.5"),
    "missing count": (COUNTS, {(4, "k"): None}, "row 5: column k is no whole number"),
    "missing n": (SHARES, {(3, "n"): None}, "row 4: column n is no whole number"),
    "n differs": (SHARES, {(2, "n"): 11}, "row 3: n differs from that of the cell's other options"),
    "sum": (SHARES, {(2, "p"): 0.502}, r"row 1: the proportions of its cell sum to 1\.002, not 1"),
    "above 1": (SHARES, {(0, "p"): 1.2}, "row 1: column p is no proportion from 0 to 1"),
    "missing p": (SHARES, {(0, "p"): None}, "row 1: column p is no proportion from 0 to 1"),
    "duplicate": (COUNTS, {(1, "answer"): 1}, "row 2: the same country, question, persona and option was counted"),
    "unknown option": (COUNTS, {(1, "answer"): 9}, r"question q \(column answer\): 1 code\(s\).*9 \(1 rows\)"),
    "no option": (COUNTS, {(1, "answer"): None}, "row 2: column answer is empty"),
    "unknown level": (COUNTS, {(1, "a"): 7}, r"attribute a \(column a\): 1 code\(s\).*7 \(1 rows\)"),
    "missing code with p": (SHARES, {(1, "answer"): 99}, "row 2: a missing code has a proportion"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_named(case: str, one_question: Any) -> None:
    counts, cells, message = BAD[case]
    frame = table().astype({"k": float, "n": float, "a": float, "answer": float})
    for (row, column), value in cells.items():
        frame.loc[row, column] = value
    with pytest.raises(InputError, match=message):
        rows(one_question, frame, counts, missing=[99])


def test_all_problems_come_in_one_message_and_no_flood(one_question: Any) -> None:
    frame = pd.concat([table()] * 3, ignore_index=True).assign(k=-1)
    with pytest.raises(InputError) as caught:
        rows(one_question, frame)
    assert str(caught.value).count("no whole number") == 5
    assert "and 10 more rows like these" in str(caught.value)
    assert "row 6: the same country" in str(caught.value)


def test_a_row_without_a_country_is_named(one_question: Any) -> None:
    with pytest.raises(InputError, match="row 3: column land has no country"):
        rows(one_question, table().assign(land=["X", "X", None, "X", "X"]), country="land")


@pytest.mark.parametrize("key", ["weight", "strata", "psu"])
def test_weights_and_design_are_refused(one_question: Any, key: str) -> None:
    with pytest.raises(InputError, match=rf"survey\.{key} is declared, but the source is a count table"):
        rows(one_question, table(), **{key: "k"})


def test_an_id_is_refused(one_question: Any) -> None:
    with pytest.raises(InputError, match=r"survey\.id names respondents, but the source is a count table"):
        rows(one_question, table(), id="k")


def test_none_of_the_questions_is_refused(one_question: Any) -> None:
    with pytest.raises(InputError, match=r"none of the study's questions \(q\); it holds z"):
        rows(one_question, table().assign(item="z"))


@pytest.mark.parametrize(
    "counts",
    [
        {"question": "item", "option": "answer"},
        COUNTS | {"proportion": "p", "n": "n"},
        {"question": "item", "option": "answer", "proportion": "p"},
        COUNTS | {"n": "n"},
    ],
)
def test_the_study_names_a_count_or_a_proportion_with_n(one_question: Any, counts: dict[str, str]) -> None:
    with pytest.raises(InputError, match="give either count, or proportion and n"):
        one_question(survey={"counts": counts})


def test_json_needs_no_column_names(one_question: Any, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("[]")
    with pytest.raises(InputError, match="a JSON file's columns are known, so remove it"):
        read_rows(one_question(survey={"counts": COUNTS, "source": str(tmp_path / "f.json")}))


def test_labelled_files_hold_respondents(one_question: Any, tmp_path: Path) -> None:
    (tmp_path / "f.sav").write_bytes(b"$FL2")
    with pytest.raises(InputError, match=r"cannot read \.sav; readable are \.csv \.tsv \.parquet \.json"):
        read_rows(one_question(survey={"counts": COUNTS, "source": str(tmp_path / "f.sav")}))
