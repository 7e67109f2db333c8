"""Permutation tests of a part of the sample against the rest, group by group."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaudit.stats.estimate import Statistic


def permuted_masks(
    mask: ArrayLike, group_ids: ArrayLike, *, replicates: int, seed: int
) -> NDArray[np.bool_]:
    """Masks (replicates, n) with as many members as `mask`, dealt to whole groups at random.

    Rows are laid out group by group; the groups change places and the pattern of membership stays.
    So rows of one group keep being members together, as far as groups are of equal size.
    """
    members = np.asarray(mask, dtype=bool)
    _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    sizes = np.bincount(groups)
    by_group = np.argsort(groups, kind="stable")
    firsts, pattern = np.cumsum(sizes) - sizes, members[by_group]
    generator = np.random.default_rng(seed)
    masks = np.empty((replicates, len(members)), dtype=bool)
    for row in masks:
        order = np.argsort(generator.permutation(len(sizes)))
        laid = np.repeat(firsts[order] - (np.cumsum(sizes[order]) - sizes[order]), sizes[order])
        row[by_group[laid + np.arange(len(members))]] = pattern
    return masks


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
