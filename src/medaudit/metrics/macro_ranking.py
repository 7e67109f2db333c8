"""How well scores rank one class against the rest, averaged over a fixed list of classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from medaudit.metrics.ranking import weighted_auroc
from medaudit.metrics.weighting import Floats, checked_weights, plain, ratio, weighted_sums


def weighted_macro_auroc(
    scores: ArrayLike,
    positives: ArrayLike,
    weights: ArrayLike,
    *,
    classes: Sequence[int] | None = None,
) -> Floats:
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
) -> Floats:
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
) -> tuple[Floats, Floats]:
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
