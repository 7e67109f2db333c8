"""What few groups can say: degrees of freedom of a mean, and differences that few of them make."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medaudit.stats.intervals import clopper_pearson, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.intervals import Difference, Estimate
    from medaudit.stats.weighting import Indices, Resamples

# With fewer groups that change than this, a difference of two shares is judged by their signs.
FEW_CHANGES = 10

# All signs of so many groups are tried.
MAX_FLIPPED = 20

# Groups of the pooled variance that stand beside those of an outcome.
PRIOR_GROUPS = 2

# Replicates that differ by less than this differ by rounding.
ROUNDING_SLACK = 1e-12


def constant(replicates: Float64Array) -> bool:
    """Whether the defined replicates are all the same number."""
    defined = replicates[np.isfinite(replicates)]
    return len(defined) > 0 and bool(np.ptp(defined) <= ROUNDING_SLACK)


def pointlike(found: Estimate) -> bool:
    """Whether an interval has no width: nearly all resamples agree, which is no certainty."""
    return found.high - found.low <= ROUNDING_SLACK


def degrees(supports: Sequence[Indices], replicates: ArrayLike, resamples: Resamples) -> float:
    """Degrees of freedom of the variance of replicates, by Satterthwaite over what they rest on.

    Groups − 1 where they rest on one set of groups. Else each group counts for the smallest set
    that holds it, so that the parts are independent even where the measures of a mean are not (a
    case is a positive of one AUROC and a negative of the others); s² of a part is the sum of its
    squared influences, its degrees are its groups − 1. That takes the groups of a part as alike and
    their influences as normal. 0 where a set has fewer than two groups.

    Args:
        supports: numbers of the groups of every outcome that the statistic rests on.
        replicates: (replicates,) of the statistic.
        resamples: of which they are.
    """
    return spread(supports, replicates, resamples).degrees


@dataclass(frozen=True)
class Spread:
    """Degrees of freedom of replicates' variance, and what their standard deviation is short of.

    Attributes:
        degrees: of freedom; 0 leaves no interval.
        stretch: factor beside √((v + 1)/v), at least 1.
    """

    degrees: float
    stretch: float = 1.0


def spread(
    supports: Sequence[Indices],
    replicates: ArrayLike,
    resamples: Resamples,
    *,
    moderated: bool = False,
) -> Spread:
    """As `degrees`; of a mean over outcomes of equal weight, with doubt in the spread of a few.

    Five groups that are all right have no variance, which is no certainty. So where `moderated` the
    variance of an outcome's groups is at least that of v_k groups of its own and `PRIOR_GROUPS` of
    all outcomes together.

    Args:
        supports: as in `degrees`.
        replicates: as in `degrees`.
        resamples: as in `degrees`.
        moderated: whether every outcome has the same weight in the statistic.

    Reference: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3 (moderated variances).
    """
    fewest = min((len(groups) for groups in supports), default=0)
    values = np.asarray(replicates, dtype=np.float64)
    defined = values[np.isfinite(values)]
    if len(supports) == 1 or fewest < 2 or not len(defined):
        return Spread(max(0, fewest - 1))
    parts = partition(supports)
    squared = resamples.influences(values) ** 2
    sizes = np.array([len(part) for part in parts])
    # Every squared influence holds the noise of the replicates.
    noise = sizes * defined.var() / len(defined)
    plain = np.maximum(np.array([squared[part].sum() for part in parts]) - noise, 0)
    variances = plain * sizes / (sizes - 1)
    if moderated:
        own, of_one = sizes - 1, variances * sizes
        pooled = (own * of_one).sum() / own.sum()
        prior = (own * of_one + PRIOR_GROUPS * pooled) / (own + PRIOR_GROUPS)
        variances = np.maximum(of_one, prior) / sizes
    found = satterthwaite(variances, sizes - 1)
    if not math.isfinite(found):
        return Spread(fewest - 1)
    short = math.sqrt(variances.sum() / plain.sum() / ((found + 1) / found))
    return Spread(found, max(1.0, short) if moderated else 1.0)


def deciding(replicates: ArrayLike, resamples: Resamples) -> float:
    """Effective number of groups behind the variance of replicates: (Σ U²)² / Σ U⁴.

    A third of the groups where influences U are normal; m where m groups alone make a difference,
    of which an interval can only see those that happen to be here.
    """
    return effective_number(resamples.influences(replicates))


def effective_number(influences: ArrayLike) -> float:
    """(Σ U²)² / Σ U⁴ of influences U, (groups,); 0 where all are 0."""
    squared = np.asarray(influences, np.float64) ** 2
    return float(squared.sum() ** 2 / (squared**2).sum()) if squared.any() else 0.0


def partition(supports: Sequence[Indices]) -> list[Indices]:
    """Each group in the smallest set that holds it; parts of a single group join the next."""
    parts: list[Indices] = []
    taken = np.empty(0, dtype=np.intp)
    for groups in sorted(supports, key=len):
        fresh = np.setdiff1d(groups, taken, assume_unique=True)
        taken = np.concatenate([taken, fresh])
        if parts and min(len(parts[-1]), len(fresh)) < 2:
            parts[-1] = np.concatenate([parts[-1], fresh])
        else:
            parts.append(fresh)
    return parts


def satterthwaite(variances: ArrayLike, degrees: ArrayLike) -> float:
    """Degrees of freedom of a sum of independent variances, each with degrees of its own.

    v = (Σ s²)² / Σ (s⁴ / v_k), between the smallest v_k and their sum. NaN where all variances are
    0, and where a part has no degree of freedom.

    Args:
        variances: s² of every part, (k,).
        degrees: v_k of every part, (k,).

    Reference: Satterthwaite 1946, Biometrics Bull. 2:110-114.
    """
    parts, own = np.asarray(variances, np.float64), np.asarray(degrees, np.float64)
    if not (own > 0).all() or not parts.any():
        return math.nan
    return float(parts.sum()) ** 2 / float((parts**2 / own).sum())


def sign_flip_p_value(contributions: ArrayLike) -> float:
    """Exact two-sided p-value of a paired difference that few groups make, by all sign flips.

    The share of the 2^m ways to give the contributions of m groups a sign in which their sum is as
    far from 0: where the two sides are exchangeable within a group, each is as likely. Of m groups
    that all change one way it is 2^(1 − m), as in McNemar's exact test. 1 where no group changes.

    Args:
        contributions: (groups,) of the sum that the difference is made of; zeros do not count.

    Raises:
        ValueError: more than 20 groups change; then a bootstrap is the tool.
    """
    changes = np.asarray(contributions, np.float64)
    changes = changes[changes != 0]
    if len(changes) > MAX_FLIPPED:
        raise ValueError(f"expected at most {MAX_FLIPPED} groups that change, got {len(changes)}")
    sums = np.zeros(1)
    for change in np.abs(changes):
        sums = np.concatenate([sums - change, sums + change])
    reached = np.abs(sums) >= abs(changes.sum()) - 1e-9 * max(1.0, np.abs(changes).sum())
    return float(reached.mean())


def few_changes(
    found: Difference, contributions: ArrayLike, *, n_groups: int, level: float = 0.95
) -> Difference:
    """A difference of two shares of the same cases that few groups make, by signs alone.

    The p-value is that of `sign_flip_p_value`. Of m groups that change, j upwards, Clopper and
    Pearson's interval of j/m turned into a difference, (2 π − 1) Σ|c|, widens the interval where it
    reaches further; so the interval holds 0 where j/m cannot be told from a half. Where no group
    changes, the ends are ∓ Wilson's upper end of 0 of all groups.

    Args:
        found: as the bootstrap has it.
        contributions: c, (groups,) summands of the difference.
        n_groups: groups that could have changed.
        level: nominal coverage.
    """
    changes = np.asarray(contributions, np.float64)
    rising, falling = int((changes > 0).sum()), int((changes < 0).sum())
    if not rising + falling:
        reach = wilson(0, n_groups, level=level)
        return replace(found, low=-reach.high, high=reach.high, method=reach.method, p_value=1.0)
    ends = clopper_pearson(rising, rising + falling, level=level)
    total = float(np.abs(changes).sum())
    return replace(
        found,
        low=min(found.low, (2 * ends.low - 1) * total),
        high=max(found.high, (2 * ends.high - 1) * total),
        p_value=sign_flip_p_value(changes),
    )


def contributions(
    first: tuple[BoolArray | None, BoolArray | None],
    second: tuple[BoolArray | None, BoolArray | None],
    resamples: Resamples,
) -> Float64Array | None:
    """Summands of a difference of two shares of the same cases, (groups,).

    `None` where one is no share, or they are shares of other cases.

    Args:
        first: members and denominator of a share, (n,) each; no denominator is all cases.
        second: of the other.
        resamples: which rows belong together.
    """
    (members, under), (other_members, other_under) = first, second
    if members is None or other_members is None or not _same(under, other_under):
        return None
    if len(members) != resamples.n or len(other_members) != resamples.n:
        return None
    cases = np.ones(resamples.n, dtype=bool) if under is None else under
    moved = np.where(cases, members.astype(np.float64) - other_members, 0.0)
    return np.asarray(np.bincount(resamples.groups, weights=moved) / max(1, int(cases.sum())))


def _same(one: BoolArray | None, other: BoolArray | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
