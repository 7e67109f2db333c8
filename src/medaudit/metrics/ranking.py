"""How well a score ranks positives above negatives: AUROC, average precision and their curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.stats.weighting import (
    Indices,
    Weights,
    by_chunks,
    checked_weights,
    plain,
    ratio,
    scored,
    tie_blocks,
    weighted_sums,
)


def weighted_auroc(scores: ArrayLike, positives: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Area under the ROC curve in every replicate, shape (replicates,).

    P(s⁺ > s⁻) + ½ P(s⁺ = s⁻) over pairs of a positive and a negative drawn by weight. In [0, 1],
    higher is better, 0.5 is chance. NaN in a replicate that lacks one of the classes.

    Args:
        scores: (n,), higher means more positive; any scale.
        positives: (n,) booleans.
        weights: (replicates, n), non-negative.

    Reference: Hanley & McNeil 1982, Radiology 143:29-36.
    """
    values, mask = scored(scores, positives)
    checked = checked_weights(weights, len(values))
    blocks = tie_blocks(values, foreground=mask, background=~mask)

    def compute(part: Weights) -> Float64Array:
        mass = blocks.masses(part)
        above, through, total = blocks.ranks(part)
        # A positive beats all negatives but those above it and half of its ties.
        beaten = total - 0.5 * (above + through)
        return ratio(blocks.area(mass, beaten), _total(mass) * total[:, 0])

    return by_chunks(compute, checked)


def auroc(scores: ArrayLike, positives: ArrayLike) -> float:
    """`weighted_auroc` of the sample itself."""
    return plain(weighted_auroc, scores, positives)


def _total(masses: Weights) -> Float64Array:
    return np.asarray(masses.sum(axis=1, dtype=np.float64))


