"""A simulated survey of 14 countries in three tiers, by how far a base model's level is off, with known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from causal.errors import InputError
from causal.grid import option_counts
from causal.population import Population
from causal.simulate import Simulated, observe
from causal.study import Study
from causal.worlditems import ATTRIBUTES, COUNTRIES, ITEMS, TIERS, Item

SHARES = ((0.05, 0.1), (1.5, 1.1), (-0.2, 1.3), (-0.4, 0.5))
"""Mean and standard deviation over countries of each attribute's log odds of the treated level."""
TOGETHER = {(0, 1): 0.2, (0, 3): 0.2, (1, 2): 1.0, (1, 3): -0.3, (2, 3): -0.4}
"""Log odds ratios between attributes."""
SAMPLED = (1.0, 0.5, 0.7, 1.0)
"""Chance of a weighted survey to reach the treated level of each attribute, relative to the reference."""


def world_study(items: Mapping[str, Item] = ITEMS, weighted: bool = False) -> Study:
    """Return the study of a simulated world: what a base model is measured with before the truth is made."""
    return Study.from_dict(
        {
            "name": "world",
            "survey": {
                "source": "people.csv",
                "country": "country",
                "countries": {code: name for code, (name, _) in COUNTRIES.items()},
                "tiers": {code: tier for code, (_, tier) in COUNTRIES.items()},
                **({"weight": "weight"} if weighted else {}),
            },
            "attributes": {name: {"levels": _levels(words)} for name, words in ATTRIBUTES.items()},
            "questions": {
                name: {"text": item.text, "topic": item.topic, "options": dict(enumerate(item.options, start=1))}
                for name, item in items.items()
            },
            "effects": {"granularity": "all"},
            # attributes go together without causing one another, as if something unmeasured caused them
            "graph": {"latent": ["circumstances"], "edges": [["circumstances", name] for name in ATTRIBUTES]},
        }
    )


def _levels(words: Mapping[str, str]) -> dict[str, Any]:
    return {level: {"codes": [i], "persona": persona} for i, (level, persona) in enumerate(words.items())}


def simulate_world(
    items: Mapping[str, Item] = ITEMS,
    base: pd.DataFrame | None = None,
    *,
    respondents: int = 1200,
    distances: Sequence[float] = (0.25, 0.75, 1.5),
    effect_sd: float = 0.4,
    question_sd: float = 0.15,
    country_sd: float = 0.15,
    interaction: float = 0.2,
    flat: float = 0.5,
    weighted: bool = False,
    seed: int = 0,
) -> Simulated:
    """Draw a world and a sample of each of its countries.

    Answers follow a proportional-odds model. The cuts of a country and question are the base model's, moved up or down
    the scale by the distance of the country's tier, all questions of a topic in the same direction. To that come the
    persona's effects: main effects of a topic, which its questions share but for deviations by question and by country,
    and interactions of pairs of attributes.

    Parameters
    ----------
    items : mapping of str to Item
        The questions.
    base : DataFrame, optional
        The base model's distributions table for `world_study` of these items; its rows without a persona
        (granularity 0) are used. Without it the base is uniform.
    respondents : int
        Per country.
    distances : sequence of float
        How far the level of each of the three tiers is from the base's, on the logit scale.
    effect_sd, question_sd, country_sd : float
        Standard deviations of main effects on the logit scale: over topics and attributes; over the questions of a
        topic; over countries within a question.
    interaction : float
        Share of the personas' variance (each combination of levels counting alike) that is interaction, in [0, 1).
    flat : float
        Share of the uniform distribution in the level taken from ``base``, in [0, 1]: a model may be certain of an
        option; people are not.
    weighted : bool
        Reach fewer people without college and in the countryside, and weigh them up.
    seed : int
        Seed of `numpy.random.default_rng`. The truth does not depend on ``respondents`` or ``weighted``, nor the
        effects on ``base``.

    Returns
    -------
    Simulated
        ``data``, ``study``, and the true ``distributions`` and ``effects`` at every granularity: exact for each full
        persona, averaged for the others over who lives in the country (`Population.joint`).

    Raises
    ------
    InputError
        ``base`` lacks a country or question at granularity 0, or has another number of options.
    """
    if len(distances) != len(TIERS) or not 0 <= interaction < 1 or not 0 <= flat <= 1:
        raise InputError(
            f"simulate_world takes {len(TIERS)} distances, an interaction in [0, 1) and flat in [0, 1]; given are "
            f"{list(distances)}, {interaction} and {flat}"
        )
    study = world_study(items, weighted)
    who, moves, ways, sample = (np.random.default_rng([seed, stream]) for stream in range(4))
    joint = _joint(who)
    effects = _persona_effects(moves, list(items.values()), (effect_sd, question_sd, country_sd), interaction)
    population = Population(
        study,
        tuple(COUNTRIES),
        joint,
        _selection(joint, weighted),
        (effects + _offsets(ways, list(items.values()), distances))[..., None, None, None],
        _cuts(study, base, flat),
    )
    return observe(population, respondents, sample)


