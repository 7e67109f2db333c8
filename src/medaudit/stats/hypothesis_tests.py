"""Families of comparisons: adjusted p-values, shrunk effects, trends. NaN is no member."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import kendalltau

from medaudit.core.arrays import Float64Array


def holm(p_values: ArrayLike) -> Float64Array:
    """Family-wise error: the i-th smallest of m is multiplied by m − i + 1, kept rising, at most 1.

    Reference: Holm 1979, Scand. J. Stat. 6:65-70.
    """
    values, family, ordered = _ordered(p_values)
    factors = np.arange(len(ordered), 0, -1)
    values[family] = np.minimum(1.0, np.maximum.accumulate(ordered * factors))
    return values


def benjamini_hochberg(p_values: ArrayLike) -> Float64Array:
    """False discovery rate: the i-th smallest of m is multiplied by m / i, kept rising, at most 1.

    Holds for independent or positively dependent comparisons.

    Reference: Benjamini & Hochberg 1995, JRSS-B 57:289-300.
    """
    values, family, ordered = _ordered(p_values)
    scaled = ordered * (len(ordered) / np.arange(1, len(ordered) + 1))
    values[family] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return values


def _ordered(p_values: ArrayLike) -> tuple[Float64Array, NDArray[np.intp], Float64Array]:
    """A copy to fill, the places of the members by rising p-value, and those p-values."""
    values = np.array(p_values, dtype=np.float64)
    defined = values[~np.isnan(values)]
    if values.ndim != 1 or not ((defined >= 0) & (defined <= 1)).all():
        raise ValueError("p_values: expected a vector of numbers in [0, 1] or NaN")
    members = np.flatnonzero(~np.isnan(values))
    family = members[np.argsort(values[members], kind="stable")]
    return values, family, values[family]


@dataclass(frozen=True, eq=False)
class ShrunkEffects:
    """Effects of one family drawn towards 0 as far as they are noise.

    Attributes:
        value: (m,) posterior means.
        low: (m,) lower ends of equal-tailed posterior intervals.
        high: (m,) upper ends.
        p_beyond: (m,) posterior probability of an effect above the margin.
        spread: posterior mean of the standard deviation of the true effects; NaN without effects.
    """

    value: Float64Array
    low: Float64Array
    high: Float64Array
    p_beyond: Float64Array
    spread: float


def shrink(
    effects: ArrayLike, errors: ArrayLike, *, margin: float, level: float = 0.95
) -> ShrunkEffects:
    """Partial pooling of effects that are 0 on average: true effects ~ N(0, τ²), estimates normal.

    τ is averaged over its posterior under a uniform prior on (0, 1]. A point estimate such as
    DerSimonian & Laird's is 0 for most families of 2 to 5 effects, and would then be certain that
    none differs. NaN stays NaN and is no member of the family.

    Args:
        effects: (m,) differences of numbers in [0, 1].
        errors: (m,) standard errors, above 0.
        margin: effect of which the probability of a larger one is asked.
        level: of the posterior intervals.

    Reference: Gelman 2006, Bayesian Analysis 1:515-534; DerSimonian & Laird 1986.
    """
    y, s = np.asarray(effects, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    known = np.isfinite(y) & (s > 0)
    columns = np.full((4, len(y)), np.nan)
    if not known.any():
        return ShrunkEffects(columns[0], columns[1], columns[2], columns[3], math.nan)
    y, s, tau = y[known], s[known], TAU[:, np.newaxis]
    total = np.hypot(s, tau)
    density = -((y / total) ** 2 / 2 + np.log(total)).sum(axis=1)
    posterior = np.exp(density - density.max())
    posterior /= posterior.sum()
    kept = tau**2 / (s**2 + tau**2)
    means, spreads = kept * y, np.sqrt(kept) * s

    def below(x: Float64Array | float) -> Float64Array:
        return np.asarray(posterior @ ndtr((x - means) / spreads))

    tail = (1 - level) / 2
    ends = [_inverse(below, np.full(len(y), end)) for end in (tail, 1 - tail)]
    columns[:, known] = [posterior @ means, *ends, 1 - below(margin)]
    mean_spread = float(posterior @ TAU)
    return ShrunkEffects(columns[0], columns[1], columns[2], columns[3], mean_spread)


TAU = np.linspace(0, 1, 401)[1:]
"""Standard deviations of true effects over which `shrink` averages."""


def _inverse(cdf: Callable[[Float64Array], Float64Array], p: Float64Array) -> Float64Array:
    """Where rising functions reach p, for values in [-4, 4], to 1e-9."""
    low, high = np.full(len(p), -4.0), np.full(len(p), 4.0)
    for _ in range(33):
        middle = (low + high) / 2
        short = cdf(middle) < p
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray((low + high) / 2)


@dataclass(frozen=True)
class Trend:
    """Kendall's τ_b and the two-sided p-value of no association."""

    tau: float
    p_value: float


def kendall_tau(severities: ArrayLike, values: ArrayLike) -> Trend:
    """Rank agreement of values with severities: −1 falls all the way, 1 rises all the way.

    Five severities can reach p = 1/60 at best, three only 1/3. NaN with fewer than two points, with
    an undefined value among them, or where either is constant.

    Reference: Kendall 1945, Biometrika 33:239-251 (τ_b).
    """
    x, y = (np.asarray(column, dtype=np.float64) for column in (severities, values))
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two vectors of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < 2 or np.isnan(x).any() or np.isnan(y).any():
        return Trend(math.nan, math.nan)
    result = kendalltau(x, y)
    return Trend(float(result.statistic), float(result.pvalue))
