"""One class out of several."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from medaudit.metrics import classification, proper
from medaudit.stats.measure import Measure
from medaudit.tables.tasks.base import Answers, Bools, Events, Floats, Ints
from medaudit.tables.tasks.shared import TINY, pair_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from medaudit.stats.estimate import Statistic


class Multiclass:
    """Targets int64 (n,) class indices; softmax over outputs; decision by largest probability."""

    name = "multiclass"
    exclusive = True

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Softmax per member, then the mean, (n, outputs)."""
        return np.asarray(softmax(logits.astype(np.float64), axis=-1).mean(axis=0))

    def logits(self, probabilities: Floats) -> Floats:
        """The log of p; a probability of 0 counts as the smallest that single precision holds."""
        return np.log(np.maximum(probabilities, TINY))

    def log_likelihoods(self, logits: npt.NDArray[np.floating], targets: Ints) -> Floats:
        """Log of the mean probability of the true class, (n,); stable for large logits."""
        members = log_softmax(logits.astype(np.float64), axis=-1)
        truth = members[:, np.arange(len(targets)), targets]
        return np.asarray(logsumexp(truth, axis=0) - np.log(len(members)))

    def positives(self, targets: Ints, n_outputs: int) -> Bools:
        """One-hot truth, (n, outputs)."""
        return np.asarray(targets[:, None] == np.arange(n_outputs)[None])

    def decisions(self, answers: Answers) -> Bools:
        """One-hot of the most probable class, (n, outputs); thresholds play no part."""
        chosen = answers.probabilities.argmax(axis=1)
        return np.asarray(chosen[:, None] == np.arange(answers.probabilities.shape[1])[None])

    def risks(self, answers: Answers, *, false_negative_weight: float = 1.0) -> Floats:  # noqa: ARG002  # every error is a false negative of one class and a false positive of another
        """1 where the most probable class is wrong, else 0."""
        return np.asarray(answers.probabilities.argmax(axis=1) != answers.targets, dtype=np.float64)

    def statements(self, probabilities: Floats) -> Floats:
        """One distribution over the classes, (n, 1, k)."""
        return probabilities[:, None, :]

    def strata(self, answers: Answers) -> Ints:
        """The true class, (n,)."""
        return answers.targets

    def events(self, answers: Answers) -> tuple[Events, ...]:
        """Largest probability, and whether that class is the truth."""
        right = answers.probabilities.argmax(axis=1) == answers.targets
        return (Events("top_label", answers.probabilities.max(axis=1), right),)

    def measures(self, answers: Answers) -> tuple[Measure, ...]:
        """Balanced accuracy, accuracy, Matthews correlation."""
        stated, targets = answers.probabilities, answers.targets
        truth = self.positives(targets, stated.shape[1])[:, answers.in_means]
        counts = _confusions(stated.argmax(axis=1), targets, stated.shape[1])
        return (
            Measure(
                "balanced_accuracy",
                lambda w: classification.balanced_accuracy(counts(w), classes=answers.in_means),
                1,
                required_outcomes=truth,
            ),
            Measure(
                "accuracy",
                lambda w: classification.accuracy(counts(w)),
                1,
                interval_kind="proportion",
            ),
            Measure(
                "matthews_correlation",
                lambda w: classification.matthews_correlation(counts(w)),
                1,
                required_outcomes=truth,
            ),
        )

    def losses(self, answers: Answers) -> tuple[Measure, ...]:
        """Log loss, the Brier loss in its sum form, and its skill."""
        stated, targets = answers.probabilities, answers.targets
        return (
            Measure("log_loss", partial(proper.weighted_log_loss, stated, targets), -1),
            Measure("brier_loss", partial(proper.weighted_brier_loss, stated, targets), -1),
            Measure(
                "brier_skill_score",
                partial(proper.weighted_multiclass_brier_skill_score, stated, targets),
                1,
            ),
        )

    def confusion(self, answers: Answers) -> pd.DataFrame:
        """Every pair of classes with its count and its share of the true class."""
        predicted = answers.probabilities.argmax(axis=1)
        counts = classification.confusion(
            predicted, answers.targets, n_classes=len(answers.classes)
        )
        return pair_table(counts, counts.sum(axis=1), rows=answers.classes, columns=answers.classes)


def _confusions(predicted: Ints, targets: Ints, n_classes: int) -> Statistic:
    def counts(weights: Floats) -> Floats:
        return classification.weighted_confusion(predicted, targets, weights, n_classes=n_classes)

    return counts
