"""What keeps a file of tensors from being written, as one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causal.errors import RunError


@contextmanager
def writing(path: Path, kept: str) -> Iterator[None]:
    """Turn what keeps a file from being written into one message.

    Parameters
    ----------
    path : Path
        What is written.
    kept : str
        What a user still has, as a clause.

    Raises
    ------
    RunError
        The disk is full, the folder read-only, or the like.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(
            f"cannot write {path}: {reason}; {kept}. Make room, or make it writable, and run the same command to go on"
        ) from error
