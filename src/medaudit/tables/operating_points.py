"""Operating points: one threshold per output, chosen on calibration and then frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from medaudit.errors import DataError
from medaudit.files import read_json, write_json
from medaudit.metrics import operating
from medaudit.tables import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from medaudit.tables.predictions import PredictionTable

FORMAT = 1


@dataclass(frozen=True)
class OperatingPoints:
    """An output is called positive when its probability exceeds its threshold.

    Args:
        classes: outputs in order.
        thresholds: one per output; NaN where calibration held no negative.
        specificity: the least specificity on calibration that each threshold was chosen for.
        n_negative: calibration negatives behind each threshold.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    specificity: float
    n_negative: tuple[int, ...]


def choose(calibration: PredictionTable, *, specificity: float) -> OperatingPoints:
    """Freeze, for every output, the smallest threshold that reaches `specificity`."""
    schema = calibration.schema
    task = tasks.get(schema.task)
    probabilities = task.probabilities(calibration.logits)
    negatives = ~task.positives(calibration.targets, len(schema.classes))
    thresholds = [
        operating.threshold_at_specificity(
            probabilities[negatives[:, k], k], specificity=specificity
        )
        for k in range(len(schema.classes))
    ]
    return OperatingPoints(
        classes=schema.classes,
        thresholds=tuple(thresholds),
        specificity=specificity,
        n_negative=tuple(int(count) for count in negatives.sum(axis=0)),
    )


def write(points: OperatingPoints, path: Path) -> None:
    """Write the points as JSON; an undefined threshold becomes `null`."""
    content = asdict(points) | {
        "format": FORMAT,
        "thresholds": [t if np.isfinite(t) else None for t in points.thresholds],
    }
    write_json(path, content)


def read(path: Path) -> OperatingPoints:
    """Read the points that `write` wrote."""
    keys = [field.name for field in fields(OperatingPoints)]
    content = read_json(path, stage="evaluate", keys=keys)
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: expected format {FORMAT}, got {content.get('format')!r}; "
            f"run the evaluate stage again"
        )
    try:
        return _parsed(content)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; run the evaluate stage again") from None


def _parsed(content: dict[str, Any]) -> OperatingPoints:
    points = OperatingPoints(
        classes=tuple(content["classes"]),
        thresholds=tuple(np.nan if t is None else float(t) for t in content["thresholds"]),
        specificity=float(content["specificity"]),
        n_negative=tuple(int(n) for n in content["n_negative"]),
    )
    n = len(points.classes)
    if (len(points.thresholds), len(points.n_negative)) != (n, n):
        raise ValueError(
            f"expected {n} thresholds and counts, one per class, got "
            f"{len(points.thresholds)} and {len(points.n_negative)}"
        )
    return points
