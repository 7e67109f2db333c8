"""Permutation tests of a part of the sample against the rest, group by group."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaudit.stats.estimate import Statistic

Ints = NDArray[np.intp]


def permuted_masks(
    mask: ArrayLike, group_ids: ArrayLike, *, replicates: int, seed: int
) -> NDArray[np.bool_]:
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


def gap_p_value(statistic: Statistic, mask: ArrayLike, masks: NDArray[np.bool_]) -> float:
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


def _gaps(statistic: Statistic, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    inside = masks.astype(np.uint16)
    return np.asarray(statistic(inside) - statistic(1 - inside), dtype=np.float64)
