"""Metrics of predicted classes, and errors under corruption beside a baseline model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medaudit.stats.weighting import Weights, by_chunks, checked_weights, paired, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medaudit.core.arrays import Float64Array


def weighted_confusion(
    predicted: ArrayLike, targets: ArrayLike, weights: ArrayLike, *, n_classes: int
) -> Float64Array:
    """Confusion matrices of all replicates: (replicates, k, k), rows are truth.

    Args:
        predicted: (n,) class numbers below `n_classes`.
        targets: (n,) class numbers below `n_classes`.
        weights: (replicates, n), non-negative.
        n_classes: k, the length of the class list whether or not each class occurs.
    """
    claims, truth = (_class_numbers(x, n_classes) for x in paired(predicted, targets))
    cells = truth * n_classes + claims
    order = np.argsort(cells, kind="stable")
    # Only cells that occur have a sum, so that many classes do not cost k² of them.
    occupied, firsts = np.unique(cells[order], return_index=True)

    def compute(part: Weights) -> Float64Array:
        ordered = np.take(part, order, axis=1)
        return np.asarray(np.add.reduceat(ordered, firsts, axis=1, dtype=np.float64))

    sums = by_chunks(compute, checked_weights(weights, len(cells)))
    matrices = np.zeros((len(sums), n_classes * n_classes))
    matrices[:, occupied] = sums
    return matrices.reshape(-1, n_classes, n_classes)


def confusion(predicted: ArrayLike, targets: ArrayLike, *, n_classes: int) -> NDArray[np.int64]:
    """Confusion matrix of the sample itself: (k, k) counts, rows are truth."""
    ones = np.ones((1, len(np.asarray(targets))), dtype=np.uint16)
    matrix = weighted_confusion(predicted, targets, ones, n_classes=n_classes)[0]
    return np.asarray(matrix, dtype=np.int64)


def _class_numbers(labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    numbers = np.asarray(labels)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < n_classes):
        outside = sorted({*numbers[(numbers < 0) | (numbers >= n_classes)].tolist()})
        raise ValueError(f"expected class numbers 0..{n_classes - 1}, got {outside[:5]}")
    return numbers.astype(np.int64)


def _parts(matrix: ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Right predictions, targets and predictions of every class."""
    counts = np.asarray(matrix, dtype=np.float64)
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def accuracy(matrix: ArrayLike) -> Float64Array:
    """Share of right predictions, in [0, 1]; NaN of an empty sample."""
    right, truth, _ = _parts(matrix)
    return ratio(right.sum(axis=-1), truth.sum(axis=-1))


def recall_per_class(matrix: ArrayLike) -> Float64Array:
    """Share of the targets of a class that are predicted as it; NaN for a class without targets."""
    right, truth, _ = _parts(matrix)
    return ratio(right, truth)


def precision_per_class(matrix: ArrayLike) -> Float64Array:
    """Share of the predictions of a class that are right; NaN where a class is never predicted."""
    right, _, claims = _parts(matrix)
    return ratio(right, claims)


def f1_per_class(matrix: ArrayLike) -> Float64Array:
    """F1 = 2·right / (targets + predictions) of every class, in [0, 1].

    A class that has targets and is never predicted scores 0. A class without targets is NaN even
    where it is predicted: there is nothing to find.
    """
    right, truth, claims = _parts(matrix)
    return ratio(2 * right, np.where(truth > 0, truth + claims, 0.0))


def _mean_over(per_class: Float64Array, classes: Sequence[int] | None) -> Float64Array:
    chosen = per_class if classes is None else per_class[..., list(classes)]
    # An empty class list has no mean; numpy would warn about it.
    return ratio(chosen.sum(axis=-1), chosen.shape[-1])


def macro_f1(matrix: ArrayLike, *, classes: Sequence[int] | None = None) -> Float64Array:
    """Unweighted mean of `f1_per_class` over a fixed list of classes (all, if none is given).

    NaN as soon as one of the classes is undefined: a mean over whichever classes happen to be there
    would compare replicates that measure different things. Callers name the classes that occur in
    the sample.

    Reference: Opitz & Burst 2019, arXiv:1911.03347 (the mean of F1, not the F1 of means).
    """
    return _mean_over(f1_per_class(matrix), classes)


def balanced_accuracy(matrix: ArrayLike, *, classes: Sequence[int] | None = None) -> Float64Array:
    """Unweighted mean of `recall_per_class` over a fixed list of classes (all, if none is given).

    In [0, 1], chance is 1/k (not adjusted for it). NaN as soon as one of the classes has no
    targets.

    Reference: Brodersen et al. 2010, ICPR.
    """
    return _mean_over(recall_per_class(matrix), classes)


