"""What noise adds to a calibration error: an estimate without it, and its size."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medaudit.metrics.events import Binning, bin_columns, events, probabilities
from medaudit.metrics.weighting import (
    SMALL_ROWS,
    Floats,
    Weights,
    by_chunks,
    plain,
    ratio,
    weighted_sums,
)


def weighted_debiased_ece(
    probability: ArrayLike,
    outcome: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_mass",
) -> Floats:
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
    if np.isnan(errors).any():
        return NoiseFloor(math.nan, math.nan)
    return NoiseFloor(float(errors.mean()), float(np.quantile(errors, 0.95)))


def ece_under_calibration(
    probability: ArrayLike,
    *,
    n_bins: int = 15,
    replicates: int = 500,
    seed: int,
    binning: Binning = "equal_width",
) -> Floats:
    """ECE of outcomes that are drawn from the confidences themselves, (replicates,).

    In every replicate each event happens with the probability that was announced (consistency
    resampling). NaN without samples.

    Reference: Bröcker & Smith 2007, Weather Forecast. 22:651-661.
    """
    values = probabilities(probability)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    expected = values @ columns
    generator = np.random.default_rng(seed)

    def compute(part: Weights) -> Floats:
        outcome = generator.random(part.shape) < values
        gaps = outcome.astype(np.float64) @ columns - expected
        return ratio(np.abs(gaps).sum(axis=1), len(values))

    # A view of one number: only its shape is used.
    shape_only = np.broadcast_to(np.uint8(1), (replicates, len(values)))
    return by_chunks(compute, shape_only, size=8 * SMALL_ROWS * max(1, len(values)))
