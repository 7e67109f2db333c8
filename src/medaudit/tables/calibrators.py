"""Post-hoc calibrators: maps from logits to logits, fitted on the calibration role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from medaudit.core.errors import DataError, listed, lookup
from medaudit.core.frozen import Finite, read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medaudit.core.arrays import Float64Array, IntArray
    from medaudit.tables.tasks.base import Task

Logits = npt.NDArray[np.floating]


TEMPERATURE_BOUNDS = (0.05, 20.0)
AFFINE_SLOPES = (0.01, 100.0)
AFFINE_INTERCEPTS = (-50.0, 50.0)


class Calibrator(Protocol):
    """Anything that turns logits into better calibrated logits of the same shape."""

    def apply(self, logits: Logits) -> Logits:
        """Logits (members, n, outputs) to calibrated logits of the same shape."""

    def facts(self) -> dict[str, float]:
        """The fitted numbers, for the artefact and the report."""


class Fit(Protocol):
    """Fits a calibrator."""

    def __call__(
        self, task: Task, logits: Logits, targets: IntArray, /, *, classes: tuple[str, ...]
    ) -> Calibrator:
        """Fit on logits (members, n, outputs) and their targets."""


Calibrators = dict[str, Calibrator]


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


@dataclass(frozen=True)
class Affine:
    """A slope and an intercept for every output: z' = a z + b.

    With a sigmoid it is Platt's scaling of every label (Platt 1999); with a softmax it is vector
    scaling (Guo et al. 2017).
    """

    classes: tuple[str, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    def apply(self, logits: Logits) -> Logits:
        """Logits scaled and shifted output by output."""
        return np.asarray(logits * np.array(self.slopes) + np.array(self.intercepts))

    def facts(self) -> dict[str, float]:
        """Slope and intercept of every output, by its name."""
        slopes = {f"slope_{n}": a for n, a in zip(self.classes, self.slopes, strict=True)}
        shifts = {f"intercept_{n}": b for n, b in zip(self.classes, self.intercepts, strict=True)}
        return slopes | shifts


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """The calibrator of every fold, fitted on all others.

    Args:
        folds: fold of every sample in the order of the logits that it is for, (n,).
        parts: calibrators of fold 0, 1, ...
    """

    folds: IntArray
    parts: tuple[Calibrator, ...]

    def apply(self, logits: Logits) -> Logits:
        """Logits of the very samples that are in the folds, each by the calibrator of its fold."""
        if logits.shape[1] != len(self.folds):
            raise ValueError(f"expected logits of {len(self.folds)} samples, got {logits.shape[1]}")
        found = np.empty(logits.shape, dtype=np.float64)
        for fold, part in enumerate(self.parts):
            rows = self.folds == fold
            found[:, rows] = part.apply(logits[:, rows])
        return found

    def facts(self) -> dict[str, float]:
        """Means of the fitted numbers over the folds."""
        every = [part.facts() for part in self.parts]
        return {name: float(np.mean([facts[name] for facts in every])) for name in every[0]}


def fit_identity(
    _task: Task, _logits: Logits, _targets: IntArray, *, classes: tuple[str, ...]
) -> Identity:
    """Nothing to fit."""
    del classes
    return Identity()


def fit_temperature(
    task: Task, logits: Logits, targets: IntArray, *, classes: tuple[str, ...]
) -> Temperature:
    """Minimise the mean negative log-likelihood over ln T by a bounded search."""
    del classes
    _require_samples("temperature scaling", targets)
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = wide / np.exp(log_temperature)
        return float(-task.log_likelihoods(scaled, targets).mean())

    low, high = np.log(TEMPERATURE_BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.exp(found.x)))


def fit_affine(
    task: Task, logits: Logits, targets: IntArray, *, classes: tuple[str, ...]
) -> Affine:
    """Minimise the negative log-likelihood over a slope and an intercept per output.

    Bounded, so that outputs without positives or negatives, and those that are perfectly told
    apart, stay finite. Members are fitted as if each were a model of its own.
    """
    _require_samples("affine calibration", targets)
    wide = logits.astype(np.float64)
    truth = task.positives(targets, len(classes))
    n_distributions = task.predictive_distributions(truth.astype(np.float64)).shape[1]

    def loss(parameters: Float64Array) -> tuple[float, Float64Array]:
        slopes, shifts = np.split(parameters, 2)
        scaled = wide * slopes + shifts
        value = -sum(task.log_likelihoods(part[None], targets).mean() for part in scaled)
        # For a softmax, and for every sigmoid, the derivative of ln p by its logit is y − p.
        excess = np.stack([task.probabilities(part[None]) - truth for part in scaled])
        gradient = np.r_[(excess * wide).sum((0, 1)), excess.sum((0, 1))] / len(targets)
        return float(value), gradient / n_distributions

    start = np.r_[np.ones(len(classes)), np.zeros(len(classes))]
    bounds = [AFFINE_SLOPES] * len(classes) + [AFFINE_INTERCEPTS] * len(classes)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-13, "gtol": 1e-9, "maxiter": 10_000},
    )
    slopes, shifts = (tuple(part.tolist()) for part in np.split(found.x, 2))
    return Affine(classes, slopes, shifts)


def _require_samples(what: str, targets: IntArray) -> None:
    if len(targets) == 0:
        raise DataError(f"{what} needs calibration samples, got none")


CALIBRATORS: dict[str, Fit] = {
    "identity": fit_identity,
    "temperature": fit_temperature,
    "affine": fit_affine,
}


def fit(
    name: str, task: Task, logits: Logits, targets: IntArray, *, classes: tuple[str, ...]
) -> Calibrator:
    """Fit the calibrator of that name on logits (members, n, outputs) and their targets."""
    return lookup("calibrator", name, CALIBRATORS)(task, logits, targets, classes=classes)


Facts = dict[str, dict[str, Finite]]


def read(path: Path, *, classes: tuple[str, ...]) -> Calibrators:
    """Calibrators from their fitted numbers, as the calibrate stage keeps them.

    Raises:
        DataError: there is none, an unknown one, or one with other numbers than a fit can give.
    """
    facts = read_facts(Facts, path, stage="calibrate")
    if not facts:
        raise DataError(f"{path}: no calibrator in it; run the calibrate stage again")
    for name, numbers in facts.items():
        _check(name, numbers, classes, path)
    return {name: _restored(name, numbers, classes) for name, numbers in facts.items()}


def _check(name: str, numbers: Mapping[str, float], classes: tuple[str, ...], path: Path) -> None:
    lookup(f"calibrator in {path}", name, CALIBRATORS)
    ranges = _ranges(name, classes)
    if set(numbers) != set(ranges):
        raise DataError(
            f"{path}: expected of `{name}` the numbers {listed(sorted(ranges)) or 'none'}, got "
            f"{listed(sorted(numbers)) or 'none'}; run the calibrate stage again"
        )
    for key, (low, high) in ranges.items():
        if not low <= numbers[key] <= high:
            raise DataError(
                f"{path}: expected `{name}.{key}` from {low:g} to {high:g}, which bound its fit, "
                f"got {numbers[key]:g}; run the calibrate stage again"
            )


def _ranges(name: str, classes: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """What a fit can give, by the names of its numbers."""
    if name == "temperature":
        return {"temperature": TEMPERATURE_BOUNDS}
    if name == "affine":
        slopes = {f"slope_{each}": AFFINE_SLOPES for each in classes}
        return slopes | {f"intercept_{each}": AFFINE_INTERCEPTS for each in classes}
    return {}


def _restored(name: str, numbers: Mapping[str, float], classes: tuple[str, ...]) -> Calibrator:
    if name == "temperature":
        return Temperature(numbers["temperature"])
    if name == "affine":
        slopes, shifts = (
            tuple(numbers[f"{what}_{each}"] for each in classes) for what in ("slope", "intercept")
        )
        return Affine(classes, slopes, shifts)
    return Identity()