def matthews_correlation(matrix: ArrayLike) -> Float64Array:
    """Multi-class Matthews correlation R_K, in [-1, 1], chance is 0.

    (c·s − Σ t_k p_k) / √((s² − Σ t_k²)(s² − Σ p_k²)) with c right predictions, s samples, t_k
    targets and p_k predictions of class k. NaN where all targets or all predictions are of one
    class.

    Reference: Gorodkin 2004, Comput. Biol. Chem. 28:367-374.
    """
    right, truth, claims = _parts(matrix)
    total = truth.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (truth * claims).sum(axis=-1)
    spread_truth = total**2 - (truth**2).sum(axis=-1)
    spread_claims = total**2 - (claims**2).sum(axis=-1)
    return ratio(covariance, np.sqrt(spread_truth) * np.sqrt(spread_claims))


def accuracy_score(predicted: ArrayLike, targets: ArrayLike, *, n_classes: int) -> float:
    """`accuracy` of the sample itself."""
    return float(accuracy(confusion(predicted, targets, n_classes=n_classes)))


def macro_f1_score(
    predicted: ArrayLike,
    targets: ArrayLike,
    *,
    n_classes: int,
    classes: Sequence[int] | None = None,
) -> float:
    """`macro_f1` of the sample itself."""
    return float(macro_f1(confusion(predicted, targets, n_classes=n_classes), classes=classes))


def balanced_accuracy_score(
    predicted: ArrayLike,
    targets: ArrayLike,
    *,
    n_classes: int,
    classes: Sequence[int] | None = None,
) -> float:
    """`balanced_accuracy` of the sample itself."""
    matrix = confusion(predicted, targets, n_classes=n_classes)
    return float(balanced_accuracy(matrix, classes=classes))


def matthews_correlation_score(
    predicted: ArrayLike, targets: ArrayLike, *, n_classes: int
) -> float:
    """`matthews_correlation` of the sample itself."""
    return float(matthews_correlation(confusion(predicted, targets, n_classes=n_classes)))


# One point of error. A reference that loses less to a corruption says nothing about it.
MIN_DEGRADATION = 0.01


def balanced_error(balanced_accuracy: ArrayLike) -> Float64Array:
    """1 − balanced accuracy, in [0, 1]; NaN where that is undefined.

    Reference: Di Salvo et al. 2024, arXiv:2406.17536 (MedMNIST-C).
    """
    return np.asarray(1.0 - np.asarray(balanced_accuracy, dtype=np.float64))


def corruption_error(errors: ArrayLike, reference_errors: ArrayLike) -> Float64Array:
    """Mean error over the severities, over that of a reference model: CE_c, or BE_c if balanced.

    Σ_s E_s / Σ_s E_s^ref, in [0, inf); 1 is the reference. NaN where the reference makes no error
    or an error is undefined.

    Args:
        errors: (..., severities).
        reference_errors: (..., severities), or (..., 1) where only a published mean is known.

    Reference: Hendrycks & Dietterich 2019, ICLR; Di Salvo et al. 2024, arXiv:2406.17536.
    """
    return ratio(_over_severities(errors), _over_severities(reference_errors))


def relative_corruption_error(
    errors: ArrayLike,
    reference_errors: ArrayLike,
    *,
    clean_error: ArrayLike,
    reference_clean_error: ArrayLike,
    min_degradation: float = MIN_DEGRADATION,
) -> Float64Array:
    """What the corruption adds to the clean error, over what it adds for a reference model: rBE_c.

    (mean_s E_s − E_clean) / (mean_s E_s^ref − E_clean^ref). 0 is no loss at all, 1 the loss of the
    reference; negative where the corruption helps. NaN where the reference loses less than
    `min_degradation`: the ratio explodes there, and turns its sign where the reference gains.

    Args:
        errors: (..., severities).
        reference_errors: (..., severities), or (..., 1) where only a published mean is known.
        clean_error: (...), of the model on the clean images.
        reference_clean_error: (...), of the reference on the clean images.
        min_degradation: smallest denominator that is divided by, above 0.

    Reference: Hendrycks & Dietterich 2019, ICLR; Di Salvo et al. 2024, arXiv:2406.17536.
    """
    if not min_degradation > 0:
        raise ValueError(f"min_degradation: expected a number above 0, got {min_degradation}")
    added = _over_severities(errors) - np.asarray(clean_error, dtype=np.float64)
    reference = _over_severities(reference_errors) - np.asarray(reference_clean_error)
    return ratio(added, np.where(reference < min_degradation, 0.0, reference))


def mean_over_corruptions(
    values: ArrayLike, *, corruptions: Sequence[int] | None = None
) -> Float64Array:
    """Unweighted mean over the last axis, for a fixed list of corruptions (all, if none is given).

    Of `corruption_error` it is mCE (BE), of `relative_corruption_error` relative mCE (rBE). NaN as
    soon as one of the corruptions is undefined: the caller names those that are compared.

    Args:
        values: (..., corruptions).
        corruptions: places on the last axis.
    """
    table = np.asarray(values, dtype=np.float64)
    chosen = table if corruptions is None else table[..., list(corruptions)]
    return ratio(chosen.sum(axis=-1), chosen.shape[-1])


def _over_severities(errors: ArrayLike) -> Float64Array:
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim == 0:
        raise ValueError("errors: expected severities on the last axis, got a single number")
    return ratio(table.sum(axis=-1), table.shape[-1])
