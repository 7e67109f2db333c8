"""Selective prediction in which every class of the truth weighs the same.

Where one class is frequent, deferral may improve the mean risk while it discards the rare one or
keeps its errors. Here risks are averaged within each class first. Coverage stays the share of all
cases, since that is what is saved or deferred.

A class of which nobody is kept has no risk and is left out of the mean at that coverage. (To count
it as 0 would reward a score for deferring a class altogether.) So read `n_classes` of the curve, or
the deferral rate of each class, beside a balanced risk. In a replicate that lacks a class
altogether all values are NaN: a mean over the others would measure something else.

Ties are one block, met evenly: after j of its m cases, j/m of each class in it. For classes "label
present" and "label absent", targets are 0 and 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaudit.metrics.balanced_curve import (
    BalancedCases,
    ClassBlocks,
    balanced_cases,
    classes_begun,
)
from medaudit.metrics.weighting import Floats, Weights, by_chunks, checked_weights, plain, ratio

# 0.07 · 100 is 7.000000000000001 in binary; without slack its ceiling would be 8.
ROUNDING_SLACK = 1e-9


def weighted_balanced_aurc(
    risk: ArrayLike,
    confidence: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Floats:
    """Area under the class-balanced risk-coverage curve in every replicate, (replicates,).

    mean over k of the balanced risk of the k most confident cases; lower is better; in the range
    of the risks. A constant confidence gives the balanced risk of everybody. NaN in a replicate
    that lacks a class.

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

    def compute(part: Weights) -> Floats:
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
) -> Floats:
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

    def compute(part: Weights) -> Floats:
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
) -> Floats:
    """Balanced risk of the cases kept by the highest threshold that keeps the share `coverage`.

    The threshold is picked anew in every replicate; a block of ties is kept whole. At coverage 1 it
    is the mean risk of the classes, for errors 1 − balanced accuracy. NaN where nobody is kept, and
    in a replicate that lacks a class.
    """
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage: expected a number in [0, 1], got {coverage}")
    cases = balanced_cases(risk, confidence, targets, classes)

    def compute(part: Weights) -> Floats:
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
) -> Floats:
    """Largest coverage that a threshold can keep at a balanced risk of at most `max_risk`.

    In [0, 1]; 0 where no threshold achieves it; NaN in a replicate that lacks a class. Picked on
    the sample that is scored: optimistic.
    """
    cases = balanced_cases(risk, confidence, targets, classes)

    def compute(part: Weights) -> Floats:
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
) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
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


def _defined_by_chunks(compute: Any, weights: Weights) -> Floats:
    """As `by_chunks`; NaN at once where there are no cases to take a maximum over."""
    if not weights.shape[1]:
        return np.full(len(weights), np.nan)
    return by_chunks(compute, weights)
