"""Confidence scores: one number per sample from its probabilities, high means trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from medaudit.errors import lookup

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]


def max_probability(probabilities: Floats) -> Floats:
    """Largest probability, (n,) in [1/k, 1] (Hendrycks & Gimpel 2017)."""
    return np.asarray(probabilities.max(axis=1))


def negative_entropy(probabilities: Floats) -> Floats:
    """Sum of p ln p in nats, (n,) in [-ln k, 0]."""
    return np.asarray(xlogy(probabilities, probabilities).sum(axis=1))


def margin(probabilities: Floats) -> Floats:
    """Largest minus second largest probability, (n,) in [0, 1]."""
    ranked = np.sort(probabilities, axis=1)
    return np.asarray(ranked[:, -1] - ranked[:, -2])


CONFIDENCE_SCORES: dict[str, Callable[[Floats], Floats]] = {
    "max_probability": max_probability,
    "entropy": negative_entropy,
    "margin": margin,
}


def get(name: str) -> Callable[[Floats], Floats]:
    """The confidence score of that name."""
    return lookup("confidence score", name, CONFIDENCE_SCORES)
