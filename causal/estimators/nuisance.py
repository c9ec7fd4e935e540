"""What doubly robust estimates need beforehand: who is at which level, and what those like them answer.

Both are cross-fitted: a respondent's values come from models that were fitted without that respondent, or anybody of
the same PSU (Chernozhukov et al. 2018, Econometrics Journal 21, C1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOLDS = 5
SEED = 0
BOUND = 0.02
"""Propensities are kept between this and one minus this, so that nobody stands for more than fifty."""
RIDGE = 10.0
"""What pulls each standardised feature's coefficient to 0, in respondents: little in hundreds, much in dozens."""
_TINY = 1e-8


@dataclass(frozen=True)
class Propensity:
    """How probable the treated level is for each respondent.

    Attributes
    ----------
    raw : ndarray, shape (people,)
        Probability given the features.
    in_fold : ndarray, shape (people,)
        Probability given the features and the fold of the outcomes. It is another one where PSUs keep folds from having
        like shares of the level (see `levelled`).
    """

    raw: np.ndarray
    in_fold: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """Probability in the fold, kept within `BOUND`, shape (people,)."""
        return np.clip(self.in_fold, BOUND, 1 - BOUND)

    @property
    def bounded(self) -> np.ndarray:
        """Whether the probability given the features is beyond `BOUND`, shape (people,)."""
        return (self.raw < BOUND) | (self.raw > 1 - BOUND)


def folds(arm: np.ndarray, psu: np.ndarray | None) -> np.ndarray | None:
    """Divide respondents into folds that hold both arms in like shares and keep PSUs whole.

    Parameters
    ----------
    arm : ndarray of int, shape (people,)
        0 or 1.
    psu : ndarray of int or None
        PSU of each respondent; None if every respondent was drawn alone.

    Returns
    -------
    ndarray of int, shape (people,), or None
        None where too few respondents or PSUs are at one of the levels for two folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    units = [len(np.unique(psu[arm == a])) if psu is not None else int((arm == a).sum()) for a in (0, 1)]
    count = min(FOLDS, *units)
    if count < 2:
        return None
    splitter = StratifiedKFold if psu is None else StratifiedGroupKFold
    fold = np.empty(len(arm), dtype=np.int8)
    for i, (_, left_out) in enumerate(splitter(count, shuffle=True, random_state=SEED).split(arm, arm, psu)):
        fold[left_out] = i
    outside = [np.unique(arm[fold != i]).size for i in range(count)]
    return fold if min(outside) == 2 else None


def propensities(x: np.ndarray, arm: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> Propensity:
    """Fit the probability of the treated level by weighted logistic regression with a slight ridge penalty.

    At even odds a respondent tells a quarter as much of a logit as of a mean, so the penalty is a quarter of `RIDGE`.

    Parameters
    ----------
    x : ndarray, shape (people, features)
        Standardised features.
    arm, weight, fold : ndarray, shape (people,)
        Level, weight (mean 1) and fold.
    """
    from sklearn.linear_model import LogisticRegression

    found = np.empty(len(arm))
    for i in np.unique(fold):
        out, rest = fold == i, fold != i
        if x.shape[1]:
            model = LogisticRegression(C=4 / RIDGE, solver="newton-cholesky").fit(x[rest], arm[rest], weight[rest])
            found[out] = model.predict_proba(x[out])[:, 1]
        else:
            found[out] = np.average(arm[rest], weights=weight[rest])
    return Propensity(found, found)


def levelled(raw: np.ndarray, arm: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Give each fold's propensities the level's share in that fold as their mean, by a shift of their logits.

    Where folds keep PSUs whole and one PSU holds most of a level, models for its fold have seen few of that level and
    all others too many. Weights by the inverse of levelled propensities let each fold stand for as many as it has, at
    either level, which keeps errors of prediction in one fold from counting for all.

    Parameters
    ----------
    raw : ndarray, shape (people,)
        As fitted without the fold.
    arm, weight, fold : ndarray, shape (people,)
        Level, weight (mean 1) and fold.

    Returns
    -------
    ndarray, shape (people,)
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    moved, overall = np.empty_like(raw), np.average(arm, weights=weight)
    for i in np.unique(fold):
        out = fold == i
        logits, w = logit(np.clip(raw[out], _TINY, 1 - _TINY)), weight[out]
        goal = (w @ arm[out] + overall) / (w.sum() + 1)  # one person more, so that it is not 0 or 1
        moved[out] = expit(logits + brentq(lambda by, z=logits, w=w, goal=goal: w @ (expit(z + by) - goal), -50, 50))
    return moved


def outcomes(x: np.ndarray, y: np.ndarray, weight: np.ndarray, arm: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict every answer at both levels by weighted least squares with a slight ridge penalty.

    One regression per level, question and fold; all of them are solved in one batch. Since the intercept is free,
    predicted shares sum over the options to what the answers sum to.

    Parameters
    ----------
    x : ndarray, shape (people, features)
        Standardised features.
    y : ndarray, shape (options, people, questions)
        What to predict; where the weight is 0 it must be finite and is not used.
    weight : ndarray, shape (people, questions)
        Weight of each answer, 0 where there is none.
    arm, fold : ndarray of int, shape (people,)
        Level and fold.

    Returns
    -------
    ndarray, shape (2, options, people, questions)
        Predictions at the reference and at the treated level.
    """
    options, people, questions = y.shape
    design = np.concatenate([np.ones((people, 1)), x], axis=1)
    width, count = design.shape[1], int(fold.max()) + 1
    gram = np.empty((2, count, questions, width, width))
    cross = np.empty((2, count, options, width, questions))
    for a in (0, 1):
        for i in range(count):
            part = np.flatnonzero((arm == a) & (fold == i))
            own, w = design[part], weight[part]
            squares = (own[:, :, None] * own[:, None, :]).reshape(len(part), width**2)
            gram[a, i] = (w.T @ squares).reshape(questions, width, width)
            cross[a, i] = own.T @ (y[:, part] * w)
    gram = gram.sum(axis=1, keepdims=True) - gram + np.diag(np.r_[_TINY, np.full(width - 1, RIDGE)])
    cross = cross.sum(axis=1, keepdims=True) - cross
    beta = np.linalg.solve(gram, np.moveaxis(cross, (2, 3, 4), (4, 3, 2)))  # (2, folds, questions, width, options)
    beta = np.ascontiguousarray(np.moveaxis(beta, (2, 3, 4), (4, 3, 2)))
    found = np.empty((2, *y.shape))
    for i in range(count):
        part = np.flatnonzero(fold == i)
        found[:, :, part] = design[part] @ beta[:, i]
    return found
