"""Operating points: one threshold per output, chosen on calibration and then frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from medaudit.core.errors import DataError, listed
from medaudit.core.files import read_json, write_json
from medaudit.metrics import operating
from medaudit.tables import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from medaudit.tables.predictions import PredictionTable

FORMAT = 3


@dataclass(frozen=True)
class OperatingPoints:
    """An output is called positive when its probability exceeds its threshold.

    Args:
        classes: outputs in order.
        thresholds: one per output; NaN where calibration held no negative.
        specificity: the least specificity on calibration that each threshold was chosen for.
        n_negative: calibration negatives behind each threshold.
        assurance: one-sided Clopper-Pearson level, in (0, 1), at which the specificity is promised
            for new samples; `None` if it is only that of the calibration sample.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    specificity: float
    n_negative: tuple[int, ...]
    assurance: float | None = None


def choose(
    calibration: PredictionTable, *, specificity: float, assurance: float | None = None
) -> OperatingPoints:
    """Freeze, for every output, the smallest threshold that reaches `specificity`.

    With an `assurance` the first sample of every group alone is asked, since the promise holds for
    independent ones.

    Raises:
        DataError: too few negatives for the promise.
    """
    if assurance is not None:
        return _promised(calibration, specificity=specificity, assurance=assurance)
    schema = calibration.schema
    task = tasks.get(schema.task)
    probabilities = task.probabilities(calibration.logits)
    negatives = ~task.positives(calibration.targets, len(schema.classes))
    certain = [name for k, name in enumerate(schema.classes) if not negatives[:, k].any()]
    if certain:
        raise DataError(
            f"calibration role: every sample has {listed(certain)}, so that no threshold can be "
            f"frozen for it; enlarge the role or leave the label out"
        )
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


def _promised(
    calibration: PredictionTable, *, specificity: float, assurance: float
) -> OperatingPoints:
    """Thresholds whose specificity on new samples is promised."""
    _, first = np.unique(calibration.group_ids, return_index=True)
    single = calibration.where(np.sort(first).astype(np.int64))
    classes, task = single.schema.classes, tasks.get(single.schema.task)
    probabilities = task.probabilities(single.logits)
    negatives = ~task.positives(single.targets, len(classes))
    needed = operating.negatives_needed(specificity, assurance)
    counts = tuple(int(count) for count in negatives.sum(axis=0))
    short = [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < needed]
    if short:
        raise DataError(
            f"a specificity of {specificity:g} can be promised with assurance {assurance:g} from "
            f"{needed} calibration groups without the class on; too few for {listed(short)}; "
            f"enlarge the calibration role or set evaluate.assurance to null"
        )
    thresholds = tuple(
        operating.guaranteed_threshold_at_specificity(
            probabilities[negatives[:, k], k], specificity=specificity, confidence=assurance
        )
        for k in range(len(classes))
    )
    return OperatingPoints(classes, thresholds, specificity, counts, assurance)


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
        assurance=None if content["assurance"] is None else float(content["assurance"]),
    )
    n = len(points.classes)
    if (len(points.thresholds), len(points.n_negative)) != (n, n):
        raise ValueError(
            f"expected {n} thresholds and counts, one per class, got "
            f"{len(points.thresholds)} and {len(points.n_negative)}"
        )
    return points
