"""Confidence scores: one number per sample from what the model predicts, high means trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import xlogy

from medaudit.core.errors import lookup

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.core.arrays import Float64Array, FloatArray
    from medaudit.tables.tasks.base import Task


@dataclass(frozen=True, eq=False)
class PredictiveDistributions:
    """The distributions over outcomes that predictions of n samples are made of.

    One of them for a class out of several; one per label (absent, present) for labels.

    Args:
        members: of every member, that is every stochastic pass, by itself, (members, n,
            distributions, outcomes); probabilities that sum to 1 over the last axis.
        mean: means over the members, (n, distributions, outcomes).
    """

    members: Float64Array
    mean: Float64Array

    @classmethod
    def of_logits(cls, task: Task, logits: FloatArray) -> PredictiveDistributions:
        """From logits (members, n, outputs)."""
        return cls(
            members=task.predictive_distributions(task.member_probabilities(logits)),
            mean=task.predictive_distributions(task.probabilities(logits)),
        )


def max_probability(predicted: PredictiveDistributions) -> Float64Array:
    """Probability of the most probable answer, (n,) (Hendrycks & Gimpel 2017).

    The product over the distributions of their largest probability, as if they were independent.
    """
    return np.asarray(predicted.mean.max(axis=2).prod(axis=1))


def negative_entropy(predicted: PredictiveDistributions) -> Float64Array:
    """Sum of p ln p in nats, the mean over the distributions, (n,) in [-ln outcomes, 0]."""
    return np.asarray(xlogy(predicted.mean, predicted.mean).sum(axis=2).mean(axis=1))


def margin(predicted: PredictiveDistributions) -> Float64Array:
    """Largest minus second largest probability where they are closest, (n,) in [0, 1]."""
    ranked = np.sort(predicted.mean, axis=2)
    return np.asarray((ranked[..., -1] - ranked[..., -2]).min(axis=1))


CONFIDENCE_SCORES: dict[str, Callable[[PredictiveDistributions], Float64Array]] = {
    "max_probability": max_probability,
    "entropy": negative_entropy,
    "margin": margin,
}


# What a score can be; any finite number where it is not said.
RANGES = {
    "max_probability": (0.0, 1.0),
    "entropy": (-math.inf, 0.0),
    "margin": (0.0, 1.0),
}
_ROUNDING = 1e-9  # sums of probabilities may pass 1 by it


def is_possible(name: str, value: float) -> bool:
    """Whether a score of that name can have this value."""
    low, high = RANGES.get(name, (-math.inf, math.inf))
    return math.isfinite(value) and low - _ROUNDING <= value <= high + _ROUNDING


def get(name: str) -> Callable[[PredictiveDistributions], Float64Array]:
    """The confidence score of that name."""
    return lookup("confidence score", name, CONFIDENCE_SCORES)
