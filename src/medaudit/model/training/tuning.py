"""Scores of a model on the role `tune`, by which the best epoch is chosen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from medaudit.errors import listed
from medaudit.model import forward
from medaudit.model.training import objectives

if TYPE_CHECKING:
    from medaudit.model.forward import Feed, Floats, ImageModel
    from medaudit.model.prepared import Prepared

log = logging.getLogger(__name__)


def tune_scores(model: ImageModel, prepared: Prepared, *, feed: Feed) -> dict[str, float]:
    """Scores of a model on the role `tune`."""
    return scores(tune_logits(model, prepared, feed=feed), prepared)


def tune_logits(model: ImageModel, prepared: Prepared, *, feed: Feed) -> Floats:
    """Logits (n, outputs) of the role `tune`."""
    tune = prepared.positions(["tune"])
    (logits,) = forward.run(model, prepared.reader.take, tune, feed=feed, label="tune").logits
    return np.asarray(logits)


def scores(logits: Floats, prepared: Prepared) -> dict[str, float]:
    """Scores of logits of the role `tune`."""
    targets = prepared.targets(prepared.positions(["tune"]))
    return objectives.get(prepared.schema.task).tune_scores(logits, targets)


def warn_of_gaps(prepared: Prepared) -> None:
    """Name the classes that the tune scores cannot see."""
    targets = prepared.targets(prepared.positions(["tune"]))
    asked = objectives.get(prepared.schema.task)
    absent = asked.undefined(targets, classes=prepared.schema.classes)
    if absent:
        log.warning("tune role: %s left out of mean scores, too few cases", listed(absent))
