"""Calibration errors in bins (ECE, MCE, class-wise, debiased), their noise floor, and the events.

An event is a pair (probability, outcome). For top-label calibration it is (largest probability,
prediction was right); for one class or one label it is (its probability, it was there).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medaudit.core.arrays import Float64Array
from medaudit.stats.weighting import (
    SMALL_ROWS,
    Indices,
    Weights,
    by_chunks,
    paired,
    plain,
    ratio,
    weighted_sums,
)

Binning = Literal["equal_width", "equal_mass"]
BINNINGS: tuple[Binning, ...] = ("equal_width", "equal_mass")

# Softmax in single precision may miss 1 by this much.
PROBABILITY_SLACK = 1e-6


def probabilities(values: ArrayLike) -> Float64Array:
    """Numbers in [0, 1], rounding errors clipped; anything else is a `ValueError`."""
    array = np.asarray(values, dtype=np.float64)
    if array.size and not (
        -PROBABILITY_SLACK <= array.min() <= array.max() <= 1 + PROBABILITY_SLACK
    ):
        low, high = array.min(), array.max()
        raise ValueError(f"expected probabilities in [0, 1], got values from {low} to {high}")
    return np.clip(array, 0.0, 1.0)


def events(probability: ArrayLike, outcome: ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Probabilities in [0, 1] and outcomes 0.0 or 1.0, both (n,)."""
    values, event = paired(probability, outcome)
    return probabilities(values), event.astype(np.float64)


def predictions(table: ArrayLike, targets: ArrayLike) -> tuple[Float64Array, Indices]:
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


def upper_edges(probability: Float64Array, *, n_bins: int, binning: Binning) -> Float64Array:
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


def bin_numbers(probability: Float64Array, upper: Float64Array) -> Indices:
    """The bin (lo, hi] of every probability; 0 is in the first."""
    return np.searchsorted(upper, probability, side="left")


def bin_columns(probability: Float64Array, *, n_bins: int, binning: Binning) -> Float64Array:
    """One-hot membership of the bins that hold a sample, (n, bins)."""
    upper = upper_edges(probability, n_bins=n_bins, binning=binning)
    held, column = np.unique(bin_numbers(probability, upper), return_inverse=True)
    return np.eye(len(held))[column]


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """A reliability diagram: one entry a bin (lo, hi]; means of an empty bin are NaN."""

    lo: Float64Array
    hi: Float64Array
    count: Indices
    mean_confidence: Float64Array
    frequency: Float64Array


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
) -> Float64Array:
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
) -> Float64Array:
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
) -> Float64Array:
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


def weighted_debiased_ece(
    probability: ArrayLike,
    outcome: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_mass",
) -> Float64Array:
    """Root of the debiased squared calibration error in every replicate, in [0, 1].

    √max(0, Σ_b (n_b/n) [(f_b − c_b)² − f_b (1 − f_b) / (n_b − 1)]) with frequency f_b and mean
    probability c_b; lower is better. The subtrahend is the sampling variance of f_b, so the sum is
    unbiased for fixed bins; the floor and the root are not, hence small values remain positive on
    average. n_b is the weight of the bin in the replicate, and bins are those of the sample. NaN
    where a bin that holds weight has n_b < 2, and where no weight is left.

    In a bootstrap replicate n_b counts copies: that takes off the noise of resampling but not that
    of the sample, so replicates lie about the plain error of the sample, above this estimate.

    Args:
        probability: (n,) in [0, 1].
        outcome: (n,) booleans.
        weights: (replicates, n), non-negative.
        n_bins: bins (lo, hi]; 0 falls in the first.
        binning: equal_mass, or equal_width, which is often undefined for want of samples.

    Reference: Kumar, Liang & Ma 2019, NeurIPS; Bröcker 2012, Clim. Dyn. 39:655-667.
    """
    values, event = events(probability, outcome)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    table = np.column_stack(
        [columns, columns * event[:, None], columns * (event - values)[:, None]]
    )
    count, happenings, gaps = np.split(weighted_sums(table, weights), 3, axis=1)
    total, filled = count.sum(axis=1), np.where(count > 0, count, 1.0)
    frequency = happenings / filled
    noise = frequency * (1 - frequency) / np.where(count >= 2, count - 1, np.inf)
    squared = ratio((count * ((gaps / filled) ** 2 - noise)).sum(axis=1), total)
    alone = ((count > 0) & (count < 2)).any(axis=1)
    return np.where(alone, np.nan, np.sqrt(np.maximum(squared, 0.0)))


