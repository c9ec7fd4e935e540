"""The ``pooled`` estimator: empirical Bayes over the contexts and questions of an attribute.

The shift of toggle i of question g is modelled as mu_g + u_i, seen with the noise of its two cells. mu_g has mean 0
and variance ``question`` (questions point in different directions), u_i mean 0 and variance ``context`` (countries
and held levels). Estimates are linear in the raw shifts, as if both were normal; intervals do not rest on that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from causal.estimators.robust import critical_value

DRAWS = 25
"""Values of the two variance components over which the posterior is averaged."""
UNIT_RESPONDENTS = 20.0
"""Respondents that the question's average answer variance counts for, beside a toggle's own."""
_LARGEST = 1.0  # no variance of a shift exceeds 1
_STEPS = 40
_GRID = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 160)])  # standard deviations of true shifts


@dataclass(frozen=True)
class Components:
    """The two variance components of a set of toggles, point estimates and how sure they are.

    Attributes
    ----------
    question, context : float
        Paule-Mandel estimates of the variance of mu_g and of u_i.
    question_draws, context_draws : ndarray, shape (DRAWS,)
        Values as likely as each other, jointly.
    question_kurtosis, context_kurtosis : float
        E[x**4] / E[x**2]**2 of mu_g and u_i, at least 3, the value of a normal distribution.
    """

    question: float
    context: float
    question_draws: np.ndarray
    context_draws: np.ndarray
    question_kurtosis: float
    context_kurtosis: float


@dataclass(frozen=True)
class Posterior:
    """Pooled shift of each toggle, its standard error and interval, each of shape (toggles,)."""

    shift: np.ndarray
    std_error: np.ndarray
    conf_low: np.ndarray
    conf_high: np.ndarray


def noise_variance(std_error: np.ndarray, n_eff: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sampling variance of each raw shift, steady enough at ten respondents to weigh by.

    A small cell whose members happen to agree has a standard error of 0. The variance per respondent is therefore
    averaged with that of the question (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3, 3,
    with a fixed prior weight), after the usual n / (n - 1).

    Parameters
    ----------
    std_error : ndarray, shape (toggles,)
        Design-based standard errors of the raw shifts.
    n_eff : ndarray, shape (toggles, 2)
        Effective respondents of the two cells.
    group : ndarray of int, shape (toggles,)
        Question of each toggle, 0 to groups - 1.
    """
    pairs = 1 / (1 / n_eff).sum(axis=1)
    smaller = np.maximum(n_eff.min(axis=1), 2.0)
    unit = std_error**2 * pairs * smaller / (smaller - 1)
    known = np.maximum(n_eff.sum(axis=1) - 2, 1e-6)
    average = (np.bincount(group, known * unit) / np.bincount(group, known))[group]
    average = np.maximum(average, 1e-4)  # a question that everybody answers alike
    return (known * unit + UNIT_RESPONDENTS * average) / (known + UNIT_RESPONDENTS) / pairs


def components(shift: np.ndarray, noise: np.ndarray, group: np.ndarray) -> Components:
    """Estimate the variance components: that of contexts within questions, then that of questions.

    The point estimates set Cochran's Q to its expectation (Paule and Mandel 1982; DerSimonian and Kacker 2007,
    Contemporary Clinical Trials 28, 105). The draws are quantiles of the posterior under the restricted normal
    likelihood and a flat prior on the standard deviation (Gelman 2006, Bayesian Analysis 1, 515), so that a component
    estimated as 0 is not taken to be 0.

    Parameters
    ----------
    shift, noise : ndarray, shape (toggles,)
        Raw shifts and their sampling variances.
    group : ndarray of int, shape (toggles,)
        Question of each toggle, 0 to groups - 1, none empty.
    """
    groups = int(group.max()) + 1
    within = len(shift) - groups
    at = (np.arange(DRAWS) + 0.5) / DRAWS
    context = _solve(lambda tau: float(_within(shift, noise, group, tau).q[0]), within) if within else 0.0
    draws = np.zeros(DRAWS)
    if within:
        draws = _quantiles(np.array([_likelihood(shift, noise, group, tau) for tau in _GRID**2])[None], at[None])[0]
    state = _within(shift, noise, group, np.r_[context, draws])
    mean, variance = state.mean[0], state.variance[0]
    question = _solve(lambda omega: float((mean**2 / (variance + omega)).sum()), groups)
    return Components(
        question,
        context,
        _question_draws(state, at),
        draws,
        _kurtosis(mean, variance, question),
        _context_kurtosis(shift - mean[group], noise, variance[group], context),
    )


