"""Calibration: does an event that is announced with probability p happen with frequency p?

An event is a pair (confidence, happened). For top-label calibration it is (largest probability,
prediction was right); for one class or one label it is (its probability, it was there).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medaudit.metrics.weighting import (
    PRODUCT_BYTES,
    Floats,
    Indices,
    Weights,
    by_chunks,
    paired,
    plain,
    ratio,
    weighted_mean,
    weighted_sums,
)

Binning = Literal["equal_width", "equal_mass"]
BINNINGS: tuple[Binning, ...] = ("equal_width", "equal_mass")

# Softmax in single precision may miss 1 by this much.
PROBABILITY_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """A reliability diagram: one entry a bin (lo, hi]; means of an empty bin are NaN."""

    lo: Floats
    hi: Floats
    count: Indices
    mean_confidence: Floats
    frequency: Floats


def reliability_bins(
    confidence: ArrayLike,
    happened: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> ReliabilityBins:
    """Mean confidence and observed frequency in bins (lo, hi]; 0 is in the first, 1 in the last.

    Equal-mass bins end at order statistics of the confidence. Tied confidences share a bin, so ties
    make bins uneven, and where a tie spans a whole bin there are fewer of them.

    Reference: Niculescu-Mizil & Caruana 2005, ICML.
    """
    values, event = _events(confidence, happened)
    upper = _upper_edges(values, n_bins, binning)
    bins = np.searchsorted(upper, values, side="left")
    count = np.bincount(bins, minlength=len(upper))
    sums = (np.bincount(bins, weights=column, minlength=len(upper)) for column in (values, event))
    mean_confidence, frequency = (ratio(total, count) for total in sums)
    return ReliabilityBins(np.r_[0.0, upper[:-1]], upper, count, mean_confidence, frequency)


def _probabilities(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.size and not (
        -PROBABILITY_SLACK <= array.min() <= array.max() <= 1 + PROBABILITY_SLACK
    ):
        low, high = array.min(), array.max()
        raise ValueError(f"expected probabilities in [0, 1], got values from {low} to {high}")
    return np.clip(array, 0.0, 1.0)


def _events(confidence: ArrayLike, happened: ArrayLike) -> tuple[Floats, Floats]:
    values, event = paired(confidence, happened)
    return _probabilities(values), event.astype(np.float64)


def _upper_edges(confidence: Floats, n_bins: int, binning: Binning) -> Floats:
    if binning not in BINNINGS:
        raise ValueError(f"unknown binning {binning!r}; known: {', '.join(BINNINGS)}")
    if binning == "equal_width" or not len(confidence):
        return np.linspace(0, 1, n_bins + 1)[1:]
    # Exact integer ceilings of n·(b+1)/n_bins.
    ranks = -(-len(confidence) * np.arange(1, n_bins + 1) // n_bins)
    edges = np.unique(np.sort(confidence)[np.maximum(ranks, 1) - 1])
    edges[-1] = 1.0
    return edges


def _bin_columns(confidence: Floats, n_bins: int, binning: Binning) -> Floats:
    """One-hot membership, (n, bins)."""
    upper = _upper_edges(confidence, n_bins, binning)
    columns = np.zeros((len(confidence), len(upper)))
    columns[np.arange(len(confidence)), np.searchsorted(upper, confidence, side="left")] = 1.0
    return columns


def weighted_ece(
    confidence: ArrayLike,
    happened: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Expected calibration error in every replicate, shape (replicates,).

    Σ_b (n_b/n) |frequency_b − mean confidence_b|, in [0, 1], lower is better. It is biased upwards
    in small samples: see `ece_noise_floor`. Equal-mass bins are those of the sample and stay the
    same in every replicate. NaN where no weight is left.

    Args:
        confidence: (n,) in [0, 1].
        happened: (n,) booleans.
        weights: (replicates, n), non-negative.
        n_bins: bins (lo, hi]; 0 falls in the first.
        binning: equal_width, or equal_mass.

    Reference: Naeini et al. 2015, AAAI; Guo et al. 2017, ICML.
    """
    values, event = _events(confidence, happened)
    columns = _bin_columns(values, n_bins, binning)
    gaps = weighted_sums(
        np.column_stack([columns * (event - values)[:, None], np.ones_like(event)]), weights
    )
    return ratio(np.abs(gaps[:, :-1]).sum(axis=1), gaps[:, -1])


