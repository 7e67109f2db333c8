"""Post-hoc calibrators: maps from logits to logits, fitted on the calibration role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from medaudit.errors import DataError, lookup

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.tables.tasks import Task

Logits = npt.NDArray[np.floating]
Targets = npt.NDArray[np.int64]

TEMPERATURE_BOUNDS = (0.05, 20.0)


class Calibrator(Protocol):
    """Anything that turns logits into better calibrated logits of the same shape."""

    def apply(self, logits: Logits) -> Logits:
        """Logits (members, n, outputs) to calibrated logits of the same shape."""

    def facts(self) -> dict[str, float]:
        """The fitted numbers, for the artefact and the report."""


@dataclass(frozen=True)
class Identity:
    """Leaves logits as they are."""

    def apply(self, logits: Logits) -> Logits:
        """The same logits."""
        return logits

    def facts(self) -> dict[str, float]:
        """Nothing was fitted."""
        return {}


@dataclass(frozen=True)
class Temperature:
    """Divides logits by one number; below 1 the model was under-confident (Guo et al. 2017)."""

    temperature: float

    def apply(self, logits: Logits) -> Logits:
        """Logits divided by the temperature; the order of classes stays."""
        return logits / self.temperature

    def facts(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}


def fit_identity(_task: Task, _logits: Logits, _targets: Targets) -> Identity:
    """Nothing to fit."""
    return Identity()


def fit_temperature(task: Task, logits: Logits, targets: Targets) -> Temperature:
    """Minimise the mean negative log-likelihood over ln T by a bounded search."""
    if len(targets) == 0:
        raise DataError("temperature scaling needs calibration samples, got none")
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = wide / np.exp(log_temperature)
        return float(-task.log_likelihoods(scaled, targets).mean())

    low, high = np.log(TEMPERATURE_BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.exp(found.x)))


CALIBRATORS: dict[str, Callable[[Task, Logits, Targets], Calibrator]] = {
    "identity": fit_identity,
    "temperature": fit_temperature,
}


def fit(name: str, task: Task, logits: Logits, targets: Targets) -> Calibrator:
    """Fit the calibrator of that name on logits (members, n, outputs) and their targets."""
    return lookup("calibrator", name, CALIBRATORS)(task, logits, targets)
