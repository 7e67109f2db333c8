"""Errors inside parts of a sample against the rest of the same classes, judged together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from medaudit.stats.bootstrap import Measure
from medaudit.stats.max_t import JointComparison, compare_jointly
from medaudit.stats.weighting import ratio, weighted_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.scoring import Names, ScoredPredictions

CHUNK = 64  # permutations at a time
MIN_GROUPS = 2

ERROR_COLUMNS = (
    "n",
    "n_groups",
    "n_errors",
    "error_inside",
    "error_expected",
    "gap",
    "gap_low",
    "gap_high",
    "interval",
    "p_value",
    "p_adjusted",
    "adjustment",
    "n_family",
    "minimal_detectable",
)


@dataclass(frozen=True, eq=False)
class ErrorKind:
    """A way to be wrong: the rows of which it can be true, and those of which it is.

    Args:
        name: for people, such as `missed mel`.
        among: (n,) rows that can be wrong in this way.
        wrong: (n,) rows that are; those outside of `among` do not count.
        strata: (n,) class of every row; errors are compared within a class.
    """

    name: str
    among: BoolArray
    wrong: BoolArray
    strata: IntArray

    @cached_property
    def expected(self) -> Float64Array:
        """Share of errors in the class of every row, (n,); 0 outside of `among`."""
        rates = np.zeros(len(self.among))
        for stratum in np.unique(self.strata[self.among]):
            rows = self.among & (self.strata == stratum)
            rates[rows] = self.wrong[rows].mean()
        return rates

    def part(self, rows: BoolArray) -> ErrorKind:
        """The same error in some of the rows."""
        return ErrorKind(self.name, self.among[rows], self.wrong[rows], self.strata[rows])


def error_kinds(scored: ScoredPredictions) -> list[ErrorKind]:
    """Wrong calls; misses and false alarms of the critical class at its frozen threshold.

    Without a critical class the misses of every output in its place.
    """
    strata, everything = scored.strata, np.ones(len(scored), dtype=bool)
    kinds = [ErrorKind("wrong call", everything, ~scored.correct, strata)]
    critical = scored.schema.critical_class
    if critical is None:
        return kinds + [missed(scored, k) for k in range(len(scored.classes))]
    k = scored.schema.critical_index
    return [*kinds, missed(scored, k), false_alarm(scored, k)]


def missed(scored: ScoredPredictions, k: int) -> ErrorKind:
    """Cases of output k that its frozen threshold does not flag."""
    among = scored.positives[:, k]
    wrong = among & ~scored.above_threshold[:, k]
    return ErrorKind(f"missed {scored.classes[k]}", among, wrong, scored.strata)


def false_alarm(scored: ScoredPredictions, k: int) -> ErrorKind:
    """Samples without output k that its frozen threshold flags."""
    among = ~scored.positives[:, k]
    wrong = among & scored.above_threshold[:, k]
    return ErrorKind(f"false alarm of {scored.classes[k]}", among, wrong, scored.strata)


@dataclass(frozen=True, eq=False)
class GapStatistic:
    """Share of errors inside a part, minus the share that the rest makes in the same classes.

    gap = Σ_k n_k (r_k − s_k) / Σ_k n_k over the classes k that stand on both sides, where n_k rows
    of class k lie inside with a share r_k of errors, and the rest has s_k (indirect
    standardisation). So a part that merely holds more of a difficult class has no gap.

    Args:
        kind: of error.
        inside: (n,) rows of the part.
    """

    kind: ErrorKind
    inside: BoolArray

    @cached_property
    def comparable(self) -> BoolArray:
        """Rows of the part whose class stands outside too, (n,)."""
        kind = self.kind
        outside = np.unique(kind.strata[kind.among & ~self.inside])
        return self.inside & kind.among & np.isin(kind.strata, outside)

    @cached_property
    def _blocks(self) -> tuple[Float64Array, Float64Array]:
        """Rows by comparable class, and errors by comparable class, (n, k) each."""
        kind = self.kind
        rows = kind.strata[:, None] == np.unique(kind.strata[self.comparable])
        rows &= kind.among[:, None]
        return rows.astype(np.float64), (rows & kind.wrong[:, None]).astype(np.float64)

    @cached_property
    def _sides(self) -> Float64Array:
        """Columns to be summed: rows inside, errors inside, rows outside, errors outside."""
        within = self.inside[:, None]
        blocks = [np.where(side, part, 0) for side in (within, ~within) for part in self._blocks]
        return np.concatenate(blocks, axis=1)

    def shares(self, weights: ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Errors inside and errors expected of the rest, (replicates,) each, NaN if undefined."""
        sums = weighted_sums(self._sides, weights)
        return _standardised(*np.split(sums, 4, axis=1))

    def __call__(self, weights: ArrayLike) -> Float64Array:
        """Gaps by replicate, (replicates,)."""
        inside, expected = self.shares(weights)
        return np.asarray(inside - expected)

    def under(self, masks: BoolArray) -> Float64Array:
        """Gaps of other parts (r, n) that hold as many rows of every class, (r,)."""
        rows, wrong = self._blocks
        k = rows.shape[1]
        sums = weighted_sums(np.concatenate([rows, wrong], axis=1), masks)
        n_in, wrong_in = sums[:, :k], sums[:, k:]
        sides = (n_in, wrong_in, rows.sum(axis=0) - n_in, wrong.sum(axis=0) - wrong_in)
        inside, expected = _standardised(*sides)
        return np.asarray(inside - expected)


