"""The model that the parameters ask for: trained here, or taken as it is."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.errors import ParamsError, listed
from medaudit.model.card import is_exported
from medaudit.model.exported import model as exported
from medaudit.model.forward import Feed
from medaudit.model.training import loop, recipe, start, tuning
from medaudit.model.training.checkpoint import EpochRecord
from medaudit.model.training.loop import Trained

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from medaudit.model.compute import ComputeParams
    from medaudit.model.forward import ImageModel
    from medaudit.model.prepared import Prepared
    from medaudit.model.training.params import TrainParams

CHANCE = 0.5

log = logging.getLogger(__name__)


def make(
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
    feed = Feed(params.batch_size, compute.loader_threads, device)
    trained = verify(given(prepared, params), prepared, feed=feed)
    on_epoch(trained.best)
    return trained


def given(prepared: Prepared, params: TrainParams) -> ImageModel:
    """The model in `train.weights`, which must fit the classes as it is."""
    if is_exported(params.weights):
        _warn_of_raw_input(params)
        return exported.read(Path(params.weights), recipe.exported_card(prepared, params))
    return start.new_model(prepared, params, None)


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


def verify(model: ImageModel, prepared: Prepared, *, feed: Feed) -> Trained:
    """Score a model on the tune role, as epoch 0 of a training that never was.

    A file does not say in which order its outputs stand, nor what they are; they are taken as
    declared, and what speaks against that is pointed out.
    """
    log.info("outputs are taken as %s, in this order", listed(prepared.schema.classes, limit=20))
    tuning.warn_of_gaps(prepared)
    logits = tuning.tune_logits(model, prepared, feed=feed)
    scores = tuning.scores(logits, prepared)
    log.info("as it came: tune loss %.4f, macro AUROC %.4f", scores["loss"], scores["macro_auroc"])
    if scores["macro_auroc"] < CHANCE:
        log.warning("the tune role is ranked below chance; check the order of the outputs")
    if logits.min() >= 0 and logits.max() <= 1:
        log.warning("all logits lie in [0, 1], as probabilities do; check `train.outputs`")
    record = EpochRecord(0, learning_rate=0.0, train_loss=math.nan, tune=scores)
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
