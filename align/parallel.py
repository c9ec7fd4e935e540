"""One process or several: who takes which item, who writes, and one message when one of them fails."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from causal.cli import run_command
from causal.errors import InputError, RunError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_SHARDING = {
    "FSDP": "ACCELERATE_USE_FSDP",
    "DeepSpeed": "ACCELERATE_USE_DEEPSPEED",
    "Megatron": "ACCELERATE_USE_MEGATRON_LM",
}
_SEVERAL = "accelerate launch --multi_gpu --num_processes 2 -m align.fit ..."


@dataclass(frozen=True)
class Processes:
    """The processes that train together, each with the whole model.

    Attributes
    ----------
    rank, count : int
        Which of them this is, from 0, and how many there are. Process 0 writes the files and speaks.
    """

    rank: int = 0
    count: int = 1

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

    def share_out(self, items: Sequence[Any], work: Callable[[Any], T]) -> list[T]:
        """Do the i-th of some items in process i modulo their number; return all results, in the items' order."""
        mine = self.together(lambda: [work(item) for item in items[self.rank :: self.count]])
        found = self.gather(mine)
        return [found[i % self.count][i // self.count] for i in range(len(items))]

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
    """Return the processes that a launcher (accelerate, torchrun) started; `ALONE` without one.

    Raises
    ------
    InputError
        The launcher was told to shard the model over processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes)


def leave() -> None:
    """End the exchange between processes: from here on each goes on, or ends, by itself."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()


def note(text: str) -> None:
    """Say something on stderr, once however many processes there are."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"note: {text}", file=sys.stderr)


def run_launched(command: Callable[[], None]) -> int:
    """Run a command in each process that a launcher started, as `run_command` does; only process 0 speaks."""
    if int(os.environ.get("RANK", "0")) == 0:
        return run_command(lambda: _loudly(command))
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        return run_command(lambda: _quietly(command))


def _loudly(command: Callable[[], None]) -> None:
    _look_at_launcher()
    command()


def _quietly(command: Callable[[], None]) -> None:
    try:
        _look_at_launcher()
    except InputError:
        raise SystemExit(2) from None
    try:
        command()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _look_at_launcher() -> None:
    """Refuse sharding, and say so if accelerate started one process where several were asked for."""
    sharded = [name for name, key in _SHARDING.items() if os.environ.get(key, "false").lower() in ("1", "true")]
    if sharded:
        raise InputError(
            f"the launcher was told to shard the model ({sharded[0]}), which align.fit cannot do: every process "
            f"holds the whole model; launch it as {_SEVERAL} with a model that fits on one device"
        )
    accelerated = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if accelerated and "WORLD_SIZE" not in os.environ:
        note(
            "accelerate started one process, as it does where it sees no GPUs, so one trains; "
            f"for several, on CPU too: {_SEVERAL}"
        )
