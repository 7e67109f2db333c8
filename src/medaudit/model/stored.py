"""Models on disk, whatever their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.model import backbones
from medaudit.model.backbones import AuditModel
from medaudit.model.card import read_card
from medaudit.model.exported import model as exported
from medaudit.model.exported.model import ExportedModel

if TYPE_CHECKING:
    from pathlib import Path

    from medaudit.model.card import ModelCard
    from medaudit.model.forward import ImageModel


def load(folder: Path) -> ImageModel:
    """The model that the train stage stored; its logits need no more correction."""
    if read_card(folder).kind == "exported":
        return exported.load(folder)
    return backbones.load(folder)


def save(model: ImageModel, folder: Path, *, card: ModelCard) -> None:
    """Write a model and its card; the same model gives the same bytes."""
    if isinstance(model, ExportedModel):
        exported.save(model, folder, card=card)
    elif isinstance(model, AuditModel):
        backbones.save(model, folder, card=card)
    else:
        raise TypeError(f"expected a backbone or an exported model, got {type(model).__name__}")
