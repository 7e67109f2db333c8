"""Confidence scores: one number per sample from what the model states, high means trust.

They read a prediction as `Task.statements` gives it, distributions (n, statements, outcomes): one
for a class out of several, one per label (absent, present) for labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from medaudit.errors import lookup

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]


def max_probability(statements: Floats) -> Floats:
    """Probability of the most probable answer, (n,) (Hendrycks & Gimpel 2017).

    The product over the statements of their largest probability, as if they were independent.
    """
    return np.asarray(statements.max(axis=2).prod(axis=1))


def negative_entropy(statements: Floats) -> Floats:
    """Sum of p ln p in nats, the mean over the statements, (n,) in [-ln outcomes, 0]."""
    return np.asarray(xlogy(statements, statements).sum(axis=2).mean(axis=1))


def margin(statements: Floats) -> Floats:
    """Largest minus second largest probability of the least decided statement, (n,) in [0, 1]."""
    ranked = np.sort(statements, axis=2)
    return np.asarray((ranked[..., -1] - ranked[..., -2]).min(axis=1))


CONFIDENCE_SCORES: dict[str, Callable[[Floats], Floats]] = {
    "max_probability": max_probability,
    "entropy": negative_entropy,
    "margin": margin,
}


def get(name: str) -> Callable[[Floats], Floats]:
    """The confidence score of that name."""
    return lookup("confidence score", name, CONFIDENCE_SCORES)
