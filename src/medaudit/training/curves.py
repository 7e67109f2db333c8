"""Training curves: live for whoever watches, and as findings at the end."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import pandas as pd
from dvclive import Live
from scmrepo.exceptions import SCMError

from medaudit.core.errors import ModelError
from medaudit.core.findings import Findings, Scalar
from medaudit.model.network import AuditModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from medaudit.model.inference import ImageModel
    from medaudit.training.checkpoint import EpochRecord
    from medaudit.training.loop import Trained


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
