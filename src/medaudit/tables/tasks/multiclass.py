"""One class out of several."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp, softmax

from medaudit.metrics import calibration, classification
from medaudit.tables.tasks.base import Bools, Events, Floats, Measure

if TYPE_CHECKING:
    import numpy.typing as npt

    from medaudit.stats.estimate import Statistic

ECE_BINS = 15


class Multiclass:
    """Targets int64 (n,) class indices; softmax over outputs; decision by largest probability."""

    name = "multiclass"

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Softmax per member, then the mean, (n, outputs)."""
        return np.asarray(softmax(logits.astype(np.float64), axis=-1).mean(axis=0))

    def log_likelihoods(
        self, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]
    ) -> Floats:
        """Log of the mean probability of the true class, (n,); stable for large logits."""
        members = log_softmax(logits.astype(np.float64), axis=-1)
        truth = members[:, np.arange(len(targets)), targets]
        return np.asarray(logsumexp(truth, axis=0) - np.log(len(members)))

    def positives(self, targets: npt.NDArray[np.int64], n_outputs: int) -> Bools:
        """One-hot truth, (n, outputs)."""
        return np.asarray(targets[:, None] == np.arange(n_outputs)[None])

    def decisions(self, probabilities: Floats) -> Bools:
        """One-hot of the most probable class, (n, outputs)."""
        chosen = probabilities.argmax(axis=1)
        return np.asarray(chosen[:, None] == np.arange(probabilities.shape[1])[None])

    def risks(self, probabilities: Floats, targets: npt.NDArray[np.int64]) -> Floats:
        """1 where the most probable class is wrong, else 0."""
        return np.asarray(probabilities.argmax(axis=1) != targets, dtype=np.float64)

    def events(self, probabilities: Floats, targets: npt.NDArray[np.int64]) -> tuple[Events, ...]:
        """Largest probability, and whether that class is the truth."""
        right = probabilities.argmax(axis=1) == targets
        return (Events("top_label", probabilities.max(axis=1), right),)

    def measures(
        self, probabilities: Floats, targets: npt.NDArray[np.int64]
    ) -> tuple[Measure, ...]:
        """Accuracy, Matthews correlation, log loss, Brier loss (sum form), top-label ECE."""
        top = self.events(probabilities, targets)[0]
        counts = _confusions(probabilities.argmax(axis=1), targets, probabilities.shape[1])
        return (
            Measure("accuracy", lambda w: classification.accuracy(counts(w)), 1, proportion=True),
            Measure(
                "matthews_correlation", lambda w: classification.matthews_correlation(counts(w)), 1
            ),
            Measure("log_loss", partial(calibration.weighted_log_loss, probabilities, targets), -1),
            Measure(
                "brier_loss", partial(calibration.weighted_brier_loss, probabilities, targets), -1
            ),
            Measure(
                "ece",
                partial(calibration.weighted_ece, top.confidence, top.happened, n_bins=ECE_BINS),
                -1,
                biased=True,
            ),
        )

    def confusion(
        self,
        probabilities: Floats,
        targets: npt.NDArray[np.int64],
        classes: tuple[str, ...],
    ) -> pd.DataFrame:
        """Every pair of classes with its count and its share of the true class."""
        predicted = probabilities.argmax(axis=1)
        counts = classification.confusion(predicted, targets, n_classes=len(classes))
        totals = counts.sum(axis=1, keepdims=True)
        rates = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
        truth, called = np.indices(counts.shape).reshape(2, -1)
        names = np.array(classes)
        return pd.DataFrame(
            {
                "truth": names[truth],
                "predicted": names[called],
                "count": counts.ravel(),
                "rate": rates.ravel(),
            }
        )


def _confusions(
    predicted: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], n_classes: int
) -> Statistic:
    def counts(weights: Floats) -> Floats:
        return classification.weighted_confusion(predicted, targets, weights, n_classes=n_classes)

    return counts