def debiased_ece(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_mass",
) -> float:
    """`weighted_debiased_ece` of the sample itself."""
    return plain(weighted_debiased_ece, probability, outcome, n_bins=n_bins, binning=binning)


@dataclass(frozen=True)
class NoiseFloor:
    """ECE of a perfectly calibrated model of the same confidences: mean and 95th percentile."""

    mean: float
    p95: float


def ece_noise_floor(
    probability: ArrayLike,
    *,
    n_bins: int = 15,
    replicates: int = 500,
    seed: int,
    binning: Binning = "equal_width",
) -> NoiseFloor:
    """What ECE reads when nothing is wrong: mean and 95th percentile of `ece_under_calibration`.

    An observed ECE below `p95` is no evidence of miscalibration. NaN without samples.

    Reference: Bröcker & Smith 2007, Weather Forecast. 22:651-661.
    """
    errors = ece_under_calibration(
        probability, n_bins=n_bins, replicates=replicates, seed=seed, binning=binning
    )
    return consistency(0.0, errors).floor


@dataclass(frozen=True)
class Consistency:
    """An ECE beside what a perfectly calibrated model of the same confidences would show.

    Attributes:
        ece: of the sample.
        floor: mean and 95th percentile under calibration.
        p_value: share of calibrated outcomes with an ECE at least as large, (1 + b)/(1 + B).
    """

    ece: float
    floor: NoiseFloor
    p_value: float


def ece_consistency(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    replicates: int = 500,
    seed: int,
    binning: Binning = "equal_width",
    groups: ArrayLike | None = None,
) -> Consistency:
    """ECE, its noise floor, and the p-value that the confidences are true; NaN without samples.

    An ECE has no simple interval: noise can only raise it, a bootstrap adds the noise a second
    time. See `ece_under_calibration` for what is assumed of groups.

    Reference: Bröcker & Smith 2007, Weather Forecast. 22:651-661.
    """
    found = ece(probability, outcome, n_bins=n_bins, binning=binning)
    drawn = ece_under_calibration(
        probability,
        n_bins=n_bins,
        replicates=replicates,
        seed=seed,
        binning=binning,
        groups=groups,
    )
    return consistency(found, drawn)


def consistency(found: float, drawn: Float64Array) -> Consistency:
    """An ECE beside draws of it under calibration, (replicates,)."""
    if math.isnan(found) or np.isnan(drawn).any():
        return Consistency(found, NoiseFloor(math.nan, math.nan), math.nan)
    floor = NoiseFloor(float(drawn.mean()), float(np.quantile(drawn, 0.95)))
    # Equal outcomes may differ by rounding.
    reached = int((drawn >= found - 1e-12).sum())
    return Consistency(found, floor, (1 + reached) / (1 + len(drawn)))


def ece_under_calibration(
    probability: ArrayLike,
    *,
    n_bins: int = 15,
    replicates: int = 500,
    seed: int,
    binning: Binning = "equal_width",
    groups: ArrayLike | None = None,
) -> Float64Array:
    """ECE of outcomes that are drawn from the confidences themselves, (replicates,).

    In every replicate each event happens with the probability that was announced (consistency
    resampling). NaN without samples.

    How outcomes of one group hang together cannot be known from single confidences. Without groups
    they are drawn independently, which understates the noise of images of one patient; with groups
    one uniform number decides all outcomes of a group, the most dependence that the confidences
    allow. The truth lies between.

    Reference: Bröcker & Smith 2007, Weather Forecast. 22:651-661.
    """
    values = probabilities(probability)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    expected = values @ columns
    generator = np.random.default_rng(seed)
    alone = np.arange(len(values)) if groups is None else np.asarray(groups)
    names, members = np.unique(alone, return_inverse=True)

    def compute(part: Weights) -> Float64Array:
        uniform = generator.random((len(part), len(names)))
        outcome = (uniform if groups is None else uniform[:, members]) < values
        gaps = outcome.astype(np.float64) @ columns - expected
        return ratio(np.abs(gaps).sum(axis=1), len(values))

    # A view of one number: only its shape is used.
    shape_only = np.broadcast_to(np.uint8(1), (replicates, len(values)))
    return by_chunks(compute, shape_only, size=8 * SMALL_ROWS * max(1, len(values)))
