"""Degrees of freedom of adjusted differences in a survey of PSUs."""

from __future__ import annotations

import numpy as np

from causal.domains import Domains
from causal.estimators.newcombe import Freedom, welch


def clustered_freedom(
    domains: Domains, values: np.ndarray, arm: np.ndarray, group: np.ndarray, weight: np.ndarray, n_eff: np.ndarray
) -> Freedom:
    """Join the degrees of freedom of the two levels (Welch and Satterthwaite), as for the difference of two cells.

    Each level has one less than PSUs with an answer at it (`Domains.units`), and counts by what its respondents add to
    the variance, or by what they would add were they independent, if that is more.

    Parameters
    ----------
    domains : Domains
        The contexts.
    values : ndarray, shape (people, questions)
        Linearised values of the shift.
    arm, group : ndarray of int, shape (people,)
        Level and context of each.
    weight : ndarray, shape (people, questions)
        Weight of each answer, 0 where there is none.
    n_eff : ndarray, shape (2, contexts, questions)
        Effective number of respondents at either level.

    Returns
    -------
    Freedom
        Of arrays of shape (contexts, questions).
    """
    variance, plain, df = [], [], []
    for a in (0, 1):
        own = (arm == a)[:, None]
        part = values * own
        independent = np.stack([np.bincount(group, one**2, n_eff.shape[1]) for one in part.T], axis=1)
        plain.append(independent)
        variance.append(np.maximum(domains.covariance(part[None])[..., 0, 0], independent))
        df.append(np.maximum(domains.units(weight * own) - 1, 1))
    limit = np.clip(welch(variance[0], variance[1], df[0], df[1]), 1, domains.df_limit)
    alone = welch(plain[0], plain[1], *np.maximum(n_eff - 1, 1))
    return Freedom(limit, alone, limit)
