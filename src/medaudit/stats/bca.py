"""Bias-corrected and accelerated bootstrap intervals over groups, for smooth statistics."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from medaudit.core.arrays import Float64Array
from medaudit.stats.intervals import NO_INTERVAL, Estimate, Statistic, estimate_from
from medaudit.stats.weighting import Resamples

BCA = "cluster_bootstrap_bca"

# With more groups than this, blocks of groups are left out instead of single groups.
JACKKNIFE_BLOCKS = 500

# Replicates nearer to the value than this are ties that rounding has torn apart.
ROUNDING_SLACK = 1e-12

# Numbers of one weight matrix of the jackknife that is held at once.
WEIGHTS_AT_ONCE = 2**24


def bca_from(
    statistic: Statistic,
    value: float,
    replicates: ArrayLike,
    resamples: Resamples,
    *,
    level: float = 0.95,
    n_positive: int | None = None,
) -> Estimate:
    """Value and BCa interval of a statistic, from bootstrap replicates that are already computed.

    The ends are the quantiles of the replicates at Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z))), with z the
    normal quantiles of (1 ∓ level)/2, z₀ the `bias_correction` and a the `acceleration`. They are
    second-order accurate where the statistic is a smooth function of the group weights; for a
    statistic with jumps or kinks (an ECE, a threshold that is picked anew) take the percentiles.

    Where the correction is undefined the interval is that of `estimate_from`, and `method` says so:
    all replicates are equal, the value lies outside their range, leaving out one block leaves the
    statistic undefined or unchanged, or the correction runs past the last quantile.

    Args:
        statistic: weights (replicates, n) to values (replicates,).
        value: the statistic of the sample itself.
        replicates: the statistic of `resamples.weights`; undefined ones are left out and counted.
        resamples: which rows belong together.
        level: nominal coverage.
        n_positive: positives among the rows, where the statistic has any.

    Reference: Efron 1987, JASA 82:171-185; Davison & Hinkley 1997, section 5.3.
    """
    values = np.asarray(replicates, dtype=np.float64)
    plain = estimate_from(
        value,
        values,
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=n_positive,
    )
    if plain.method == NO_INTERVAL:
        return plain
    defined = values[np.isfinite(values)]
    shares = _shares(
        bias_correction(value, defined), acceleration(statistic, resamples.groups), level
    )
    if shares is None:
        return plain
    low, high = np.quantile(defined, shares)
    return replace(plain, low=float(low), high=float(high), method=BCA)


def bias_correction(value: float, replicates: ArrayLike) -> float:
    """z₀ = Φ⁻¹(share of the replicates below the value, ties counted half).

    0 where the value is the median of the replicates; infinite where it lies outside of them; NaN
    where all replicates are equal.
    """
    values = np.asarray(replicates, dtype=np.float64)
    if not len(values) or values.min() == values.max():
        return math.nan
    below = (values < value - ROUNDING_SLACK).mean() + (values <= value + ROUNDING_SLACK).mean()
    return float(norm.ppf(below / 2))


def acceleration(statistic: Statistic, groups: ArrayLike) -> float:
    """Σ d³ / (6 (Σ d²)^1.5), with d the mean of the jackknife values minus each of them.

    A sixth of the skewness of the influence of a group, over √groups. NaN of a single group, and
    where a jackknife value is undefined or all are equal.

    Reference: Efron 1987, JASA 82:171-185.
    """
    if len(np.unique(np.asarray(groups))) < 2:
        return math.nan  # without its only group there is no sample
    values = jackknife(statistic, groups)
    if not np.isfinite(values).all() or values.min() == values.max():
        return math.nan
    gaps = values.mean() - values
    return float((gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5))


def jackknife(
    statistic: Statistic, groups: ArrayLike, *, blocks: int = JACKKNIFE_BLOCKS
) -> Float64Array:
    """The statistic without each group in turn; without each block where groups are many.

    Above `blocks` groups, group g belongs to block g mod `blocks`, so that blocks are of nearly
    equal numbers of groups. Summing h groups divides the skewness by √h and their number by h, so
    the acceleration stays the same in expectation.

    Args:
        statistic: weights (replicates, n) to values (replicates,).
        groups: (n,) group numbers or names.
        blocks: largest number of evaluations.
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    parts = [statistic(weights) for weights in _left_out(numbers % blocks, min(len(names), blocks))]
    return np.concatenate(parts) if parts else np.empty(0)


def _left_out(members: NDArray[np.intp], blocks: int) -> Iterator[NDArray[Any]]:
    """Weights that are 0 in one block and 1 elsewhere, a few blocks at a time."""
    rows = max(1, WEIGHTS_AT_ONCE // max(1, len(members)))
    for start in range(0, blocks, rows):
        block = np.arange(start, min(blocks, start + rows))
        yield (members != block[:, None]).astype(np.uint16)


def _shares(correction: float, acceleration: float, level: float) -> list[float] | None:
    """The two shares at which the replicates are read; None where they are undefined."""
    if not (math.isfinite(correction) and math.isfinite(acceleration)):
        return None
    moved = [correction + float(norm.ppf((1 + sign * level) / 2)) for sign in (-1, 1)]
    stretch = [1 - acceleration * z for z in moved]
    if min(stretch) <= 0:
        return None
    return [float(norm.cdf(correction + z / s)) for z, s in zip(moved, stretch, strict=True)]
