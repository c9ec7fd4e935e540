"""What the four commands share: arguments, exit codes, progress bars."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from causal.errors import GateError, InputError, RunError

if TYPE_CHECKING:
    from rich.progress import Progress

EXIT_CODES = (
    "exit codes: 0 done, 1 failed, 2 bad arguments, configuration or data, "
    "3 a gate failed under --strict, 130 interrupted"
)


def study_parser(prog: str, description: str, optional: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every command that takes a study, ``optional`` where one can do without."""
    parser = argparse.ArgumentParser(prog=prog, description=description, epilog=EXIT_CODES)
    parser.add_argument("study", metavar="STUDY", nargs="?" if optional else None, help="the study file (YAML)")
    parser.add_argument("--out", metavar="RUN", help="the run folder (default: runs/<study name>)")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one key, such as fit.lora.rank=16",
    )
    return parser


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the argument that chooses the report's form."""
    parser.add_argument(
        "--format",
        choices=("html", "md"),
        default="html",
        help="write report.html (default), or report.md with its figures in figures/, for a paper's appendix",
    )


def run_command(command: Callable[[], None]) -> int:
    """Run a command and turn the errors a user can cause into its exit code and one message."""
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except GateError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 3
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output left; all is written
    except PermissionError as error:
        print(
            f"error: no permission for {error.filename}; give another path or change its permissions", file=sys.stderr
        )
        return 2
    except OSError as error:
        print(f"failed: {error.strerror or error}: {error.filename or ''}; earlier results are intact", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, run the same command to go on", file=sys.stderr)
        return 130
    return 0


def progress_bars(shown: bool = True) -> Progress:
    """Return progress bars on stderr, shown when it is a terminal and they are wanted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not (shown and sys.stderr.isatty()),
        speed_estimate_period=3600,  # a step may take minutes; rich forgets steps older than this
    )
