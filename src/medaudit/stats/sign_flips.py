"""Paired differences of a family tested by sign flips of groups, jointly over all comparisons."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from medaudit.stats.delong import placements
from medaudit.stats.max_t import POWER, JointComparison, compare_jointly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray

# Up to so many changed groups every pattern of signs is tried; with more they are drawn.
ENUMERATED = 10
CHUNK = 256
# The last digit that tables keep.
RESOLUTION = 1e-6


@dataclass(frozen=True, eq=False)
class Contributions:
    """What every group adds to each difference of a family.

    Attributes:
        values: (groups, m), of which the sums over groups are the m differences; a column of NaN
            is undefined.
        n_groups: (m,) groups that could have changed.
        imagined: (m,) size of an imagined change. Two of these, one each way, enter every standard
            error: where nothing changed it is not 0.
        n_effective: (m,) cases that count as independent (Kish), of shares; NaN otherwise.
    """

    values: Float64Array
    n_groups: IntArray
    imagined: Float64Array
    n_effective: Float64Array

    @property
    def differences(self) -> Float64Array:
        """(m,) sums over the groups."""
        return np.asarray(self.values.sum(axis=0))

    def errors(self, sums: ArrayLike) -> Float64Array:
        """(..., m) standard errors if the signs are such that the differences are `sums`.

        s² = Σ d² + 2·imagined² − sum²/(groups + 2): the variance of a total over groups with
        Laplace's two imagined changes, as for paired proportions in Bonett & Price 2012.
        """
        squares = (np.nan_to_num(self.values) ** 2).sum(axis=0) + 2 * self.imagined**2
        centred = squares - np.asarray(sums) ** 2 / (self.n_groups + 2)
        return np.asarray(np.sqrt(np.maximum(centred, 0)))


def joined(parts: Sequence[Contributions]) -> Contributions:
    """The comparisons of several families of the same groups as one family."""
    return Contributions(
        values=np.concatenate([part.values for part in parts], axis=1),
        n_groups=np.concatenate([part.n_groups for part in parts]),
        imagined=np.concatenate([part.imagined for part in parts]),
        n_effective=np.concatenate([part.n_effective for part in parts]),
    )


def share_contributions(
    after: BoolArray, before: BoolArray, cases: BoolArray, *, group_ids: ArrayLike
) -> Contributions:
    """Of the differences of a share under m conditions: differences of hits over the same cases.

    Args:
        after: (m, n) whether a row is a hit under each condition.
        before: (n,) whether it is one clean.
        cases: (n,) rows that the share is of; without one the differences are NaN.
        group_ids: (n,).
    """
    groups, m = _numbers(group_ids), len(after)
    sizes = np.bincount(groups, weights=cases)
    n, present = sizes.sum(), int((sizes > 0).sum())
    changes = (after.astype(np.int8) - before.astype(np.int8)) * cases
    total = n or np.nan
    mean_square = (sizes**2).sum() / max(1, present)
    return Contributions(
        values=_summed(changes.T.astype(np.float64), groups) / total,
        n_groups=np.full(m, present),
        imagined=np.full(m, np.sqrt(mean_square) / max(1.0, n)),
        n_effective=np.full(m, n**2 / max(1.0, (sizes**2).sum())),
    )


def auroc_contributions(
    after: Float64Array,
    before: Float64Array,
    positives: BoolArray,
    *,
    classes: Sequence[int],
    group_ids: ArrayLike,
) -> Contributions:
    """Of the differences of a macro AUROC, to first order, from DeLong's placements.

    Of one class, a positive i adds (ΔV_i − ΔA + a)/n₁ and a negative j adds (ΔV_j − ΔA + b)/n₀:
    placements V condition minus clean about their mean ΔA, which a + b = ΔA returns, split as the
    positives and the negatives carry the variance. Their squares are DeLong's variance. Rows are
    summed over groups, and classes averaged.

    Args:
        after: (m, n, k) scores under each condition.
        before: (n, k) scores clean.
        positives: (n, k).
        classes: outputs in the mean, each with positives and negatives.
        group_ids: (n,).

    Reference: Obuchowski 1997, Biometrics 53:567-578.
    """
    groups, (m, n, _) = _numbers(group_ids), after.shape
    values, largest = np.zeros((n, m)), 0.0
    for k in classes:
        scores = np.concatenate([before[np.newaxis, :, k], after[:, :, k]])
        values += _of_class(scores, positives[:, k]) / len(classes)
        largest = max(largest, 1 / (len(classes) * positives[:, k].sum()))
    summed = _summed(values, groups) if len(classes) else np.full((groups.max() + 1, m), np.nan)
    return Contributions(
        values=summed,
        n_groups=np.full(m, groups.max() + 1),
        imagined=np.where((summed == 0).all(axis=0), largest, 0.0),
        n_effective=np.full(m, np.nan),
    )


def _of_class(scores: Float64Array, truth: BoolArray) -> Float64Array:
    """(n, m) contributions of rows to the differences of the AUROCs with the first model's."""
    placed = placements(scores, truth)
    change = placed.aurocs[1:] - placed.aurocs[0]
    parts = [(each[1:] - each[0]) / each.shape[1] for each in (placed.positives, placed.negatives)]
    squares = [(part**2).sum(axis=1) for part in parts]
    carried = squares[0] / np.where(squares[0] + squares[1] > 0, squares[0] + squares[1], 1)
    rows = np.empty((len(truth), len(change)))
    for part, mask, share in zip(parts, (truth, ~truth), (carried, 1 - carried), strict=True):
        rows[mask] = (part + (change * (share - 1) / part.shape[1])[:, np.newaxis]).T
    return rows