def _likelihood(shift: np.ndarray, noise: np.ndarray, group: np.ndarray, context: float) -> float:
    """Log of the restricted normal likelihood of the context variance, the question means being free."""
    state = _within(shift, noise, group, context)
    return float(np.log(state.variance).sum() - np.log(noise + context).sum() - state.q[0]) / 2


def _question_draws(state: _Within, at: np.ndarray) -> np.ndarray:
    """One draw for each draw of the context variance; a lattice, so that each meets another quantile."""
    total = state.variance[1:, None] + (_GRID**2)[:, None]
    log = -(np.log(total) + state.mean[1:, None] ** 2 / total).sum(axis=-1) / 2
    return _quantiles(log, at[np.arange(DRAWS) * 7 % DRAWS][:, None])[:, 0]


def _quantiles(log: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Quantiles of variances whose standard deviation has log density ``log`` on the grid, row by row."""
    density = np.exp(log - log.max(axis=1, keepdims=True))
    steps = (density[:, 1:] + density[:, :-1]) / 2 * np.diff(_GRID)
    mass = np.concatenate([np.zeros((len(log), 1)), steps.cumsum(axis=1)], axis=1)
    mass /= mass[:, -1:]
    return np.stack([np.interp(where, row, _GRID) ** 2 for where, row in zip(at, mass, strict=True)])


@dataclass(frozen=True)
class _Within:
    """Precision-weighted question means for several values of the context variance (first axis)."""

    q: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def _within(shift: np.ndarray, noise: np.ndarray, group: np.ndarray, context: np.ndarray | float) -> _Within:
    weight = 1 / (noise + np.reshape(context, (-1, 1)))
    total = _sums(weight, group)
    mean = _sums(weight * shift, group) / total
    q = (weight * (shift - mean[:, group]) ** 2).sum(axis=1)
    return _Within(q, mean, 1 / total)


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sum over the toggles of each group, shape (rows, groups)."""
    groups = int(group.max()) + 1
    return np.stack([np.bincount(group, row, minlength=groups) for row in values])


def _solve(q: Callable[[float], float], target: float) -> float:
    """Find the variance at which a decreasing ``q`` meets its target, 0 where it is below it already."""
    low, high = 0.0, _LARGEST
    if q(low) <= target:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if q(middle) > target else (low, middle)
    return high


def _context_kurtosis(residual: np.ndarray, noise: np.ndarray, mean_variance: np.ndarray, variance: float) -> float:
    """Kurtosis of the deviations from estimated question means, scaled up by what the means absorb."""
    left = 1 - mean_variance / (noise + variance)
    several = left > 1e-6
    return _kurtosis(residual[several] / np.sqrt(left[several]), noise[several], variance)


def _kurtosis(effect: np.ndarray, noise: np.ndarray, variance: float) -> float:
    """Kurtosis of effects seen with normal noise (Armstrong et al., section 3.3), at least 3."""
    if variance <= 0 or not len(effect):
        return 3.0
    weight = 1 / (noise + variance) ** 2
    fourth = np.average(effect**4 - 6 * noise * effect**2 + 3 * noise**2, weights=weight)
    return float(max(fourth / variance**2, 3.0))


def posterior(
    shift: np.ndarray, noise: np.ndarray, group: np.ndarray, found: Components, confidence: float
) -> Posterior:
    """Shrink each shift to its question's mean, and that mean to 0, as far as the variance components say.

    Averaging over the draws of the components carries their uncertainty into the estimate and its variance (Morris
    1983, JASA 78, 47; Laird and Louis 1987, JASA 82, 739). The error of the estimate is a sum of noise, normal by
    the central limit theorem, and of effects left over by shrinking, whose distribution is unknown: the interval
    holds for any with this variance and kurtosis (see `causal.estimators.robust`). Coverage is an average over
    toggles; the few largest effects are covered less often.

    Parameters
    ----------
    shift, noise : ndarray, shape (toggles,)
        Raw shifts and their sampling variances.
    group : ndarray of int, shape (toggles,)
        Question of each toggle.
    found : Components
        From `components`, on the same toggles.
    confidence : float
        Average coverage of the intervals.
    """
    parts = _parts(shift, noise, group, found)
    mean = parts.estimate.mean(axis=0)
    noisy = parts.noise.mean(axis=0)
    left = parts.left.mean(axis=0) + parts.estimate.var(axis=0)
    kurtosis = 3 + parts.cumulant.mean(axis=0) / np.maximum(left, 1e-30) ** 2
    half = critical_value(left / noisy, kurtosis, confidence) * np.sqrt(noisy)
    return Posterior(mean, np.sqrt(noisy + left), np.maximum(mean - half, -1.0), np.minimum(mean + half, 1.0))


@dataclass(frozen=True)
class _Parts:
    """For every draw and toggle: the estimate, and the variances of noise and of effects left in its error.

    ``cumulant`` is the fourth cumulant of the latter; it is 0 if effects are normal.
    """

    estimate: np.ndarray
    noise: np.ndarray
    left: np.ndarray
    cumulant: np.ndarray


def _parts(shift: np.ndarray, noise: np.ndarray, group: np.ndarray, found: Components) -> _Parts:
    """Write the estimate as a weighted sum of the question's raw shifts, and follow noise and effects through it.

    Toggle i keeps 1 - b of its own shift and takes b * c of the question's mean, where b = noise / (noise +
    context) and c = question / (question + variance of that mean); toggle l has the share r_l in that mean.
    """
    context, question = found.context_draws[:, None], found.question_draws[:, None]
    state = _within(shift, noise, group, found.context_draws)
    weight = 1 / (noise + context)
    b = noise * weight
    c = (question / (question + state.variance))[:, group]
    spread = state.variance[:, group]
    share = weight * spread
    taken = b * c
    noise_in_mean = _sums(weight**2 * noise, group)[:, group] * spread**2
    fourth_shares = _sums(weight**4, group)[:, group] * spread**4
    total = noise * (1 - b) + b * taken * spread
    noisy = (1 - b) ** 2 * noise + 2 * (1 - b) * taken * share * noise + taken**2 * noise_in_mean
    own, others = taken * share - b, taken**4 * (fourth_shares - share**4)
    cumulant = (found.context_kurtosis - 3) * context**2 * (own**4 + others)
    cumulant += (found.question_kurtosis - 3) * question**2 * (b - taken) ** 4
    estimate = (1 - b) * shift + taken * state.mean[:, group]
    return _Parts(estimate, noisy, np.maximum(total - noisy, 0.0), cumulant)


def tilted(
    reference: np.ndarray, treated: np.ndarray, n_eff: np.ndarray, score: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distributions nearest to two given ones whose mean scores differ by ``target``.

    Nearest is the sum of Kullback-Leibler divergences, each weighted by its cell's n_eff; the solution tilts both
    exponentially in the score, the smaller cell more (Csiszar 1975, Annals of Probability 3, 146). Before that one
    respondent is spread evenly over the options of each cell, so that unanimous cells can move.

    Parameters
    ----------
    reference, treated : ndarray, shape (toggles, K)
        Raw distributions.
    n_eff : ndarray, shape (toggles, 2)
        Effective respondents of the two cells.
    score : ndarray, shape (K,)
        Score (k-1)/(K-1) of each option.
    target : ndarray, shape (toggles,)
        Pooled shifts, strictly between -1 and 1.
    """
    logs = [np.log((p * n + 1 / p.shape[1]) / (n + 1)) for p, n in ((reference, n_eff[:, :1]), (treated, n_eff[:, 1:]))]
    steps = np.array([[-1.0], [1.0]]) / n_eff.T * n_eff.min(axis=1)
    low, high = np.full(len(target), -500.0), np.full(len(target), 500.0)
    for _ in range(60):
        middle = (low + high) / 2
        ends = [softmax(log + (middle * step)[:, None] * score, axis=1) for log, step in zip(logs, steps, strict=True)]
        below = (ends[1] - ends[0]) @ score < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return ends[0], ends[1]
