"""One class out of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional

from medaudit.errors import DataError, listed
from medaudit.metrics import classification
from medaudit.model.training.objectives.base import POWERS, macro_ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medaudit.model.training.objectives.base import Floats, IntArray


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

    def tune_scores(self, logits: Floats, targets: IntArray) -> dict[str, float]:
        """Unsmoothed, unweighted scores; classes that the tune role lacks are left out of means."""
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