def compare(
    contributions: Contributions,
    *,
    direction: int = 1,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> JointComparison:
    """Test a family of paired differences: the sign of a group is flipped for all of them at once.

    Had the conditions done nothing, a group would have changed as readily the other way: every
    pattern of signs is as likely as the one seen. All differences are studentised anew in each, so
    that contributions need not be symmetric where groups are many.

    Args:
        contributions: of the groups.
        direction: of the measure: 1 higher is better, -1 lower is better.
        level: of each end of the intervals, and 1 minus the family-wise error of each side.
        replicates: patterns of signs, besides the one seen; all of them where these are fewer.
        seed: of the patterns.
    """
    harms = replace(contributions, values=-direction * contributions.values)
    total, filled = harms.differences, np.nan_to_num(harms.values)
    sums = _flipped(filled, replicates=replicates, seed=seed)
    errors, spread = harms.errors(np.nan_to_num(total)), harms.errors(sums)
    null = np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0)
    found = _not_too_sure(compare_jointly(total, errors, null, level=level), errors)
    exact = np.array([_exact(column) for column in filled.T])
    known = np.isfinite(exact) & np.isfinite(found.p_value)
    return replace(
        found,
        p_value=np.where(known, np.minimum(exact, found.p_harm), found.p_value),
        minimal_detectable=_detectable(found, harms, errors),
    )


def _flipped(values: Float64Array, *, replicates: int, seed: int) -> Float64Array:
    """(replicates, m) sums of the groups' contributions under joint signs."""
    changed = values[(values != 0).any(axis=1)]
    if len(changed) <= ENUMERATED and 2 ** len(changed) <= replicates:
        # Without the pattern that was seen: it is counted as the sample itself.
        signs = np.array(list(itertools.product((1, -1), repeat=len(changed)))[1:])
        return signs @ changed if len(signs) else np.zeros((1, values.shape[1]))
    generator = np.random.default_rng([seed, len(changed)])
    sums = []
    for start in range(0, replicates, CHUNK):
        size = (min(CHUNK, replicates - start), len(changed))
        sums.append((2.0 * generator.integers(0, 2, size=size) - 1) @ changed)
    return np.concatenate(sums)


def _exact(column: Float64Array) -> float:
    """One-sided p-value of one difference over all patterns; NaN where these are too many."""
    changed = column[column != 0]
    if len(changed) > ENUMERATED:
        return np.nan
    sums = np.zeros(1)
    for each in changed:
        sums = np.concatenate([sums + each, sums - each])
    tolerance = 1e-9 * np.abs(changed).sum()
    return float((sums >= changed.sum() - tolerance).mean())


def _not_too_sure(found: JointComparison, errors: Float64Array) -> JointComparison:
    """Intervals and detectable harms at least those of a single normal test.

    Where few groups changed in any condition, the patterns of their signs say little: the largest
    statistic is small, and its quantile would promise what so few groups cannot. Counts tie with
    the quantile, too: an interval ends at 0 or beyond only where something is shown.
    """
    reach, alpha = norm.ppf(found.level), 1 - found.level
    low = np.minimum(found.low, found.harm - reach * errors)
    high = np.maximum(found.high, found.harm + reach * errors)
    return replace(
        found,
        low=np.where(found.p_harm <= alpha, np.maximum(low, 0), np.minimum(low, -RESOLUTION)),
        high=np.where(found.p_gain <= alpha, np.minimum(high, 0), np.maximum(high, RESOLUTION)),
        minimal_detectable=np.maximum(found.minimal_detectable, (reach + norm.ppf(POWER)) * errors),
    )


def _detectable(found: JointComparison, harms: Contributions, errors: Float64Array) -> Float64Array:
    """Harms called with probability `POWER`.

    A share that falls by h adds h/n to its variance, so h solves h² = c²·(v + h/n − h²/n): v is the
    variance apart from that of the observed harm, c the quantile and that of the power.
    """
    reach = found.minimal_detectable / errors
    n = harms.n_effective
    apart = np.maximum(errors**2 - np.maximum(found.harm, 0) / n, 2 * harms.imagined**2)
    lead, slope = 1 + reach**2 / n, reach**2 / n
    root = (slope + np.sqrt(slope**2 + 4 * lead * reach**2 * apart)) / (2 * lead)
    return np.where(np.isfinite(n), root, found.minimal_detectable)


def _numbers(group_ids: ArrayLike) -> IntArray:
    return np.asarray(np.unique(np.asarray(group_ids), return_inverse=True)[1])


def _summed(rows: Float64Array, groups: IntArray) -> Float64Array:
    """(groups, m) sums of (n, m) over the rows of each group."""
    sums = np.zeros((int(groups.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums
