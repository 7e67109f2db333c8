"""Point, interval and paired difference of any statistic, from one set of resamples."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, t

from medaudit.core.arrays import Float64Array
from medaudit.stats.weighting import Resamples

# Weights (replicates, n) to values (replicates,); NaN where undefined.
Statistic = Callable[[NDArray[Any]], Float64Array]

PERCENTILE = "cluster_bootstrap_percentile"
NO_INTERVAL = "none"

# Where more replicates than this lack a class, the others are a selection and no sample.
MAX_UNDEFINED = 0.1

# Where more than this lack one, the estimate says so.
REPORT_UNDEFINED = 0.01

# Below so many groups of positives, intervals cover less often than they promise
# (benchmarks/coverage.py).
FEW_POSITIVE_GROUPS = 25
# Groups that make a number, or its change, the same (benchmarks/coverage_shipped.py). Ranks of a
# model that hardly errs change by a few groups, and a test set may lack these.
FEW_DECIDING, FEW_DECIDING_OF_CHANGE = 25, 40

# No tail of a fitted distribution is known to be smaller; tables keep six decimals.
SMALLEST_P = 1e-6


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
        n_deciding: effective number of groups that make the variance.
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
    n_deciding: float | None = None

    @property
    def incomplete(self) -> bool:
        """Whether so many replicates are undefined that it must be said beside the interval."""
        return self.undefined_share > REPORT_UNDEFINED


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A paired difference, first minus second, with the two-sided p-value of no difference.

    Attributes:
        p_value: two-sided.
        of_shares: whether both are shares of the same cases.
    """

    p_value: float
    of_shares: bool = False


def caution(estimate: Estimate) -> str:
    """Why an interval is to be read with care; empty where it is not."""
    if not math.isfinite(estimate.value):
        return "undefined"
    if estimate.n_positive_groups is not None and estimate.n_positive_groups < FEW_POSITIVE_GROUPS:
        return "few_positive_groups"
    if estimate.n_deciding is not None and estimate.n_deciding < _deciding_needed(estimate):
        return "few_deciding_groups"
    if estimate.incomplete:
        return "undefined_replicates"
    return "" if math.isfinite(estimate.low) else "no_interval"


def _deciding_needed(estimate: Estimate) -> int:
    change = isinstance(estimate, Difference) and not estimate.of_shares
    return FEW_DECIDING_OF_CHANGE if change else FEW_DECIDING


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


def _percentile_interval(
    value: float, replicates: Float64Array, level: float
) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    defined = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or not _enough(replicates):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _enough(replicates: Float64Array) -> bool:
    return len(replicates) > 0 and _undefined_share(replicates) <= MAX_UNDEFINED


