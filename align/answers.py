"""A model's answers to every question as every persona: scored pack by pack, then laid out as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from align.parts import Key, Parts
from causal.errors import RunError
from causal.study import Study

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from align.engine import Engine
    from align.models import Loaded
    from align.questions import Asked

WINDOW = 64
"""Questions that are tokenised together, and packed by size."""


def score_all(
    keys: Sequence[Key],
    ask_one: Callable[[Key], Asked],
    engine: Engine,
    parts: Parts,
    advance: Callable[[int, str], None],
) -> None:
    """Score every (country, question) that the parts do not hold yet.

    Parameters
    ----------
    keys : sequence of (country, question)
        What to ask, in an order that does not depend on what is done.
    ask_one : callable
        Gives one of them tokenised.
    engine : Engine
        Scores packs of them.
    parts : Parts
        Holds what is scored.
    advance : callable
        Told how many were scored, and the last question.
    """
    from align.plan import packs

    for first in range(0, len(keys), WINDOW):
        window = keys[first : first + WINDOW]
        if all(key in parts.scores for key in window):
            continue
        asked = [ask_one(key) for key in window]
        for pack in packs([len(one.trie.ids) for one in asked], parts.budget):
            todo = [i for i in pack if window[i] not in parts.scores]
            if todo:
                scores = engine.score([asked[i] for i in todo])
                for i, one in zip(todo, scores, strict=True):
                    _require_probable(window[i], one)
                parts.add([window[i] for i in todo], scores)
                advance(len(todo), window[todo[-1]][1])


def _require_probable(key: Key, scores: np.ndarray) -> None:
    """Raise `RunError` if some persona's log-probabilities are no numbers, or all options are impossible to it."""
    import numpy as np

    if not np.isfinite(scores.max(axis=1)).all():
        raise RunError(
            f"the model's probabilities are not finite (question {key[1]}, {key[0]}), so some of its weights are not "
            "or are too large; what was scored before is kept. Give another model or adapter"
        )


def score_model(
    study: Study, loaded: Loaded, keys: Sequence[Key], who: Sequence[dict[str, str]], folder: Any, inputs: Any
) -> Parts:
    """Return the log-probabilities of every (country, question), going on from what the folder holds of them."""
    from align.engine import Engine
    from align.plan import token_budget
    from align.questions import ask, require_askable
    from align.scoring import plain
    from causal.progress import progress_bars

    causal = plain(loaded.model)
    made_on = {"device": causal.device.type, "dtype": str(causal.dtype)}  # other bits elsewhere
    parts = Parts(folder, {**inputs, **made_on}, token_budget(causal))
    require_askable(study, loaded, [key for key in keys if key not in parts.scores], who)
    engine = Engine(loaded.model, parts.budget)
    with progress_bars() as bars:
        done = sum(key in parts.scores for key in keys)
        bar = bars.add_task(f"asking {loaded.name}", total=len(keys), completed=done, note="")
        score_all(
            keys,
            lambda key: ask(study, loaded, *key, who),
            engine,
            parts,
            lambda count, note: bars.update(bar, advance=count, note=note),
        )
    return parts


def distributions_table(study: Study, parts: Parts, keys: Sequence[Key], who: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Return the distributions table: probabilities renormalised over the options (paper eq. 3)."""
    import numpy as np
    import pandas as pd
    from scipy.special import softmax

    blocks = []
    for key in keys:
        p = softmax(parts.scores[key], axis=1)
        options = p.shape[1]
        columns: dict[str, Any] = {n: np.repeat(column, options) for n, column in _personas(study, key, who).items()}
        columns |= {
            "option": np.tile(np.arange(1, options + 1), len(who)),
            "p": p.ravel(),
            "std_error": 0.0,
            "n": pd.array([None] * p.size, dtype="Int64"),
            "n_eff": np.nan,
        }
        blocks.append(pd.DataFrame(columns))
    return pd.concat(blocks, ignore_index=True)


def off_options_table(study: Study, parts: Parts, keys: Sequence[Key], who: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Return one row per cell with the probability that a model gives to answers that are none of the options."""
    import numpy as np
    import pandas as pd

    blocks = []
    for key in keys:
        off = 1 - np.exp(parts.scores[key]).sum(axis=1)
        blocks.append(pd.DataFrame({**_personas(study, key, who), "off_option": np.clip(off, 0, 1)}))
    return pd.concat(blocks, ignore_index=True)


def off_options_schema(attributes: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of the off-options table."""
    import pyarrow as pa

    names = ["country", "question", *attributes]
    fields = [*((name, pa.string()) for name in names), ("granularity", pa.int64()), ("off_option", pa.float64())]
    return pa.schema(fields)


def _personas(study: Study, key: Key, who: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    """Return the columns that name the cells of one (country, question)."""
    import numpy as np

    columns = {"country": np.full(len(who), key[0], dtype=object), "question": np.full(len(who), key[1], dtype=object)}
    columns |= {name: np.array([persona.get(name) for persona in who], dtype=object) for name in study.attributes}
    return columns | {"granularity": np.array([len(persona) for persona in who])}
