"""Any number of labels out of several, each with a probability of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, log_expit, logit, logsumexp

from medaudit.metrics.proper import weighted_brier_skill_score
from medaudit.stats.bootstrap import Measure, positives_and_negatives
from medaudit.stats.weighting import ratio, weighted_mean, weighted_sums
from medaudit.tables.tasks.base import TINY, Events, Predictions, pair_table

if TYPE_CHECKING:
    import pandas as pd

    from medaudit.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
    from medaudit.stats.intervals import Statistic

NO_LABEL = "(none)"

# The largest number below 1 in single precision, in which probabilities come.
NEARLY_ONE = 1 - 2.0**-24


class Multilabel:
    """Targets int64 (n, k) of 0 and 1; a sigmoid per output; predicted above frozen thresholds."""

    name = "multilabel"
    exclusive = False

    def probabilities(self, logits: FloatArray) -> Float64Array:
        """Sigmoid per member, then the mean, (n, outputs)."""
        return np.asarray(self.member_probabilities(logits).mean(axis=0))

    def member_probabilities(self, logits: FloatArray) -> Float64Array:
        """Sigmoid of every member, (members, n, outputs)."""
        return np.asarray(expit(logits.astype(np.float64)))

    def logits(self, probabilities: Float64Array) -> Float64Array:
        """The log-odds of p; 0 and 1 count as the nearest numbers that single precision holds."""
        return np.asarray(logit(np.clip(probabilities, TINY, NEARLY_ONE)))

    def log_likelihoods(self, logits: FloatArray, targets: IntArray) -> Float64Array:
        """Mean over the labels of the log of the mean probability of the truth, (n,)."""
        signed = logits.astype(np.float64) * np.where(targets == 1, 1.0, -1.0)
        per_label = logsumexp(log_expit(signed), axis=0) - np.log(len(logits))
        return np.asarray(per_label.mean(axis=1))

    def positives(self, targets: IntArray, n_outputs: int) -> BoolArray:  # noqa: ARG002
        """Labels that are present, (n, outputs)."""
        return np.asarray(targets == 1)

    def decisions(self, probabilities: Float64Array, thresholds: Float64Array | None) -> BoolArray:
        """Labels whose probability exceeds their frozen threshold, (n, outputs)."""
        if thresholds is None:
            raise ValueError("labels are predicted at thresholds, and none were given")
        return np.asarray(probabilities > thresholds)

    def risks(
        self, positives: BoolArray, decisions: BoolArray, *, false_negative_weight: float = 1.0
    ) -> Float64Array:
        """Wrong labels over all labels of a study, where missing one weighs more, (n,).

        Σ_k c_k·[label k is wrong] / Σ_k c_k with c_k = `false_negative_weight` for labels that are
        present and 1 for the others.
        """
        wrong = positives != decisions
        cost = np.where(positives, false_negative_weight, 1.0)
        return np.asarray((cost * wrong).sum(axis=1) / cost.sum(axis=1))

    def predictive_distributions(self, probabilities: Float64Array) -> Float64Array:
        """Absent or present, label by label, (..., n, k, 2)."""
        return np.stack([1 - probabilities, probabilities], axis=-1)

    def strata(self, targets: IntArray) -> IntArray:
        """1 for samples with any label, 0 for those without, (n,)."""
        return np.asarray(targets.any(axis=1), dtype=np.int64)

    def events(self, predictions: Predictions) -> tuple[Events, ...]:
        """Every label by itself, never pooled: many easy negatives would hide the positives."""
        return tuple(
            Events(
                name,
                predictions.probabilities[:, k],
                predictions.positives[:, k],
                binning="equal_mass",
            )
            for k, name in enumerate(predictions.classes)
        )

    def measures(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Balanced accuracy, and the share of studies without any error."""
        truth, predicted = predictions.positives, predictions.decisions
        kept = list(predictions.in_means)
        right = (truth == predicted).all(axis=1).astype(np.float64)
        return (
            Measure(
                "balanced_accuracy",
                _balanced_accuracy(truth[:, kept], predicted[:, kept]),
                1,
                required_outcomes=positives_and_negatives(truth[:, kept]),
                interval_kind="bounded",
            ),
            Measure(
                "exact_match",
                partial(weighted_mean, right),
                1,
                interval_kind="proportion",
                members=right > 0,
            ),
        )

    def losses(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Means over the labels of log loss, of the Brier loss of the label, and of its skill."""
        truth, stated = predictions.positives, predictions.probabilities
        of_truth = np.where(truth, stated, 1 - stated)
        of_truth = np.maximum(of_truth, np.finfo(np.float64).eps)
        kept = list(predictions.in_means)
        return (
            Measure(
                "brier_skill_score",
                _mean_skill(stated[:, kept], truth[:, kept]),
                1,
                required_outcomes=positives_and_negatives(truth[:, kept]),
            ),
            Measure("log_loss", partial(weighted_mean, -np.log(of_truth).mean(axis=1)), -1),
            Measure("brier_loss", partial(weighted_mean, ((stated - truth) ** 2).mean(axis=1)), -1),
        )

    def confusion(self, predictions: Predictions) -> pd.DataFrame:
        """Of the studies with a label (or none), for how many each label (or none) is predicted.

        A study stands in the row of every label that it has, so rates of a row do not add up to 1.
        """
        truth, predicted = _with_none(predictions.positives), _with_none(predictions.decisions)
        counts = truth.astype(np.int64).T @ predicted.astype(np.int64)
        names = (*predictions.classes, NO_LABEL)
        return pair_table(counts, truth.sum(axis=0), rows=names, columns=names)


def _with_none(flags: BoolArray) -> BoolArray:
    """One more column: rows without any label."""
    return np.column_stack([flags, ~flags.any(axis=1)])


def _mean_skill(stated: Float64Array, truth: BoolArray) -> Statistic:
    """Mean over labels of the Brier skill against the prevalence of the label."""

    def mean(weights: Float64Array) -> Float64Array:
        parts = [
            weighted_brier_skill_score(stated[:, k], truth[:, k], weights)
            for k in range(truth.shape[1])
        ]
        return np.asarray(np.mean(parts, axis=0)) if parts else np.full(len(weights), np.nan)

    return mean


def _balanced_accuracy(truth: BoolArray, predicted: BoolArray) -> Statistic:
    """Mean over labels of (sensitivity + specificity) / 2."""
    table = np.column_stack([truth & predicted, truth, ~truth & ~predicted, ~truth]).astype(
        np.float64
    )

    def mean(weights: Float64Array) -> Float64Array:
        hits, positives, true_negatives, negatives = np.split(
            weighted_sums(table, weights), 4, axis=1
        )
        per_label = (ratio(hits, positives) + ratio(true_negatives, negatives)) / 2
        return ratio(per_label.sum(axis=1), per_label.shape[1])

    return mean
