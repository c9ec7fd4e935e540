"""One process or several: who takes which item, who writes, and one message when one of them fails."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from causal.cli import run_command
from causal.errors import InputError, RunError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_FSDP = "ACCELERATE_USE_FSDP"
_REFUSED = {"DeepSpeed": "ACCELERATE_USE_DEEPSPEED", "Megatron": "ACCELERATE_USE_MEGATRON_LM"}
_SEVERAL = "accelerate launch --multi_gpu --num_processes 2 -m align.fit ..."
_SHARDING = "accelerate launch --use_fsdp --num_processes 2 -m align.fit ..."


@dataclass(frozen=True)
class Turn:
    """What a process does while each of the others does an item.

    Attributes
    ----------
    item : int or None
        Its own item, if there is one for it.
    idle : int
        How many passes through the model the longest of the others' items takes beyond its own: none unless sharded.
    """

    item: int | None
    idle: int = 0


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Attributes
    ----------
    rank, count : int
        Which of them this is, from 0, and how many there are. Process 0 writes the files and speaks.
    sharded : bool
        Whether each has a part of the model's weights only (`align.sharding`) instead of the whole model.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def together(self, work: Callable[[], T]) -> T:
        """Run something in every process and return this one's result; if it fails in one, all of them end.

        Raises
        ------
        InputError, RunError, OSError
            In process 0, the first error of any process. The others exit without a word, so that it is said once.
        """
        if self.count == 1:
            return work()
        found, error = None, None
        try:
            found = work()
        except (InputError, RunError, OSError) as caught:
            error = caught
        if failed := [other for other in self.gather(error) if other is not None]:
            if self.main:
                raise failed[0]
            raise SystemExit(2 if isinstance(failed[0], InputError) else 1)
        return found  # type: ignore[return-value]

    def on_main(self, work: Callable[[], None]) -> None:
        """Let process 0 do something, such as writing a file, while the others wait."""
        self.together(work if self.main else lambda: None)

    def through_model(self, work: Callable[[], T]) -> T:
        """Run passes through the model: as `together`, but if it is sharded an error ends this process alone.

        The others wait for its weights then and cannot hear of the error; the launcher ends them.
        """
        return work() if self.sharded else self.together(work)

    def turns(self, passes: Sequence[int]) -> list[Turn]:
        """Return the turns in which this process does its items: the i-th of all is done by process i modulo count.

        Parameters
        ----------
        passes : sequence of int
            How often each item goes through the model.
        """
        mine = range(self.rank, len(passes), self.count)
        if not self.sharded:
            return [Turn(item) for item in mine]
        most = [max(passes[start : start + self.count]) for start in range(0, len(passes), self.count)]
        own = [Turn(item, most[i] - passes[item]) for i, item in enumerate(mine)]
        return own + [Turn(None, many) for many in most[len(own) :]]

    def collect(self, mine: Sequence[T]) -> list[T]:
        """Return what all processes found in their turns, in the items' order."""
        found = self.gather(mine)
        return [found[i % self.count][i // self.count] for i in range(sum(map(len, found)))]

    def gather(self, value: T) -> list[T]:
        """Return every process's value, by rank."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors by their sums over all processes, in one exchange."""
        if self.count == 1:
            return
        import torch
        from accelerate.utils import reduce

        flat = reduce(torch.cat([tensor.reshape(-1) for tensor in tensors]), reduction="sum")
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


ALONE = Processes()


def processes() -> Processes:
    """Return the processes that a launcher (accelerate, torchrun) started; `ALONE` without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, _told(_FSDP))


def leave() -> None:
    """End the exchange between processes: from here on process 0 goes on by itself, with the threads of all here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        from accelerate import PartialState

        PartialState().destroy_process_group()
        torch.set_num_threads(torch.get_num_threads() * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def note(text: str) -> None:
    """Say something on stderr, once however many processes there are."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"note: {text}", file=sys.stderr)


def end(main: Callable[[], int]) -> NoReturn:
    """Exit with what a program returns; one of several processes does so at once, without taking the libraries down.

    torch's threads for exchange between processes (2.13, gloo) now and then abort a process that ends in the usual way,
    on which the launcher kills the others.
    """
    try:
        code: Any = main()
    except SystemExit as error:
        code = error.code
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not isinstance(code, int):
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_launched(command: Callable[[], None]) -> int:
    """Run a command in each process that a launcher started, as `run_command` does; only process 0 speaks."""
    if int(os.environ.get("RANK", "0")) == 0:
        return run_command(lambda: _loudly(command))
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        return run_command(lambda: _quietly(command))


def _loudly(command: Callable[[], None]) -> None:
    _look_at_launcher()
    try:
        command()
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise RunError(
            "another process ended, or the connection to it; what it said comes before or after this. Finished work is "
            "kept: run the same command to go on"
        ) from error


def _quietly(command: Callable[[], None]) -> None:
    try:
        _look_at_launcher()
    except InputError:
        raise SystemExit(2) from None
    try:
        command()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise SystemExit(1) from None


def _lost(error: RuntimeError) -> bool:
    """Tell whether an exchange failed because another process is gone."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or any(words in str(error) for words in ("by peer", "Broken pipe"))


def _told(key: str) -> bool:
    return os.environ.get(key, "false").lower() in ("1", "true")


def _look_at_launcher() -> None:
    """Refuse what is not supported, and say so if accelerate started one process where several were asked for."""
    if refused := [name for name, key in _REFUSED.items() if _told(key)]:
        raise InputError(
            f"the launcher was told to use {refused[0]}, which align.fit does not; launch it as {_SEVERAL} with a "
            f"model that fits on one device, or as {_SHARDING} to shard it"
        )
    accelerated = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if accelerated and "WORLD_SIZE" not in os.environ:
        note(
            "accelerate started one process, as it does where it sees fewer than two GPUs, so one trains; "
            f"for several, on CPU too: {_SEVERAL}"
        )
