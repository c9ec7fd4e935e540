"""The errors a user can cause, and the exit codes they map to."""

from __future__ import annotations


class InputError(ValueError):
    """Bad arguments, configuration or data: exit code 2.

    The message says what was given, what is allowed and what to do.
    """


class RunError(RuntimeError):
    """A run failed for a reason that its message explains: exit code 1. Finished work is intact."""


class GateError(RuntimeError):
    """An identification or support gate failed under ``--strict``: exit code 3."""
