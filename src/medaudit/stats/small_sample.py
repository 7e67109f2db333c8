"""Intervals that stay honest with few groups: wider by Student's t, skewed by the logit.

A bootstrap of N groups is too narrow twice: its variance is that of a sample divided by N and not
by N − 1, and its percentiles are those of a normal and not of a t distribution. Both corrections
vanish as N grows. N is what a statistic really rests on: for an AUROC, an average precision or a
sensitivity that is the number of groups of the rarer class, not the number of groups in all.
"""

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, t

from medaudit.stats.estimate import NO_INTERVAL, PERCENTILE, Difference, Estimate
from medaudit.stats.proportions import wilson

EXPANDED = "cluster_bootstrap_expanded"
LOGIT_T = "cluster_bootstrap_logit_t"

AnyEstimate = TypeVar("AnyEstimate", Estimate, Difference)


def expanded(
    found: AnyEstimate, replicates: ArrayLike, *, n_independent: int, level: float = 0.95
) -> AnyEstimate:
    """The percentile interval read further out: at Φ(∓√(N/(N − 1))·t), t of N − 1 degrees.

    The p-value of a difference moves along, so that it stays the level at which the interval just
    touches 0. With 5 groups the ends are the 0.1 % and the 99.9 % quantile; with fewer they lie
    beyond 1,000 replicates, whose range is then too narrow. No interval and no p-value with fewer
    than two groups. Other than percentile intervals stay as they are.

    Args:
        found: from `estimate_from` or `difference_from`.
        replicates: those that it was made of.
        n_independent: N, groups that the statistic rests on.
        level: nominal coverage.

    Reference: Hesterberg 2015, Am. Stat. 69:371-386 (expanded percentile interval).
    """
    if not _of_percentiles(found):
        return found
    if n_independent < 2:
        return _without(found)
    values = _defined(replicates)
    tail = norm.sf(_reach(n_independent, level))
    low, high = (float(end) for end in np.quantile(values, [tail, 1 - tail]))
    moved = replace(found, low=low, high=high, method=EXPANDED)
    if isinstance(moved, Difference):
        return replace(moved, p_value=_expanded_p_value(moved.p_value, n_independent))
    return moved


def resolved(found: Difference, replicates: ArrayLike, *, n_independent: int) -> Difference:
    """A p-value below what the number of replicates can resolve, where none lies beyond 0.

    B replicates on one side of 0 say p <= 2/(B + 1) and no more, which a correction for many
    comparisons makes useless. Only there the p-value is that of Student's t with N − 1 degrees for
    value / (s √(N/(N − 1))), s the standard deviation of the replicates, and never a larger one
    than before. Without spread it stays as it is.
    """
    values = _defined(replicates)
    if not math.isfinite(found.p_value) or n_independent < 2 or not len(values):
        return found
    spread = float(values.std()) * math.sqrt(n_independent / (n_independent - 1))
    if min((values <= 0).sum(), (values >= 0).sum()) > 0 or spread == 0:
        return found
    told = float(2 * t.sf(abs(found.value) / spread, n_independent - 1))
    return replace(found, p_value=min(found.p_value, told))


def on_logit_scale(
    found: Estimate, replicates: ArrayLike, *, n_independent: int, level: float = 0.95
) -> Estimate:
    """Interval of a value v in [0, 1]: logit v ± √(N/(N − 1))·t·s/(v(1 − v)), turned back.

    s is the standard deviation of the replicates and t has N − 1 degrees of freedom. The interval
    stays inside [0, 1] and leans away from the nearer end, as the error of an AUROC does. At v = 0
    or 1, where replicates cannot vary, it is Wilson's of 0 or N cases: a mean of numbers in [0, 1]
    varies no more than a share does. No interval with fewer than two groups otherwise. Other than
    percentile intervals stay as they are, and so do those whose replicates are all equal.

    Args:
        found: from `estimate_from`.
        replicates: those that it was made of.
        n_independent: N, groups that the statistic rests on.
        level: nominal coverage.

    Reference: Kottas, Kuss & Zapf 2014, BMC Med. Res. Methodol. 14:26 (logit scale); Hesterberg
    2015 (t and √(N/(N − 1))).
    """
    value = found.value
    if not _of_percentiles(found) or not 0 <= value <= 1:
        return found
    if value in (0, 1):
        ends = wilson(round(value * n_independent), n_independent, level=level)
        return replace(found, low=ends.low, high=ends.high, method=ends.method)
    if n_independent < 2:
        return _without(found)
    spread = float(_defined(replicates).std())
    if spread == 0:
        return found
    reach = _reach(n_independent, level) * spread / (value * (1 - value))
    low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
    return replace(found, low=low, high=high, method=LOGIT_T)


def _of_percentiles(found: Estimate) -> bool:
    return found.method == PERCENTILE and math.isfinite(found.low)


def _defined(replicates: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(replicates, dtype=np.float64)
    return values[np.isfinite(values)]


def _reach(n_independent: int, level: float) -> float:
    """Bootstrap standard deviations from the value to an end."""
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    quantile = float(t.ppf((1 + level) / 2, n_independent - 1))
    return quantile * math.sqrt(n_independent / (n_independent - 1))


def _expanded_p_value(p_value: float, n_independent: int) -> float:
    """The level whose expanded interval ends where the percentile interval of `p_value` does."""
    deviations = float(norm.isf(p_value / 2)) / math.sqrt(n_independent / (n_independent - 1))
    return float(2 * t.sf(deviations, n_independent - 1))


def _without(found: AnyEstimate) -> AnyEstimate:
    bare = replace(found, low=math.nan, high=math.nan, method=NO_INTERVAL)
    return replace(bare, p_value=math.nan) if isinstance(bare, Difference) else bare
