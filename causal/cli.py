"""What the four commands share: arguments and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable

from causal.errors import GateError, InputError, RunError

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
        reason = os.strerror(error.errno) if error.errno else str(error)
        room = ". Make room and run the same command to go on" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        print(f"failed: {reason}: {error.filename or ''}; earlier results are intact{room}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, run the same command to go on", file=sys.stderr)
        return 130
    return 0
