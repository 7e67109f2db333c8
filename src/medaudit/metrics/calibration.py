"""Calibration: does an event that is announced with probability p happen with frequency p?

An event is a pair (probability, outcome). For top-label calibration it is (largest probability,
prediction was right); for one class or one label it is (its probability, it was there).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medaudit.metrics.events import (
    Binning,
    bin_columns,
    bin_numbers,
    events,
    predictions,
    upper_edges,
)
from medaudit.metrics.weighting import Floats, Indices, plain, ratio, weighted_sums


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """A reliability diagram: one entry a bin (lo, hi]; means of an empty bin are NaN."""

    lo: Floats
    hi: Floats
    count: Indices
    mean_confidence: Floats
    frequency: Floats


def reliability_bins(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> ReliabilityBins:
    """Mean probability and observed frequency in bins (lo, hi]; 0 is in the first, 1 in the last.

    Equal-mass bins end at order statistics of the probability. Tied probabilities share a bin, so
    ties make bins uneven, and where a tie spans a whole bin there are fewer of them.

    Reference: Niculescu-Mizil & Caruana 2005, ICML.
    """
    values, event = events(probability, outcome)
    upper = upper_edges(values, n_bins=n_bins, binning=binning)
    bins = bin_numbers(values, upper)
    count = np.bincount(bins, minlength=len(upper))
    sums = (np.bincount(bins, weights=column, minlength=len(upper)) for column in (values, event))
    mean_confidence, frequency = (ratio(total, count) for total in sums)
    return ReliabilityBins(np.r_[0.0, upper[:-1]], upper, count, mean_confidence, frequency)


def weighted_ece(
    probability: ArrayLike,
    outcome: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Expected calibration error in every replicate, shape (replicates,).

    Σ_b (n_b/n) |frequency_b − mean confidence_b|, in [0, 1], lower is better. It is biased upwards
    in small samples: see `calibration_bias`. Equal-mass bins are those of the sample and stay the
    same in every replicate. NaN where no weight is left.

    Args:
        probability: (n,) in [0, 1].
        outcome: (n,) booleans.
        weights: (replicates, n), non-negative.
        n_bins: bins (lo, hi]; 0 falls in the first.
        binning: equal_width, or equal_mass.

    Reference: Naeini et al. 2015, AAAI; Guo et al. 2017, ICML.
    """
    values, event = events(probability, outcome)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    gaps = weighted_sums(
        np.column_stack([columns * (event - values)[:, None], np.ones_like(event)]), weights
    )
    return ratio(np.abs(gaps[:, :-1]).sum(axis=1), gaps[:, -1])


def ece(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """`weighted_ece` of the sample itself."""
    return plain(weighted_ece, probability, outcome, n_bins=n_bins, binning=binning)


def weighted_mce(
    probability: ArrayLike,
    outcome: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Maximum calibration error: the largest gap of any bin that holds weight, in [0, 1].

    max_b |frequency_b − mean confidence_b|, lower is better. NaN where no weight is left. One
    sample in a bin is enough to reach nearly 1.

    Reference: Naeini et al. 2015, AAAI.
    """
    values, event = events(probability, outcome)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    sums = weighted_sums(np.column_stack([columns * (event - values)[:, None], columns]), weights)
    gaps, counts = np.split(sums, 2, axis=1)
    worst = np.abs(gaps / np.where(counts > 0, counts, 1.0)).max(axis=1, initial=0.0)
    return np.where(counts.sum(axis=1) > 0, worst, np.nan)


def mce(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """`weighted_mce` of the sample itself."""
    return plain(weighted_mce, probability, outcome, n_bins=n_bins, binning=binning)


def weighted_classwise_ece(
    probabilities: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Mean over the classes of the ECE of "the target is class k" against p_k, in [0, 1].

    (1/K) Σ_k Σ_b (n_bk/n) |frequency_bk − mean p_bk|, lower is better. It grows smaller with more
    classes since most events are confident negatives; compare it only between models of one class
    list. A class without targets still counts: its probabilities should be small. NaN where no
    weight is left.

    Args:
        probabilities: (n, k).
        targets: (n,) class numbers.
        weights: (replicates, n), non-negative.
        n_bins: bins (lo, hi]; 0 falls in the first.
        binning: equal_width, or equal_mass.

    Reference: Kull et al. 2019, NeurIPS.
    """
    table, labels = predictions(probabilities, targets)
    per_class = [
        weighted_ece(table[:, k], labels == k, weights, n_bins=n_bins, binning=binning)
        for k in range(table.shape[1])
    ]
    return np.asarray(np.mean(per_class, axis=0))


def classwise_ece(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """`weighted_classwise_ece` of the sample itself."""
    return plain(weighted_classwise_ece, probabilities, targets, n_bins=n_bins, binning=binning)
