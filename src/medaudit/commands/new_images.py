"""New images: found, decoded as `prepare` does, predicted, deferred with a reason."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from shutil import rmtree
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import drift
from medaudit.audits.drift import PredictionSummary
from medaudit.core.errors import DataError, listed
from medaudit.data.datasets import source_files
from medaudit.model import network
from medaudit.model.compute import setup
from medaudit.model.inference import LoaderConfig, run
from medaudit.model.model_config import read_card
from medaudit.pixels.ingest import Source, ingest
from medaudit.pixels.packed import ShardReader
from medaudit.pixels.statistics import STATISTICS
from medaudit.tables import confidence
from medaudit.tables.confidence import PredictiveDistributions
from medaudit.tables.scoring import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from medaudit.commands.deployment import Deferral, DeploymentBundle
    from medaudit.core.arrays import BoolArray, Float32Array, Float64Array
    from medaudit.model.compute import ComputeParams
    from medaudit.pixels.ingest import Ingested
    from medaudit.tables.calibrators import Calibrator, Logits

ASPECT = "aspect_ratio"
COLUMNS = (*STATISTICS, "image_width", "image_height", ASPECT)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """Statistics and logits of the images of a folder.

    Args:
        facts: `sample_id` and the statistics `COLUMNS` of every image that could be read.
        logits: uncalibrated, in the order of `facts`, (1, n, outputs).
        unreadable: the others, each with the reason.
        engine: what computed the logits.
        digests: of the packed pixels, in the order of `facts`.
    """

    facts: pd.DataFrame
    logits: Float32Array
    unreadable: dict[str, str]
    engine: str
    digests: tuple[bytes, ...]

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the images that could be read."""
        return [str(name) for name in self.facts["sample_id"]]


