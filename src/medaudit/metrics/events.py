"""Events and the bins they fall into: what all measures of calibration and proper scores share.

An event is a pair (probability, outcome). For top-label calibration it is (largest probability,
prediction was right); for one class or one label it is (its probability, it was there).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medaudit.metrics.weighting import Floats, Indices, paired

Binning = Literal["equal_width", "equal_mass"]
BINNINGS: tuple[Binning, ...] = ("equal_width", "equal_mass")

# Softmax in single precision may miss 1 by this much.
PROBABILITY_SLACK = 1e-6


def probabilities(values: ArrayLike) -> Floats:
    """Numbers in [0, 1], rounding errors clipped; anything else is a `ValueError`."""
    array = np.asarray(values, dtype=np.float64)
    if array.size and not (
        -PROBABILITY_SLACK <= array.min() <= array.max() <= 1 + PROBABILITY_SLACK
    ):
        low, high = array.min(), array.max()
        raise ValueError(f"expected probabilities in [0, 1], got values from {low} to {high}")
    return np.clip(array, 0.0, 1.0)


def events(probability: ArrayLike, outcome: ArrayLike) -> tuple[Floats, Floats]:
    """Probabilities in [0, 1] and outcomes 0.0 or 1.0, both (n,)."""
    values, event = paired(probability, outcome)
    return probabilities(values), event.astype(np.float64)


def predictions(table: ArrayLike, targets: ArrayLike) -> tuple[Floats, Indices]:
    """Probabilities (n, k) and class numbers (n,) below k; anything else is a `ValueError`."""
    stated, labels = probabilities(table), np.asarray(targets)
    if stated.ndim != 2 or labels.shape != stated.shape[:1]:
        raise ValueError(
            f"expected probabilities (n, k) and targets (n,), got {stated.shape} and {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < stated.shape[1]:
        low, high = labels.min(), labels.max()
        raise ValueError(f"targets: expected 0 to {stated.shape[1] - 1}, got {low} to {high}")
    return stated, labels.astype(np.intp)


def upper_edges(probability: Floats, *, n_bins: int, binning: Binning) -> Floats:
    """Where the bins (lo, hi] end; the last ends at 1.

    Equal-mass bins end at order statistics of the probability. Tied probabilities share a bin, so
    ties make bins uneven, and where a tie spans a whole bin there are fewer of them.
    """
    if binning not in BINNINGS:
        raise ValueError(f"unknown binning {binning!r}; known: {', '.join(BINNINGS)}")
    if binning == "equal_width" or not len(probability):
        return np.linspace(0, 1, n_bins + 1)[1:]
    # Exact integer ceilings of n·(b+1)/n_bins.
    ranks = -(-len(probability) * np.arange(1, n_bins + 1) // n_bins)
    edges = np.unique(np.sort(probability)[np.maximum(ranks, 1) - 1])
    edges[-1] = 1.0
    return edges


def bin_numbers(probability: Floats, upper: Floats) -> Indices:
    """The bin (lo, hi] of every probability; 0 is in the first."""
    return np.searchsorted(upper, probability, side="left")


def bin_columns(probability: Floats, *, n_bins: int, binning: Binning) -> Floats:
    """One-hot membership of the bins that hold a sample, (n, bins)."""
    upper = upper_edges(probability, n_bins=n_bins, binning=binning)
    held, column = np.unique(bin_numbers(probability, upper), return_inverse=True)
    return np.eye(len(held))[column]
