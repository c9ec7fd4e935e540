"""One process at a time works on a label of a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from align.parallel import ALONE, Processes
from causal.errors import InputError
from causal.runs import Run


@contextmanager
def at_work(run: Run, labels: Sequence[str], among: Processes = ALONE) -> Iterator[None]:
    """Keep others from training or measuring some labels while the block lasts.

    A label's lock is on a file beside its folder, ``models/.<label>.lock``, which is empty and stays. The lock ends
    with its process, however that ends. Of several processes that train together the first has it.

    Raises
    ------
    InputError
        Another process has the lock of one of the labels.
    """
    with ExitStack() as held:
        among.on_main(lambda: _lock(run, labels, held))
        yield


def _lock(run: Run, labels: Sequence[str], held: ExitStack) -> None:
    from filelock import FileLock, Timeout

    (run.path / "models").mkdir(parents=True, exist_ok=True)
    for label in labels:
        lock = FileLock(run.path / "models" / f".{label}.lock")
        try:
            held.enter_context(lock.acquire(blocking=False))
        except Timeout:
            raise InputError(
                f"another process is at work on label {label} in {run.path}; wait until it ends, end it (a killed "
                "`accelerate launch` leaves its workers running: ps -ef | grep align shows them), or choose another "
                "--label or --out"
            ) from None
