"""Public metrics of scores and of predictions with intervals: an `Estimate` out.

`medaudit.metrics.<name>` computes what `medaudit audit` reports under that name: the same weighted
function on the same resamples. All take lists, arrays, series or data frames in one order of
samples, and the keywords of `IntervalOptions`: groups, level, replicates, seed, method.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np

from medaudit.core.errors import DataError
from medaudit.metrics import classification, operating, ranking
from medaudit.metrics.inputs import (
    Classes,
    IntervalOptions,
    binary,
    bootstrap_of,
    classes_of,
    flags,
    interval,
    same_length,
    stated,
)
from medaudit.stats import delong
from medaudit.stats.bootstrap import Measure, positives_and_negatives

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.bootstrap import IntervalKind
    from medaudit.stats.intervals import Difference, Estimate, Statistic


def auroc(targets: ArrayLike, scores: ArrayLike, **options: Unpack[IntervalOptions]) -> Estimate:
    """Area under the ROC curve: P(score of a positive > of a negative), ties count one half.

    Args:
        targets: 0 and 1, (n,).
        scores: (n,), higher means more likely 1; any scale.
        **options: see `IntervalOptions`.
    """
    truth, values = binary(targets, scores)
    return _ranked("auroc", partial(ranking.weighted_auroc, values, truth), truth, "auc", options)


def average_precision(
    targets: ArrayLike, scores: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Area under the precision-recall curve as a sum of steps; arguments as in `auroc`."""
    truth, values = binary(targets, scores)
    statistic = partial(ranking.weighted_average_precision, values, truth)
    return _ranked("average_precision", statistic, truth, "smooth", options)


