"""What training minimises, and the validation scores that choose the epoch, per task."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from torch.nn import functional

from medaudit.core.errors import DataError, listed, lookup
from medaudit.metrics import classification, ranking
from medaudit.model import inference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medaudit.core.arrays import BoolArray, Float32Array, FloatArray, IntArray
    from medaudit.model.inference import ImageModel, LoaderConfig
    from medaudit.model.prepared import Prepared

POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


class Objective(Protocol):
    """Encoding of targets, loss, weights and validation scores of one kind of task."""

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:
        """Targets as float32 (n, outputs), which mixing may blend."""

    def weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """One weight per output from the training targets; an error for an empty class."""

    def logit_shift(self, weights: Tensor) -> Tensor | None:
        """What the weights alone would add to the logits, (outputs,); `None` if that is meant."""

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean weighted loss over the batch, of logits that leave the model: without a shift."""

    def undefined(self, targets: IntArray, *, classes: Sequence[str]) -> list[str]:
        """Classes that macro means of the validation scores leave out, since they are not there."""

    def validation_scores(self, logits: FloatArray, targets: IntArray) -> dict[str, float]:
        """`loss` and the scores that may choose the epoch; NaN where there is no class to score."""


def macro_ranking(scores: FloatArray, positives: BoolArray) -> dict[str, float]:
    """Means of AUROC and average precision over the outputs that have both kinds of samples.

    Args:
        scores: (n, outputs), higher means more positive.
        positives: (n, outputs).
    """
    columns = [(scores[:, k], positives[:, k]) for k in both_kinds(positives)]
    return {
        "macro_auroc": mean([ranking.auroc(*each) for each in columns]),
        "macro_auprc": mean([ranking.average_precision(*each) for each in columns]),
    }


def both_kinds(positives: BoolArray) -> list[int]:
    """Outputs with positives and negatives; the others have nothing to rank."""
    return [int(k) for k in np.flatnonzero(positives.any(axis=0) & ~positives.all(axis=0))]


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return sum(values) / len(values) if values else float("nan")


