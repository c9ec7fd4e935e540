"""Cells partially pooled by a multilevel model: a persona borrows from those that share its levels.

The first half of multilevel regression and poststratification (Gelman and Little 1997; Park, Gelman and Bafumi 2004),
linear in the cumulative distribution: a question's mean, one random effect per level of each attribute, and one per
persona for what is left. A small cell comes near what its levels say, a large one stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

_LOWEST, _START, _HIGHEST = 1e-9, 1e-2, 1e2
"""Of a variance component, in binomial variances: as good as none, where to begin, as good as no pooling."""
_PRECISION = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 1000}
_CONSTANT = 1e-9
"""Variance of a threshold below which (nearly) everybody answers alike."""


@dataclass(frozen=True)
class Cells:
    """The personas of one (country, question).

    Attributes
    ----------
    levels : ndarray of str, shape (personas, attributes)
        Each persona's level of each attribute.
    n : ndarray, shape (personas,)
        As many independent respondents as each cell is worth, above 0.
    p : ndarray, shape (personas, K)
        Their distributions over the ordered options.
    """

    levels: np.ndarray
    n: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Components:
    """How much personas differ, in units of the sampling variance of one answer.

    Attributes
    ----------
    attributes : ndarray, shape (attributes,)
        Variance of the random effects of each attribute's levels.
    rest : float
        Variance of what is left of a persona: interactions.
    """

    attributes: np.ndarray
    rest: float


def fit_components(questions: Sequence[Cells]) -> Components:
    """Estimate the variance components by restricted maximum likelihood, the same for all (country, question)s.

    Every question has a mean of its own (a fixed effect). A threshold of the cumulative distribution is divided by its
    binomial standard deviation over the question's people, so a cell's sampling variance is 1/n; the thresholds of a
    question count as one together (a composite likelihood), and those at which everybody answers alike not at all.

    Raises
    ------
    ValueError
        No question, or questions with different attributes.
    """
    attributes = {cells.levels.shape[1] for cells in questions}
    if len(attributes) != 1:
        raise ValueError(f"questions with as many attributes are needed, not with {sorted(attributes) or 'none'}")
    stacks = list(_stacks([cells for cells in questions if _thresholds(cells)[1].size]))

    def deviance(logs: np.ndarray) -> tuple[float, np.ndarray]:
        found = [stack.deviance(np.exp(logs)) for stack in stacks]
        slopes = np.sum([slope for _, slope in found], axis=0) * np.exp(logs)
        return float(sum(value for value, _ in found)), slopes

    bounds = [(np.log(_LOWEST), np.log(_HIGHEST))] * (attributes.pop() + 1)
    start = np.full(len(bounds), np.log(_START))
    steepest = max(1.0, float(np.abs(deviance(start)[1]).max()))

    def scaled(logs: np.ndarray) -> tuple[float, np.ndarray]:
        """With a first step of at most 1 in any logarithm: a longer one may end where others have no slope left."""
        value, slopes = deviance(logs)
        return value / steepest, slopes / steepest

    found = np.exp(minimize(scaled, start, jac=True, bounds=bounds, options=_PRECISION).x)
    return Components(found[:-1], float(found[-1]))


def partially_pool(cells: Cells, components: Components) -> np.ndarray:
    """Return the best linear unbiased prediction of each persona's distribution, shape (personas, K).

    Each is a weighted mean of the question's cells. Weights can be negative: what falls below 0 is set to 0, and the
    distribution scaled to sum to 1.
    """
    variances = np.append(components.attributes, components.rest)
    between = np.tensordot(variances, _same(cells.levels), axes=1)
    precision = np.linalg.inv(between + np.diag(1 / cells.n))
    mean = precision.sum(axis=0) / precision.sum()
    rest = np.eye(len(cells.n)) - mean
    found = np.maximum((mean + between @ precision @ rest) @ cells.p, 0)
    return found / found.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class _Stack:
    """Questions about the same personas: shapes (attributes + 1, personas, personas), (questions, personas) and
    (questions, personas, personas)."""

    same: np.ndarray
    n: np.ndarray
    products: np.ndarray

    def deviance(self, variances: np.ndarray) -> tuple[float, np.ndarray]:
        """Return -2 log restricted likelihood, but for a constant, and its slope in each variance."""
        total = np.tensordot(variances, self.same, axes=1) + np.eye(self.n.shape[1]) / self.n[:, :, None]
        precision = np.linalg.inv(total)
        ones = precision.sum(axis=2)
        without_mean = precision - ones[:, :, None] * ones[:, None, :] / ones.sum(axis=1)[:, None, None]
        fitted = without_mean @ self.products
        value = np.linalg.slogdet(total)[1] + np.log(ones.sum(axis=1)) + np.trace(fitted, axis1=1, axis2=2)
        slope = (without_mean - fitted @ without_mean).sum(axis=0)
        return float(value.sum()), np.einsum("ij,aji->a", slope, self.same)


def _stacks(questions: Sequence[Cells]) -> Iterator[_Stack]:
    alike: dict[tuple[Any, ...], list[Cells]] = {}
    for cells in questions:
        alike.setdefault(tuple(cells.levels.flat), []).append(cells)
    for own in alike.values():
        yield _Stack(_same(own[0].levels), np.stack([cells.n for cells in own]), np.stack([*map(_products, own)]))


def _same(levels: np.ndarray) -> np.ndarray:
    """Return which personas share a level of each attribute, and last which are the same one."""
    shared = levels.T[:, :, None] == levels.T[:, None, :]
    return np.concatenate([shared, np.eye(len(levels), dtype=bool)[None]]).astype(float)


def _products(cells: Cells) -> np.ndarray:
    """Return the mean over thresholds of the products of each two personas' standardised cumulative shares."""
    cdf, mean = _thresholds(cells)
    apart = (cdf - mean) / np.sqrt(mean * (1 - mean))
    return apart @ apart.T / apart.shape[1]


def _thresholds(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Return the CDFs and that of all personas together, where not (nearly) everybody is on the same side."""
    cdf = cells.p.cumsum(axis=1)[:, :-1]
    mean = cells.n @ cdf / cells.n.sum()
    divided = mean * (1 - mean) > _CONSTANT
    return cdf[:, divided], mean[divided]
