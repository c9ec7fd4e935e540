"""Coverage of the shift's 95% interval from n=10 upwards, beside the Wald interval, with Monte Carlo error.

Prints one row per cell size: the mean, smallest and largest coverage over numbers of options and shapes of the
two distributions. Run: python benchmarks/validity.py [--replicates 4000]
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from causal.estimators.cell import Cells, contrast

SIZES = [(10, 10), (10, 100), (10, 1000), (15, 30), (35, 140), (100, 100), (1000, 1000)]
OPTIONS = (2, 3, 4, 5, 10)


def shapes(k: int) -> dict[str, np.ndarray]:
    """Return answer distributions over k options, from flat to concentrated at one end."""
    flat = np.ones(k)
    falling = np.exp(-1.2 * np.arange(k))
    end = np.r_[np.full(k - 1, 0.05 / (k - 1)), 0.95]
    ends = np.r_[0.48, np.full(k - 2, 0.04 / max(k - 2, 1)), 0.48]
    middle = np.full(k, 0.1 / (k - 1))
    middle[k // 2] = 0.9
    rising = np.arange(1.0, k + 1)
    named = {"flat": flat, "falling": falling, "end": end, "ends": ends, "middle": middle, "rising": rising}
    return {name: p / p.sum() for name, p in named.items()}


def draw(rng: np.random.Generator, n: int, p: np.ndarray, replicates: int) -> Cells:
    """Draw cells of n respondents."""
    share = rng.multinomial(n, p, replicates) / n
    size = np.full(replicates, float(n))
    return Cells(share, share / n, size, size)


def covered(
    rng: np.random.Generator, n: tuple[int, int], p: np.ndarray, q: np.ndarray, replicates: int
) -> tuple[float, float]:
    """Return the coverage of our interval and of estimate plus or minus 1.96 standard errors."""
    k = len(p)
    score = np.linspace(0, 1, k)
    truth = (q - p) @ score
    found = contrast(
        draw(rng, n[0], p, replicates), draw(rng, n[1], q, replicates), score, np.full(replicates, k), 0.95
    )
    wald = np.abs(found.shift - truth) <= 1.96 * found.std_error + 1e-12
    ours = (found.conf_low <= truth + 1e-12) & (truth <= found.conf_high + 1e-12)
    return float(ours.mean()), float(wald.mean())


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000)
    replicates = parser.parse_args().replicates
    rng = np.random.default_rng(2018)
    table = Table(title=f"coverage of 95% intervals (Monte Carlo error {np.sqrt(0.95 * 0.05 / replicates):.4f} each)")
    for name in ("n", "ours: mean", "min", "max", "Wald: mean", "min"):
        table.add_column(name, justify="right")
    for n in track(SIZES, description="simulating"):
        rates = []
        for k in OPTIONS:
            of = shapes(k)
            rates += [
                covered(rng, n, of[a], of[b], replicates) for a, b in itertools.combinations_with_replacement(of, 2)
            ]
        ours, wald = np.array(rates).T
        values = (ours.mean(), ours.min(), ours.max(), wald.mean(), wald.min())
        table.add_row(f"{n[0]} and {n[1]}", *(f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
