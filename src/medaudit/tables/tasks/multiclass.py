"""One class out of several."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from medaudit.metrics import classification, proper
from medaudit.stats.bootstrap import Measure
from medaudit.tables.tasks.base import TINY, Events, Predictions, pair_table

if TYPE_CHECKING:
    import pandas as pd

    from medaudit.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
    from medaudit.stats.intervals import Statistic


class Multiclass:
    """Targets int64 (n,) class indices; softmax over outputs; decision by largest probability."""

    name = "multiclass"
    exclusive = True

    def probabilities(self, logits: FloatArray) -> Float64Array:
        """Softmax per member, then the mean, (n, outputs)."""
        return np.asarray(self.member_probabilities(logits).mean(axis=0))

    def member_probabilities(self, logits: FloatArray) -> Float64Array:
        """Softmax of every member, (members, n, outputs)."""
        return np.asarray(softmax(logits.astype(np.float64), axis=-1))

    def logits(self, probabilities: Float64Array) -> Float64Array:
        """The log of p; a probability of 0 counts as the smallest that single precision holds."""
        return np.log(np.maximum(probabilities, TINY))

    def log_likelihoods(self, logits: FloatArray, targets: IntArray) -> Float64Array:
        """Log of the mean probability of the true class, (n,); stable for large logits."""
        members = log_softmax(logits.astype(np.float64), axis=-1)
        truth = members[:, np.arange(len(targets)), targets]
        return np.asarray(logsumexp(truth, axis=0) - np.log(len(members)))

    def positives(self, targets: IntArray, n_outputs: int) -> BoolArray:
        """One-hot truth, (n, outputs)."""
        return np.asarray(targets[:, None] == np.arange(n_outputs)[None])

    def decisions(self, probabilities: Float64Array, thresholds: Float64Array | None) -> BoolArray:  # noqa: ARG002  # the most probable class is predicted, whatever the thresholds
        """One-hot of the most probable class, (n, outputs); thresholds play no part."""
        chosen = probabilities.argmax(axis=1)
        return np.asarray(chosen[:, None] == np.arange(probabilities.shape[1])[None])

    def risks(
        self,
        positives: BoolArray,
        decisions: BoolArray,
        *,
        false_negative_weight: float = 1.0,  # noqa: ARG002  # every error is a false negative of one class and a false positive of another
    ) -> Float64Array:
        """1 where the most probable class is wrong, else 0, (n,)."""
        return np.asarray((positives != decisions).any(axis=1), dtype=np.float64)

    def predictive_distributions(self, probabilities: Float64Array) -> Float64Array:
        """One distribution over the classes, (..., n, 1, k)."""
        return probabilities[..., None, :]

    def strata(self, targets: IntArray) -> IntArray:
        """The true class, (n,)."""
        return targets

    def events(self, predictions: Predictions) -> tuple[Events, ...]:
        """Largest probability, and whether that class is the truth."""
        stated = predictions.probabilities
        return (
            Events("top_label", stated.max(axis=1), stated.argmax(axis=1) == predictions.targets),
        )

    def measures(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Balanced accuracy, accuracy, Matthews correlation."""
        stated, targets = predictions.probabilities, predictions.targets
        kept = list(predictions.in_means)
        truth = predictions.positives[:, kept]
        counts = _confusions(stated.argmax(axis=1), targets, stated.shape[1])
        return (
            Measure(
                "balanced_accuracy",
                lambda w: classification.balanced_accuracy(counts(w), classes=kept),
                1,
                required_outcomes=truth,
                interval_kind="bounded",
            ),
            Measure(
                "accuracy",
                lambda w: classification.accuracy(counts(w)),
                1,
                interval_kind="proportion",
                members=stated.argmax(axis=1) == targets,
            ),
            Measure(
                "matthews_correlation",
                lambda w: classification.matthews_correlation(counts(w)),
                1,
                required_outcomes=truth,
            ),
        )

    def losses(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Log loss, the Brier loss in its sum form, and its skill."""
        stated, targets = predictions.probabilities, predictions.targets
        return (
            Measure("log_loss", partial(proper.weighted_log_loss, stated, targets), -1),
            Measure("brier_loss", partial(proper.weighted_brier_loss, stated, targets), -1),
            Measure(
                "brier_skill_score",
                partial(proper.weighted_multiclass_brier_skill_score, stated, targets),
                1,
            ),
        )

    def confusion(self, predictions: Predictions) -> pd.DataFrame:
        """Every pair of classes with its count and its share of the true class."""
        predicted = predictions.probabilities.argmax(axis=1)
        counts = classification.confusion(
            predicted, predictions.targets, n_classes=len(predictions.classes)
        )
        return pair_table(
            counts, counts.sum(axis=1), rows=predictions.classes, columns=predictions.classes
        )


def _confusions(predicted: IntArray, targets: IntArray, n_classes: int) -> Statistic:
    def counts(weights: Float64Array) -> Float64Array:
        return classification.weighted_confusion(predicted, targets, weights, n_classes=n_classes)

    return counts
