from __future__ import annotations

import subprocess
import sys

import pytest

from causal.cli import run_command, study_parser
from causal.errors import GateError, InputError


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("no such file"), 2, "error: no such file\n"),
        (GateError("thin support"), 3, "gate: thin support\n"),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept, run the same command to go on\n"),
    ],
)
def test_what_a_user_can_cause_becomes_an_exit_code_and_one_message(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert run_command(command) == code
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", message)


def test_success_is_0_and_other_errors_keep_their_traceback() -> None:
    assert run_command(lambda: None) == 0

    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(broken)


def test_overrides_are_collected_in_order() -> None:
    found = study_parser("p", "d").parse_args(["s.yaml", "--set", "a=1", "--set", "b.c=[2]", "--out", "r"])
    assert (found.study, found.out, found.overrides) == ("s.yaml", "r", ["a=1", "b.c=[2]"])
    assert study_parser("p", "d").parse_args(["s.yaml"]).overrides == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PermissionError(13, "Permission denied", "run/x"), 2, "no permission for run/x"),
        (
            OSError(28, "No space left on device", "run/x"),
            1,
            "failed: No space left on device: run/x; earlier results are ",
        ),
        (OSError(28, "Error writing bytes to file. Detail: [errno 28]", "run/x"), 1, "on device: run/x; earlier"),
        (OSError(28, "", "x"), 1, "results are intact. Make room and run the same command to go on"),
        (OSError(5, "", "x"), 1, "failed: Input/output error: x; earlier results are intact\n"),
    ],
)
def test_what_the_disk_refuses_is_one_message(
    error: OSError, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert run_command(command) == code
    assert message in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_failure() -> None:
    talk = "lambda: [print('x' * 99) for _ in range(9999)]"
    script = f"import sys; from causal.cli import run_command; sys.exit(run_command({talk}))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
