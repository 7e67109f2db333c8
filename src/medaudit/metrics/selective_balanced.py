"""The class-balanced risk-coverage curve, and what all class-balanced selective metrics share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

from medaudit.core.arrays import Float64Array
from medaudit.stats.weighting import (
    TieBlocks,
    Weights,
    by_chunks,
    checked_weights,
    paired,
    plain,
    ratio,
    tie_blocks,
)


@dataclass(frozen=True, eq=False)
class BalancedRiskCoverage:
    """Class-balanced risk-coverage curve, one entry for each number k = 1..n of cases kept.

    `selective_risk` is the mean, over the classes of which somebody is kept, of the mean risk of
    the kept; for errors, 1 − their balanced accuracy. `generalised_risk` is the mean over all
    classes of (risk of the kept of a class) / (size of the class). `n_classes` counts the classes
    of which somebody is kept; `threshold` is the confidence of the k-th case.
    """

    coverage: Float64Array
    selective_risk: Float64Array
    generalised_risk: Float64Array
    n_classes: NDArray[np.intp]
    threshold: Float64Array


@dataclass(frozen=True, eq=False)
class BalancedCases:
    """Losses, class places and the shared blocks of equal confidence."""

    losses: Float64Array
    trust: Float64Array
    places: NDArray[np.intp]  # position of each case's class in the class list
    n_classes: int
    blocks: TieBlocks

    def kept_and_cumulative_risk(
        self, place: int, weights: Weights
    ) -> tuple[Float64Array, Float64Array]:
        """Weight and risk of a class through every block, (replicates, blocks) each."""
        members = np.asarray(self.places == place, dtype=np.float64)
        kept, cumulative_risk = (
            self.blocks.cumulative(self.blocks.masses(weights, values))
            for values in (members, members * self.losses)
        )
        return kept, cumulative_risk

    def complete(self, weights: Weights) -> NDArray[np.bool_]:
        """Replicates that hold every class."""
        return np.asarray((self.sizes(weights) > 0).all(axis=1) & (self.n_classes > 0))

    def sizes(self, weights: Weights) -> Float64Array:
        """Weight of every class in every replicate, (replicates, classes)."""
        members = self.places[:, np.newaxis] == np.arange(self.n_classes)
        sizes: Float64Array = weights.astype(np.float64) @ members
        return sizes


def balanced_cases(
    risk: ArrayLike, confidence: ArrayLike, targets: ArrayLike, classes: Sequence[int] | None
) -> BalancedCases:
    """Checked cases with their classes; classes are those that occur, if none are given."""
    losses, trust = (array.astype(np.float64) for array in paired(risk, confidence))
    for name, array in (("risk", losses), ("confidence", trust)):
        if np.isnan(array).any():
            raise ValueError(f"{name}: expected numbers, got NaN in {np.isnan(array).sum()} places")
    truth, _ = paired(targets, losses)
    known = np.unique(truth if classes is None else np.asarray(classes))
    if not np.isin(truth, known).all():
        outside = sorted({*truth[~np.isin(truth, known)].tolist()})
        raise ValueError(f"targets: expected classes {known.tolist()}, got {outside[:5]}")
    everyone = np.ones(len(losses), dtype=bool)
    blocks = tie_blocks(trust, foreground=everyone, background=everyone)
    return BalancedCases(losses, trust, np.searchsorted(known, truth), len(known), blocks)


@dataclass(frozen=True, eq=False)
class ClassBlocks:
    """The cases of one class in blocks of equal confidence, and where these stand among all."""

    losses: Float64Array
    own: TieBlocks
    places: NDArray[np.intp]  # of each block of the class among all blocks
    n_blocks: int  # of all classes

    @classmethod
    def of(cls, cases: BalancedCases, place: int) -> "ClassBlocks":
        """Blocks of one class of the list."""
        members = cases.places == place
        everyone = np.ones_like(members)
        own = tie_blocks(cases.trust, foreground=members, background=everyone)
        places = np.searchsorted(cases.blocks.through, own.through)
        return cls(cases.losses, own, places, len(cases.blocks.through))

    def first(self, weights: Weights) -> NDArray[np.intp]:
        """First of all blocks in which somebody of the class is kept; their number if nobody is."""
        kept = self.own.cumulative(self.own.masses(weights))
        return np.asarray(np.r_[self.places, self.n_blocks][(kept == 0).sum(axis=1)])

    def area(self, weights: Weights, mass: Float64Array, running: Float64Array) -> Float64Array:
        """Σ over all cases of (risk of the class so far) / (number of classes so far).

        The risk moves only in blocks of the class: between them it is a constant times a
        difference of running sums.

        Args:
            weights: (replicates, n).
            mass: (replicates, blocks), weight of each of all blocks.
            running: (replicates, blocks + 1), Σ mass / classes before each block and after all.
        """
        kept = self.own.cumulative(self.own.masses(weights))
        cumulative_risk = self.own.cumulative(self.own.masses(weights, self.losses))
        rates = np.divide(cumulative_risk, kept, out=np.zeros_like(cumulative_risk), where=kept > 0)
        within = _mean_rates(kept, cumulative_risk, rates, np.take(mass, self.places, axis=1))
        start, end = (np.take(running, self.places + step, axis=1) for step in (0, 1))
        following = np.column_stack([start[:, 1:], running[:, -1]])
        return np.asarray((within * (end - start) + rates * (following - end)).sum(axis=1))


def classes_begun(classwise: Sequence[ClassBlocks], weights: Weights) -> NDArray[np.int64]:
    """Number of classes of which somebody is kept, through each of all blocks."""
    steps = np.zeros((len(weights), classwise[0].n_blocks + 1 if classwise else 1), dtype=np.int64)
    for each in classwise:
        steps[np.arange(len(weights)), each.first(weights)] += 1
    return np.cumsum(steps[:, :-1], axis=1)


def _mean_rates(
    kept: Float64Array, cumulative_risk: Float64Array, rates: Float64Array, mass: Float64Array
) -> Float64Array:
    """Mean over the cases of each block of the risk of a class so far.

    With R and N of the class ahead of a block and r and v of it among the m cases inside, it is
    (1/m) Σ_{j=1..m} (R + j r/m) / (N + j v/m), a difference of two digamma functions.
    """
    inside, loss = (np.diff(sums, axis=1, prepend=0.0) for sums in (kept, cumulative_risk))
    moves = inside > 0
    v, r, m = inside[moves], loss[moves], mass[moves]
    ahead, behind = kept[moves] - v, cumulative_risk[moves] - r
    steps = m / v
    harmonic = digamma(steps * ahead + m + 1) - digamma(steps * ahead + 1)
    means = rates.copy()
    means[moves] = (r + (behind - ahead * r / v) * harmonic) / v
    return means


def balanced_risk_coverage(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> BalancedRiskCoverage:
    """The curve whose means are `balanced_aurc` and `balanced_augrc`.

    Args:
        risk: (n,) loss of each case, in [0, 1] (0/1 for errors).
        confidence: (n,), higher means more trust; any scale.
        targets: (n,) true class of each case.
        classes: fixed class list; those that occur, if none is given. Risks are NaN if it names a
            class without cases.
    """
    cases = balanced_cases(risk, confidence, targets, classes)
    ones = np.ones((1, len(cases.losses)), dtype=np.uint16)
    kept, cumulative_risk = _by_case(cases, ones)
    sizes = cases.sizes(ones).T
    undefined = 1.0 if cases.complete(ones)[0] else np.nan
    return BalancedRiskCoverage(
        coverage=np.arange(1, len(ones[0]) + 1) / max(1, len(ones[0])),
        selective_risk=undefined * _mean_of_present(cumulative_risk, kept),
        generalised_risk=undefined
        * ratio(ratio(cumulative_risk, sizes).sum(axis=0), cases.n_classes),
        n_classes=(kept > 0).sum(axis=0),
        threshold=np.sort(cases.trust)[::-1],
    )


def _by_case(cases: BalancedCases, ones: Weights) -> tuple[Float64Array, Float64Array]:
    """Number and risk of each class among the first k kept, (classes, n) each."""
    blocks, k = cases.blocks, np.arange(1, ones.shape[1] + 1)
    block = np.searchsorted(blocks.through, k)
    share = (k - blocks.above[block]) / (blocks.through - blocks.above)[block]
    tables = np.zeros((2, cases.n_classes, len(k)))
    for place in range(cases.n_classes):
        for table, through in zip(tables, cases.kept_and_cumulative_risk(place, ones), strict=True):
            sums = np.r_[0.0, through[0]]
            table[place] = sums[block] + share * (sums[block + 1] - sums[block])
    return tables[0], tables[1]


def _mean_of_present(cumulative_risk: Float64Array, kept: Float64Array) -> Float64Array:
    """Mean over the first axis of cumulative_risk / kept where anything is kept."""
    rates = np.divide(cumulative_risk, kept, out=np.zeros_like(cumulative_risk), where=kept > 0)
    return ratio(rates.sum(axis=0), (kept > 0).sum(axis=0))


# 0.07 · 100 is 7.000000000000001 in binary; without slack its ceiling would be 8.
ROUNDING_SLACK = 1e-9


def weighted_balanced_aurc(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Area under the class-balanced risk-coverage curve in every replicate, (replicates,).

    mean over k of the balanced risk of the k most confident cases; lower is better; in the range
    of the risks. A constant confidence gives the balanced risk of everybody. NaN in a replicate
    that lacks a class.

    It moves with n, so that samples of other sizes do not compare and no interval of it covers: a
    class of which nobody is kept yet is left out, and one of which few are kept has a risk of 0 or
    1. In a simulation of three classes it was 0.16 at n = 500 and 0.20 in the population. Take
    `weighted_balanced_augrc`, which divides by the size of the class and has neither fault.

    A class with risk R and weight N ahead of a block that holds r and v of it among m cases adds
    Σ_{j=1..m} (R + j r/m) / (N + j v/m), a difference of two digamma functions: no loop over k.

    Args:
        risk: (n,) loss of each case, in [0, 1] (0/1 for errors).
        confidence: (n,), higher means more trust; any scale.
        targets: (n,) true class of each case.
        weights: (replicates, n), non-negative.
        classes: fixed class list; those that occur, if none is given.

    Reference: Traub et al. 2024, NeurIPS (arXiv:2407.01032), whose code counts an absent class as
    risk 0.
    """
    cases = balanced_cases(risk, confidence, targets, classes)
    classwise = [ClassBlocks.of(cases, place) for place in range(cases.n_classes)]

    def compute(part: Weights) -> Float64Array:
        above, through, total = cases.blocks.ranks(part)
        mass = (through - above).astype(np.float64)
        shares = mass / np.maximum(classes_begun(classwise, part), 1)
        running = np.pad(np.cumsum(shares, axis=1), ((0, 0), (1, 0)))
        area = np.zeros(len(part))
        for each in classwise:
            area += each.area(part, mass, running)
        return np.where(cases.complete(part), ratio(area, total[:, 0]), np.nan)

    return by_chunks(compute, checked_weights(weights, len(cases.losses)))


