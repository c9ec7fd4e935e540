"""Variances of weighted domain means under a sampling design, by Taylor linearisation.

A respondent i of a domain with total weight W adds ``w_i * (x_i - mean) / W`` to the domain's linearised mean, and
everybody outside it, or without an answer, adds 0. With u_hj the sum over PSU j of stratum h, the variance is
``sum_h n_h / (n_h - 1) * sum_j (u_hj - mean_h)**2``, where n_h counts all PSUs of the stratum, those without
anybody in the domain included. A stratum with one PSU is centred at the mean of all PSUs, which is 0 (R's
``survey.lonely.psu = "adjust"``). The covariance of two domains has the product of two such deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from causal.counts import PsuSums


@dataclass(frozen=True)
class Linearised:
    """What a design does to a grid of cells.

    Attributes
    ----------
    option : ndarray, shape (..., questions, options)
        Variance of each option's share.
    mean : ndarray, shape (..., questions)
        Variance of the mean score.
    covariance : dict of str to ndarray, shape (..., questions)
        By attribute: covariance of the mean score with that of the cell that the attribute's level is contrasted
        with; the first level's is with itself.
    df : ndarray, shape (..., questions)
        Degrees of freedom: PSUs with an answer in the cell, less one, and no more than the country has.
    df_limit : ndarray, shape (..., questions)
        Degrees of freedom of the country's whole design.
    """

    option: np.ndarray
    mean: np.ndarray
    covariance: dict[str, np.ndarray]
    df: np.ndarray
    df_limit: np.ndarray

    def reshape(self, shape: tuple[int, ...]) -> Linearised:
        """Give the cells a shape of several axes."""

        def to(values: np.ndarray) -> np.ndarray:
            return values.reshape(*shape, *values.shape[1:])

        return Linearised(
            to(self.option),
            to(self.mean),
            {name: to(found) for name, found in self.covariance.items()},
            to(self.df),
            to(self.df_limit),
        )


def linearise(
    sums: PsuSums,
    place: np.ndarray,
    reference: Mapping[str, np.ndarray],
    weight: np.ndarray,
    score: np.ndarray,
    country: np.ndarray,
) -> Linearised:
    """Compute the variances of all cells of a grid.

    Parameters
    ----------
    sums : PsuSums
        Weights by PSU and cell of the full persona.
    place : ndarray of int, shape (cells of the full persona,)
        The grid's cell that each belongs to, -1 for none.
    reference : mapping of str to ndarray of int, shape (cells,)
        By attribute: the cell that each is contrasted with.
    weight : ndarray, shape (cells, questions, options)
        Total weight by option.
    score : ndarray, shape (questions, options)
        Score of each option.
    country : ndarray of int, shape (cells,)
        Country of each cell.
    """
    cells, questions, _ = weight.shape
    psus, strata = _units(sums, place, reference, cells)
    total = weight.sum(axis=-1)
    divisor = np.where(total > 0, total, 1)
    option, mean, members = np.empty_like(weight), np.empty_like(total), np.empty_like(total)
    covariance = {name: np.empty_like(total) for name in reference}
    for q in range(questions):
        held = (psus.gather @ sums.w[q]).toarray()
        answered = held.sum(axis=1)
        p = weight[:, q] / divisor[:, q, None]
        u = (held - p[psus.cell] * answered[:, None]) / divisor[psus.cell, q, None]
        t = strata.gather @ u
        option[:, q] = psus.squares(u) - strata.squares(t)
        u_mean, t_mean = u @ score[q], t @ score[q]
        mean[:, q] = psus.squares(u_mean) - strata.squares(t_mean)
        for name, found in covariance.items():
            found[:, q] = psus.products(u_mean, name) - strata.products(t_mean, name)
        members[:, q] = psus.by_cell @ (answered > 0)
    empty = np.where(total > 0, 0.0, np.nan)
    df_limit = np.broadcast_to(sums.df[country][:, None].astype(float), members.shape)
    return Linearised(
        np.maximum(option, 0) + empty[..., None],
        np.maximum(mean, 0) + empty,
        {name: found + empty for name, found in covariance.items()},
        np.clip(members - 1, 1, df_limit),
        df_limit,
    )


@dataclass(frozen=True)
class _Units:
    """The part of each PSU (or stratum) that lies in a cell."""

    cell: np.ndarray
    factor: np.ndarray  # what a product of two deviations is multiplied with
    gather: sparse.csr_array  # adds smaller parts up to these
    by_cell: sparse.csr_array  # adds these up to cells
    partner: dict[str, np.ndarray]  # the same PSU's part in the reference cell, -1 where it has none

    def squares(self, values: np.ndarray) -> np.ndarray:
        return self.by_cell @ (_along(self.factor, values) * values**2)

    def products(self, values: np.ndarray, attribute: str) -> np.ndarray:
        partner = self.partner[attribute]
        other = np.where(_along(partner >= 0, values), values[partner], 0)
        return self.by_cell @ (_along(self.factor, values) * values * other)


def _along(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *(1,) * (values.ndim - 1))


def _units(sums: PsuSums, place: np.ndarray, reference: Mapping[str, np.ndarray], cells: int) -> tuple[_Units, _Units]:
    """Return the grid cells' PSUs, gathered from the sums, and their strata, gathered from those PSUs."""
    sizes = np.bincount(sums.stratum)[sums.stratum]
    spread = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 1.0)
    centring = np.zeros(sums.stratum.max() + 1)
    centring[sums.stratum] = np.where(sizes > 1, 1 / np.maximum(sizes - 1, 1), 0.0)
    owner, psus = _gathered(sums.psu, place[sums.cell], spread, reference, cells)
    _, strata = _gathered(sums.stratum[owner], psus.cell, centring, reference, cells)
    return psus, strata


def _gathered(
    owner: np.ndarray, cell: np.ndarray, factor: np.ndarray, reference: Mapping[str, np.ndarray], cells: int
) -> tuple[np.ndarray, _Units]:
    parts = np.flatnonzero(cell >= 0)
    key, unit = np.unique(owner[parts].astype(np.int64) * cells + cell[parts], return_inverse=True)
    owners, place = np.divmod(key, cells)
    gather = sparse.csr_array((np.ones(len(parts)), (unit.reshape(-1), parts)), shape=(len(key), len(owner)))
    by_cell = sparse.csr_array((np.ones(len(key)), (place, np.arange(len(key)))), shape=(cells, len(key)))
    partner = {name: _find(key, owners * cells + other[place]) for name, other in reference.items()}
    return owners, _Units(place, factor[owners], gather, by_cell, partner)


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted key stands among the sorted ones, -1 where it does not."""
    if not len(keys):
        return np.empty(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
