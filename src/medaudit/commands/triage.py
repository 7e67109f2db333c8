"""What is said of every new image, and whether a person has to look at it.

Columns of `predictions.csv`:

- `sample_id`: path relative to the folder of images.
- `p_<class>`: probability after the calibrator that was asked for.
- `called`: the answer; several labels are joined by ` + `, none is `(none)`.
- `above_threshold`: outputs whose uncalibrated probability exceeds the threshold that was frozen
  for them on the calibration role, joined by ` + `.
- `confidence`: the confidence score that defers, from uncalibrated probabilities; of several
  labels `max_probability` is the product over labels, so it falls with their number.
- `defer`, `reason`: `yes` with every reason, or `no`.
- `uncalibrated_<class>`: what thresholds, `called` and `confidence` are computed from, since they
  were frozen before any calibrator was fitted.

An image that cannot be read has `defer` = `yes` and no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import drift
from medaudit.audits.drift import PredictionSummary
from medaudit.pixels.statistics import STATISTICS
from medaudit.tables import confidence
from medaudit.tables.confidence import PredictiveDistributions
from medaudit.tables.scoring import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaudit.commands.frozen import Deferral, Frozen
    from medaudit.commands.new_images import Seen
    from medaudit.tables.calibrators import Calibrator, Logits
    from medaudit.tables.tasks.base import Bools, Floats

UNCALIBRATED = (
    "Thresholds and the deferral threshold were frozen on uncalibrated probabilities and are "
    "applied to these; `p_` columns are calibrated."
)
UNREADABLE, UNSURE, UNUSUAL = "unreadable", "low confidence", "unusual image"
KINDS = (UNREADABLE, UNSURE, UNUSUAL)
DIGITS = range(3, 17)


@dataclass(frozen=True, eq=False)
class CalibratedPredictions:
    """Logits as they are read: with frozen thresholds, and with the calibrator.

    Args:
        classes: names of the outputs, k of them.
        uncalibrated: probabilities, (n, k).
        calibrated: probabilities, (n, k).
        predicted: the answer, (n, k).
        above: outputs above their frozen threshold, (n, k).
        confidence: score that defers, (n,).
    """

    classes: tuple[str, ...]
    uncalibrated: Floats
    calibrated: Floats
    predicted: Bools
    above: Bools
    confidence: Floats

    def summary(self, group_ids: list[str]) -> PredictionSummary:
        """What drift is measured on."""
        ids = np.array(group_ids, dtype=np.str_)
        return PredictionSummary(self.classes, self.predicted, self.confidence, ids)


def calibrated_predictions(
    logits: Logits, frozen: Frozen, calibrator: Calibrator
) -> CalibratedPredictions:
    """Read logits (members, n, k) of images whose truth is not known."""
    task, thresholds = frozen.task, np.array(frozen.points.thresholds)
    plain = task.probabilities(logits)
    score = confidence.get(frozen.deferral.score)
    return CalibratedPredictions(
        classes=frozen.schema.classes,
        uncalibrated=plain,
        calibrated=task.probabilities(calibrator.apply(logits)),
        predicted=task.decisions(plain, thresholds),
        above=np.asarray(plain > thresholds),
        confidence=score(PredictiveDistributions.of_logits(task, logits)),
    )


def reason_table(seen: Seen, read: CalibratedPredictions, frozen: Frozen) -> pd.DataFrame:
    """Every reason to defer: `sample_id`, `kind`, `reason`; an image may have several or none."""
    rows = [
        *((name, UNREADABLE, f"unreadable image: {why}") for name, why in seen.unreadable.items()),
        *unsure(seen, read, frozen.deferral),
        *unusual(seen, frozen.train),
    ]
    return pd.DataFrame(rows, columns=["sample_id", "kind", "reason"])


def unsure(
    seen: Seen, read: CalibratedPredictions, deferral: Deferral
) -> Iterator[tuple[str, str, str]]:
    """Images whose confidence is below the frozen threshold."""
    for name, value in zip(seen.sample_ids, read.confidence.tolist(), strict=True):
        if value < deferral.threshold:
            shown, limit = apart(value, deferral.threshold)
            word = "confidence" if deferral.score == "max_probability" else deferral.score
            yield name, UNSURE, f"{word} {shown} below the frozen {limit}"


def unusual(seen: Seen, train: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Images with a statistic outside of the middle 99 % of the train role."""
    for column in STATISTICS:
        low, high = drift.usual_range(train[column].to_numpy(dtype=np.float64))
        for name, value in zip(seen.sample_ids, seen.facts[column].tolist(), strict=True):
            if not low <= value <= high:
                shown, _ = apart(value, low if value < low else high)
                yield (
                    name,
                    UNUSUAL,
                    f"{column} {shown} outside the range of 99 % of the training images "
                    f"({low:.3g} to {high:.3g})",
                )


def apart(value: float, limit: float) -> tuple[str, str]:
    """Two different numbers with as few digits as tell them apart, three at least.

    >>> apart(0.41, 0.5131), apart(0.51299, 0.51301)
    (('0.41', '0.513'), ('0.51299', '0.51301'))
    """
    pairs = ((f"{value:.{n}g}", f"{limit:.{n}g}") for n in DIGITS)
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(value), repr(limit)))


def predictions_table(
    seen: Seen, read: CalibratedPredictions, reasons: pd.DataFrame
) -> pd.DataFrame:
    """The rows of `predictions.csv`, sorted by id."""
    rows = pd.DataFrame({"sample_id": seen.sample_ids})
    for k, name in enumerate(read.classes):
        rows[f"p_{name}"] = read.calibrated[:, k]
    rows["called"] = names(read.predicted, read.classes)
    rows["above_threshold"] = names(read.above, read.classes)
    rows["confidence"] = read.confidence
    rows["defer"], rows["reason"] = "", ""
    for k, name in enumerate(read.classes):
        rows[f"uncalibrated_{name}"] = read.uncalibrated[:, k]
    everyone = pd.Index(sorted([*seen.sample_ids, *seen.unreadable]), name="sample_id")
    rows = rows.set_index("sample_id").reindex(everyone).reset_index()
    told = {name: "; ".join(each["reason"]) for name, each in reasons.groupby("sample_id")}
    rows["reason"] = [told.get(name, "") for name in rows["sample_id"]]
    rows["defer"] = np.where(rows["reason"] == "", "no", "yes")
    return rows
