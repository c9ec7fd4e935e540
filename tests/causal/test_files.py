from __future__ import annotations

import json
from pathlib import Path

import pytest

from causal.files import replace_file, write_json, write_text


def test_text_and_json_are_written_with_their_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "t.txt", "çà\n")
    write_json(tmp_path / "j.json", {"é": [1, None]})
    assert (tmp_path / "a" / "b" / "t.txt").read_text(encoding="utf-8") == "çà\n"
    assert json.loads((tmp_path / "j.json").read_text(encoding="utf-8")) == {"é": [1, None]}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "t.txt"
    path.write_text("old")

    def fail() -> None:
        with replace_file(path) as beside:
            beside.write_text("half")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "j.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "j.json", {1, 2})
    assert [path.name for path in tmp_path.iterdir()] == ["j.json"]
    assert (tmp_path / "j.json").read_text() == "1\n"


def test_file_beside_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with replace_file(tmp_path / "t.parquet") as beside:
        assert (beside.parent, beside.suffix) == (tmp_path, ".parquet")
        beside.touch()
    assert (tmp_path / "t.parquet").is_file()


def test_what_json_has_no_word_for_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
