"""What training minimises and by what the best epoch is chosen, per kind of task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score, roc_auc_score
from torch.nn import functional

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]


class Objective(Protocol):
    """Encoding of targets, loss, class weights and tune scores of one kind of task."""

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:
        """Targets as float32 (n, outputs), which mixing may blend."""

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean loss over the batch."""

    def class_weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """One weight per output from the training targets."""

    def tune_scores(self, logits: Floats, targets: IntArray) -> dict[str, float]:
        """`loss` and the scores that may choose the epoch."""


@dataclass(frozen=True)
class MulticlassObjective:
    """Cross-entropy over a softmax."""

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:
        """(1 - s) for the true class plus s / k for every one of the k classes."""
        one_hot = functional.one_hot(torch.from_numpy(targets), n_outputs).float()
        return (1 - smoothing) * one_hot + smoothing / n_outputs

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean over samples of - sum_k w_k y_k ln p_k."""
        return functional.cross_entropy(logits.float(), encoded, weight=weights)

    def class_weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """(n / (k n_c)) to the power 0, 1/2 or 1, scaled so that the mean over samples is 1."""
        counts = np.bincount(targets, minlength=len(classes))
        empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"no training image of class {listed(empty)}; see `prepare`")
        power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
        raw = (counts.sum() / (len(classes) * counts)) ** power
        scaled = raw * counts.sum() / (raw * counts).sum()
        return torch.tensor(scaled, dtype=torch.float32)

    def tune_scores(self, logits: Floats, targets: IntArray) -> dict[str, float]:
        """Unsmoothed, unweighted scores; classes that the tune role lacks are left out of means."""
        wide = logits.astype(np.float64)
        truth = -log_softmax(wide, axis=1)[np.arange(len(targets)), targets]
        predicted, present = wide.argmax(axis=1), np.unique(targets)
        scores = softmax(wide, axis=1)
        aurocs = [_auroc(targets == c, scores[:, c]) for c in present]
        f1 = f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
        recalls = [float((predicted[targets == c] == c).mean()) for c in present]
        return {
            "loss": float(truth.mean()),
            "macro_auroc": float(np.mean(aurocs)),
            "macro_f1": float(f1),
            "balanced_accuracy": float(np.mean(recalls)),
        }


def _auroc(positives: npt.NDArray[np.bool_], scores: Floats) -> float:
    return float(roc_auc_score(positives, scores)) if not positives.all() else float("nan")


OBJECTIVES: dict[str, Objective] = {"multiclass": MulticlassObjective()}


def get(task: str) -> Objective:
    """The objective of a task."""
    if task not in OBJECTIVES:
        raise ValueError(f"no objective for task {task!r}; known: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[task]
