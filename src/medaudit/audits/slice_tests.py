"""Is a slice worse than the rest? The shares that are tested, their families, and the verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits.condition_tests import STANDARDISED, TESTED
from medaudit.stats.bootstrap import Measure, share_of
from medaudit.stats.group_permutation import permuted_gaps
from medaudit.stats.hypothesis_tests import benjamini_hochberg, shrink
from medaudit.stats.max_t import compare_jointly
from medaudit.stats.weighting import ratio, weighted_sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from medaudit.audits.slicing import Slice, SliceParams
    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.bootstrap import IntervalParams
    from medaudit.stats.group_permutation import PermutedGaps
    from medaudit.stats.max_t import JointComparison, Verdict
    from medaudit.tables.scoring import ScoredPredictions

SHRUNK = ("shrunk", "shrunk_low", "shrunk_high", "p_beyond_margin")
COLUMNS = (
    "gap",
    "gap_low",
    "gap_high",
    "gap_n",
    "gap_n_positive",
    "gap_n_positive_groups",
    "pooled",
    "interval",
    *TESTED,
    *SHRUNK,
)


@dataclass(frozen=True, eq=False)
class Share:
    """A tested measure: the share of cases that are right, or its mean over kinds of cases.

    Args:
        metric: its name.
        output: class or label that it is of; empty for a measure of the whole.
        cases: (n,) rows that count.
        right: (n,) whether a row is right.
        group_ids: (n,) lesion or patient.
        n_test: rows of the test role, which come first; the others are of calibration.
        kinds: (n,) class of every row, where classes are weighed.
        weights: (classes,) of the kinds.
    """

    metric: str
    output: str
    cases: BoolArray
    right: BoolArray
    group_ids: np.ndarray[tuple[int], np.dtype[np.str_]]
    n_test: int
    kinds: IntArray | None = None
    weights: Float64Array | None = None

    @property
    def pooled(self) -> bool:
        """Whether cases of the calibration role count as well."""
        return len(self.cases) > self.n_test

    def rests_on(self, mask: BoolArray, params: SliceParams) -> bool:
        """Whether a slice of the test role and its rest both have cases enough."""
        cases = self.cases[: self.n_test]
        fewest = min(int((cases & mask).sum()), int((cases & ~mask).sum()))
        return fewest >= params.min_positives

    def measure(self, mask: BoolArray) -> Measure:
        """Of the rows of the test role that a mask chooses, as a function of their weights.

        Kinds that the slice or its rest lacks are left out.
        """
        cases, right = self.cases[: self.n_test][mask], self.right[: self.n_test][mask]
        if self.kinds is None or self.weights is None:
            hits = share_of(right, cases)
            return Measure(self.metric, hits, 1, denominator=cases, interval_kind="proportion")
        kinds, every = self.kinds[: self.n_test], np.arange(len(self.weights))
        both = np.isin(every, kinds[mask]) & np.isin(every, kinds[~mask])
        weights = np.where(both, self.weights, 0.0)
        statistic = partial(standardised, right, kinds[mask], weights)
        return Measure(self.metric, statistic, 1, interval_kind="proportion")


def standardised(
    right: BoolArray, kinds: IntArray, shares: Float64Array, weights: Float64Array
) -> Float64Array:
    """Σ_k share_k · share right of kind k; kinds that a replicate lacks are left out.

    Args:
        right: (n,) booleans.
        kinds: (n,) numbers from 0.
        shares: (kinds,) weights of the kinds.
        weights: (replicates, n) of the rows.

    Returns:
        (replicates,) in [0, 1]; NaN where no kind of weight is left.
    """
    of_kind = kinds[:, np.newaxis] == np.arange(len(shares))
    table = np.column_stack([of_kind & right[:, np.newaxis], of_kind]).astype(np.float64)
    hits, cases = np.split(weighted_sums(table, weights), 2, axis=1)
    used = np.where(cases > 0, shares, 0.0)
    right_of_kind = np.nan_to_num(ratio(hits, cases))
    return ratio((used * right_of_kind).sum(axis=1), used.sum(axis=1))


def shares_of(test: ScoredPredictions, calibration: ScoredPredictions | None) -> list[Share]:
    """The tested measures of a task.

    With a critical class its sensitivity and specificity, else those of every label; of exclusive
    classes also the accuracy, standardised to the class mix of the test role. Positives of the
    calibration role count for sensitivities, whose frozen thresholds read only its negatives.
    """
    if test.points is None:
        raise ValueError("slices are tested at frozen thresholds; these predictions have none")
    pooled = (test,) if calibration is None else (test, calibration)
    critical = test.schema.critical_class is not None
    outputs = (test.schema.critical_index,) if critical else test.in_means
    prefix = "critical_" if critical else ""
    known = [k for k in outputs if math.isfinite(test.points.thresholds[k])]
    found = [_sensitivity(pooled, k, f"{prefix}sensitivity") for k in known]
    found += [_specificity(test, k, f"{prefix}specificity") for k in known]
    return [*found, *_standardised_accuracy(test)]


def errors_inside(
    test: ScoredPredictions, slices: Iterable[Slice]
) -> dict[tuple[str, str, str], frozenset[str]]:
    """Ids of the test images that each tested measure counts as errors, by slice.

    Args:
        test: the test role at frozen thresholds.
        slices: of its rows.

    Returns:
        ids by name of the slice, measure and output (empty for a measure of the whole).
    """
    shares, ids = shares_of(test, None), test.sample_ids
    return {
        (each.label, share.metric, share.output): frozenset(
            ids[share.cases & ~share.right & each.mask].tolist()
        )
        for each in slices
        for share in shares
    }


def _sensitivity(parts: Sequence[ScoredPredictions], k: int, metric: str) -> Share:
    return Share(
        metric,
        parts[0].classes[k],
        cases=np.concatenate([part.positives[:, k] for part in parts]),
        right=np.concatenate([part.above_threshold[:, k] for part in parts]),
        group_ids=np.concatenate([part.group_ids for part in parts]),
        n_test=len(parts[0]),
    )


def _specificity(test: ScoredPredictions, k: int, metric: str) -> Share:
    cases, right = ~test.positives[:, k], ~test.above_threshold[:, k]
    return Share(metric, test.classes[k], cases, right, test.group_ids, len(test))


def _standardised_accuracy(test: ScoredPredictions) -> Iterator[Share]:
    if not test.task.exclusive:
        return
    kinds = test.positives.argmax(axis=1)
    yield Share(
        STANDARDISED,
        "",
        cases=np.ones(len(test), dtype=bool),
        right=test.correct,
        group_ids=test.group_ids,
        n_test=len(test),
        kinds=kinds,
        weights=np.bincount(kinds, minlength=len(test.classes)) / len(test),
    )


@dataclass(frozen=True, eq=False)
class SliceTests:
    """Tests of slices against their rests.

    Args:
        measured: slices of the test role that are large enough.
        pooled: the same slices over the rows of test and calibration, (rows, slices); those of
            test first.
        params: sizes, margin.
        confirmatory: columns whose slices are one family.
        intervals: level, number of draws, and seed.
    """

    measured: Sequence[Slice]
    pooled: BoolArray
    params: SliceParams
    confirmatory: Sequence[str]
    intervals: IntervalParams

    def table(self, shares: Iterable[Share]) -> pd.DataFrame:
        """One row per slice and tested share that rests on cases enough.

        Returns:
            columns `COLUMNS` with the slice's place in `measured`, `metric` and `output` before.
        """
        by_metric: dict[str, list[Share]] = {}
        for share in shares if self.measured else ():
            by_metric.setdefault(share.metric, []).append(share)
        found = [self._family(each) for each in by_metric.values()]
        names = ("place", "metric", "output", *COLUMNS)
        return pd.DataFrame([row for rows in found for row in rows], columns=list(names))

    def _family(self, shares: Sequence[Share]) -> list[dict[str, object]]:
        """The rows of one metric; its outputs are one family."""
        tests = [test for i, share in enumerate(shares) for test in self._tests(share, i)]
        first = np.array([self.measured[each.place].column in self.confirmatory for each in tests])
        confirmatory = [each for each, chosen in zip(tests, first, strict=True) if chosen]
        exploratory = [each for each, chosen in zip(tests, first, strict=True) if not chosen]
        return [*self._confirmed(confirmatory), *self._explored(exploratory)]

    def _tests(self, share: Share, number: int) -> list[_Test]:
        """Gaps of one share in the slices that have cases enough, with their null."""
        places = [
            place
            for place, each in enumerate(self.measured)
            if share.rests_on(each.mask, self.params)
        ]
        masks = self.pooled[: len(share.cases)][share.cases][:, places]
        gaps = permuted_gaps(
            ~share.right[share.cases],
            masks,
            share.group_ids[share.cases],
            kinds=None if share.kinds is None else share.kinds[share.cases],
            weights=share.weights,
            replicates=self.intervals.replicates,
            # Outputs are drawn apart: as if independent, which no family-wise error suffers from.
            seed=self.intervals.seed + number,
        )
        shrunk = self._shrunk([self.measured[place].column for place in places], gaps)
        drawn = [dict(zip(SHRUNK, row, strict=True)) for row in shrunk.tolist()]
        return [
            _Test(share, place, masks[:, i], drawn[i], gaps, i)
            for i, place in enumerate(places)
            if np.isfinite(gaps.harm[i])
        ]

    def _shrunk(self, columns: Sequence[str], gaps: PermutedGaps) -> Float64Array:
        """Gaps drawn towards 0 within every column, and P(harm > margin): (slices, 4)."""
        found, named = np.full((len(columns), len(SHRUNK)), np.nan), np.array(columns, dtype=str)
        for column in dict.fromkeys(columns):
            rows = np.flatnonzero(named == column)
            each = shrink(
                gaps.harm[rows],
                gaps.errors[rows],
                margin=self.params.margin,
                level=self.intervals.level,
            )
            values = (-each.value, -each.high, -each.low, each.p_beyond)
            found[rows] = np.column_stack(values)
        return found

    def _confirmed(self, tests: Sequence[_Test]) -> Iterator[dict[str, object]]:
        """Judged jointly: step-down max-T with simultaneous intervals."""
        if not tests:
            return
        found = compare_jointly(
            [each.centre for each in tests],
            [each.error for each in tests],
            np.stack([each.null for each in tests], axis=1),
            level=self.intervals.level,
        )
        for i, verdict in enumerate(found.verdicts(self.params.margin)):
            kind = ("simultaneous", "max-T", "confirmatory")
            yield self._row(tests[i], found, i, float(found.p_harm[i]), verdict, kind, len(tests))

    def _explored(self, tests: Sequence[_Test]) -> Iterator[dict[str, object]]:
        """Judged by false discovery rate; intervals are those of each by itself."""
        alone = [
            compare_jointly(
                [each.centre], [each.error], each.null[:, np.newaxis], level=self.intervals.level
            )
            for each in tests
        ]
        worse = benjamini_hochberg([float(each.p_harm[0]) for each in alone])
        better = benjamini_hochberg([float(each.p_gain[0]) for each in alone])
        alpha = 1 - self.intervals.level
        for i, found in enumerate(alone):
            verdict: Verdict = (
                "within_margin" if found.high[0] < self.params.margin else "undecided"
            )
            if worse[i] <= alpha:
                verdict = "worse"
            elif better[i] <= alpha:
                verdict = "better"
            kind = ("marginal", "BH", "exploratory")
            yield self._row(tests[i], found, 0, float(worse[i]), verdict, kind, len(tests))

    def _row(
        self,
        test: _Test,
        found: JointComparison,
        i: int,
        p_adjusted: float,
        verdict: Verdict,
        kind: tuple[str, str, str],
        n_family: int,
    ) -> dict[str, object]:
        interval, adjustment, family = kind
        return {
            "place": test.place,
            "metric": test.share.metric,
            "output": test.share.output,
            "gap": -test.harm,
            # Around the gap with groups added, and never short of the gap as it is.
            "gap_low": max(-1.0, min(-test.harm, 0.0 - float(found.high[i]))),
            "gap_high": min(1.0, max(-test.harm, 0.0 - float(found.low[i]))),
            **test.counts(self.pooled),
            "pooled": test.share.pooled,
            "interval": interval,
            "p_value": float(found.p_value[i]),
            "p_adjusted": p_adjusted,
            "adjustment": adjustment,
            "family": family,
            "n_family": n_family,
            "margin": self.params.margin,
            "verdict": verdict,
            "minimal_detectable": float(found.minimal_detectable[i]),
            **test.shrunk,
        }


@dataclass(frozen=True, eq=False)
class _Test:
    """One slice and share: the i-th of its gaps."""

    share: Share
    place: int
    inside: BoolArray  # of the cases
    shrunk: dict[str, float]
    gaps: PermutedGaps
    i: int

    @property
    def harm(self) -> float:
        return float(self.gaps.harm[self.i])

    @property
    def centre(self) -> float:
        return float(self.gaps.centre[self.i])

    @property
    def error(self) -> float:
        return float(self.gaps.errors[self.i])

    @cached_property
    def null(self) -> Float64Array:
        return self.gaps.null[:, self.i]

    def counts(self, pooled: BoolArray) -> dict[str, int]:
        """Rows, cases and groups of cases inside the slice that the gap rests on."""
        groups = self.share.group_ids[self.share.cases][self.inside]
        return {
            "gap_n": int(pooled[: len(self.share.cases), self.place].sum()),
            "gap_n_positive": int(self.inside.sum()),
            "gap_n_positive_groups": len(np.unique(groups)),
        }
