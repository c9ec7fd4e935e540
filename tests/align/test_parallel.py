"""What one process does among several; that several do the same as one is tested in test_launched.py."""

from __future__ import annotations

import pytest

from align.parallel import ALONE, Processes, note, run_launched
from causal.errors import InputError, RunError


class Among(Processes):
    """One of several, whose exchange is made up: the others' values are given."""

    def gather(self, value):
        return [value if rank == self.rank else self.others(rank, value) for rank in range(self.count)]


def among(rank: int, count: int, others=lambda rank, value: None) -> Processes:
    kind = type("Made", (Among,), {"others": staticmethod(others)})
    return kind(rank, count)


def test_items_are_dealt_out_in_turn_and_come_back_in_order():
    dealt = {0: ["a!", "d!"], 1: ["b!", "e!"], 2: ["c!"]}
    for rank in range(3):
        one = among(rank, 3, lambda other, value: None if value is None else dealt[other])
        assert one.share_out("abcde", lambda item: item + "!") == ["a!", "b!", "c!", "d!", "e!"]
        seen: list[str] = []
        one.share_out("abcde", seen.append)
        assert [item + "!" for item in seen] == dealt[rank]
    assert ALONE.share_out("ab", str.upper) == ["A", "B"]


@pytest.mark.parametrize(("error", "code"), [(InputError("bad"), 2), (RunError("full"), 1), (OSError("disk"), 1)])
def test_what_fails_in_one_is_raised_by_the_first_and_ends_the_others(error, code):
    def fail():
        raise error

    for rank, work in ((0, lambda: "fine"), (1, fail)):
        one = among(rank, 2, lambda other, value: error if other == 1 else None)
        with pytest.raises(type(error) if rank == 0 else SystemExit) as caught:
            one.together(work)
        assert caught.value is error if rank == 0 else caught.value.code == code


def test_only_the_first_writes():
    done = []
    for rank in range(2):
        among(rank, 2).on_main(lambda rank=rank: done.append(rank))
    assert done == [0]


def test_only_the_first_speaks(monkeypatch, capsys):
    def command():
        print("done")
        note("slow")

    assert run_launched(command) == 0
    assert capsys.readouterr() == ("done\n", "note: slow\n")
    monkeypatch.setenv("RANK", "1")
    assert run_launched(command) == 0
    assert capsys.readouterr() == ("", "")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_launched(interrupted)
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_an_error_of_another_process_alone_is_still_heard(monkeypatch, capsys):
    def fail():
        raise InputError("only here")

    monkeypatch.setenv("RANK", "1")
    assert run_launched(fail) == 2
    assert capsys.readouterr().err == "error: only here\n"
