"""What every epoch leaves: the state to go on from, and the training curves."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import pickle
import struct
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from dvclive import Live
from scmrepo.exceptions import SCMError

from medaudit.core.errors import ModelError
from medaudit.core.files import atomic, sync_tree
from medaudit.core.findings import Findings, Scalar
from medaudit.model import state_files
from medaudit.model.network import AuditModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from medaudit.model.inference import ImageModel
    from medaudit.training.loop import Trained

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
    MemoryError,
    ModelError,
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of odd protocols, in a damaged file
        held = state_files.checked(path)
        content: State = torch.load(held, map_location="cpu", weights_only=True)
    epoch, score, best = content["best"]
    history = [EpochRecord(**record) for record in content["history"]]
    progress = Progress(history=history, best_epoch=epoch, best_score=score, best_state=best)
    return {name: content[name] for name in ("model", "optimizer", "average")}, progress


@contextlib.contextmanager
def live(folder: Path) -> Iterator[Callable[[EpochRecord], None]]:
    """A function that adds one epoch to the DVCLive curves in `folder`.

    DVC removes the folder before the stage, so a resumed run hands over its old epochs again.
    """
    with _open(folder) as curves:

        def add(record: EpochRecord) -> None:
            curves.step = record.epoch
            for name, value in _flat(record).items():
                curves.log_metric(name, value)
            curves.make_summary()

        yield add
    sync_tree(folder)


def findings(trained: Trained, *, n_train: int, n_validation: int) -> Findings:
    """Headline numbers of the kept epoch, and the curves.

    Validation scores are optimistic where they chose the epoch, so they come without intervals.
    """
    best = trained.best
    scalars: dict[str, Scalar] = {
        "best_epoch": best.epoch,
        "epochs_run": trained.history[-1].epoch,
        "train_loss": best.train_loss,
        **{f"validation_{name}": value for name, value in best.validation.items()},
        "n_train": n_train,
        "n_validation": n_validation,
        "n_parameters": n_parameters(trained.model),
        "precision": trained.precision,
    }
    return Findings(scalars, {"curves": curves_table(trained)})


def n_parameters(model: ImageModel) -> int | None:
    """Trainable numbers of a model; `None` of an exported program, which does not say."""
    if not isinstance(model, AuditModel):
        return None
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def curves_table(trained: Trained) -> pd.DataFrame:
    """One row per epoch and split; scores of the validation role stand beside its loss.

    The train loss is under augmentation, smoothing, weights and mixing; the validation loss is
    plain. A model that came trained has epoch 0, with an empty train loss.
    """
    rows = [
        {"epoch": record.epoch, "split": split, **scores}
        for record in trained.history
        for split, scores in (
            ("train", {"loss": record.train_loss}),
            ("validation", record.validation),
        )
    ]
    return pd.DataFrame(rows)


def _open(folder: Path) -> Live:
    # DVCLive would otherwise edit dvc.yaml and make experiments of its own.
    try:
        return Live(
            str(folder), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False
        )
    except SCMError as error:
        raise ModelError(
            f"DVCLive cannot use this git repository ({error}); commit once, then run again"
        ) from None


def _flat(record: EpochRecord) -> dict[str, float]:
    validation = {f"validation/{name}": value for name, value in record.validation.items()}
    train = {"train/loss": record.train_loss, "train/learning_rate": record.learning_rate}
    return {name: value for name, value in (train | validation).items() if math.isfinite(value)}