def balanced_aurc(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> float:
    """`weighted_balanced_aurc` of the sample itself."""
    return plain(weighted_balanced_aurc, risk, confidence, targets, classes=classes)


def weighted_balanced_augrc(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Area under the class-balanced generalised risk-coverage curve, shape (replicates,).

    mean over k of (1/K) Σ_c (summed risk of class c among the k most confident) / n_c; it is AUGRC
    with the loss of a case of class c times n / (K n_c). Lower is better; in [0, 1] for errors.
    Equal to AUGRC where the classes are of equal size. NaN in a replicate that lacks a class.

    Args:
        risk: (n,) loss of each case, in [0, 1] (0/1 for errors).
        confidence: (n,), higher means more trust; any scale.
        targets: (n,) true class of each case.
        weights: (replicates, n), non-negative.
        classes: fixed class list; those that occur, if none is given.

    Reference: Traub et al. 2024, NeurIPS (arXiv:2407.01032).
    """
    cases = balanced_cases(risk, confidence, targets, classes)

    def compute(part: Weights) -> Float64Array:
        above, through, total = cases.blocks.ranks(part)
        counted = total - through + 0.5 * (through - above + 1)
        scale = ratio(1.0, cases.n_classes * cases.sizes(part))
        loss = cases.blocks.masses(part * np.take(scale, cases.places, axis=1), cases.losses)
        area = ratio(cases.blocks.area(loss, counted), total[:, 0])
        return np.where(cases.complete(part), area, np.nan)

    return by_chunks(compute, checked_weights(weights, len(cases.losses)))


def balanced_augrc(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> float:
    """`weighted_balanced_augrc` of the sample itself."""
    return plain(weighted_balanced_augrc, risk, confidence, targets, classes=classes)


def weighted_balanced_risk_at_coverage(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    coverage: float,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Balanced risk of the cases kept by the highest threshold that keeps the share `coverage`.

    The threshold is picked anew in every replicate; a block of ties is kept whole. At coverage 1 it
    is the mean risk of the classes, for errors 1 − balanced accuracy. NaN where nobody is kept, and
    in a replicate that lacks a class.
    """
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage: expected a number in [0, 1], got {coverage}")
    cases = balanced_cases(risk, confidence, targets, classes)

    def compute(part: Weights) -> Float64Array:
        risks, through, total = _risks_by_threshold(cases, part)
        quota = np.ceil(coverage * total - ROUNDING_SLACK)
        last = np.minimum((through < quota).sum(axis=1), through.shape[1] - 1)
        return np.where(quota[:, 0] > 0, risks[np.arange(len(part)), last], np.nan)

    return _defined_by_chunks(compute, checked_weights(weights, len(cases.losses)))


def balanced_risk_at_coverage(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    *,
    coverage: float,
    classes: Sequence[int] | None = None,
) -> float:
    """`weighted_balanced_risk_at_coverage` of the sample itself."""
    metric = weighted_balanced_risk_at_coverage
    return plain(metric, risk, confidence, targets, coverage=coverage, classes=classes)


def weighted_coverage_at_balanced_risk(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    max_risk: float,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Largest coverage that a threshold can keep at a balanced risk of at most `max_risk`.

    In [0, 1]; 0 where no threshold achieves it; NaN in a replicate that lacks a class. Picked on
    the sample that is scored: optimistic.
    """
    cases = balanced_cases(risk, confidence, targets, classes)

    def compute(part: Weights) -> Float64Array:
        risks, through, total = _risks_by_threshold(cases, part)
        kept = np.where(risks <= max_risk + ROUNDING_SLACK, through, 0).max(axis=1)
        return np.where(cases.complete(part), ratio(kept, total[:, 0]), np.nan)

    return _defined_by_chunks(compute, checked_weights(weights, len(cases.losses)))


def coverage_at_balanced_risk(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    *,
    max_risk: float,
    classes: Sequence[int] | None = None,
) -> float:
    """`weighted_coverage_at_balanced_risk` of the sample itself."""
    metric = weighted_coverage_at_balanced_risk
    return plain(metric, risk, confidence, targets, max_risk=max_risk, classes=classes)


def _risks_by_threshold(
    cases: BalancedCases, weights: Weights
) -> tuple[Float64Array, NDArray[Any], NDArray[Any]]:
    """Balanced risk of everybody through each block, the weight through it, the weight in all."""
    _, through, total = cases.blocks.ranks(weights)
    summed, present = np.zeros(through.shape), np.zeros(through.shape)
    for place in range(cases.n_classes):
        kept, cumulative_risk = cases.kept_and_cumulative_risk(place, weights)
        summed += np.divide(
            cumulative_risk, kept, out=np.zeros_like(cumulative_risk), where=kept > 0
        )
        present += kept > 0
    risks = ratio(summed, present)
    risks[~cases.complete(weights)] = np.nan
    return risks, through, total


def _defined_by_chunks(compute: Any, weights: Weights) -> Float64Array:
    """As `by_chunks`; NaN at once where there are no cases to take a maximum over."""
    if not weights.shape[1]:
        return np.full(len(weights), np.nan)
    return by_chunks(compute, weights)
