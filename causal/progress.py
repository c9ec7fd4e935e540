"""How far long work is: bars on a terminal, elsewhere (a log, a batch job) a line a minute."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_SECONDS = 60.0
"""Between two lines."""


def progress_bars(shown: bool = True) -> Progress:
    """Return progress bars on stderr, or what says the same in lines where that is no terminal; silent if not shown."""
    terminal = sys.stderr.isatty()
    return (Progress if terminal or not shown else _Lines)(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not (shown and terminal),
        speed_estimate_period=3600,  # a step may take minutes; rich forgets steps older than this
    )


class _Lines(Progress):
    """Bars that are not drawn but told."""

    def __init__(self, *columns: Any, **settings: Any) -> None:
        super().__init__(*columns, **settings)
        self._last = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Note progress, and say it if the last line is a minute old."""
        super().update(task_id, **changes)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Note progress, and say it if the last line is a minute old."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        now = time.monotonic()
        if now - self._last < _SECONDS:
            return
        self._last = now
        task = self._tasks[task_id]
        left = "" if task.time_remaining is None else f", {_duration(task.time_remaining)} left"
        note = f", {task.fields['note']}" if task.fields["note"] else ""
        print(f"{task.description}: {task.completed:.0f} of {task.total:.0f}{left}{note}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{max(minutes, 1)} min"
