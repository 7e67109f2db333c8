"""P-values of a family of comparisons, adjusted. NaN stays NaN and is no member of the family."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.stats.intervals import Statistic


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


Ints = NDArray[np.intp]


def permuted_masks(
    mask: ArrayLike, group_ids: ArrayLike, *, replicates: int, seed: int
) -> BoolArray:
    """Masks (replicates, n) in which groups of equal size have exchanged their memberships.

    The pattern of membership inside a group (all, none, the first three rows) moves as a whole to
    another group of its size, so rows of one group stay as alike as they were, and as many rows are
    members of each mask. A group of a size that no other has keeps its own: with sizes that differ
    much the test loses power, not its level.
    """
    members = np.asarray(mask, dtype=bool)
    _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    sizes = np.bincount(groups)
    by_group = np.argsort(groups, kind="stable")
    firsts = np.cumsum(sizes) - sizes
    ranked = np.argsort(sizes, kind="stable")
    pattern = members[_rows(ranked, by_group, firsts, sizes)]
    generator = np.random.default_rng(seed)
    masks = np.empty((replicates, len(members)), dtype=bool)
    for row in masks:
        shuffled = np.lexsort((generator.random(len(sizes)), sizes))
        row[_rows(shuffled, by_group, firsts, sizes)] = pattern
    return masks


def _rows(order: Ints, by_group: Ints, firsts: Ints, sizes: Ints) -> Ints:
    """Row numbers of groups in that order, one group after the other."""
    lengths = sizes[order]
    starts = np.cumsum(lengths) - lengths
    places = np.repeat(firsts[order] - starts, lengths) + np.arange(lengths.sum())
    return np.asarray(by_group[places])


def gap_p_value(statistic: Statistic, mask: ArrayLike, masks: BoolArray) -> float:
    """Two-sided p-value of statistic(members) − statistic(others) being 0.

    (1 + #|permuted gap| ≥ |gap|) / (1 + P) over the P permutations in which the gap is defined; NaN
    if it is undefined in the sample. Exact up to the draw of permutations when membership says
    nothing about the rows, also where a part has few positives or none wrong (Good 2005).
    """
    gap = float(_gaps(statistic, np.asarray(mask, dtype=bool)[np.newaxis])[0])
    permuted = _gaps(statistic, masks)
    defined = np.abs(permuted[np.isfinite(permuted)])
    if not math.isfinite(gap) or not len(defined):
        return math.nan
    beyond = int((defined >= abs(gap) - 1e-12).sum())
    return (1 + beyond) / (1 + len(defined))


def _gaps(statistic: Statistic, masks: BoolArray) -> Float64Array:
    inside = masks.astype(np.uint16)
    return np.asarray(statistic(inside) - statistic(1 - inside), dtype=np.float64)


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
