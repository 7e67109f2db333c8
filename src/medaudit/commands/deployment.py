"""The artefacts of the pipeline with which new images are predicted; nothing is fitted here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import ConfigDict, Field
from tqdm import tqdm

from medaudit.commands.new_images import pixel_digests
from medaudit.core import frozen
from medaudit.core.errors import DataError, ModelError, listed, lookup
from medaudit.core.frozen import Finite, read_facts
from medaudit.core.layout import ARTIFACTS, CLEAN
from medaudit.model.model_config import read_card, weights_digest
from medaudit.pixels.packed import ShardReader
from medaudit.tables import calibrators, confidence, manifest, operating_points, predictions, tasks
from medaudit.tables.calibrators import Identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from medaudit.core.arrays import IntArray
    from medaudit.model.model_config import ModelCard
    from medaudit.tables.calibrators import Calibrator, Calibrators
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable, Schema
    from medaudit.tables.tasks.base import Task

PREFERRED = ("temperature", "identity")
SHOWN = 12  # characters of a digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deferral:
    """Cases whose confidence score is below the threshold are deferred to a person.

    Args:
        score: name of the confidence score, computed from uncalibrated probabilities.
        threshold: chosen on the calibration role.
        coverage: share of the calibration role that it kept.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    score: str
    threshold: Finite
    coverage: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, eq=False)
class DeploymentBundle:
    """A model and everything that was decided about it before the new images were seen.

    Args:
        folder: of the artefacts.
        card: of the model.
        preparation: task, classes, image size, data set.
        train: manifest rows of the train role, for their image statistics.
        groups: those that the model, its thresholds or calibrators have learnt from.
        learnt: places in the shards of the images of these groups.
        points: thresholds of the outputs.
        calibrators: as fitted on the calibration role.
        deferral: what is left to a person.
        clean: predictions of the calibration and test roles; `None` where they are not kept.
    """

    folder: Path
    card: ModelCard
    preparation: Preparation
    train: pd.DataFrame
    groups: frozenset[str]
    learnt: IntArray
    points: OperatingPoints
    calibrators: Calibrators
    deferral: Deferral
    clean: PredictionTable | None

    @property
    def schema(self) -> Schema:
        """Task and classes."""
        return self.preparation.schema

    @property
    def task(self) -> Task:
        """What logits mean."""
        return tasks.get(self.schema.task)

    def calibrator(self, name: str | None) -> tuple[str, Calibrator]:
        """The fitted calibrator of that name; temperature scaling by default where there is one."""
        chosen = name or next((each for each in PREFERRED if each in self.calibrators), "identity")
        return chosen, lookup("fitted calibrator", chosen, self.calibrators)


def read(model_folder: Path) -> DeploymentBundle:
    """Read a model's card and the artefacts beside its folder, once they are what was sealed.

    Raises:
        DataError, ModelError: something is damaged, missing or belongs to another model; the file,
            or the stage to run, is named.
    """
    folder = model_folder.parent
    frozen.check(folder, model=model_folder.name)
    card = read_card(model_folder)
    preparation = manifest.read_preparation(folder / "prepared")
    check_fit(card, preparation, folder=folder)
    rows = manifest.read_manifest(folder / "prepared")
    learnt = (rows["role"] != "test").to_numpy()
    points = operating_points.read(folder / "operating_points.json")
    if points.classes != card.classes:
        raise DataError(
            f"{folder / 'operating_points.json'}: thresholds are for {listed(points.classes)}, "
            f"the model is for {listed(card.classes)}; run the evaluate stage again"
        )
    return DeploymentBundle(
        folder=folder,
        card=card,
        preparation=preparation,
        train=rows[rows["role"] == "train"],
        groups=frozenset(rows.loc[learnt, "group_id"].astype(str)),
        learnt=np.flatnonzero(learnt),
        points=points,
        calibrators={
            "identity": Identity(),
            **calibrators.read(folder / "calibrators.json", classes=card.classes),
        },
        deferral=read_deferral(folder / "deferral.json"),
        clean=read_clean(folder / CLEAN.relative_to(ARTIFACTS), card, model_folder=model_folder),
    )


def check_fit(card: ModelCard, preparation: Preparation, *, folder: Path) -> None:
    """Refuse a model that was not trained on the prepared data beside it."""
    schema = preparation.schema
    model = (card.task, card.classes, card.image_size)
    data = (schema.task, schema.classes, preparation.image_size)
    if model != data:
        raise ModelError(
            f"{folder}: the model is {card.task} for {listed(card.classes, limit=20)} at "
            f"{card.image_size} pixels, but the prepared data beside it are {schema.task} for "
            f"{listed(schema.classes, limit=20)} at {preparation.image_size}; run the train stage "
            f"again"
        )


def read_deferral(path: Path) -> Deferral:
    """The deferral that the selective stage froze.

    Raises:
        DataError: it is not one, or its threshold is none that its score can have.
    """
    deferral = read_facts(Deferral, path, stage="selective")
    confidence.get(deferral.score)
    if not confidence.is_possible(deferral.score, deferral.threshold):
        low, high = confidence.RANGES[deferral.score]
        raise DataError(
            f"{path}: expected a `threshold` of {deferral.score} from {low:g} to {high:g}, got "
            f"{deferral.threshold:g}; run the selective stage again"
        )
    return deferral


def read_clean(path: Path, card: ModelCard, *, model_folder: Path) -> PredictionTable | None:
    """Predictions of the calibration and test roles, to compare those of new images with.

    Thresholds and calibrators come from these predictions, so they must be those of this model.
    """
    if not path.exists():
        log.warning("%s: not found; new predictions have nothing to be compared with", path)
        return None
    table = predictions.read(path)
    if table.schema.classes != card.classes:
        raise DataError(
            f"{path}: predictions for {listed(table.schema.classes)}, the model is for "
            f"{listed(card.classes)}; run the evaluate stage again"
        )
    recorded, held = table.provenance.get("weights"), weights_digest(model_folder)
    if recorded not in {None, held}:
        raise ModelError(
            f"{path}: predictions of the weights {str(recorded)[:SHOWN]}, but {model_folder} holds "
            f"{held[:SHOWN]}: thresholds and calibrators belong to another model; run the stages "
            f"from evaluate on again"
        )
    return table


def shared_images(known: DeploymentBundle, digests: Sequence[bytes]) -> int | None:
    """How many images the model, its thresholds or calibrators have learnt from, to the last bit.

    Args:
        known: what was frozen.
        digests: of the packed pixels of the new images.

    Returns:
        The number of new images; `None` where the prepared pixels are not kept.
    """
    folder = known.folder / "prepared" / manifest.PIXELS
    if not any(folder.glob("*.npy")):
        log.warning("%s: no pixels; images that the model has learnt from go unnoticed", folder)
        return None
    rows = tqdm(known.learnt.tolist(), desc="compare", unit="image", mininterval=1)
    seen = set(pixel_digests(ShardReader(folder), rows))
    return sum(each in seen for each in digests)
