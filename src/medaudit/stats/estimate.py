"""Point, interval and paired difference of any statistic, from one set of resamples."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaudit.stats.resample import Resamples

Floats = NDArray[np.float64]

# Weights (replicates, n) to values (replicates,); NaN where undefined.
Statistic = Callable[[NDArray[Any]], Floats]

PERCENTILE = "cluster_bootstrap_percentile"
RECENTRED = "cluster_bootstrap_recentred"
NO_INTERVAL = "none"

# Where more replicates than this lack a class, the others are a selection and no sample.
MAX_UNDEFINED = 0.1

# Where more than this lack one, the estimate says so.
REPORT_UNDEFINED = 0.01


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval and what it rests on.

    Attributes:
        value: the statistic of the sample itself; NaN if undefined.
        low: lower end of the interval; NaN if there is none.
        high: upper end of the interval.
        n: rows.
        n_groups: independent groups of rows.
        n_positive: positives among the rows, where the statistic has any.
        method: how the interval was made.
        undefined_share: share of the replicates in which the statistic is undefined.
        n_positive_groups: groups that hold these positives.
    """

    value: float
    low: float
    high: float
    n: int
    n_groups: int
    n_positive: int | None
    method: str
    undefined_share: float
    n_positive_groups: int | None = None

    @property
    def incomplete(self) -> bool:
        """Whether so many replicates are undefined that it must be said beside the interval."""
        return self.undefined_share > REPORT_UNDEFINED


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A paired difference, first minus second, with the two-sided p-value of no difference."""

    p_value: float


def restrict(statistic: Statistic, mask: ArrayLike) -> Statistic:
    """The statistic of a slice: weights are 0 outside the mask.

    For one slice `resamples.subset(mask)` with a statistic of its rows is faster; this form is for
    comparing slices of one sample.
    """
    inside = np.asarray(mask, dtype=bool)

    def restricted(weights: NDArray[Any]) -> Floats:
        return statistic(weights * inside)

    return restricted


def point(statistic: Statistic, n: int) -> float:
    """The statistic of the sample itself: every weight 1."""
    return float(statistic(np.ones((1, n), dtype=np.uint16))[0])


def estimate(
    statistic: Statistic,
    resamples: Resamples,
    *,
    level: float = 0.95,
    n_positive: int | None = None,
) -> Estimate:
    """Value and percentile interval of a statistic."""
    return estimate_from(
        point(statistic, resamples.n),
        statistic(resamples.weights),
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=n_positive,
    )


def estimate_from(
    value: float,
    replicates: ArrayLike,
    *,
    n: int,
    n_groups: int,
    level: float = 0.95,
    n_positive: int | None = None,
) -> Estimate:
    """As `estimate`, from replicates that are already computed.

    Undefined replicates are left out of the percentiles and counted in `undefined_share`; above
    `MAX_UNDEFINED` there is no interval.
    """
    values = np.asarray(replicates, dtype=np.float64)
    low, high = _percentile_interval(value, values, level)
    return Estimate(
        value=float(value),
        low=low,
        high=high,
        n=n,
        n_groups=n_groups,
        n_positive=n_positive,
        method=PERCENTILE if math.isfinite(low) else NO_INTERVAL,
        undefined_share=_undefined_share(values),
    )


def recentred(found: Estimate, replicates: ArrayLike, *, floor: float = 0.0) -> Estimate:
    """The interval moved by the bootstrap's bias, so that it lies around the value.

    For statistics that noise can only raise, such as an ECE: a resample is noisier than the sample,
    its values lie too high by about mean(replicates) − value (Efron & Tibshirani 1993, chapter 10).
    """
    if not math.isfinite(found.low):
        return found
    bias = float(np.nanmean(np.asarray(replicates, dtype=np.float64))) - found.value
    low, high = max(floor, found.low - bias), max(floor, found.high - bias)
    return replace(found, low=low, high=high, method=RECENTRED)


def difference(
    statistic_a: Statistic,
    statistic_b: Statistic,
    resamples: Resamples,
    *,
    level: float = 0.95,
    n_positive: int | None = None,
) -> Difference:
    """First minus second on the same resamples, so that what both share cancels."""
    return difference_from(
        point(statistic_a, resamples.n),
        point(statistic_b, resamples.n),
        statistic_a(resamples.weights),
        statistic_b(resamples.weights),
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=n_positive,
    )


def difference_from(
    value_a: float,
    value_b: float,
    replicates_a: ArrayLike,
    replicates_b: ArrayLike,
    *,
    n: int,
    n_groups: int,
    level: float = 0.95,
    n_positive: int | None = None,
) -> Difference:
    """As `difference`, from replicates of the same resamples that are already computed."""
    first, second = (np.asarray(r, dtype=np.float64) for r in (replicates_a, replicates_b))
    if first.shape != second.shape:
        raise ValueError(f"expected replicates of one length, got {first.shape}, {second.shape}")
    value, values = float(value_a) - float(value_b), first - second
    low, high = _percentile_interval(value, values, level)
    return Difference(
        value=value,
        low=low,
        high=high,
        n=n,
        n_groups=n_groups,
        n_positive=n_positive,
        method=PERCENTILE,
        undefined_share=_undefined_share(values),
        p_value=bootstrap_p_value(value, values),
    )


def bootstrap_p_value(value: float, replicates: ArrayLike) -> float:
    """Two-sided p-value that a difference is 0: twice the smaller share of replicates beyond 0.

    2 · min((1 + #≤0)/(B + 1), (1 + #≥0)/(B + 1)), at most 1, over the B defined replicates. It is
    the level at which the percentile interval just touches 0. NaN if the value is undefined, or
    more than `MAX_UNDEFINED` of the replicates are.
    """
    values = np.asarray(replicates, dtype=np.float64)
    defined = values[np.isfinite(values)]
    if not math.isfinite(value) or not _enough(values):
        return math.nan
    beyond = 1 + min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * beyond / (len(defined) + 1))


def _percentile_interval(value: float, replicates: Floats, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    defined = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or not _enough(replicates):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _enough(replicates: Floats) -> bool:
    return len(replicates) > 0 and _undefined_share(replicates) <= MAX_UNDEFINED


def _undefined_share(replicates: Floats) -> float:
    return float((~np.isfinite(replicates)).mean()) if len(replicates) else math.nan
