from __future__ import annotations

import pytest

from causal.cli import progress_bars, run_command, study_parser
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


def test_progress_is_shown_on_a_terminal_only() -> None:
    assert progress_bars().disable