def _undefined_share(replicates: Float64Array) -> float:
    return float((~np.isfinite(replicates)).mean()) if len(replicates) else math.nan


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Score interval of a proportion; it never leaves [0, 1]. NaN without cases.

    Reference: Wilson 1927, JASA 22:209-212; Brown, Cai & DasGupta 2001, Stat. Sci. 16:101-133.
    """
    return _interval(successes, n, level=level, method="wilson", name="wilson")


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Exact interval: it covers at least at the level, so it is wide. NaN without cases.

    Reference: Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    return _interval(successes, n, level=level, method="exact", name="clopper_pearson")


def _interval(
    successes: int, n: int, *, level: float, method: Literal["exact", "wilson"], name: str
) -> Estimate:
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    low = high = math.nan
    if n > 0:
        ends = binomtest(successes, n).proportion_ci(confidence_level=level, method=method)
        low, high = float(ends.low), float(ends.high)
    return Estimate(
        value=successes / n if n else math.nan,
        low=low,
        high=high,
        n=n,
        n_groups=n,
        n_positive=successes,
        method=name,
        undefined_share=0.0,
    )


EXPANDED = "cluster_bootstrap_expanded"
LOGIT_T = "cluster_bootstrap_logit_t"

AnyEstimate = TypeVar("AnyEstimate", Estimate, Difference)


def expanded(
    found: AnyEstimate,
    replicates: ArrayLike,
    *,
    degrees: float,
    level: float = 0.95,
    stretch: float = 1.0,
) -> AnyEstimate:
    """The percentile interval read further out: at Φ(∓√((v + 1)/v)·t), t of v degrees of freedom.

    The p-value of a difference moves along, so that it stays the level at which the interval just
    touches 0. With 4 degrees the ends are the 0.1 % and the 99.9 % quantile; with fewer they lie
    beyond 1,000 replicates, whose range is then too narrow. No interval and no p-value without a
    degree of freedom. Other than percentile intervals stay as they are.

    Args:
        found: from `estimate_from` or `difference_from`.
        replicates: those that it was made of.
        degrees: v, of freedom of the variance of the replicates; groups − 1 of a single share.
        level: nominal coverage.
        stretch: factor of the reach of both ends.

    Reference: Hesterberg 2015, Am. Stat. 69:371-386 (expanded percentile interval).
    """
    if not _of_percentiles(found):
        return found
    if degrees <= 0:
        return without_interval(found)
    values = _defined(replicates)
    tail = norm.sf(stretch * _reach(degrees, level))
    low, high = (float(end) for end in np.quantile(values, [tail, 1 - tail]))
    moved = replace(found, low=low, high=high, method=EXPANDED)
    if isinstance(moved, Difference):
        return replace(moved, p_value=_expanded_p_value(moved.p_value, degrees, stretch))
    return moved


def resolved(
    found: Difference, replicates: ArrayLike, *, degrees: float, stretch: float = 1.0
) -> Difference:
    """A p-value below what the number of replicates can resolve, where none lies beyond 0.

    B replicates on one side of 0 say p <= 2/(B + 1) and no more, which a correction for many
    comparisons makes useless. Only there the p-value is that of Student's t with v degrees of
    freedom for value / (s √((v + 1)/v)), s the standard deviation of the replicates times
    `stretch`: never a larger one than before, and never below `SMALLEST_P`. Without spread it stays
    as it is.
    """
    values = _defined(replicates)
    if not math.isfinite(found.p_value) or degrees <= 0 or not len(values):
        return found
    spread = stretch * float(values.std()) * math.sqrt((degrees + 1) / degrees)
    if min((values <= 0).sum(), (values >= 0).sum()) > 0 or spread == 0:
        return found
    by_t = positive(float(2 * t.sf(abs(found.value) / spread, degrees)))
    return replace(found, p_value=min(found.p_value, by_t))


def positive(p_value: float) -> float:
    """A p-value that is not 0: that of a tail beyond all data is known to be small, and no more."""
    return max(p_value, SMALLEST_P)


def on_logit_scale(
    found: Estimate,
    replicates: ArrayLike,
    *,
    degrees: float,
    level: float = 0.95,
    stretch: float = 1.0,
) -> Estimate:
    """Interval of a value A in [0, 1]: logit A ± √((v + 1)/v)·t·s/(A(1 − A)), turned back.

    s is the standard deviation of the replicates and t has v degrees of freedom. The interval
    stays inside [0, 1] and leans away from the nearer end, as the error of an AUROC does. At 0 and
    1, where replicates cannot vary, it is Wilson's of v + 1 cases: a mean of numbers in [0, 1]
    varies no more than a share does. No interval without a degree of freedom otherwise. Other than
    percentile intervals stay as they are, and so do those whose replicates are all equal.

    Args:
        found: from `estimate_from`.
        replicates: those that it was made of.
        degrees: v, of freedom of the variance of the replicates; groups − 1 of a single class.
        level: nominal coverage.
        stretch: factor of the reach of both ends.

    Reference: Kottas, Kuss & Zapf 2014, BMC Med. Res. Methodol. 14:26 (logit scale); Hesterberg
    2015 (t and √((v + 1)/v)).
    """
    value = found.value
    if not _of_percentiles(found) or not 0 <= value <= 1:
        return found
    if value in (0, 1):
        n = round(degrees) + 1
        ends = wilson(round(value * n), n, level=level)
        return replace(found, low=ends.low, high=ends.high, method=ends.method)
    if degrees <= 0:
        return without_interval(found)
    spread = float(_defined(replicates).std())
    if spread == 0:
        return found
    reach = stretch * _reach(degrees, level) * spread / (value * (1 - value))
    low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
    return replace(found, low=low, high=high, method=LOGIT_T)


def _of_percentiles(found: Estimate) -> bool:
    return found.method == PERCENTILE and math.isfinite(found.low)


def _defined(replicates: ArrayLike) -> Float64Array:
    values = np.asarray(replicates, dtype=np.float64)
    return values[np.isfinite(values)]


def _reach(degrees: float, level: float) -> float:
    """Bootstrap standard deviations from the value to an end."""
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    quantile = float(t.ppf((1 + level) / 2, degrees))
    return quantile * math.sqrt((degrees + 1) / degrees)


def _expanded_p_value(p_value: float, degrees: float, stretch: float) -> float:
    """The level whose expanded interval ends where the percentile interval of `p_value` does."""
    deviations = float(norm.isf(p_value / 2)) / (stretch * math.sqrt((degrees + 1) / degrees))
    return float(2 * t.sf(deviations, degrees))


def without_interval(found: AnyEstimate) -> AnyEstimate:
    """The value alone: ends and p-value NaN, method "none"."""
    bare = replace(found, low=math.nan, high=math.nan, method=NO_INTERVAL)
    return replace(bare, p_value=math.nan) if isinstance(bare, Difference) else bare
