"""What the benchmarks of the model side share: clocks, memory, and what lm-evaluation-harness is asked."""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

MB = 1024**2


@dataclass(frozen=True)
class Measured:
    """One contestant on one item: what it returned, seconds, and the process's peak memory over before, in MB."""

    value: Any
    seconds: float
    peak_mb: float


def measure(work: Callable[[], Any]) -> Measured:
    """Run some work once, with a clock and a watch on memory."""
    with _peak() as peak:
        start = time.perf_counter()
        value = work()
        _wait_for_device()
        seconds = time.perf_counter() - start
    return Measured(value, seconds, peak() / MB)


def tensors_mb(work: Callable[[], Any]) -> float:
    """Run some work once more and return the most that torch's tensors held over what they held before, in MB.

    The process's resident memory, which is what runs out, has what the C library keeps of freed tensors as well:
    hundreds of MB that differ from run to run.
    """
    import torch

    if torch.cuda.is_available():
        return measure(work).peak_mb
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    changes = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = np.cumsum([event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())])
    return float(max(held.max(initial=0), 0)) / MB


@contextmanager
def _peak() -> Iterator[Callable[[], float]]:
    """Yield a function that tells, afterwards, the most bytes held over those held before."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: torch.cuda.max_memory_allocated() - before
        return
    _give_back()
    watch = _Watch()
    watch.start()
    try:
        yield lambda: watch.most - watch.before
    finally:
        watch.stop.set()
        watch.join()


def _give_back() -> None:
    """Return freed memory to the system, so that using it again is seen (glibc keeps it otherwise)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class _Watch(threading.Thread):
    """Looks at the process's resident memory every two milliseconds."""

    def __init__(self) -> None:
        import psutil

        super().__init__(daemon=True)
        self.process = psutil.Process()
        self.before = self.most = self.process.memory_info().rss
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.002):
            self.most = max(self.most, self.process.memory_info().rss)


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def requests(tokenizer: Any, encoded: Sequence[Sequence[Any]]) -> list[Any]:
    """Return what lm-evaluation-harness takes: one request per persona and option, as text."""
    from lm_eval.api.instance import Instance

    say = tokenizer.decode
    flat = itertools.chain.from_iterable(encoded)
    texts = [(say(one.ids[: one.start]), say(one.ids[one.start :])) for one in flat]
    return [Instance("loglikelihood", {}, text, i) for i, text in enumerate(texts)]


def probabilities(logp: np.ndarray, options: int) -> np.ndarray:
    """Return log-probabilities of options as distributions over them, shape (personas, K)."""
    logp = logp.reshape(-1, options).astype(float)
    p = np.exp(logp - logp.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def device_name() -> str:
    """Say what runs the model."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token rows filled up on the right, and their attention mask."""
    import torch

    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