def ece(
    confidence: ArrayLike,
    happened: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """`weighted_ece` of the sample itself."""
    return plain(weighted_ece, confidence, happened, n_bins=n_bins, binning=binning)


def weighted_mce(
    confidence: ArrayLike,
    happened: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Maximum calibration error: the largest gap of any bin that holds weight, in [0, 1].

    NaN where no weight is left. One sample in a bin is enough to reach nearly 1.

    Reference: Naeini et al. 2015, AAAI.
    """
    values, event = _events(confidence, happened)
    columns = _bin_columns(values, n_bins, binning)
    gaps = weighted_sums(columns * (event - values)[:, None], weights)
    counts = weighted_sums(columns, weights)
    worst = np.abs(gaps / np.where(counts > 0, counts, 1.0)).max(axis=1)
    return np.where(counts.sum(axis=1) > 0, worst, np.nan)


def mce(
    confidence: ArrayLike,
    happened: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """`weighted_mce` of the sample itself."""
    return plain(weighted_mce, confidence, happened, n_bins=n_bins, binning=binning)


def weighted_classwise_ece(
    probabilities: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> Floats:
    """Mean over the classes of the ECE of "the target is class k" against p_k, in [0, 1].

    It grows smaller with more classes since most events are confident negatives; compare it only
    between models of one class list. A class without targets still counts: its probabilities
    should be small.

    Args:
        probabilities: (n, k).
        targets: (n,) class numbers.
        weights: (replicates, n), non-negative.
        n_bins: bins (lo, hi]; 0 falls in the first.
        binning: equal_width, or equal_mass.

    Reference: Kull et al. 2019, NeurIPS.
    """
    table, labels = _predictions(probabilities, targets)
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


def _predictions(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Floats, Indices]:
    table, labels = _probabilities(probabilities), np.asarray(targets)
    if table.ndim != 2 or labels.shape != table.shape[:1]:
        raise ValueError(
            f"expected probabilities (n, k) and targets (n,), got {table.shape} and {labels.shape}"
        )
    return table, labels.astype(np.intp)


def brier_losses(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Brier loss of every sample, Σ_k (p_k − y_k)² in [0, 2]."""
    table, labels = _predictions(probabilities, targets)
    truth = np.zeros_like(table)
    truth[np.arange(len(labels)), labels] = 1.0
    return np.asarray(((table - truth) ** 2).sum(axis=1))


def weighted_brier_loss(probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> Floats:
    """Brier loss in every replicate: mean of Σ_k (p_k − y_k)², the sum form, in [0, 2].

    Lower is better. Twice the usual binary form at k = 2, and k times the form that averages over
    classes. NaN where no weight is left.

    Reference: Brier 1950, Mon. Weather Rev. 78:1-3.
    """
    return weighted_mean(brier_losses(probabilities, targets), weights)


def brier_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """`weighted_brier_loss` of the sample itself."""
    return plain(weighted_brier_loss, probabilities, targets)


def log_losses(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Negative log-likelihood of every sample in nats, −ln p_target.

    A probability below 2.2e-16 (the resolution of a double) counts as that, so one sample costs at
    most 36.04.
    """
    table, labels = _predictions(probabilities, targets)
    return -np.log(np.maximum(table[np.arange(len(labels)), labels], np.finfo(np.float64).eps))


def weighted_log_loss(probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> Floats:
    """Mean negative log-likelihood in every replicate, in nats, in [0, 36.04]; clipped as there.

    Lower is better; ln k is the loss of the uniform guess. NaN where no weight is left.
    """
    return weighted_mean(log_losses(probabilities, targets), weights)


def log_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """`weighted_log_loss` of the sample itself."""
    return plain(weighted_log_loss, probabilities, targets)


@dataclass(frozen=True)
class NoiseFloor:
    """ECE of a perfectly calibrated model of the same confidences: mean and 95th percentile."""

    mean: float
    p95: float


def ece_noise_floor(
    confidence: ArrayLike,
    *,
    n_bins: int = 15,
    replicates: int = 500,
    seed: int,
    binning: Binning = "equal_width",
) -> NoiseFloor:
    """What ECE reads when nothing is wrong: outcomes drawn from the confidences themselves.

    In every replicate each event happens with the probability that was announced (consistency
    resampling). An observed ECE below `p95` is no evidence of miscalibration. NaN without samples.

    Reference: Bröcker & Smith 2007, Weather Forecast. 22:651-661.
    """
    values = _probabilities(confidence)
    if not len(values):
        return NoiseFloor(math.nan, math.nan)
    columns = _bin_columns(values, n_bins, binning)
    expected = values @ columns
    generator = np.random.default_rng(seed)

    def compute(part: Weights) -> Floats:
        happened = generator.random(part.shape) < values
        gaps = happened.astype(np.float64) @ columns - expected
        return np.asarray(np.abs(gaps).sum(axis=1) / len(values))

    # A view of one number: only its shape is used.
    errors = by_chunks(
        compute, np.broadcast_to(np.uint8(1), (replicates, len(values))), size=PRODUCT_BYTES
    )
    return NoiseFloor(float(errors.mean()), float(np.quantile(errors, 0.95)))
