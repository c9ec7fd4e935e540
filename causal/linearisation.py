"""Covariances of weighted domain shares under a sampling design, by Taylor linearisation.

A respondent i of a domain with total weight W adds ``w_i * (x_i - mean) / W`` to the domain's linearised mean, and
everybody outside it, or without an answer, adds 0. With u_hj the sum over PSU j of stratum h, the variance is
``sum_h n_h / (n_h - 1) * sum_j (u_hj - mean_h)**2``, where n_h counts all PSUs of the stratum, those without
anybody in the domain included. A stratum with one PSU is centred at the mean of all PSUs, which is 0 (R's
``survey.lonely.psu = "adjust"``). The covariance of two options, or of two domains, has the product of two such
deviations. The variance of any score of the answer is a quadratic form of the shares' covariance matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from causal.counts import PsuSums


@dataclass(frozen=True)
class Pairs:
    """Pairs of cells whose covariance is asked for: one contrast of an attribute.

    Attributes
    ----------
    base, treated : ndarray of int, shape (pairs,)
        The two cells of each; no cell is treated twice.
    """

    base: np.ndarray
    treated: np.ndarray


@dataclass(frozen=True)
class Linearised:
    """What a design does to a grid of cells.

    Attributes
    ----------
    covariance : ndarray, shape (..., questions, options, options)
        Covariance matrix of each cell's shares; its rows sum to 0.
    crossed : dict of str to tuple of ndarray, each of shape (pairs, questions, options, options)
        By attribute and contrast: covariance C of the shares of the two cells, as (C + C') / 2. That is all that the
        variance of a difference needs.
    df : ndarray, shape (..., questions)
        PSUs with an answer in each cell, unequal ones by Kish's formula, less one; at most df_limit.
    df_limit : ndarray, shape (..., questions)
        Degrees of freedom of the country's whole design.
    """

    covariance: np.ndarray
    crossed: dict[str, tuple[np.ndarray, ...]]
    df: np.ndarray
    df_limit: np.ndarray

    def reshape(self, shape: tuple[int, ...]) -> Linearised:
        """Give the cells a shape of several axes."""
        covariance, df, df_limit = (
            values.reshape(*shape, *values.shape[1:]) for values in (self.covariance, self.df, self.df_limit)
        )
        return Linearised(covariance, self.crossed, df, df_limit)


def quadratic(covariance: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the variance of a score's mean from the covariance of shares, over the last axes."""
    return np.einsum("...kl,...k,...l->...", covariance, score, score, optimize=True)


def linearise(
    sums: PsuSums,
    place: np.ndarray,
    contrasts: Mapping[str, Sequence[Pairs]],
    weight: np.ndarray,
    country: np.ndarray,
) -> Linearised:
    """Compute the covariances of all cells of a grid.

    Parameters
    ----------
    sums : PsuSums
        Weights by PSU and cell of the full persona.
    place : ndarray of int, shape (cells of the full persona,)
        The grid's cell that each belongs to, -1 for none.
    contrasts : mapping of str to sequence of Pairs
        By attribute: the pairs of cells of each contrast.
    weight : ndarray, shape (cells, questions, options)
        Total weight by option.
    country : ndarray of int, shape (cells,)
        Country of each cell.
    """
    cells, questions, options = weight.shape
    psus, strata = _units(sums, place, contrasts, cells)
    total = weight.sum(axis=-1)
    divisor = np.where(total > 0, total, 1)
    covariance, members = np.empty((*weight.shape, options)), np.empty_like(total)
    crossed = {
        name: tuple(np.empty((len(pairs.base), questions, options, options)) for pairs in of)
        for name, of in contrasts.items()
    }
    for q in range(questions):
        held = (psus.gather @ sums.w[q]).toarray()
        answered = held.sum(axis=1)
        p = weight[:, q] / divisor[:, q, None]
        u = (held - p[psus.cell] * answered[:, None]) / divisor[psus.cell, q, None]
        t = strata.gather @ u
        covariance[:, q] = psus.own.products(u) - strata.own.products(t)
        for name, found in crossed.items():
            for into, psu_links, stratum_links in zip(found, psus.links[name], strata.links[name], strict=True):
                into[:, q] = psu_links.products(u) - stratum_links.products(t)
        one, two = (np.bincount(psus.cell, answered**k, minlength=cells) for k in (1, 2))
        members[:, q] = np.divide(one**2, two, out=np.zeros(cells), where=two > 0)
    empty = np.where(total > 0, 0.0, np.nan)[..., None, None]
    covariance += empty
    for name, of in contrasts.items():
        for pairs, into in zip(of, crossed[name], strict=True):
            into += empty[pairs.base] + empty[pairs.treated]
    df_limit = np.broadcast_to(sums.df[country][:, None].astype(float), members.shape)
    return Linearised(covariance, crossed, np.clip(members - 1, 1, df_limit), df_limit)


@dataclass(frozen=True)
class _Links:
    """Which parts of PSUs (or strata) are multiplied with which, and what the products add up to."""

    left: np.ndarray
    right: np.ndarray
    total: sparse.csr_array  # adds products, times the design's factor, up to cells or pairs

    def products(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of products of every two options, symmetric, shape (cells or pairs, options, options)."""
        one, other = values[self.left], values[self.right]
        options = values.shape[1]
        product = self.total @ (one[:, :, None] * other[:, None, :]).reshape(len(one), options**2)
        matrices = product.reshape(-1, options, options)
        return matrices if self.left is self.right else (matrices + matrices.swapaxes(1, 2)) / 2


@dataclass(frozen=True)
class _Units:
    """The part of each PSU (or stratum) that lies in a cell."""

    cell: np.ndarray
    gather: sparse.csr_array  # adds smaller parts up to these
    own: _Links  # each part with itself
    links: dict[str, list[_Links]]  # each part of a treated cell with the same PSU's part in the base cell


def _units(
    sums: PsuSums, place: np.ndarray, contrasts: Mapping[str, Sequence[Pairs]], cells: int
) -> tuple[_Units, _Units]:
    """Return the grid cells' PSUs, gathered from the sums, and their strata, gathered from those PSUs."""
    sizes = np.bincount(sums.stratum)[sums.stratum]
    spread = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 1.0)
    centring = np.zeros(sums.stratum.max() + 1)
    centring[sums.stratum] = np.where(sizes > 1, 1 / np.maximum(sizes - 1, 1), 0.0)
    owner, psus = _gathered(sums.psu, place[sums.cell], spread, contrasts, cells)
    _, strata = _gathered(sums.stratum[owner], psus.cell, centring, contrasts, cells)
    return psus, strata


def _gathered(
    owner: np.ndarray, cell: np.ndarray, factor: np.ndarray, contrasts: Mapping[str, Sequence[Pairs]], cells: int
) -> tuple[np.ndarray, _Units]:
    parts = np.flatnonzero(cell >= 0)
    key, unit = np.unique(owner[parts].astype(np.int64) * cells + cell[parts], return_inverse=True)
    owners, place = np.divmod(key, cells)
    gather = sparse.csr_array((np.ones(len(parts)), (unit.reshape(-1), parts)), shape=(len(key), len(owner)))
    every = np.arange(len(key))
    own = _Links(every, every, _adder(place, factor[owners], cells))
    links = {name: [_linked(key, pairs, factor, cells) for pairs in of] for name, of in contrasts.items()}
    return owners, _Units(place, gather, own, links)


def _linked(key: np.ndarray, pairs: Pairs, factor: np.ndarray, cells: int) -> _Links:
    """Link the parts of each pair's two cells that belong to the same PSU or stratum."""
    number, base = np.full(cells, -1), np.zeros(cells, dtype=np.int64)
    number[pairs.treated], base[pairs.treated] = np.arange(len(pairs.base)), pairs.base
    owners, place = np.divmod(key, cells)
    treated = np.flatnonzero(number[place] >= 0)
    partner = _find(key, owners[treated] * cells + base[place[treated]])
    treated, partner = treated[partner >= 0], partner[partner >= 0]
    return _Links(treated, partner, _adder(number[place[treated]], factor[owners[treated]], len(pairs.base)))


def _adder(to: np.ndarray, factor: np.ndarray, rows: int) -> sparse.csr_array:
    return sparse.csr_array((factor, (to, np.arange(len(to)))), shape=(rows, len(to)))


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted key stands among the sorted ones, -1 where it does not."""
    if not len(keys):
        return np.empty(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
