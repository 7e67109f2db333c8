"""An exported program as a predictor: images in, logits out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medaudit.core.errors import ModelError
from medaudit.core.files import atomic
from medaudit.model.exported import archive, onnx_program, programs
from medaudit.model.exported.sandbox import Sandboxed
from medaudit.model.inference import Outputs
from medaudit.model.model_config import engine_versions, read_card, write_card
from medaudit.tables import tasks

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import torch

    from medaudit.core.arrays import Float32Array
    from medaudit.model.inference import Images
    from medaudit.model.model_config import ModelCard

RAW = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # mean and std that leave the 0..1 scale alone
TOLERANCE = 0.01  # by which rounded or half-precision probabilities miss their sum


@dataclass(frozen=True)
class ExportedModel:
    """A program behind the interface of `forward.ImageModel`; without features.

    The program gets float32 RGB images (n, 3, h, w), (x / 255 - mean) / std, and gives one row of
    logits or probabilities per image, in the order of the classes.

    Args:
        program: what runs.
        card: what its outputs mean and how its input is scaled.
        source: the file that it came from.
    """

    program: Sandboxed
    card: ModelCard
    source: Path

    @property
    def engine(self) -> str:
        """What runs the program."""
        return self.program.engine

    @property
    def device_type(self) -> str:
        """Where the program runs."""
        return self.program.device_type

    def on(self, device: torch.device) -> Self:
        """The program on a device, if it can go there."""
        return replace(self, program=self.program.on(device))

    def predict(self, images: Images) -> Outputs:
        """Logits (1, n, outputs) of uint8 images (n, h, w, 3)."""
        found = programs.in_pieces(self.program, self._normalised(images))
        if found.shape != (len(images), len(self.card.classes)):
            raise ModelError(
                f"{self.source.name}: expected outputs of shape ({len(images)}, "
                f"{len(self.card.classes)}), one a class, got {found.shape}"
                f"{self._way_out(found.shape)}"
            )
        return Outputs(as_logits(found, self.card)[np.newaxis], None)

    def _way_out(self, shape: tuple[int, ...]) -> str:
        if len(shape) != 2:
            return "; put what is lacking into the model, then export it again"
        key = "data.classes" if tasks.get(self.card.task).exclusive else "data.labels"
        return f"; name all {shape[1]} in the model's order in `{key}`"

    def _normalised(self, images: Images) -> Float32Array:
        mean, std = (np.array(each, np.float32) for each in (self.card.mean, self.card.std))
        scaled = (images.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def read(path: Path, card: ModelCard, *, trust: bool = False) -> ExportedModel:
    """The exported model in a file, checked against its card.

    Args:
        path: of the file.
        card: what its outputs mean and how its input is scaled.
        trust: whether the user said to trust who made it; a `.pt2` file is refused otherwise.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; `train.weights` names an exported model")
    engine_versions(path.name)
    if path.suffix != ".onnx" and not trust:
        raise ModelError(
            f"{path}: an exported torch program is code of whoever made it; say that you trust "
            f"them, with `trust: true` under `train` in params.yaml (`--trust` of commands), or "
            f"use ONNX"
        )
    content = onnx_program.read(path) if path.suffix == ".onnx" else archive.rebuilt(path)
    try:
        held = Sandboxed(content, suffix=path.suffix)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    side, sizes = card.image_size, (held.input.height, held.input.width)
    if any(size not in {None, side} for size in sizes):
        raise ModelError(
            f"{path}: takes images of {sizes[0]} x {sizes[1]} pixels, but those at hand have "
            f"{side}; set `prepare.image_size` to that"
        )
    return ExportedModel(held, card, path)


def load(folder: Path, *, trust: bool = False) -> ExportedModel:
    """A stored exported model."""
    card = read_card(folder)
    return read(folder / card.file, card, trust=trust)


def save(model: ExportedModel, folder: Path, *, card: ModelCard) -> None:
    """Copy the file of an exported model, as it is, beside its card."""
    with atomic(folder / card.file) as part:
        shutil.copyfile(model.source, part)
    write_card(card, folder)


def as_logits(found: Float32Array, card: ModelCard) -> Float32Array:
    """Outputs of a program as logits; probabilities are checked and turned into them."""
    if card.outputs == "logits":
        return found
    task = tasks.get(card.task)
    wrong = ~((found >= -TOLERANCE) & (found <= 1 + TOLERANCE)).all(axis=1)
    if task.exclusive:
        wrong |= ~(np.abs(found.sum(axis=1) - 1) <= TOLERANCE)
    if wrong.any():
        rule = "in [0, 1] with a sum of 1" if task.exclusive else "in [0, 1]"
        raise ModelError(
            f"{card.file}: expected probabilities {rule}, got {found[wrong][0][:5].tolist()}; "
            f"check `train.outputs`"
        )
    return task.logits(found.astype(np.float64).clip(0, 1)).astype(np.float32)
