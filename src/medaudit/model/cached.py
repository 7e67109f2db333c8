"""Prediction tables that are computed once per content; torch is imported on a miss only."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from medaudit.errors import ModelError
from medaudit.files import file_digest
from medaudit.model import prepared as prepared_data
from medaudit.model import resume
from medaudit.params import Section
from medaudit.tables import predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from medaudit.model.compute import ComputeParams
    from medaudit.tables.conditions import Condition
    from medaudit.tables.predictions import PredictionTable

MODEL_FILES = ("model.safetensors", "model.json")
PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless")
MODULES = (
    "medaudit.model.backbones",
    "medaudit.model.batches",
    "medaudit.model.compute",
    "medaudit.model.forward",
    "medaudit.model.inference",
    "medaudit.model.prepared",
    "medaudit.model.weights",
    "medaudit.pixels.corruptions",
    "medaudit.pixels.scale",
    "medaudit.pixels.shards",
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
        embeddings: whether tables keep the penultimate features.
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
            if not path.exists():
                predict = predict or _predictor(job)
                predictions.write(predict(condition), path)
            else:
                log.info("%s: predictions are at hand", condition.name)
            yield predictions.read(path)


def job_key(job: PredictionJob) -> str:
    """SHA-256 over all that decides the logits and rows, conditions apart."""
    parts = {
        "model": [_digest(job.model_folder / name) for name in MODEL_FILES],
        "manifest": file_digest(job.prepared_folder / "manifest.parquet"),
        "schema": file_digest(job.prepared_folder / "schema.json"),
        "pixels": prepared_data.pixels_digest(job.prepared_folder),
        "roles": list(job.roles),
        "params": job.params.model_dump(),
        "threads": job.compute.threads,
        "device": _device(job.compute.device),
        "embeddings": job.embeddings,
        "versions": resume.versions(PACKAGES),
    }
    return resume.content_key(parts, modules=MODULES)


def _device(asked: str) -> str:
    """What `auto` may mean on this machine, told apart without importing torch."""
    if asked != "auto":
        return asked
    return f"auto {NVIDIA_DRIVER.exists()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"


def _digest(path: Path) -> str:
    if not path.exists():
        raise ModelError(f"{path}: not found; run the train stage first")
    return file_digest(path)


def _predictor(job: PredictionJob) -> Callable[[Condition], PredictionTable]:
    from medaudit.model import backbones, inference
    from medaudit.model.compute import setup
    from medaudit.model.forward import Feed

    device = setup(job.compute)
    model = backbones.load(job.model_folder)
    prepared = prepared_data.read_prepared(job.prepared_folder)
    positions = prepared.positions(job.roles)
    feed = Feed(job.params.batch_size, job.compute.loader_threads, device)
    provenance = {
        "backbone": backbones.read_card(job.model_folder).backbone,
        "weights": backbones.weights_digest(job.model_folder),
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
