"""Populations whose ordered answers follow a cumulative-link model: who is in them, and what moves their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from causal.study import Study

ATTRIBUTES = {
    "gender": ("male", "female"),
    "education": ("college", "no_college"),
    "residence": ("urban", "rural"),
    "marriage": ("married", "not_married"),
}
"""Attributes in the order in which a simulated survey takes them; reference level first."""

Family = Literal["normal", "heavy", "few"]
"""Shape of the effects' distribution, always with mean 0 and variance 1: normal, Student t with three degrees of
freedom, or zero for 19 of 20 and plus or minus the square root of 20 for the others."""

FEW = 0.05
AGES = np.arange(18.0, 90.0)
"""Ages of a population that has ages, equally frequent before they go with the first attribute."""


@dataclass(frozen=True)
class Population:
    """Everything that generates answers. A stands for the attributes, all with two levels.

    Attributes
    ----------
    study : Study
        Names, codes and the granularities of the truth.
    countries : tuple of str
        Country codes, sorted.
    joint : ndarray, shape (countries, 2 ... (A times), 2, 2, ages)
        Population probability of attributes, confounder, engagement and age; sums to 1 in each country. The axis of a
        hidden trait that nobody has is of length 1.
    selection : ndarray, same shape
        Relative probability that such a person is in the sample; the weight is its inverse.
    predictor : ndarray, shape (countries, questions, 2 ... (A times), 2, 2, ages)
        Linear predictor: P(Y <= k) = logistic(threshold_k - predictor - cluster effect).
    thresholds : ndarray, shape (countries or 1, questions, K - 1), or (questions, K - 1)
        Ascending; infinite beyond a question's own options.
    cluster_sd : float
        Standard deviation of the cluster (PSU) effects, drawn for each cluster and question.
    clusters : int
        Clusters per country; every person is equally likely to live in each.
    ages : ndarray, shape (ages,)
        Age in years of each step of the last axis; one step where age plays no part.
    """

    study: Study
    countries: tuple[str, ...]
    joint: np.ndarray
    selection: np.ndarray
    predictor: np.ndarray
    thresholds: np.ndarray
    cluster_sd: float = 0.0
    clusters: int = 40
    ages: np.ndarray = field(default_factory=lambda: AGES[:1])

    @property
    def cuts(self) -> np.ndarray:
        """``thresholds`` of every country, shape (countries, questions, K - 1)."""
        shape = self.thresholds.shape[-2:]
        return np.broadcast_to(self.thresholds, (len(self.countries), *shape))


def make_study(
    attributes: int,
    options: Sequence[int],
    granularity: str | Sequence[int | str],
    weighted: bool,
    psu: bool,
    age: bool = False,
) -> Study:
    """Return a study that reads the data of `causal.simulate.draw`."""
    chosen = list(ATTRIBUTES.items())[:attributes]
    survey = {"source": "simulated.csv", "country": "country"}
    return Study.from_dict(
        {
            "name": "simulated",
            "survey": survey | ({"weight": "weight"} if weighted else {}) | ({"psu": "psu"} if psu else {}),
            "attributes": {
                name: {"levels": {level: {"codes": [i], "persona": level} for i, level in enumerate(levels)}}
                for name, levels in chosen
            },
            "questions": {
                f"q{i:02d}": {"text": f"Question {i}?", "options": {k: f"option {k}" for k in range(1, size + 1)}}
                for i, size in enumerate(options, start=1)
            },
            "covariates": {"age": {}} if age else {},
            "effects": {"granularity": granularity},
        }
    )


def _levels(attributes: int) -> np.ndarray:
    """Level (0 or 1) of attributes, confounder and engagement in every cell, shape (A + 2, 2 ...)."""
    return np.indices((2,) * (attributes + 2))


def _standardised(ages: np.ndarray) -> np.ndarray:
    return (ages - AGES.mean()) / AGES.std()


def make_joint(
    rng: np.random.Generator,
    countries: int,
    attributes: int,
    correlation: float,
    hidden: float,
    ages: np.ndarray,
    age: float,
) -> np.ndarray:
    """Log-linear population: every two attributes, and the first with the confounder and age, are associated."""
    level = _levels(attributes) - 0.5
    among = sum(level[j] * level[k] for j in range(attributes) for k in range(j))
    log = correlation * among + hidden * level[0] * level[attributes]
    main = rng.normal(0, 0.4, (countries, attributes))
    log = log + np.tensordot(main, level[:attributes], axes=1)
    weight = np.exp(np.add.outer(log, 0 * ages) + age * np.multiply.outer(level[0], _standardised(ages)))
    return weight / weight.sum(axis=tuple(range(1, weight.ndim)), keepdims=True)


def make_selection(joint: np.ndarray, attributes: int, strength: float) -> np.ndarray:
    """Relative chance of being sampled: the engaged more among the treated of the first attribute, less elsewhere."""
    level = _levels(attributes)
    chance = expit(strength * (2 * level[0] - 1) * (2 * level[attributes + 1] - 1))
    return np.broadcast_to(chance[..., None], joint.shape)


def make_predictor(
    rng: np.random.Generator,
    joint: np.ndarray,
    questions: int,
    family: Family,
    spread: tuple[float, float, float],
    hidden: tuple[float, float],
    ages: np.ndarray,
    age: float,
) -> np.ndarray:
    """Effects by question, country and context; hidden traits and age raise the answer by their own strength."""
    countries, attributes = len(joint), joint.ndim - 4
    level = _levels(attributes) - 0.5
    main = spread[0] * _effects(rng, family, (1, questions, attributes))
    main = main + spread[1] * _effects(rng, family, (countries, questions, attributes))
    total = np.tensordot(main, level[:attributes], axes=1)
    for j in range(attributes):
        for k in range(j):
            own = spread[2] * _effects(rng, family, (countries, questions))
            total = total + np.multiply.outer(2 * own, level[j] * level[k])
    total = total + hidden[0] * level[attributes] + hidden[1] * level[attributes + 1]
    return np.add.outer(total, age * _standardised(ages))


def _effects(rng: np.random.Generator, family: Family, shape: tuple[int, ...]) -> np.ndarray:
    if family == "normal":
        return rng.normal(0, 1, shape)
    if family == "heavy":
        return rng.standard_t(3, shape) / np.sqrt(3)
    return np.where(rng.random(shape) < FEW, rng.choice([-1.0, 1.0], shape), 0.0) / np.sqrt(FEW)


def make_thresholds(rng: np.random.Generator, options: Sequence[int]) -> np.ndarray:
    """Cuts of a random answer distribution in which every option has its share."""
    cuts = np.full((len(options), max(options) - 1), np.inf)
    for row, size in zip(cuts, options, strict=True):
        share = 0.5 / size + 0.5 * rng.dirichlet(np.full(size, 2.0))
        row[: size - 1] = logit(share.cumsum()[:-1])
    return cuts
