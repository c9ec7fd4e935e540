"""Every question's score on an attribute and what it is adjusted for, by weighted least squares: what explains what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causal.adjustment import Adjustment, indicators, known, spline
from causal.encoding import MISSING
from causal.grid import scores
from causal.survey import Survey

COUNTRY, ATTRIBUTE = -2, -1
"""Whose a column is, where it is not that of something adjusted for (counted from 0)."""

VARIES = 1e-9
"""Variance of the attribute, given everything else, below which it is taken not to vary."""

CHUNK = 2000
"""Respondents whose products of columns are held at once."""


@dataclass(frozen=True)
class Regression:
    """One comparison's regressions, with an intercept for each country.

    Attributes
    ----------
    adjustment : Adjustment
        What is adjusted for.
    reference, treated : str
        The two levels.
    lacking : tuple of str
        Countries left out because their people do not overlap, by what they are called.
    overlaps : bool
        Whether people overlap in any country; if in none, none is left out, and no effect is identified.
    estimate : ndarray, shape (questions,)
        Coefficient of the treated level, in units of the shift. NaN, as in all that follows, where too few answered or
        nothing is left to explain.
    partial_r2 : ndarray, shape (questions,)
        Share of the answer's variance, given everything else, that the attribute explains.
    dof : ndarray, shape (questions,)
        Kish's effective number of respondents less the columns.
    deviation : ndarray, shape (questions,)
        Standard deviation of the score within countries.
    with_attribute : ndarray, shape (adjusted for,)
        Share of the attribute's variance that each variable explains given the others.
    with_answer : ndarray, shape (adjusted for, questions)
        The same of the answer's variance, given the attribute and the others.
    left_out : ndarray, shape (adjusted for, questions)
        ``estimate`` when that variable is left out.
    """

    adjustment: Adjustment
    reference: str
    treated: str
    lacking: tuple[str, ...]
    overlaps: bool
    estimate: np.ndarray
    partial_r2: np.ndarray
    dof: np.ndarray
    deviation: np.ndarray
    with_attribute: np.ndarray
    with_answer: np.ndarray
    left_out: np.ndarray


@dataclass(frozen=True)
class _Moments:
    """Weighted sums of products of the columns, by question: ``gram`` (Q, p, p), ``cross`` (Q, p), ``square`` (Q,)."""

    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    def solved(self, chosen: np.ndarray) -> np.ndarray:
        """Return the coefficients of the chosen columns, shape (Q, chosen); 0 where a column adds nothing."""
        columns = np.flatnonzero(chosen)
        gram = self.gram[:, columns[:, None], columns]
        return (np.linalg.pinv(gram, rcond=1e-9, hermitian=True) @ self.cross[:, columns, None])[..., 0]

    def left(self, chosen: np.ndarray) -> np.ndarray:
        """Return the residual sum of squares on the chosen columns, shape (Q,)."""
        return np.maximum(self.square - (self.solved(chosen) * self.cross[:, chosen]).sum(axis=1), 0)

    def coefficient(self, owner: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the attribute's coefficient on the chosen columns, shape (Q,)."""
        return self.solved(chosen)[:, owner[chosen] == ATTRIBUTE][:, 0]


