"""Prediction tables from a model and prepared images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medaudit.model import forward
from medaudit.pixels.corruptions import corrupt
from medaudit.tables.predictions import PredictionTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from medaudit.model.forward import Feed, Images, Outputs, Predictor
    from medaudit.model.prepared import IntArray, Prepared
    from medaudit.tables.conditions import Condition

DTYPE = "float32"


def predict(
    model: Predictor,
    prepared: Prepared,
    positions: IntArray,
    *,
    condition: Condition,
    seed: int,
    feed: Feed,
) -> Outputs:
    """Logits and features of the images at `positions` under a condition, in float32."""
    make = partial(_images, prepared, condition=condition, seed=seed)
    return forward.run(model, make, positions, feed=feed, label=condition.name)


def predict_table(
    model: Predictor,
    prepared: Prepared,
    positions: IntArray,
    *,
    condition: Condition,
    seed: int,
    feed: Feed,
    provenance: Mapping[str, str],
) -> PredictionTable:
    """The prediction table of the plain model: one member, with embeddings where it shows any."""
    outputs = predict(model, prepared, positions, condition=condition, seed=seed, feed=feed)
    return PredictionTable(
        schema=prepared.schema,
        rows=prepared.manifest.iloc[positions].drop(columns="target").reset_index(drop=True),
        targets=prepared.targets(positions),
        logits=outputs.logits[np.newaxis],
        embeddings=outputs.features,
        condition=condition,
        provenance={
            "predictor": "plain",
            "engine": model.engine,
            "dtype": DTYPE,
            "device": model.on(feed.device).device_type,
            **provenance,
        },
    )


def _images(
    prepared: Prepared, positions: npt.NDArray[np.int64], *, condition: Condition, seed: int
) -> Images:
    images = prepared.reader.take(positions)
    for row, sample_id in enumerate(prepared.sample_ids(positions)):
        images[row] = corrupt(images[row], condition, sample_id=sample_id, seed=seed)
    return images