def images_of(folder: Path) -> list[Source]:
    """Image files in a folder and the folders below it; an id is the path relative to it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder of the new images")
    found = [
        Source(path.relative_to(folder).as_posix(), path)
        for path in source_files.images_below([folder])
    ]
    known = listed(sorted(source_files.IMAGE_SUFFIXES), limit=len(source_files.IMAGE_SUFFIXES))
    if not found:
        raise DataError(f"{folder}: no image files in it or below it; expected {known}")
    others = sum(path.is_file() for path in folder.rglob("*")) - len(found)
    if others:
        log.warning("%s: %d other files are not looked at; images end in %s", folder, others, known)
    return sorted(found, key=lambda source: source.sample_id)


def infer(
    sources: list[Source],
    model_folder: Path,
    *,
    scratch: Path,
    batch_size: int,
    compute: ComputeParams,
    trust: bool = False,
) -> InferenceResult:
    """Decode every image once, describe it, and predict those that could be read.

    Args:
        sources: the images.
        model_folder: what the train stage stored.
        scratch: a folder for the packed pixels; it is removed in the end.
        batch_size: images per forward pass.
        compute: threads and device.
        trust: whether the user trusts who made an exported torch program.

    Raises:
        DataError: not a single image can be read.
    """
    model = network.load_model(model_folder, trust=trust)  # before the long work
    found = ingest(
        sources, scratch, size=read_card(model_folder).image_size, on_unreadable=lambda _: None
    )
    place = {source.sample_id: f"{source.image}: " for source in sources}
    unreadable = {name: why.removeprefix(place[name]) for name, why in found.unreadable.items()}
    require_some(found, unreadable)
    loader = LoaderConfig(batch_size, compute.loader_threads, setup(compute))
    reader = ShardReader(scratch)
    outputs = run(model, reader.take, np.arange(len(reader)), loader=loader, label="predict")
    digests = tuple(pixel_digests(reader, range(len(reader))))
    rmtree(scratch)
    facts = with_aspect(found.table())
    return InferenceResult(facts, outputs.logits, unreadable, model.engine, digests)


def pixel_digests(reader: ShardReader, rows: Iterable[int]) -> Iterator[bytes]:
    """SHA-1 of packed images, which tells whether two are the same to the last bit."""
    return (hashlib.sha1(reader[row].data, usedforsecurity=False).digest() for row in rows)


def require_some(found: Ingested, unreadable: dict[str, str]) -> None:
    """Say which images cannot be read; an error where that is all of them."""
    if not found.facts:
        name, why = next(iter(unreadable.items()))
        raise DataError(
            f"none of the {len(unreadable)} images can be read; the first, {name}: {why}"
        )
    if unreadable:
        names = listed(list(unreadable))
        log.warning("%d images cannot be read and are deferred: %s", len(unreadable), names)


def with_aspect(facts: pd.DataFrame) -> pd.DataFrame:
    """Image statistics with `aspect_ratio` = width / height, which stretching to a square hides."""
    return facts.assign(**{ASPECT: facts["image_width"] / facts["image_height"]})


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
    uncalibrated: Float64Array
    calibrated: Float64Array
    predicted: BoolArray
    above: BoolArray
    confidence: Float64Array

    def summary(self, group_ids: list[str]) -> PredictionSummary:
        """What drift is measured on."""
        ids = np.array(group_ids, dtype=np.str_)
        return PredictionSummary(self.classes, self.predicted, self.confidence, ids)


def calibrated_predictions(
    logits: Logits, bundle: DeploymentBundle, calibrator: Calibrator
) -> CalibratedPredictions:
    """Read logits (members, n, k) of images whose truth is not known."""
    task, thresholds = bundle.task, np.array(bundle.points.thresholds)
    plain = task.probabilities(logits)
    score = confidence.get(bundle.deferral.score)
    return CalibratedPredictions(
        classes=bundle.schema.classes,
        uncalibrated=plain,
        calibrated=task.probabilities(calibrator.apply(logits)),
        predicted=task.decisions(plain, thresholds),
        above=np.asarray(plain > thresholds),
        confidence=score(PredictiveDistributions.of_logits(task, logits)),
    )


def reason_table(
    inferred: InferenceResult, calibrated: CalibratedPredictions, bundle: DeploymentBundle
) -> pd.DataFrame:
    """Every reason to defer: `sample_id`, `kind`, `reason`; an image may have several or none."""
    rows = [
        *(
            (name, UNREADABLE, f"unreadable image: {why}")
            for name, why in inferred.unreadable.items()
        ),
        *unsure(inferred, calibrated, bundle.deferral),
        *unusual(inferred, bundle.train),
    ]
    return pd.DataFrame(rows, columns=["sample_id", "kind", "reason"])


def unsure(
    inferred: InferenceResult, calibrated: CalibratedPredictions, deferral: Deferral
) -> Iterator[tuple[str, str, str]]:
    """Images whose confidence is below the frozen threshold."""
    for name, value in zip(inferred.sample_ids, calibrated.confidence.tolist(), strict=True):
        if value < deferral.threshold:
            shown, limit = apart(value, deferral.threshold)
            word = "confidence" if deferral.score == "max_probability" else deferral.score
            yield name, UNSURE, f"{word} {shown} below the frozen {limit}"


def unusual(inferred: InferenceResult, train: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Images with a statistic outside of the middle 99 % of the train role."""
    for column in STATISTICS:
        low, high = drift.usual_range(train[column].to_numpy(dtype=np.float64))
        for name, value in zip(inferred.sample_ids, inferred.facts[column].tolist(), strict=True):
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
    inferred: InferenceResult, calibrated: CalibratedPredictions, reasons: pd.DataFrame
) -> pd.DataFrame:
    """The rows of `predictions.csv`, sorted by id."""
    rows = pd.DataFrame({"sample_id": inferred.sample_ids})
    for k, name in enumerate(calibrated.classes):
        rows[f"p_{name}"] = calibrated.calibrated[:, k]
    rows["predicted"] = names(calibrated.predicted, calibrated.classes)
    rows["above_threshold"] = names(calibrated.above, calibrated.classes)
    rows["confidence"] = calibrated.confidence
    rows["defer"], rows["reason"] = "", ""
    for k, name in enumerate(calibrated.classes):
        rows[f"uncalibrated_{name}"] = calibrated.uncalibrated[:, k]
    everyone = pd.Index(sorted([*inferred.sample_ids, *inferred.unreadable]), name="sample_id")
    rows = rows.set_index("sample_id").reindex(everyone).reset_index()
    why = {name: "; ".join(each["reason"]) for name, each in reasons.groupby("sample_id")}
    rows["reason"] = [why.get(name, "") for name in rows["sample_id"]]
    rows["defer"] = np.where(rows["reason"] == "", "no", "yes")
    return rows