def write_world(made: Simulated, folder: Path) -> Path:
    """Write ``people.csv`` and ``study.yaml`` to a folder, ready for every command; return the study's path."""
    made.data.to_csv(folder / "people.csv", index=False)
    made.study.save(folder / "study.yaml")
    return folder / "study.yaml"


def _sides() -> np.ndarray:
    """Level of each attribute in each persona, -1/2 or 1/2, shape (attributes, 2, 2, 2, 2)."""
    return np.indices((2,) * len(ATTRIBUTES)) - 0.5


def _joint(rng: np.random.Generator) -> np.ndarray:
    """Who lives in each country, shape (countries, 2, 2, 2, 2, 1, 1, 1): no hidden trait, no age."""
    mean, sd = np.array(SHARES).T
    side = _sides()
    log = np.tensordot(rng.normal(mean, sd, (len(COUNTRIES), len(mean))), side, axes=1)
    log = log + sum(ratio * side[j] * side[k] for (j, k), ratio in TOGETHER.items())
    weight = np.exp(log)
    return (weight / weight.sum(axis=tuple(range(1, weight.ndim)), keepdims=True))[..., None, None, None]


def _selection(joint: np.ndarray, weighted: bool) -> np.ndarray:
    if not weighted:
        return np.ones_like(joint)
    chance = np.prod([np.where(side > 0, low, 1.0) for side, low in zip(_sides(), SAMPLED, strict=True)], axis=0)
    return np.broadcast_to(chance[..., None, None, None], joint.shape)


def _persona_effects(
    rng: np.random.Generator, items: Sequence[Item], spread: tuple[float, float, float], interaction: float
) -> np.ndarray:
    """Return the effects on the predictor, shape (countries, questions, 2, 2, 2, 2); mean 0 over personas."""
    side = _sides()
    pairs = [(j, k) for j in range(len(side)) for k in range(j)]
    topics = sorted({item.topic for item in items})
    place = [topics.index(item.topic) for item in items]
    main = rng.normal(0, spread[0], (len(topics), len(side)))[place]
    crossed = rng.normal(0, 1, (len(topics), len(pairs)))[place]
    main = main + rng.normal(0, spread[1], main.shape)
    main = main + rng.normal(0, spread[2], (len(COUNTRIES), *main.shape))
    # products of two sides, doubled, vary as much as a side does: variances compare as sums of squares
    ratio = interaction / (1 - interaction) * (main**2).sum(axis=-1) / (crossed**2).sum(axis=-1)
    products = np.stack([2 * side[j] * side[k] for j, k in pairs])
    return np.tensordot(main, side, axes=1) + np.tensordot(np.sqrt(ratio)[..., None] * crossed, products, axes=1)


def _offsets(rng: np.random.Generator, items: Sequence[Item], distances: Sequence[float]) -> np.ndarray:
    """Return how far each country's level is from the base's, shape (countries, questions, 1, 1, 1, 1)."""
    topics = sorted({item.topic for item in items})
    up = rng.choice([-1.0, 1.0], (len(COUNTRIES), len(topics)))[:, [topics.index(item.topic) for item in items]]
    tier = np.array([distances[TIERS.index(tier)] for _, tier in COUNTRIES.values()])
    return np.expand_dims(tier[:, None] * up, tuple(range(2, 2 + len(ATTRIBUTES))))


def _cuts(study: Study, base: pd.DataFrame | None, flat: float) -> np.ndarray:
    """Return the cuts of the base's answers, shape (countries, questions, K - 1); infinite beyond a question's own."""
    sizes = option_counts(study)
    cuts = np.full((len(COUNTRIES), len(sizes), int(sizes.max()) - 1), np.inf)
    held = {} if base is None else _levels_of(base)
    for c, country in enumerate(COUNTRIES):
        for q, (question, size) in enumerate(zip(study.questions, sizes, strict=True)):
            p = np.full(size, 1 / size)
            if base is not None:
                found = held.get((country, question), np.zeros(0))
                if len(found) != size:
                    raise InputError(
                        f"base has {len(found)} options of {question} in {country} at granularity 0, and the question "
                        f"has {size}; measure the base model with causal.world.world_study of the same items"
                    )
                p = (1 - flat) * found + flat * p
            # a base that is certain, taken as it is (flat=0), would put a cut at infinity
            cuts[c, q, : size - 1] = logit(np.clip(p.cumsum()[:-1], 1e-9, 1 - 1e-9))
    return cuts


def _levels_of(base: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    rows = base[base["granularity"] == 0].sort_values("option")
    cells = rows.groupby(["country", "question"])["p"]
    return {(str(country), str(question)): p.to_numpy(dtype=float) for (country, question), p in cells}