def macro_auroc(
    targets: ArrayLike,
    scores: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean of the one-versus-rest AUROCs; undefined where a class lacks a side.

    Args:
        targets: classes (n,), or 0 and 1 per label (n, k).
        scores: (n, k), a column per class or label.
        classes: names of the columns; those of a data frame, or their numbers, by default.
        **options: see `IntervalOptions`.
    """
    return _mean_auroc(ranking.weighted_macro_auroc, targets, scores, classes, options)


def prevalence_auroc(
    targets: ArrayLike,
    scores: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean of the AUROCs weighted by prevalence; arguments as in `macro_auroc`."""
    return _mean_auroc(ranking.weighted_prevalence_auroc, targets, scores, classes, options)


def auroc_difference(
    targets: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    **options: Unpack[IntervalOptions],
) -> Difference:
    """AUROC of the first minus that of the second model on the same samples, with a p-value.

    DeLong's test where every sample is its own group, a paired bootstrap over `groups` otherwise.

    Args:
        targets: 0 and 1, (n,).
        first: scores of one model, (n,).
        second: scores of the other, (n,).
        **options: see `IntervalOptions`.
    """
    truth, one = binary(targets, first)
    _, other = binary(targets, second)
    bootstrap = bootstrap_of(len(truth), options)
    if bootstrap.n_groups == bootstrap.n:
        return delong.auroc_difference(one, other, truth, level=bootstrap.params.level)
    both = [
        _ranked_measure("auroc", partial(ranking.weighted_auroc, values, truth), truth, "auc")
        for values in (one, other)
    ]
    return bootstrap.paired(*both)


def sensitivity(
    targets: ArrayLike, scores: ArrayLike, *, threshold: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of the positives with a score above the threshold.

    Args:
        targets: 0 and 1, (n,).
        scores: (n,).
        threshold: chosen on other data; positive is what exceeds it.
        **options: see `IntervalOptions`.
    """
    truth, values = binary(targets, scores)
    return _rate(operating.weighted_sensitivity, truth, values, threshold, truth, options)


def specificity(
    targets: ArrayLike, scores: ArrayLike, *, threshold: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of the negatives at or below the threshold; arguments as in `sensitivity`."""
    truth, values = binary(targets, scores)
    return _rate(operating.weighted_specificity, truth, values, threshold, ~truth, options)


def ppv(
    targets: ArrayLike, scores: ArrayLike, *, threshold: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of positives among those above the threshold; arguments as in `sensitivity`."""
    truth, values = binary(targets, scores)
    return _rate(operating.weighted_ppv, truth, values, threshold, values > threshold, options)


def npv(
    targets: ArrayLike, scores: ArrayLike, *, threshold: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of negatives among those not above the threshold; arguments as in `sensitivity`."""
    truth, values = binary(targets, scores)
    passed = values <= threshold
    statistic = partial(operating.weighted_npv, values, truth, threshold=threshold)
    measure = Measure(
        "npv",
        statistic,
        1,
        denominator=passed,
        interval_kind="proportion",
        required_outcomes=np.column_stack([passed, truth]),
    )
    return interval(measure, len(truth), options)


def sensitivity_at_specificity(
    targets: ArrayLike, scores: ArrayLike, *, specificity: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Highest sensitivity at this specificity or more, picked on the sample itself: optimistic.

    Args:
        targets: 0 and 1, (n,).
        scores: (n,).
        specificity: asked for, in [0, 1].
        **options: see `IntervalOptions`.
    """
    truth, values = binary(targets, scores)
    metric = operating.weighted_sensitivity_at_specificity
    statistic = partial(metric, values, truth, specificity=specificity)
    return _share("sensitivity_at_specificity", statistic, truth, options)


def precision(
    targets: ArrayLike, predictions: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of positives among those called positive; both 0 and 1, (n,)."""
    truth, called = _calls(targets, predictions)
    statistic = _of_positives(classification.precision_per_class, truth, called)
    return _share("precision", statistic, called, options)


def recall(
    targets: ArrayLike, predictions: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of the positives that are called positive; both 0 and 1, (n,)."""
    truth, called = _calls(targets, predictions)
    statistic = _of_positives(classification.recall_per_class, truth, called)
    return _share("recall", statistic, truth, options)


def f1(targets: ArrayLike, predictions: ArrayLike, **options: Unpack[IntervalOptions]) -> Estimate:
    """Harmonic mean of precision and recall of the positives; both 0 and 1, (n,)."""
    truth, called = _calls(targets, predictions)
    statistic = _of_positives(classification.f1_per_class, truth, called)
    return _ranked("f1", statistic, truth, "bounded", options)


def accuracy(
    targets: ArrayLike, predictions: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Share of right predictions.

    Args:
        targets: classes as names or numbers, (n,).
        predictions: the same, (n,).
        **options: see `IntervalOptions`.
    """
    given = classes_of(targets, predictions, None)
    statistic = _of_matrix(classification.accuracy, given)
    return interval(
        Measure("accuracy", statistic, 1, interval_kind="proportion"), len(given.targets), options
    )


def balanced_accuracy(
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean over the classes of the share of each that is predicted rightly.

    Args:
        targets: classes as names or numbers, (n,).
        predictions: the same, (n,).
        classes: a fixed list; undefined if one has no targets. By default those that have some.
        **options: see `IntervalOptions`.
    """
    return _macro(classification.balanced_accuracy, targets, predictions, classes, options)


def macro_f1(
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean over the classes of F1; arguments as in `balanced_accuracy`."""
    return _macro(classification.macro_f1, targets, predictions, classes, options)


def matthews_correlation(
    targets: ArrayLike, predictions: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Correlation of true and predicted classes, in [-1, 1]; arguments as in `accuracy`."""
    given = classes_of(targets, predictions, None)
    statistic = _of_matrix(classification.matthews_correlation, given)
    measure = Measure("matthews_correlation", statistic, 1, required_outcomes=given.truth)
    return interval(measure, len(given.targets), options)


def _ranked_measure(
    name: str, statistic: Statistic, truth: BoolArray, kind: IntervalKind
) -> Measure:
    """A measure that rests on the positives and needs negatives as well."""
    sides = positives_and_negatives(truth)
    return Measure(
        name, statistic, 1, denominator=truth, required_outcomes=sides, interval_kind=kind
    )


def _ranked(
    name: str,
    statistic: Statistic,
    truth: BoolArray,
    kind: IntervalKind,
    options: IntervalOptions,
) -> Estimate:
    return interval(_ranked_measure(name, statistic, truth, kind), len(truth), options)


def _share(
    name: str, statistic: Statistic, denominator: BoolArray, options: IntervalOptions
) -> Estimate:
    measure = Measure(name, statistic, 1, denominator=denominator, interval_kind="proportion")
    return interval(measure, len(denominator), options)


def _rate(
    rate: Callable[..., Float64Array],
    truth: BoolArray,
    scores: Float64Array,
    threshold: float,
    denominator: BoolArray,
    options: IntervalOptions,
) -> Estimate:
    statistic = partial(rate, scores, truth, threshold=threshold)
    return _share("rate", statistic, denominator, options)


def _mean_auroc(
    mean: Callable[..., Float64Array],
    targets: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[object] | None,
    options: IntervalOptions,
) -> Estimate:
    if np.ndim(targets) == 1:
        numbers, table = stated(targets, scores, classes)
        truth = np.asarray(numbers[:, None] == np.arange(table.shape[1])[None])
    else:
        truth, table = flags(targets, what="targets"), np.asarray(scores, dtype=np.float64)
        if truth.shape != table.shape:
            raise DataError(
                f"scores: expected the shape of the targets, {truth.shape}, got {table.shape}"
            )
    sides = positives_and_negatives(truth)
    statistic = partial(mean, table, truth)
    measure = Measure("auroc", statistic, 1, required_outcomes=sides, interval_kind="auc")
    return interval(measure, len(table), options)


def _calls(targets: ArrayLike, predictions: ArrayLike) -> tuple[BoolArray, BoolArray]:
    truth, called = flags(targets, what="targets"), flags(predictions, what="predictions")
    same_length(truth, called, what="predictions")
    return truth, called


def _of_positives(
    per_class: Callable[[Float64Array], Float64Array], truth: BoolArray, called: BoolArray
) -> Statistic:
    """One class of two, read off the confusion matrix."""
    matrix = partial(
        classification.weighted_confusion,
        called.astype(np.int64),
        truth.astype(np.int64),
        n_classes=2,
    )
    return lambda weights: per_class(matrix(weights))[:, 1]


def _of_matrix(metric: Callable[[Float64Array], Float64Array], given: Classes) -> Statistic:
    matrix = partial(
        classification.weighted_confusion,
        given.predictions,
        given.targets,
        n_classes=len(given.names),
    )
    return lambda weights: metric(matrix(weights))


def _macro(
    mean: Callable[..., Float64Array],
    targets: ArrayLike,
    predictions: ArrayLike,
    classes: Sequence[object] | None,
    options: IntervalOptions,
) -> Estimate:
    given = classes_of(targets, predictions, classes)
    kept = given.present if classes is None else list(range(len(given.names)))
    truth = np.asarray(given.targets[:, None] == np.array(kept)[None])
    statistic = _of_matrix(partial(mean, classes=kept), given)
    measure = Measure("macro", statistic, 1, required_outcomes=truth, interval_kind="bounded")
    return interval(measure, len(given.targets), options)
