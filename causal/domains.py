"""Covariances of linearised estimates over the domains of one country, summed respondent by respondent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from causal.design import Design


@dataclass(frozen=True)
class Domains:
    """Disjoint domains of a country's respondents, under its design (see `causal.linearisation` for the formula).

    Attributes
    ----------
    parts : sparse array, shape (parts, people)
        Adds respondents up to what lies of each PSU in a domain.
    strata : sparse array, shape (parts of strata, parts), or None
        Adds those up to strata; None without a design, where every respondent was drawn alone.
    by_part, by_stratum : sparse arrays, shapes (domains, parts) and (domains, parts of strata)
        Add squares up to domains, each times its factor.
    df_limit : int
        Degrees of freedom of the country's design.
    """

    parts: sparse.csr_array | None
    strata: sparse.csr_array | None
    by_part: sparse.csr_array
    by_stratum: sparse.csr_array | None
    df_limit: int

    @classmethod
    def of(
        cls, group: np.ndarray, groups: int, people: np.ndarray, country: np.ndarray, design: Design | None
    ) -> Domains:
        """Lay out the domains.

        Parameters
        ----------
        group : ndarray of int, shape (people,)
            Domain of each respondent, 0 to ``groups`` - 1.
        groups : int
            Number of domains.
        people : ndarray of int
            Positions of these respondents in the survey, all of one country.
        country : ndarray of int, shape (respondents,)
            Country of everybody in the survey: those who are in no domain belong to the sample.
        design : Design or None
            The survey's strata and PSUs.
        """
        if design is None:
            sample = int((country == country[people[0]]).sum())
            factor = np.full(len(people), sample / max(sample - 1, 1))
            return cls(None, None, _adds(group, groups, factor), None, sample - 1)
        sizes = design.strata_sizes
        spread = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 1.0)
        centring = np.where(sizes > 1, 1 / np.maximum(sizes - 1, 1), 0.0)
        part, psu, domain = _pairs(design.psu[people], group, groups)
        stratum_part, stratum, stratum_domain = _pairs(design.stratum[psu], domain, groups)
        return cls(
            _adds(part, len(psu), np.ones(len(people))),
            _adds(stratum_part, len(stratum), np.ones(len(psu))),
            _adds(domain, groups, spread[design.stratum[psu]]),
            _adds(stratum_domain, groups, centring[stratum]),
            int(design.degrees_of_freedom[country[people[0]]]),
        )

    def covariance(self, values: np.ndarray) -> np.ndarray:
        """Return the covariance matrices of estimates whose linearised values are given.

        Parameters
        ----------
        values : ndarray, shape (options, people, questions)
            Linearised values; they sum to 0 in every domain.

        Returns
        -------
        ndarray, shape (domains, questions, options, options)
        """
        options, _, questions = values.shape
        each = values if self.parts is None else np.stack([self.parts @ one for one in values])
        whole = None if self.strata is None else np.stack([self.strata @ one for one in each])
        found = np.empty((self.by_part.shape[0], questions, options, options))
        for k in range(options):
            for j in range(k + 1):
                total = self.by_part @ (each[k] * each[j])
                if whole is not None:
                    total -= self.by_stratum @ (whole[k] * whole[j])
                found[:, :, k, j] = found[:, :, j, k] = total
        return found

    def units(self, weight: np.ndarray) -> np.ndarray:
        """Count the PSUs, in effect (Kish's formula over PSUs).

        Parameters
        ----------
        weight : ndarray, shape (people, questions)
            Weight of each respondent, 0 for who does not count.

        Returns
        -------
        ndarray, shape (domains, questions)
            As many equally large PSUs would hold the weight as unevenly as these do; 0 where there is none.
        """
        held = weight if self.parts is None else self.parts @ weight
        ones = self.by_part.copy()
        ones.data[:] = 1
        total, squares = ones @ held, ones @ held**2
        return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)


def _pairs(owner: np.ndarray, domain: np.ndarray, domains: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the pairs of owner and domain that occur; return each one's number, and the pairs' two sides."""
    key, number = np.unique(owner.astype(np.int64) * domains + domain, return_inverse=True)
    return number.reshape(-1), *np.divmod(key, domains)


def _adds(place: np.ndarray, places: int, factor: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array((factor, (place, np.arange(len(place)))), shape=(places, len(place)))
