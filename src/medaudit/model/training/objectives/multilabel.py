"""Any number of labels out of several."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit, log_expit
from torch.nn import functional

from medaudit.errors import DataError, listed
from medaudit.metrics import classification
from medaudit.model.training.objectives.base import POWERS, both_kinds, macro_ranking, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medaudit.model.training.objectives.base import Floats, IntArray

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

    def tune_scores(self, logits: Floats, targets: IntArray) -> dict[str, float]:
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
