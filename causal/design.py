"""The sampling design: which PSU and stratum each respondent belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal.encoding import MISSING, distinct_keys
from causal.errors import InputError
from causal.sections import SurveySource


@dataclass(frozen=True)
class Design:
    """Strata and primary sampling units (PSUs), nested: PSUs in strata, strata in countries.

    Attributes
    ----------
    psu : ndarray of int, shape (respondents,)
        Each respondent's PSU, numbered over all countries.
    stratum : ndarray of int, shape (PSUs,)
        Each PSU's stratum, numbered over all countries.
    country : ndarray of int, shape (PSUs,)
        Each PSU's country.
    """

    psu: np.ndarray
    stratum: np.ndarray
    country: np.ndarray

    @property
    def strata_sizes(self) -> np.ndarray:
        """Number of PSUs in each stratum, those without an answer to a question included."""
        return np.bincount(self.stratum)

    @property
    def lonely(self) -> int:
        """Number of strata with one PSU, which says nothing about the spread within its stratum."""
        return int((self.strata_sizes == 1).sum())

    @property
    def degrees_of_freedom(self) -> np.ndarray:
        """PSUs minus the strata whose own mean is taken off, by country; at least 1."""
        psus = np.bincount(self.country)
        strata = np.unique(np.column_stack([self.country, self.stratum]), axis=0)
        centred = np.bincount(strata[:, 0], self.strata_sizes[strata[:, 1]] > 1, minlength=len(psus))
        return np.clip(psus - centred, 1, np.maximum(psus - 1, 1))


def nest(country: np.ndarray, strata: np.ndarray | None, psu: np.ndarray | None) -> Design:
    """Number PSUs within strata and strata within countries.

    Parameters
    ----------
    country : ndarray of int, shape (respondents,)
        Country index.
    strata : ndarray of int or None
        Stratum of each respondent; None is one stratum per country.
    psu : ndarray of int or None
        PSU of each respondent; None makes every respondent a PSU.
    """
    stratum = _number(country, np.zeros_like(country) if strata is None else strata)
    unit = _number(stratum, np.arange(len(country)) if psu is None else psu)
    _, first = np.unique(unit, return_index=True)
    return Design(unit, stratum[first], country[first])


def _number(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Number the pairs of two indices that occur, from 0."""
    pair = outer.astype(np.int64) * (int(inner.max(initial=0)) + 1) + inner
    return np.unique(pair, return_inverse=True)[1].reshape(-1)


def design_ids(
    source: SurveySource,
    frame: pd.DataFrame,
    missing: set[str],
    problems: list[str],
    wanted: np.ndarray,
    times: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Read the declared columns of the design as integers, and add what is wrong to ``problems``.

    Ids are numbered in the order of their names, whatever the order of rows; each row stands for ``times`` respondents.

    Returns
    -------
    dict of str to ndarray
        One entry for each of ``strata`` and ``psu`` that is declared.
    """
    people = np.ones(len(frame), dtype=int) if times is None else times
    ids = {}
    for key, column in (("strata", source.strata), ("psu", source.psu)):
        if column is None:
            continue
        positions, keys = distinct_keys(frame[column])
        unknown = wanted & np.array([name is None or name in missing for name in keys])[positions]
        if unknown.any():
            problems.append(
                f"  survey.{key} (column {column}): {people[unknown].sum()} of {people.sum()} rows are empty or hold "
                "a code of survey.missing; every respondent needs one, so fill or drop those rows (if these are real "
                "ids, declare the missing codes on the questions and attributes instead of under survey)"
            )
        names = {name: i for i, name in enumerate(sorted({name for name in keys if name is not None}))}
        ids[key] = np.array([MISSING if name is None else names[name] for name in keys])[positions]
    return ids


def declared_design(ids: dict[str, np.ndarray], country: np.ndarray, countries: tuple[str, ...]) -> Design | None:
    """Return the design of the respondents kept, or None if neither strata nor PSUs are declared.

    Raises
    ------
    InputError
        PSUs are declared and a country has only one, so that nothing can be said about the variance.
    """
    if not ids:
        return None
    design = nest(country, ids.get("strata"), ids.get("psu"))
    single = np.flatnonzero(np.bincount(design.country, minlength=len(countries)) == 1)
    if "psu" in ids and len(single):
        raise InputError(
            f"survey.psu: only one PSU in {', '.join(countries[i] for i in single)}; a variance needs two or more "
            "in every country, so correct the column, drop these countries, or remove survey.psu if "
            "respondents were drawn one by one"
        )
    return design
