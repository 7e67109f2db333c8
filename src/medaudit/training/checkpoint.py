"""The state of a training run after an epoch, on disk between two processes."""

from __future__ import annotations

import io
import logging
import pickle
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from medaudit.core.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

State = dict[str, Any]

# What torch raises for damaged bytes, depending on which byte it is.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    struct.error,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave; `train_loss` is under augmentation, smoothing and mixing."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation: dict[str, float]


@dataclass
class Progress:
    """Everything that the next epoch and the end of training need besides the model.

    Random state is not part of it: every epoch seeds its own draws from (seed, epoch).
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = float("-inf")
    best_state: State = field(default_factory=dict)

    @property
    def epochs_done(self) -> int:
        """Finished epochs."""
        return len(self.history)

    def add(self, record: EpochRecord, *, score: float, model: torch.nn.Module) -> None:
        """Note an epoch; its weights are kept where the score is strictly better than before."""
        self.history.append(record)
        if score > self.best_score:
            self.best_epoch, self.best_score = record.epoch, score
            self.best_state = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}

    def exhausted(self, patience: int | None) -> bool:
        """Whether the last `patience` epochs brought nothing better."""
        return patience is not None and self.epochs_done - self.best_epoch >= patience


def save(
    path: Path,
    *,
    model: torch.nn.Module,
    optimizer: State,
    progress: Progress,
    average: torch.nn.Module | None = None,
) -> None:
    """Replace the checkpoint in one step; `average` is the moving average of the weights."""
    content = {
        "model": model.state_dict(),
        "average": {} if average is None else average.state_dict(),
        "optimizer": optimizer,
        "history": [asdict(record) for record in progress.history],
        "best": (progress.best_epoch, progress.best_score, progress.best_state),
    }
    buffer = io.BytesIO()  # a full disk is then an OSError, which torch would hide
    torch.save(content, buffer)
    with atomic(path) as part:
        part.write_bytes(buffer.getbuffer())


def restore(
    path: Path,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: torch.nn.Module | None = None,
) -> Progress:
    """Load the checkpoint into model, optimizer and average; fresh progress where none is read."""
    if not path.exists():
        return Progress()
    try:
        content, progress = _read(path)
    except _UNREADABLE as error:
        log.warning("%s: unreadable (%s), training starts again", path, type(error).__name__)
        path.unlink()
        return Progress()
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    if average is not None:
        average.load_state_dict(content["average"])
    return progress


def _read(path: Path) -> tuple[State, Progress]:
    content: State = torch.load(path, map_location="cpu", weights_only=True)
    epoch, score, best = content["best"]
    history = [EpochRecord(**record) for record in content["history"]]
    progress = Progress(history=history, best_epoch=epoch, best_score=score, best_state=best)
    return {name: content[name] for name in ("model", "optimizer", "average")}, progress
