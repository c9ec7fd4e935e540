"""What one process does among several; that several do the same as one is tested in test_launched.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from align.parallel import ALONE, Processes, Turn, end, leave, note, processes, run_launched
from causal.errors import InputError, RunError


class Among(Processes):
    """One of several, whose exchange is made up: the others' values are given."""

    def gather(self, value):
        return [value if rank == self.rank else self.others(rank, value) for rank in range(self.count)]


def among(rank: int, count: int, others=lambda rank, value: None) -> Processes:
    kind = type("Made", (Among,), {"others": staticmethod(others)})
    return kind(rank, count)


def test_items_are_dealt_out_in_turn_and_come_back_in_order():
    dealt = {0: [0, 3], 1: [1, 4], 2: [2]}
    for rank in range(3):
        one = among(rank, 3, lambda other, value: ["abcde"[item] for item in dealt[other]])
        assert one.turns([1] * 5) == [Turn(item) for item in dealt[rank]]
        assert one.collect(["abcde"[item] for item in dealt[rank]]) == list("abcde")
    assert ALONE.turns([7, 2]) == [Turn(0), Turn(1)]
    assert ALONE.collect("ab") == ["a", "b"]


def test_sharded_processes_pass_through_the_model_equally_often():
    passes = [1, 4, 2, 3, 3]
    turns = [Processes(rank, 3, sharded=True).turns(passes) for rank in range(3)]
    assert turns == [
        [Turn(0, 3), Turn(3, 0)],
        [Turn(1, 0), Turn(4, 0)],
        [Turn(2, 2), Turn(None, 3)],
    ]
    assert [turn.item for turn in Processes(1, 3).turns(passes)] == [1, 4], "idle passes are for sharded models"


def test_an_error_in_a_pass_through_a_sharded_model_is_not_shared():
    """The others wait for weights, so to ask them about it would be to wait for ever."""

    def fail():
        raise RunError("out of memory")

    one = type("Silent", (Processes,), {"gather": lambda self, value: pytest.fail("asked")})(1, 2, True)
    with pytest.raises(RunError, match="out of memory"):
        one.through_model(fail)


def test_sharding_is_asked_for_by_the_launchers_own_word(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(process_index=1, num_processes=2))
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert processes() == Processes(1, 2)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert processes() == Processes(1, 2, sharded=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes() == ALONE, "nothing to share weights with"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_another_process_that_is_gone_is_one_message(monkeypatch, capsys, rank):
    def lost():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:1] Connection closed by peer [127.0.0.1]:1")

    def other():
        raise RuntimeError("shapes differ")

    monkeypatch.setenv("RANK", rank)
    if rank == "0":
        assert run_launched(lost) == 1
        assert capsys.readouterr().err.startswith("failed: another process ended")
    else:
        with pytest.raises(SystemExit) as caught:
            run_launched(lost)
        assert caught.value.code == 1
        assert capsys.readouterr().err == ""
    with pytest.raises(RuntimeError, match="shapes differ"):
        run_launched(other)


def test_a_program_ends_with_its_code_and_at_once_among_several(monkeypatch, capsys):
    def stopped():
        raise SystemExit(130)

    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    for count, code, main in (("1", 2, lambda: 2), ("1", 130, stopped)):
        monkeypatch.setenv("WORLD_SIZE", count)
        with pytest.raises(SystemExit) as caught:
            end(main)
        assert caught.value.code == code
    assert not ended
    monkeypatch.setenv("WORLD_SIZE", "2")
    end(lambda: 0)
    end(stopped)
    assert ended == [0, 130]


@pytest.mark.parametrize(("error", "code"), [(InputError("bad"), 2), (RunError("full"), 1), (OSError("disk"), 1)])
def test_what_fails_in_one_is_raised_by_the_first_and_ends_the_others(error, code):
    def fail():
        raise error

    for rank, work in ((0, lambda: "fine"), (1, fail)):
        one = among(rank, 2, lambda other, value: error if other == 1 else None)
        with pytest.raises(type(error) if rank == 0 else SystemExit) as caught:
            one.together(work)
        assert caught.value is error if rank == 0 else caught.value.code == code


def test_whoever_goes_on_alone_has_the_threads_of_all(monkeypatch):
    import torch

    left = []
    monkeypatch.setattr(
        "accelerate.PartialState", lambda: SimpleNamespace(destroy_process_group=lambda: left.append(1))
    )
    leave()
    assert (left, torch.get_num_threads()) == ([], 1), "one process has nobody to leave"
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    leave()
    assert (left, torch.get_num_threads()) == ([1], 3), "the threads of this machine's processes"


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
