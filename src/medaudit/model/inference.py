"""Outputs of a model for prepared images, under a condition, by a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.model import forward
from medaudit.pixels.corruptions import corrupt

if TYPE_CHECKING:
    from medaudit.model.forward import Feed, ImageModel, Images, Outputs
    from medaudit.model.predictors import Predictor
    from medaudit.model.prepared import IntArray, Prepared
    from medaudit.tables.conditions import Condition

DTYPE = "float32"


def predict(
    model: ImageModel,
    prepared: Prepared,
    positions: IntArray,
    *,
    predictor: Predictor,
    condition: Condition,
    seed: int,
    feed: Feed,
) -> Outputs:
    """Logits (members, n, outputs) and features (n, d) of the images at `positions`, in float32.

    Args:
        model: what computes.
        prepared: where the images are.
        positions: rows of the manifest, in the order of the result.
        predictor: how logits are made; a row of `predictors.PREDICTORS`.
        condition: what is done to the images.
        seed: of random corruptions and of random predictors.
        feed: batch size, loader threads and device.
    """

    def images(chosen: IntArray) -> Images:
        return corrupted(prepared, chosen, condition=condition, seed=seed)

    def outputs(ready: ImageModel, batch: Images, chosen: IntArray) -> Outputs:
        return predictor(ready, batch, sample_ids=prepared.sample_ids(chosen), seed=seed)

    return forward.run(model, images, positions, feed=feed, label=condition.name, predict=outputs)


def corrupted(
    prepared: Prepared, positions: IntArray, *, condition: Condition, seed: int
) -> Images:
    """Images (n, h, w, 3) uint8 at `positions` under a condition."""
    images = prepared.reader.take(positions)
    for row, sample_id in enumerate(prepared.sample_ids(positions)):
        images[row] = corrupt(images[row], condition, sample_id=sample_id, seed=seed)
    return images
