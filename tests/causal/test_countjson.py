from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from causal.countjson import read_json_counts
from causal.errors import InputError


def item(**changes: Any) -> dict[str, Any]:
    return {
        "question_id": "v1",
        "question_text": "Is it so?",
        "options": {"1": "no", "2": "yes"},
        "demographics": {"gender": "Male", "country": "X"},
        "p_real": {"1": 0.25, "2": 0.75},
        "sample_count": 8,
    } | changes


def write(path: Path, *items: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(items)), encoding="utf-8")
    return path


def test_one_row_per_option_and_null_where_an_item_does_not_specify(tmp_path: Path) -> None:
    coarse = item(demographics={"country": "X"}, p_real=[0.5, 0.5], sample_count=16)
    frame = read_json_counts(write(tmp_path / "f.json", item(), coarse))
    assert frame.index.tolist() == ["f.json item 1"] * 2 + ["f.json item 2"] * 2
    assert frame["gender"].fillna("-").tolist() == ["Male", "Male", "-", "-"]
    assert frame["option"].tolist() == ["1", "2", "1", "2"]
    assert frame["p_real"].tolist() == [0.25, 0.75, 0.5, 0.5]
    assert frame["sample_count"].tolist() == [8, 8, 16, 16]


def test_a_folder_is_all_its_files_in_order(tmp_path: Path) -> None:
    write(tmp_path / "data" / "b" / "g.json", item(question_id="v2"))
    write(tmp_path / "data" / "a.json", item())
    frame = read_json_counts(tmp_path / "data")
    assert frame["question_id"].tolist() == ["v1", "v1", "v2", "v2"]
    assert frame.index[-1] == "g.json item 1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_count": None}, "f.json item 2 lacks sample_count"),
        ({"p_real": [0.1, 0.2, 0.7]}, "f.json item 2: p_real has 3 proportions for 2 options"),
        ({"p_real": 0.5}, "f.json item 2: p_real is no mapping"),
        ({"demographics": ["Male"]}, "f.json item 2: demographics is no mapping"),
        ({"demographics": {"p_real": "x"}}, "f.json item 2: a demographic may not be called p_real"),
    ],
)
def test_a_bad_item_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_json_counts(write(tmp_path / "f.json", item(), item(**changes)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "no readable JSON"),
        ("{}", "no list of items"),
        ("[]", "no list of items"),
        ("[1]", "f.json item 1 is no mapping"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_json_counts(tmp_path / "f.json")


def test_a_folder_without_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no \.json file"):
        read_json_counts(tmp_path)