def weighted_average_precision(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Average precision in every replicate, shape (replicates,).

    Σ_t (recall_t − recall_{t−1}) · precision_t over the distinct scores t from high to low; tied
    scores are one threshold; no interpolation. In [0, 1], higher is better, chance is the
    prevalence. NaN in a replicate without positives.

    Args:
        scores: (n,), higher means more positive; any scale.
        positives: (n,) booleans.
        weights: (replicates, n), non-negative.

    Reference: Davis & Goadrich 2006, ICML (why not interpolated); scikit-learn's definition.
    """
    values, mask = scored(scores, positives)
    everyone = np.ones_like(mask)
    blocks = tie_blocks(values, foreground=mask, background=everyone)

    def compute(part: Weights) -> Float64Array:
        mass = blocks.masses(part)
        _, flagged, _ = blocks.ranks(part)
        # Where nobody is flagged the block weighs nothing: any denominator does.
        precision = blocks.cumulative(mass) / np.maximum(flagged, np.finfo(float).tiny)
        return ratio(blocks.area(mass, precision), _total(mass))

    return by_chunks(compute, checked_weights(weights, len(values)))


def average_precision(scores: ArrayLike, positives: ArrayLike) -> float:
    """`weighted_average_precision` of the sample itself."""
    return plain(weighted_average_precision, scores, positives)


class RocCurve(NamedTuple):
    """Points from (0, 0) to (1, 1): positive iff score >= threshold; thresholds fall from inf."""

    fpr: Float64Array
    tpr: Float64Array
    thresholds: Float64Array


def roc_curve(scores: ArrayLike, positives: ArrayLike) -> RocCurve:
    """Every point of the ROC curve, one a distinct score; the rate of an absent class is NaN."""
    values, mask = scored(scores, positives)
    thresholds, hits, alarms = _cumulative_counts(values, mask)
    return RocCurve(
        fpr=ratio(np.r_[0.0, alarms], (~mask).sum()),
        tpr=ratio(np.r_[0.0, hits], mask.sum()),
        thresholds=np.r_[np.inf, thresholds],
    )


class PrecisionRecallCurve(NamedTuple):
    """Points by rising threshold, positive iff score >= threshold; the last is (1, 0) by fiat.

    `precision` and `recall` have one entry more than `thresholds`, as in scikit-learn.
    """

    precision: Float64Array
    recall: Float64Array
    thresholds: Float64Array


def precision_recall_curve(scores: ArrayLike, positives: ArrayLike) -> PrecisionRecallCurve:
    """Every point of the precision-recall curve; recall is NaN without positives."""
    values, mask = scored(scores, positives)
    thresholds, hits, alarms = _cumulative_counts(values, mask)
    return PrecisionRecallCurve(
        precision=np.r_[ratio(hits, hits + alarms)[::-1], 1.0],
        recall=np.r_[ratio(hits, mask.sum())[::-1], 0.0],
        thresholds=thresholds[::-1],
    )


@dataclass(frozen=True, eq=False)
class ThresholdRates:
    """Rates of the rule "positive iff score > threshold", by rising threshold from -inf."""

    thresholds: Float64Array
    sensitivity: Float64Array
    specificity: Float64Array


def rates_by_threshold(scores: ArrayLike, positives: ArrayLike) -> ThresholdRates:
    """Sensitivity and specificity at every threshold that tells scores apart.

    The rule is that of `operating.threshold_at_specificity`: strictly above. The first threshold,
    -inf, flags everybody and the last, the highest score, nobody. The rate of an absent class is
    NaN.
    """
    values, mask = scored(scores, positives)
    thresholds = np.r_[-np.inf, np.unique(values)]
    positive, negative = np.sort(values[mask]), np.sort(values[~mask])
    false_negatives = _at_most(positive, thresholds)
    true_negatives = _at_most(negative, thresholds)
    return ThresholdRates(
        thresholds=thresholds,
        sensitivity=ratio(len(positive) - false_negatives, len(positive)),
        specificity=ratio(true_negatives, len(negative)),
    )


def _at_most(ordered: Float64Array, thresholds: Float64Array) -> Indices:
    return np.searchsorted(ordered, thresholds, side="right")


def _cumulative_counts(
    scores: Float64Array, positives: BoolArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Distinct scores, falling, with the positives and negatives that score at least as high."""
    order = np.argsort(-scores, kind="stable")
    lasts = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    hits = np.cumsum(positives[order], dtype=np.float64)[lasts]
    return scores[order][lasts], hits, lasts + 1.0 - hits


def weighted_macro_auroc(
    scores: ArrayLike,
    positives: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Unweighted mean of the one-versus-rest AUROCs of a fixed list of classes, (replicates,).

    In [0, 1], higher is better, 0.5 is chance. NaN in a replicate in which any of the classes lacks
    positives or negatives: a mean over the others would measure something else.

    Args:
        scores: (n, k), one column a class or label.
        positives: (n, k) booleans; one-hot rows, or any for labels that may occur together.
        weights: (replicates, n), non-negative.
        classes: columns to average over; all, if none is given.

    Reference: Hand & Till 2001, Mach. Learn. 45:171-186 (who compare the classes in pairs).
    """
    areas, _ = _one_versus_rest(scores, positives, weights, classes)
    return ratio(areas.sum(axis=1), areas.shape[1])


def macro_auroc(
    scores: ArrayLike, positives: ArrayLike, *, classes: Sequence[int] | None = None
) -> float:
    """`weighted_macro_auroc` of the sample itself."""
    return plain(weighted_macro_auroc, scores, positives, classes=classes)


def weighted_prevalence_auroc(
    scores: ArrayLike,
    positives: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Float64Array:
    """Mean of the one-versus-rest AUROCs by the prevalence of each class, (replicates,).

    Σ_k n_k AUROC_k / Σ_k n_k with the n_k positives of the replicate: frequent classes rule it. NaN
    as in `weighted_macro_auroc`, whose arguments it takes.

    Reference: Provost & Domingos 2000, CeDER IS-00-04; "weighted" in scikit-learn.
    """
    areas, sizes = _one_versus_rest(scores, positives, weights, classes)
    return ratio((areas * sizes).sum(axis=1), sizes.sum(axis=1))


def prevalence_auroc(
    scores: ArrayLike, positives: ArrayLike, *, classes: Sequence[int] | None = None
) -> float:
    """`weighted_prevalence_auroc` of the sample itself."""
    return plain(weighted_prevalence_auroc, scores, positives, classes=classes)


def _one_versus_rest(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, classes: Sequence[int] | None
) -> tuple[Float64Array, Float64Array]:
    """AUROC and positive weight of every class in every replicate, (replicates, classes) each."""
    table, truth = np.asarray(scores), np.asarray(positives, dtype=bool)
    if table.ndim != 2 or table.shape != truth.shape:
        raise ValueError(
            f"expected scores and positives (n, k), got shapes {table.shape} and {truth.shape}"
        )
    chosen = list(range(table.shape[1]) if classes is None else classes)
    checked = checked_weights(weights, len(table))
    areas = [weighted_auroc(table[:, k], truth[:, k], checked) for k in chosen]
    shape = (len(checked), len(chosen))
    sizes = weighted_sums(truth[:, chosen].astype(np.float64), checked)
    return np.reshape(np.array(areas).T, shape), sizes
