"""The learners of the econml package, on arrays: each respondent's effect, and what its average's variance needs.

Their own standard errors are not used: those of averages ignore weights and clusters, and that of a forest with K
outcomes is too small by the square root of K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 0
RIDGE = 1.0
"""Penalty of the nuisance models on a feature's coefficient, in respondents."""
BOUND = 0.02
"""Propensities are kept between this and one minus this, so that nobody stands for more than fifty."""
TREES = 100
LEAF = 5
"""Smallest leaf of a tree, in respondents."""
GROWN_ON = 1000
"""Respondents that a tree is grown on at most, so that time stays about linear in them."""


@dataclass(frozen=True)
class Sample:
    """Respondents of one country at two levels of an attribute, who answered one question.

    Attributes
    ----------
    y : ndarray, shape (people, options)
        Indicator of the option chosen.
    arm : ndarray of int, shape (people,)
        0 at the reference, 1 at the treated level.
    weight : ndarray, shape (people,)
        Weights with mean 1.
    context : ndarray of int, shape (people,)
        Number of the held levels.
    cell : ndarray of int, shape (people,)
        Number of the levels of all attributes that are adjusted for; finer than ``context``.
    features : ndarray, shape (people, features)
        All that is adjusted for, as standardised numbers.
    fold : ndarray of int, shape (people,)
        Fold of the cross-fitting; every respondent's nuisances come from the others.
    """

    y: np.ndarray
    arm: np.ndarray
    weight: np.ndarray
    context: np.ndarray
    cell: np.ndarray
    features: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True)
class Scores:
    """A fitted learner.

    Attributes
    ----------
    effect : ndarray, shape (people, options)
        econml's ``effect(X)`` of each respondent.
    residual : ndarray, shape (people, options)
        What the learner's estimating equation leaves of each respondent's answer.
    unit : ndarray, shape (people,)
        Derivative of the estimating equation by the effect, with its sign turned.
    """

    effect: np.ndarray
    residual: np.ndarray
    unit: np.ndarray


def fit(learner: str, sample: Sample) -> Scores:
    """Fit a learner by its name in the econml package, with ridge and logistic regressions as nuisances.

    Its seed is fixed. Each respondent's effects sum to 0 over the options.
    """
    found = _LEARNERS[learner](sample)
    assert np.abs(found.effect.sum(axis=1)).max() < 1e-6, "the effects on all options must sum to 0"
    return found


def _linear_dml(sample: Sample) -> Scores:
    """Return residual on residual regression, with one effect for each context."""
    from econml.dml import LinearDML

    x = _indicators(sample.context)
    model = LinearDML(**_nuisances(sample), fit_cate_intercept=False)
    w = np.hstack([_indicators(sample.cell), sample.features])
    model.fit(sample.y, sample.arm, X=x, W=w, sample_weight=sample.weight, cache_values=True, inference=None)
    effect = _options(model.effect(x), sample)
    y, t = _residuals(model, sample)
    return Scores(effect, t[:, None] * (y - t[:, None] * effect), t**2)


def _causal_forest(sample: Sample) -> Scores:
    """Return a causal forest's effects, and the residuals that make their averages doubly robust.

    A forest draws contexts together, so that plain averages of its effects are biased and no interval around them
    covers. The residual, weighted by the inverse propensity, corrects them, as grf's ``average_treatment_effect``
    does (Athey and Wager 2019, Observational Studies 5, 37).
    """
    from econml.dml import CausalForestDML

    cells = _indicators(sample.cell)
    x = sample.features if sample.features.shape[1] else cells[:, :1]
    model = CausalForestDML(
        **_nuisances(sample),
        n_estimators=TREES,
        min_samples_leaf=LEAF,
        max_samples=min(0.45, GROWN_ON / len(x)),
        inference=False,
        n_jobs=1,
    )
    model.fit(sample.y, sample.arm, X=x, W=cells, sample_weight=sample.weight, cache_values=True, inference=None)
    effect = _options(model.effect(x), sample)
    effect -= effect.mean(axis=1, keepdims=True)  # econml grows a forest for each option, apart from the others
    y, t = _residuals(model, sample)
    propensity = np.clip(sample.arm - t, BOUND, 1 - BOUND)
    inverse = (sample.arm - propensity) / (propensity * (1 - propensity))
    return Scores(effect, inverse[:, None] * (y - t[:, None] * effect), np.ones(len(t)))


