"""Prediction tables that are computed once per content; torch is imported on a miss only."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from medaudit.errors import DataError, ModelError, listed
from medaudit.files import file_digest
from medaudit.model import prepared as prepared_data
from medaudit.model import resume
from medaudit.model.card import CARD_FILE, engine_versions, read_card, weights_digest
from medaudit.params import Section
from medaudit.tables import predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from medaudit.model.card import ModelCard
    from medaudit.model.compute import ComputeParams
    from medaudit.model.prepared import Prepared
    from medaudit.tables.conditions import Condition
    from medaudit.tables.predictions import PredictionTable

PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless")
MODULES = (
    "medaudit.model.backbones",
    "medaudit.model.batches",
    "medaudit.model.card",
    "medaudit.model.compute",
    "medaudit.model.exported.archive",
    "medaudit.model.exported.model",
    "medaudit.model.exported.onnx_program",
    "medaudit.model.exported.program",
    "medaudit.model.exported.torch_program",
    "medaudit.model.forward",
    "medaudit.model.inference",
    "medaudit.model.prepared",
    "medaudit.model.state_dicts",
    "medaudit.model.stored",
    "medaudit.model.weights",
    "medaudit.pixels.corruptions",
    "medaudit.pixels.scale",
    "medaudit.pixels.shards",
    "medaudit.tables.columnar",
    "medaudit.tables.conditions",
    "medaudit.tables.manifest",
    "medaudit.tables.predictions",
)
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

log = logging.getLogger(__name__)


class PredictParams(Section):
    """How predictions are computed; the batch size changes the last bits.

    Args:
        batch_size: images per forward pass.
        seed: of the random corruptions.
    """

    section: ClassVar[str] = "predict"

    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class PredictionJob:
    """A stored model, the rows to predict, and how.

    Args:
        kind: names the store, one per stage, for example `stress`.
        model_folder: what the train stage wrote.
        prepared_folder: what the prepare stage wrote.
        roles: whose rows are predicted.
        params: section `predict`.
        compute: section `compute`.
        embeddings: whether tables keep the penultimate features, where the model shows them.
    """

    kind: str
    model_folder: Path
    prepared_folder: Path
    roles: tuple[str, ...]
    params: PredictParams
    compute: ComputeParams
    embeddings: bool = True


def cached_predictions(
    job: PredictionJob, conditions: Sequence[Condition], *, root: Path = resume.ROOT
) -> Generator[PredictionTable]:
    """One table per condition, in that order; each is on disk before the next one begins."""
    with resume.store(job.kind, job_key(job), root=root) as folder:
        predict = None
        for condition in conditions:
            path = folder / f"{condition.name}.parquet"
            table = _at_hand(path)
            if table is None:
                predict = predict or _predictor(job)
                predictions.write(predict(condition), path)
                table = predictions.read(path)
            yield table


def job_key(job: PredictionJob) -> str:
    """SHA-256 over all that decides the logits and rows, conditions apart."""
    card = read_card(job.model_folder)
    files = (card.file, CARD_FILE)
    parts = {
        "model": [_digest(job.model_folder / name, stage="train") for name in files],
        "manifest": _digest(job.prepared_folder / "manifest.parquet", stage="prepare"),
        "schema": _digest(job.prepared_folder / "schema.json", stage="prepare"),
        "pixels": prepared_data.pixels_digest(job.prepared_folder),
        "roles": list(job.roles),
        "params": job.params.model_dump(),
        "threads": job.compute.threads,
        "device": _device(job.compute.device),
        "embeddings": job.embeddings,
        "versions": resume.versions(PACKAGES) | engine_versions(card.file),
    }
    return resume.content_key(parts, modules=MODULES)


def _device(asked: str) -> str:
    """What `auto` may mean on this machine, told apart without importing torch."""
    if asked != "auto":
        return asked
    return f"auto {NVIDIA_DRIVER.exists()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"


def _digest(path: Path, *, stage: str) -> str:
    if not path.exists():
        raise ModelError(f"{path}: not found; run the {stage} stage first")
    return file_digest(path)


def _at_hand(path: Path) -> PredictionTable | None:
    if not path.exists():
        return None
    try:
        table = predictions.read(path)
    except DataError as error:
        log.warning("%s; predicting again", error)
        path.unlink()
        return None
    log.info("%s: predictions are at hand", path.stem)
    return table


def _check_fit(card: ModelCard, prepared: Prepared) -> None:
    ours, theirs = (prepared.schema.classes, prepared.image_size), (card.classes, card.image_size)
    if ours != theirs:
        raise ModelError(
            f"the model was trained for {len(card.classes)} classes ({listed(card.classes)}) at "
            f"{card.image_size} pixels, but {prepared.folder} holds {len(prepared.schema.classes)} "
            f"({listed(prepared.schema.classes)}) at {prepared.image_size}; "
            f"run the train stage again"
        )


def _predictor(job: PredictionJob) -> Callable[[Condition], PredictionTable]:
    from medaudit.model import inference, stored
    from medaudit.model.compute import setup
    from medaudit.model.forward import Feed

    device = setup(job.compute)
    card = read_card(job.model_folder)
    prepared = prepared_data.read_prepared(job.prepared_folder)
    _check_fit(card, prepared)
    model = stored.load(job.model_folder)
    positions = prepared.positions(job.roles)
    feed = Feed(job.params.batch_size, job.compute.loader_threads, device)
    provenance = {
        "backbone": card.backbone,
        "weights": weights_digest(job.model_folder),
    }

    def predict(condition: Condition) -> PredictionTable:
        table = inference.predict_table(
            model,
            prepared,
            positions,
            condition=condition,
            seed=job.params.seed,
            feed=feed,
            provenance=provenance,
        )
        log.info("%s: predicted %d images", condition.name, len(table))
        return table if job.embeddings else replace(table, embeddings=None)

    return predict
