"""Optional packages: what to say where they are not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from causal.errors import InputError


def require(what: str, packages: Sequence[str], extra: str) -> None:
    """Refuse to go on without some packages, none of which is imported here.

    Parameters
    ----------
    what : str
        What needs them, as the message's subject.
    packages : sequence of str
        Names as they are imported.
    extra : str
        The optional extra that installs them.

    Raises
    ------
    InputError
        Names the missing packages and how to install them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what} needs {', '.join(missing)}, which this installation lacks; "
            f"install it with: pip install 'ace-align[{extra}]' (or pip install '.[{extra}]' in a clone)"
        )