def _dr_learner(sample: Sample) -> Scores:
    """Return regressions of the doubly robust pseudo-outcomes of all options but the last, which takes the rest.

    Their mean over any set of cells is the mean of the pseudo-outcomes, because the cells are among the regressors.
    """
    from econml.dr import DRLearner

    cells = _indicators(sample.cell)
    x = np.hstack([cells, sample.features])
    nuisances = _nuisances(sample)
    model = DRLearner(
        model_propensity=nuisances.pop("model_t"),
        model_regression=nuisances.pop("model_y"),
        model_final=_recorder(),
        min_propensity=BOUND,
        cv=nuisances["cv"],
        random_state=SEED,
    )
    effects, outcomes = [], []
    for y in sample.y.T[:-1]:
        model.fit(y, sample.arm, X=x, sample_weight=sample.weight, inference=None)
        effects.append(model.effect(x))
        outcomes.append(model.model_cate(T=1).target_)
    effect, outcome = (np.column_stack([*values, -np.sum(values, axis=0)]) for values in (effects, outcomes))
    return Scores(effect, outcome - effect, np.ones(len(effect)))


_LEARNERS: dict[str, Callable[[Sample], Scores]] = {
    "econml.LinearDML": _linear_dml,
    "econml.CausalForestDML": _causal_forest,
    "econml.DRLearner": _dr_learner,
}


def _nuisances(sample: Sample) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression, Ridge

    folds = [(np.flatnonzero(sample.fold != i), np.flatnonzero(sample.fold == i)) for i in np.unique(sample.fold)]
    return {
        "model_y": Ridge(RIDGE),
        "model_t": LogisticRegression(C=1 / RIDGE, solver="newton-cholesky"),
        "discrete_treatment": True,
        "cv": folds,
        "random_state": SEED,
    }


def _recorder() -> Any:
    """Return a linear regression that remembers what it was fitted to."""
    from sklearn.linear_model import LinearRegression

    class Recorder(LinearRegression):
        def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Recorder:
            self.target_ = y
            return super().fit(X, y, sample_weight)

    return Recorder(fit_intercept=False)


def _indicators(values: np.ndarray) -> np.ndarray:
    """One column for each distinct value."""
    return (values[:, None] == np.unique(values)).astype(float)


def _options(effect: np.ndarray, sample: Sample) -> np.ndarray:
    return np.reshape(effect, sample.y.shape)


def _residuals(model: Any, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the residuals of answers and levels, which econml does not promise in the order of the respondents."""
    y, t, _, _ = model.residuals_
    y, t = np.reshape(y, sample.y.shape), np.reshape(t, sample.arm.shape)
    assert ((sample.arm - t > 0) & (sample.arm - t < 1)).all(), "econml's residuals are not in the order given"
    return y, t


def averaged(scores: Scores, weight: np.ndarray, context: np.ndarray, contexts: int) -> tuple[np.ndarray, np.ndarray]:
    """Average effects over the respondents of each context, and linearise these averages.

    Parameters
    ----------
    scores : Scores
        A fitted learner.
    weight : ndarray, shape (people,)
        Weights.
    context : ndarray of int, shape (people,)
        Context of each.
    contexts : int
        Number of contexts.

    Returns
    -------
    tuple of ndarray
        Effects, shape (contexts, options), NaN where there is nobody; and each respondent's linearised value, shape
        (people, options), which sum to 0 in each context.
    """
    options = scores.effect.shape[1]
    total, unit = (np.bincount(context, values, contexts) for values in (weight, weight * scores.unit))
    mean, left = np.empty((contexts, options)), np.empty((contexts, options))
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in range(options):
            mean[:, k] = np.bincount(context, weight * scores.effect[:, k], contexts) / total
            left[:, k] = np.bincount(context, weight * scores.residual[:, k], contexts) / unit
    influence = (scores.effect - mean[context]) / total[context, None]
    influence += (scores.residual - left[context] * scores.unit[:, None]) / unit[context, None]
    return mean + left, weight[:, None] * influence


def two_ends(effect: np.ndarray, marginal: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the distributions at the two ends of each effect, whose difference it is.

    Mixed in the shares of the two levels they give the distribution seen, ``marginal``; where an option would get a
    negative share, the nearest two distributions with the same difference are taken instead (Euclidean).

    Parameters
    ----------
    effect : ndarray, shape (toggles, options)
        Sums to 0.
    marginal : ndarray, shape (toggles, options)
        Weighted shares of the options.
    share : ndarray, shape (toggles,)
        Weighted share of the treated level.

    Returns
    -------
    ndarray, shape (2, toggles, options)
        NaN for an effect that no two distributions have: that moves more than all answers.
    """
    least = np.maximum(0, -effect)  # at the reference, so that no share at the treated level is negative
    room = 1 - least.sum(axis=1)
    wanted = marginal - share[:, None] * effect - least
    ranked = -np.sort(-wanted, axis=1)
    excess = (ranked.cumsum(axis=1) - room[:, None]) / np.arange(1, effect.shape[1] + 1)
    last = (ranked > excess).sum(axis=1, keepdims=True) - 1
    reference = least + np.maximum(wanted - np.take_along_axis(excess, np.maximum(last, 0), axis=1), 0)
    reference[~(room >= 0)] = np.nan
    return np.stack([reference, reference + effect])
