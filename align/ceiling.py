"""What a perfect model would score on a part of the survey, given how few people answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from align.evaluation import Scores
from align.targets import Persona, Target, persona_of
from causal.ceiling import cell_sizes, perfect_alignment, perfect_distance
from causal.effects import ROUNDING
from causal.study import Study

Sizes = Mapping[tuple[str, str, Persona], float]
"""As many independent respondents as each cell is worth, by country, question and persona."""


def sizes_of_cells(study: Study, distributions: pd.DataFrame) -> Sizes:
    """Return what each cell of the finest granularity is worth (`causal.ceiling.cell_sizes`).

    As in the report, cells with fewer than the study's minimum of respondents say nothing.
    """
    first = distributions[distributions["option"] == 1]
    enough = first[["n", "n_eff"]].min(axis=1) >= study.effects.support - ROUNDING
    cells = first[enough & (first["granularity"] == first["granularity"].max())]
    personas = [persona_of(study, row) for row in cells.to_dict("records")]
    keys = zip(cells["country"], cells["question"], personas, strict=True)
    return dict(zip(keys, cell_sizes(cells), strict=True))


def ceiling(targets: Sequence[Target], sizes: Sizes) -> Scores:
    """Return the scores that a perfect model would have on some targets: S of cells, effect distance of toggles."""
    distances, scores = [], []
    for target in targets:
        options = np.full(len(target.reference), target.p_reference.shape[1])
        ends = target.p_reference, target.p_treated
        distances.append(perfect_distance(*ends, target.n_reference, target.n_treated, options))
        position, first = np.unique(np.concatenate([target.reference, target.treated]), return_index=True)
        p, own = np.concatenate(ends)[first], target.belongs[position]
        n = [sizes[target.country, target.question, tuple(target.personas[i].items())] for i in position[own]]
        scores.append(perfect_alignment(p[own], options[:1].repeat(own.sum()), np.array(n)))
    return Scores(float(np.concatenate(distances).mean()), float(np.concatenate(scores).mean()))