def _standardised(
    n_in: Float64Array, wrong_in: Float64Array, n_out: Float64Array, wrong_out: Float64Array
) -> tuple[Float64Array, Float64Array]:
    both = (n_in > 0) & (n_out > 0)
    total = np.where(both, n_in, 0).sum(axis=1)
    observed = np.where(both, wrong_in, 0).sum(axis=1)
    expected = np.where(both, n_in * wrong_out / np.where(both, n_out, 1), 0).sum(axis=1)
    return ratio(observed, total), ratio(expected, total)


@dataclass(frozen=True, eq=False)
class ErrorGaps:
    """Compares parts of one sample with the rest of it; families are per kind of error.

    Args:
        group_ids: (n,) lesion or patient of every row.
        bootstrap: of these groups.
    """

    group_ids: Names
    bootstrap: Bootstrap

    def rows(self, kind: ErrorKind, parts: Sequence[BoolArray]) -> list[dict[str, object]]:
        """`ERROR_COLUMNS` of every part; the intervals and p-values are simultaneous over all.

        Step-down max-T, one-sided for more errors inside. The null distribution permutes which
        groups are inside, among groups of equal size and classes and for all parts at once. The
        standard error is the larger of the bootstrap's over groups and the permutations', so that a
        part without an error has one too. A part of which fewer than two groups can be compared is
        no member of the family.
        """
        among = kind.among
        if not (parts and among.any()):
            return [{**dict.fromkeys(ERROR_COLUMNS, np.nan), "n": 0} for _ in parts]
        part_of = ErrorGaps(self.group_ids[among], self.bootstrap.subset(among))
        small = kind.part(among)
        statistics = [GapStatistic(small, part[among]) for part in parts]
        joint = part_of._compared(small, statistics)
        return [part_of._row(each, joint, i) for i, each in enumerate(statistics)]

    def _compared(self, kind: ErrorKind, statistics: Sequence[GapStatistic]) -> JointComparison:
        measures = [Measure(kind.name, each, -1) for each in statistics]
        drawn = [self.bootstrap.replicate(each) for each in measures]
        null = self._null(kind, statistics)
        spread = np.array([spread_of(each) for each in null.T])
        errors = np.fmax(spread, [spread_of(each.replicates) for each in drawn])
        few = [self._n_groups(each.comparable) < MIN_GROUPS for each in statistics]
        gaps = np.where(few, np.nan, [each.value for each in drawn])
        level = self.bootstrap.params.level
        return compare_jointly(gaps, errors, ratio(null, spread), level=level)

    def _null(self, kind: ErrorKind, statistics: Sequence[GapStatistic]) -> Float64Array:
        """Gaps (replicates, m) where membership says nothing about the rows of a class."""
        params = self.bootstrap.params
        orders = permuted_rows(
            self.group_ids,
            kind.strata,
            replicates=params.replicates,
            seed=params.seed,
        )
        found = [
            np.column_stack([each.under(each.inside[chunk]) for each in statistics])
            for chunk in orders
        ]
        return np.concatenate(found)

    def _row(self, part: GapStatistic, joint: JointComparison, i: int) -> dict[str, object]:
        inside, expected = part.shares(np.ones((1, len(part.inside)), np.uint16))
        member = bool(np.isfinite(joint.p_harm[i]))
        values = (
            int(part.comparable.sum()),
            self._n_groups(part.comparable),
            int((part.comparable & part.kind.wrong).sum()),
            float(inside[0]),
            float(expected[0]),
            float(inside[0] - expected[0]),
            float(joint.low[i]),
            float(joint.high[i]),
            "simultaneous" if member else "",
            float(joint.p_value[i]),
            float(joint.p_harm[i]),
            "max-T" if member else "",
            joint.size,
            float(joint.minimal_detectable[i]),
        )
        return dict(zip(ERROR_COLUMNS, values, strict=True))

    def _n_groups(self, rows: BoolArray) -> int:
        return len(np.unique(self.group_ids[rows]))


def spread_of(replicates: Float64Array) -> float:
    """Standard deviation of the replicates that are defined; NaN of fewer than two."""
    known = replicates[np.isfinite(replicates)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def permuted_rows(
    group_ids: ArrayLike, strata: IntArray, *, replicates: int, seed: int
) -> Iterator[IntArray]:
    """Orders of rows in which groups of one size and the same classes have changed places.

    `mask[order]` is a mask that as many rows of every class and of every group size fulfil. A
    group that no other equals in size and classes keeps its place, which costs power, not level.

    Yields:
        (r, n) row numbers, a few replicates at a time.
    """
    _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    by_group = np.lexsort((strata, groups))
    members = np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1)
    alike: dict[tuple[int, ...], list[IntArray]] = {}
    for rows in members:
        alike.setdefault(tuple(strata[rows].tolist()), []).append(rows)
    blocks = [np.array(each) for each in alike.values() if len(each) > 1]
    generator = np.random.default_rng(seed)
    for start in range(0, replicates, CHUNK):
        orders = np.tile(np.arange(len(groups)), (min(CHUNK, replicates - start), 1))
        for order in orders:
            for block in blocks:
                order[block] = block[generator.permutation(len(block))]
        yield orders
