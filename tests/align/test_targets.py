from __future__ import annotations

import numpy as np
import pandas as pd

from align.targets import targets
from causal.counts import count
from causal.effects import survey_effects
from causal.grid import grid_from_counts
from causal.study import Study
from causal.survey import read_survey
from causal.tables import read_distributions, read_effects


def test_each_persona_once_and_both_ends_of_every_toggle(study, run):
    effects, cells = read_effects(run.survey_effects), read_distributions(run.survey_distributions)
    found = targets(study, effects, ["trust", "taxes"])
    assert [(t.country, t.question) for t in found] == [(c, q) for c in ("NO", "SE") for q in ("trust", "taxes")]
    for target in found:
        assert len(target.personas) == 4
        assert len(target.reference) == 4, "two attributes in two contexts each"
        for position, p in zip(
            [*target.reference, *target.treated], [*target.p_reference, *target.p_treated], strict=True
        ):
            persona = target.personas[position]
            own = (cells["country"] == target.country) & (cells["question"] == target.question)
            for name, level in persona.items():
                own &= cells[name] == level
            np.testing.assert_allclose(cells[own].sort_values("option")["p"], p)
        ends = [(target.personas[r], target.personas[t]) for r, t in zip(target.reference, target.treated, strict=True)]
        for reference, treated in ends:
            changed = [name for name in reference if reference[name] != treated[name]]
            assert len(changed) == 1
            assert reference[changed[0]] == next(iter(study.attributes[changed[0]].levels))


def test_unsupported_toggles_are_no_targets(study, run):
    effects = read_effects(run.survey_effects)
    none = effects.assign(supported=False)
    assert targets(study, none, ["trust"]) == []
    some = effects.assign(supported=(effects["attribute"] == "gender") & (effects["country"] == "NO"))
    assert [len(t.reference) for t in targets(study, some, ["trust"])] == [2]


def test_pooled_effects_are_no_targets(study, run):
    effects = read_effects(run.survey_effects)
    both = pd.concat([effects, effects.assign(estimator="pooled", p_treated=effects["p_reference"])])
    for raw, with_pooled in zip(targets(study, effects, ["trust"]), targets(study, both, ["trust"]), strict=True):
        np.testing.assert_array_equal(with_pooled.p_treated, raw.p_treated)
        np.testing.assert_array_equal(with_pooled.treated, raw.treated)


def test_adjacent_steps_pair_neighbours_and_each_persona_stands_once():
    levels = {name: {"codes": [i], "persona": name} for i, name in enumerate(("low", "middle", "high"))}
    study = Study.from_dict(
        {
            "name": "steps",
            "survey": {"source": "n.csv", "country": {"constant": "X"}},
            "attributes": {"a": {"levels": levels, "contrasts": "adjacent"}},
            "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
        }
    )
    people = pd.DataFrame({"a": np.repeat([0, 1, 2], 20), "q": [1] * 20 + [1, 2] * 10 + [2] * 20})
    survey = read_survey(study, people)
    effects = survey_effects([grid_from_counts(count(survey), study, ("X",), ("a",))], study, ("X",))
    (found,) = targets(study, effects, ["q"])
    assert found.personas == ({"a": "low"}, {"a": "middle"}, {"a": "high"})
    assert list(zip(found.reference, found.treated, strict=True)) == [(0, 1), (1, 2)]
    np.testing.assert_array_equal(found.p_reference, [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(found.p_treated, [[0.5, 0.5], [0, 1]])