@dataclass(frozen=True)
class MulticlassObjective:
    """Cross-entropy over a softmax."""

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:
        """(1 - s) for the true class plus s / k for every one of the k classes."""
        one_hot = functional.one_hot(torch.from_numpy(targets), n_outputs).float()
        return (1 - smoothing) * one_hot + smoothing / n_outputs

    def weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """(n / (k n_c)) to the power 0, 1/2 or 1, scaled so that the mean over samples is 1."""
        counts = np.bincount(targets, minlength=len(classes))
        empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"no training image of class {listed(empty)}; see `prepare`")
        raw = (counts.sum() / (len(classes) * counts)) ** POWERS[kind]
        scaled = raw * counts.sum() / (raw * counts).sum()
        return torch.tensor(scaled, dtype=torch.float32)

    def logit_shift(self, weights: Tensor) -> Tensor | None:  # noqa: ARG002
        """None: the largest probability is the decision, and weights are set to move it."""
        return None

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean over samples of - sum_k w_k y_k ln p_k."""
        return functional.cross_entropy(logits.float(), encoded, weight=weights)

    def undefined(self, targets: IntArray, *, classes: Sequence[str]) -> list[str]:
        """Classes without a sample."""
        counts = np.bincount(targets, minlength=len(classes))
        return [name for name, count in zip(classes, counts, strict=True) if count == 0]

    def validation_scores(self, logits: FloatArray, targets: IntArray) -> dict[str, float]:
        """Unsmoothed, unweighted scores; means leave out classes that the role lacks."""
        wide = logits.astype(np.float64)
        truth = -log_softmax(wide, axis=1)[np.arange(len(targets)), targets]
        present = [int(c) for c in np.unique(targets)]
        positives = targets[:, None] == np.arange(wide.shape[1])
        matrix = classification.confusion(wide.argmax(axis=1), targets, n_classes=wide.shape[1])
        return {
            "loss": float(truth.mean()),
            **macro_ranking(softmax(wide, axis=1), positives),
            "macro_f1": float(classification.macro_f1(matrix, classes=present)),
            "balanced_accuracy": float(classification.balanced_accuracy(matrix, classes=present)),
        }


# A label seen in 1 of 1000 images would else pull 1000 times as hard whenever it appears.
MAX_WEIGHT = 100.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MultilabelObjective:
    """Binary cross-entropy per label, positives weighted.

    Where positives weigh w times as much, the loss is least at logits that are ln w too high. The
    loss therefore adds ln w to the logits of the model before it weighs them: what leaves the
    model are logits of unweighted probabilities in every epoch, and nothing has to be undone
    later. Label smoothing and mixing change targets, not this.
    """

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:  # noqa: ARG002
        """(1 - s) y + s / 2 for every label."""
        return (1 - smoothing) * torch.from_numpy(targets).float() + smoothing / 2

    def weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """Weight of the positives: (negatives / positives) to the power 0, 1/2 or 1, <= 100."""
        positives = targets.sum(axis=0)
        negatives = len(targets) - positives
        for what, counts in (("positive", positives), ("negative", negatives)):
            empty = [name for name, n in zip(classes, counts, strict=True) if n == 0]
            if empty:
                raise DataError(f"no {what} training image of {listed(empty)}; see `prepare`")
        raw = (negatives / positives) ** POWERS[kind]
        capped = [name for name, weight in zip(classes, raw, strict=True) if weight > MAX_WEIGHT]
        if capped:
            log.info("weight of the positives is cut to %g for %s", MAX_WEIGHT, listed(capped))
        return torch.tensor(np.minimum(raw, MAX_WEIGHT), dtype=torch.float32)

    def logit_shift(self, weights: Tensor) -> Tensor | None:
        """The logarithm of the weight, per label."""
        return weights.log()

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean over samples and labels of - w y ln q - (1 - y) ln(1 - q), q = sigmoid(z + ln w)."""
        shifted = logits.float() + weights.log()
        return functional.binary_cross_entropy_with_logits(shifted, encoded, pos_weight=weights)

    def undefined(self, targets: IntArray, *, classes: Sequence[str]) -> list[str]:
        """Labels without positives or without negatives."""
        scored = both_kinds(targets == 1)
        return [name for k, name in enumerate(classes) if k not in scored]

    def validation_scores(self, logits: FloatArray, targets: IntArray) -> dict[str, float]:
        """Unsmoothed, unweighted scores; means over labels that have positives and negatives.

        A label is called at a probability of 1/2: only calibration may choose thresholds.
        """
        wide, positives = logits.astype(np.float64), targets == 1
        truth = -log_expit(np.where(positives, wide, -wide))
        matrices = [
            classification.confusion(wide[:, k] > 0, positives[:, k], n_classes=2)
            for k in both_kinds(positives)
        ]
        return {
            "loss": float(truth.mean()),
            **macro_ranking(expit(wide), positives),
            "macro_f1": mean([float(classification.f1_per_class(m)[1]) for m in matrices]),
            "balanced_accuracy": mean(
                [float(classification.balanced_accuracy(m)) for m in matrices]
            ),
        }


OBJECTIVES: dict[str, Objective] = {
    "multiclass": MulticlassObjective(),
    "multilabel": MultilabelObjective(),
}


def get(task: str) -> Objective:
    """The objective of a task."""
    return lookup("task", task, OBJECTIVES)


__all__ = ["OBJECTIVES", "Objective", "get"]


def validation_scores(
    model: ImageModel, prepared: Prepared, *, loader: LoaderConfig
) -> dict[str, float]:
    """Scores of a model on the role `validation`."""
    return scores_of(validation_logits(model, prepared, loader=loader), prepared)


def validation_logits(
    model: ImageModel, prepared: Prepared, *, loader: LoaderConfig
) -> Float32Array:
    """Logits (n, outputs) of the role `validation`."""
    validation = prepared.positions(["validation"])
    (logits,) = inference.run(
        model, prepared.reader.take, validation, loader=loader, label="validation"
    ).logits
    return np.asarray(logits)


def scores_of(logits: Float32Array, prepared: Prepared) -> dict[str, float]:
    """Scores of logits of the role `validation`."""
    targets = prepared.targets(prepared.positions(["validation"]))
    return get(prepared.schema.task).validation_scores(logits, targets)


def warn_of_gaps(prepared: Prepared) -> None:
    """Name the classes that the validation scores cannot see."""
    targets = prepared.targets(prepared.positions(["validation"]))
    asked = get(prepared.schema.task)
    absent = asked.undefined(targets, classes=prepared.schema.classes)
    if absent:
        log.warning("validation role: %s left out of mean scores, too few cases", listed(absent))
