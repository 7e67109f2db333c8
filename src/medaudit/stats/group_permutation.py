"""Gaps between parts of a sample and the rest, with their joint distribution where there is none.

Membership is exchanged between groups (lesions, patients) of the same composition, by one
permutation for all parts at once, so that what parts share is kept (Westfall & Young 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medaudit.stats.weighting import ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array

Ints = NDArray[np.intp]

# What one temporary may hold: small ones stay in the caches.
BLOCK = 2**19


@dataclass(frozen=True, eq=False)
class PermutedGaps:
    """Harms of m parts, share wrong inside minus share wrong in the rest, and their null.

    Attributes:
        harm: (m,) in [-1, 1], above 0 is worse than the rest; NaN where undefined.
        centre: (m,) the same with one wrong and one right group added to each side: what is tested
            and what intervals lie around.
        errors: (m,) standard errors of `centre` over groups, above 0; NaN where undefined.
        null: (replicates, m) centre / error after exchanging memberships, drawn jointly.
    """

    harm: Float64Array
    centre: Float64Array
    errors: Float64Array
    null: Float64Array


def permuted_gaps(
    wrong: ArrayLike,
    members: ArrayLike,
    group_ids: ArrayLike,
    *,
    kinds: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    replicates: int,
    seed: int,
) -> PermutedGaps:
    """Gaps of Σ_k weight_k · share wrong among the cases of kind k, and their joint null.

    With one kind it is the gap of a share such as the sensitivity (cases: the positives). With the
    classes as kinds and their frequencies as weights it is the gap of the accuracy, directly
    standardised: a part with more cases of a difficult class has none.

    Kinds that are absent inside or outside of a part are left out of both sides and the weights of
    the others add up to 1. The error is that of a difference of ratios of sums over groups,
    linearised, with one wrong and one right group of mean size added to each side, so that a part
    without errors is not taken for certain (for single rows: Agresti & Caffo 2000). Groups that
    hold several kinds count as independent between kinds.

    Args:
        wrong: (n,) booleans of cases.
        members: (n, m) booleans, the parts; they may overlap.
        group_ids: (n,) lesion or patient.
        kinds: (n,) numbers from 0; one kind by default.
        weights: (number of kinds,), 0 or more; equal by default.
        replicates: number of permutations.
        seed: of the permutations.

    Reference: Pesarin & Salmaso 2010, Permutation Tests for Complex Data.
    """
    cases = GroupedCases.of(wrong, members, group_ids, kinds=kinds, weights=weights)
    harm, centre, errors = cases.gaps(cases.identity)
    null = [ratio(*cases.gaps(donors)[1:]) for donors in cases.donors(replicates, seed)]
    return PermutedGaps(harm[0], centre[0], errors[0], np.concatenate(null))


@dataclass(frozen=True, eq=False)
class GroupedCases:
    """Cases sorted by group and kind, so that groups of one composition can exchange memberships.

    Attributes:
        wrong: (n,) booleans.
        members: (n, m) booleans.
        groups: (n,) group numbers from 0, rising.
        kinds: (n,) kinds, rising within a group.
        weights: (number of kinds,).
    """

    wrong: BoolArray
    members: BoolArray
    groups: Ints
    kinds: Ints
    weights: Float64Array

    @classmethod
    def of(
        cls,
        wrong: ArrayLike,
        members: ArrayLike,
        group_ids: ArrayLike,
        *,
        kinds: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> GroupedCases:
        """Sort the cases; shapes as for `permuted_gaps`."""
        flags, parts = np.asarray(wrong, dtype=bool), np.asarray(members, dtype=bool)
        _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
        of_kind = np.zeros(len(flags), np.intp) if kinds is None else np.asarray(kinds, np.intp)
        if flags.ndim != 1 or len({len(flags), len(parts), len(groups), len(of_kind)}) != 1:
            raise ValueError(
                f"expected one row per case, got shapes {flags.shape}, {parts.shape}, "
                f"{groups.shape} and {of_kind.shape}"
            )
        share = np.ones(of_kind.max(initial=0) + 1) if weights is None else np.asarray(weights)
        order = np.lexsort((of_kind, groups))
        return cls(flags[order], parts[order], groups[order], of_kind[order], share.astype(float))

    @cached_property
    def sizes(self) -> Ints:
        """Cases of every group and kind, (groups, kinds)."""
        n_groups, n_kinds = self.groups.max(initial=-1) + 1, len(self.weights)
        places = self.groups * n_kinds + self.kinds
        counts = np.bincount(places, minlength=n_groups * n_kinds)
        return counts.reshape(n_groups, n_kinds)

    @cached_property
    def firsts(self) -> Ints:
        """Row at which every group begins, (groups,)."""
        lengths = self.sizes.sum(axis=1)
        return np.asarray(np.cumsum(lengths) - lengths)

    @cached_property
    def strata(self) -> Ints:
        """Number of every group's composition, (groups,): those of one number exchange."""
        return np.unique(self.sizes, axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def identity(self) -> Ints:
        """Every group keeps its memberships, (1, groups)."""
        return np.arange(len(self.sizes))[np.newaxis]

    @cached_property
    def counts(self) -> list[_Kind]:
        """What every kind needs of all draws."""
        return [_Kind.of(self, kind) for kind in range(len(self.weights))]

    @cached_property
    def shares(self) -> Float64Array:
        """Weights of the kinds in every part, (m, kinds); they add up to 1 or are all NaN."""
        both = np.stack([(each.inside > 0) & (each.outside > 0) for each in self.counts], axis=1)
        weighted = np.where(both, self.weights, 0.0)
        return ratio(weighted, weighted.sum(axis=1, keepdims=True))

    def donors(self, replicates: int, seed: int) -> list[Ints]:
        """From which group every group takes its memberships, in blocks of (draws, groups)."""
        generator = np.random.default_rng(seed)
        ranked = np.argsort(self.strata, kind="stable")
        widest = max((each.size for each in self.counts), default=1)
        rows = max(1, BLOCK // max(1, widest, len(ranked)))
        blocks = []
        for start in range(0, replicates, rows):
            drawn = generator.random((min(rows, replicates - start), len(ranked)))
            donors = np.empty(drawn.shape, np.intp)
            donors[:, ranked] = np.argsort(self.strata + drawn, axis=1)
            blocks.append(donors)
        return blocks

    def gaps(self, donors: Ints) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gaps where group g has the memberships of group donors[:, g].

        Returns:
            harms, harms with groups added, and errors of these; each (draws, m).
        """
        sums = np.zeros((3, len(donors), self.members.shape[1]))
        for each, weight in zip(self.counts, self.shares.T, strict=True):
            used = weight != 0  # NaN is used, so that an undefined part stays undefined
            for total, found, power in zip(sums, each.gap(self, donors), (1, 1, 2), strict=True):
                total += np.where(used, weight**power * found, 0.0)
        return sums[0], sums[1], np.sqrt(sums[2])


@dataclass(frozen=True, eq=False)
class _Kind:
    """The cases of one kind: sums that are the same in every draw, and the rows that are not.

    Rows are those that are wrong, or those that are right where these are fewer (`sign` -1).
    """

    sign: int
    rows: Ints
    starts: Ints  # where each active group begins in `rows`
    active: Ints  # groups with such rows
    places: Ints  # of each row within its group
    per_group: Float64Array  # (groups, m) members
    sizes: Float64Array  # (groups,)

    @classmethod
    def of(cls, cases: GroupedCases, kind: int) -> _Kind:
        own = cases.kinds == kind
        few = 2 * cases.wrong[own].sum() <= own.sum()
        rows = np.flatnonzero(own & (cases.wrong if few else ~cases.wrong))
        groups = cases.groups[rows]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        per_group = np.zeros((len(cases.sizes), cases.members.shape[1]))
        np.add.at(per_group, cases.groups[own], cases.members[own])
        return cls(
            sign=1 if few else -1,
            rows=rows,
            starts=starts,
            active=groups[starts],
            places=rows - cases.firsts[groups],
            per_group=per_group,
            sizes=cases.sizes[:, kind].astype(np.float64),
        )

    @property
    def size(self) -> int:
        """Numbers that one draw takes."""
        return len(self.rows) * int(self.per_group.shape[1])

    @cached_property
    def inside(self) -> Float64Array:
        """Cases of every part, (m,): groups exchange with their likes, so it never changes."""
        return np.asarray(self.per_group.sum(axis=0))

    @cached_property
    def outside(self) -> Float64Array:
        """Cases of the rest, (m,)."""
        return np.asarray(self.sizes.sum() - self.inside)

    def gap(
        self, cases: GroupedCases, donors: Ints
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Share wrong inside minus outside, with groups added, and its variance: (draws, m)."""
        found = self._found(cases, donors)
        known = self.per_group[donors[:, self.active]]
        totals = np.diff(self.starts, append=len(self.rows)).astype(np.float64)
        sizes = self.sizes[self.active]
        inside, total = found.sum(axis=1), totals.sum()
        gap = ratio(inside, self.inside) - ratio(total - inside, self.outside)
        mean = float(self.sizes.sum() / max(1, np.count_nonzero(self.sizes)))
        n_in, n_out = self.inside + 2 * mean, self.outside + 2 * mean
        p_in, p_out = (inside + mean) / n_in, (total - inside + mean) / n_out
        # Influence of group g: a·found − b·known − c·totals + d·sizes.
        a, b, c, d = 1 / n_in + 1 / n_out, p_in / n_in + p_out / n_out, 1 / n_out, p_out / n_out
        squares = (
            a**2 * np.einsum("rgm,rgm->rm", found, found)
            + b**2 * (self.per_group**2).sum(axis=0)
            + c**2 * (totals**2).sum()
            + d**2 * (self.sizes**2).sum()
            - 2 * a * b * np.einsum("rgm,rgm->rm", found, known)
            - 2 * a * c * (totals @ found)
            + 2 * a * d * (sizes @ found)
            + 2 * b * c * (totals @ known)
            - 2 * b * d * (self.sizes @ self.per_group)
            - 2 * c * d * (totals @ sizes)
        )
        added = mean**2 * (_two_groups(p_in) / n_in**2 + _two_groups(p_out) / n_out**2)
        variance = np.maximum(squares, 0.0) + added
        return self.sign * gap, self.sign * (p_in - p_out), variance

    def _found(self, cases: GroupedCases, donors: Ints) -> Float64Array:
        """Rows of every active group that are members, (draws, active groups, m)."""
        groups = cases.groups[self.rows]
        drawn = cases.members[cases.firsts[donors[:, groups]] + self.places]
        if len(self.starts) == len(self.rows):
            return np.asarray(drawn, dtype=np.float64)
        return np.add.reduceat(drawn, self.starts, axis=1, dtype=np.float64)


def _two_groups(share: Float64Array) -> Float64Array:
    """Squared residuals of one group that is all wrong and one that is all right."""
    return (1 - share) ** 2 + share**2