def regression(
    survey: Survey, chosen: Adjustment, reference: str, treated: str, lacking: Sequence[str] = ()
) -> Regression:
    """Regress every question on the treated level, countries, and what is adjusted for.

    Parameters
    ----------
    survey : Survey
        Respondents.
    chosen : Adjustment
        The attribute and what it is adjusted for.
    reference, treated : str
        The two levels.
    lacking : sequence of str
        Codes of countries whose people do not overlap, to leave out unless that would leave none.
    """
    names, levels = list(survey.study.attributes), list(survey.study.attributes[chosen.attribute].levels)
    own = survey.levels[:, names.index(chosen.attribute)]
    ends = [levels.index(reference), levels.index(treated)]
    overlapping = [code for code in survey.countries if code not in lacking]
    kept = np.isin(survey.country, [survey.countries.index(code) for code in overlapping or survey.countries])
    people = np.flatnonzero(known(survey, chosen) & np.isin(own, ends) & kept)
    arm = (own[people] == ends[1]).astype(float)
    z, owner = _design(survey, chosen, people, arm)
    weight = np.ones(len(people)) if survey.weight is None else survey.weight[people]
    answered = survey.answers[people] != MISSING
    score = scores(survey.study)[np.arange(answered.shape[1]), np.where(answered, survey.answers[people], 0)]
    answers = _moments(z, score, weight[:, None] * answered)
    attribute = _moments(z, arm[:, None], weight[:, None])
    residual, spread = answers.left(owner >= COUNTRY), answers.left(owner == COUNTRY)
    n_eff = _kish(weight, answered)
    rest = attribute.left(owner != ATTRIBUTE)
    told = (residual > 1e-12 * spread) & (n_eff > len(owner) + 1) & (rest > VARIES * weight.sum())

    def if_told(values: np.ndarray) -> np.ndarray:
        return np.where(told, values, np.nan)

    variables = range(len(chosen.names))
    return Regression(
        chosen,
        reference,
        treated,
        tuple(survey.study.country_name(code) for code in lacking if overlapping),
        bool(overlapping),
        if_told(answers.coefficient(owner, owner >= COUNTRY)),
        if_told(_share(answers.left(owner != ATTRIBUTE), residual)),
        if_told(n_eff - len(owner)),
        if_told(np.sqrt(spread / np.maximum(weight @ answered, 1e-300))),
        np.array([_share(attribute.left((owner != i) & (owner != ATTRIBUTE)), rest)[0] for i in variables]),
        _stacked([if_told(_share(answers.left(owner != i), residual)) for i in variables], len(told)),
        _stacked([if_told(answers.coefficient(owner, owner != i)) for i in variables], len(told)),
    )


def _stacked(rows: list[np.ndarray], width: int) -> np.ndarray:
    return np.array(rows).reshape(len(rows), width)


def _design(survey: Survey, chosen: Adjustment, people: np.ndarray, arm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns, and whose each is: a country's, the attribute's, or that of what is adjusted for."""
    blocks = [_columns(survey, name, people) for name in chosen.names]
    countries = indicators(np.r_[-1, survey.country[people]])[1:]
    sizes = [countries.shape[1], 1, *(block.shape[1] for block in blocks)]
    owner = np.repeat([COUNTRY, ATTRIBUTE, *range(len(blocks))], sizes)
    return np.concatenate([countries, arm[:, None], *blocks], axis=1), owner


def _share(without: np.ndarray, with_it: np.ndarray) -> np.ndarray:
    """Return the share of a residual sum of squares that one more variable explains."""
    return np.clip(1 - with_it / np.maximum(without, 1e-300), 0.0, 1.0)


def _kish(weight: np.ndarray, answered: np.ndarray) -> np.ndarray:
    total, squares = weight @ answered, weight**2 @ answered
    return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)


def _columns(survey: Survey, name: str, people: np.ndarray) -> np.ndarray:
    names = list(survey.study.attributes)
    values = (survey.levels[:, names.index(name)] if name in names else survey.covariates[name])[people]
    return spline(values) if values.dtype.kind == "f" else indicators(values)


def _moments(z: np.ndarray, y: np.ndarray, weight: np.ndarray) -> _Moments:
    questions, width = y.shape[1], z.shape[1]
    gram, cross, square = np.zeros((questions, width * width)), np.zeros((questions, width)), np.zeros(questions)
    for start in range(0, len(z), CHUNK):
        part, w, v = (values[start : start + CHUNK] for values in (z, weight, y))
        gram += w.T @ (part[:, :, None] * part[:, None, :]).reshape(len(part), -1)
        cross += (w * v).T @ part
        square += (w * v**2).sum(axis=0)
    return _Moments(gram.reshape(questions, width, width), cross, square)
