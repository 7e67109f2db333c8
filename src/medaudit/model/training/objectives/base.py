"""What an objective must answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from medaudit.metrics import ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


class Objective(Protocol):
    """Encoding of targets, loss, weights and tune scores of one kind of task."""

    def encode(self, targets: IntArray, *, n_outputs: int, smoothing: float) -> Tensor:
        """Targets as float32 (n, outputs), which mixing may blend."""

    def weights(self, targets: IntArray, *, classes: Sequence[str], kind: str) -> Tensor:
        """One weight per output from the training targets; an error for an empty class."""

    def logit_shift(self, weights: Tensor) -> Tensor | None:
        """What the weights alone would add to the logits, (outputs,); `None` if that is meant."""

    def loss(self, logits: Tensor, encoded: Tensor, *, weights: Tensor) -> Tensor:
        """Mean weighted loss over the batch, of logits that leave the model: without a shift."""

    def undefined(self, targets: IntArray, *, classes: Sequence[str]) -> list[str]:
        """Classes that macro means of the tune scores leave out, since they are not there."""

    def tune_scores(self, logits: Floats, targets: IntArray) -> dict[str, float]:
        """`loss` and the scores that may choose the epoch; NaN where there is no class to score."""


def macro_ranking(scores: Floats, positives: Bools) -> dict[str, float]:
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


def both_kinds(positives: Bools) -> list[int]:
    """Outputs with positives and negatives; the others have nothing to rank."""
    return [int(k) for k in np.flatnonzero(positives.any(axis=0) & ~positives.all(axis=0))]


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return sum(values) / len(values) if values else float("nan")
