"""Logits and features of many images under a condition, batch by batch, in full precision."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from medaudit.core.arrays import Float32Array, IntArray
from medaudit.pixels.corruptions import corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from medaudit.model.predictors import Predictor
    from medaudit.model.prepared import Prepared
    from medaudit.tables.predictions import Condition

T = TypeVar("T")


def in_batches(indices: IntArray, *, batch_size: int) -> list[IntArray]:
    """Consecutive pieces of at most `batch_size` indices."""
    return [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]


def shuffled_batches(
    indices: IntArray, *, batch_size: int, seed: int, epoch: int
) -> list[IntArray]:
    """Full batches in the order of this epoch; a short last one would disturb batch statistics."""
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    batches = in_batches(order, batch_size=batch_size)
    if len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def prefetched(
    make: Callable[[IntArray], T], batches: Iterable[IntArray], *, threads: int
) -> Iterator[T]:
    """`make(batch)` for every batch, in order, with `threads` + 1 batches under way.

    `make` must depend on its argument alone; then the number of threads changes nothing.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(make, batch))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


Images = npt.NDArray[np.uint8]


M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True)
class Outputs:
    """What a model gives for n images.

    Args:
        logits: float32 (members, n, outputs); a member is one pass, and most predictors make one.
        features: float32 (n, d) penultimate features; `None` where a model does not show any.
    """

    logits: Float32Array
    features: Float32Array | None


class ImageModel(Protocol):
    """A model as inference sees it: RGB images in, logits and perhaps features out."""

    @property
    def engine(self) -> str:
        """What computes it, for the provenance of predictions."""

    @property
    def device_type(self) -> str:
        """Where it computes: `cpu` or `cuda`."""

    def on(self, device: torch.device) -> Self:
        """Itself, ready to predict on a device, or near it where it cannot go there."""

    def predict(self, images: Images) -> Outputs:
        """One member of logits, and features, of uint8 images (n, h, w, 3), without dropout."""


Predict = Callable[[ImageModel, Images, IntArray], Outputs]  # of the images at these positions


@dataclass(frozen=True)
class LoaderConfig:
    """How images reach the model: batch size, threads that prepare batches, and device."""

    batch_size: int
    loader_threads: int
    device: torch.device


def run(
    model: ImageModel,
    make: Callable[[IntArray], Images],
    positions: IntArray,
    *,
    loader: LoaderConfig,
    label: str,
    predict: Predict | None = None,
) -> Outputs:
    """Logits and features of many images.

    Args:
        model: moved to the device and set to evaluation mode here.
        make: images (m, h, w, 3) of m positions; it depends on the positions alone.
        positions: which images, in the order of the result.
        loader: batch size, loader threads and device.
        label: beside the progress bar.
        predict: makes outputs of a batch with the model; by default the model's own, one member.
    """
    ready = model.on(loader.device)
    batches = in_batches(positions, batch_size=loader.batch_size)
    images = prefetched(make, batches, threads=loader.loader_threads)
    bar = tqdm(images, total=len(batches), desc=label, leave=False, disable=None)
    use = predict or _plain
    return _joined([use(ready, batch, chosen) for batch, chosen in zip(bar, batches, strict=True)])


def _plain(model: ImageModel, images: Images, _: IntArray) -> Outputs:
    return model.predict(images)


def prepare_model(model: M, device: torch.device) -> M:
    """The model on the device, channels-last (1.3 to 3 times faster for convolutions)."""
    # torch's stubs leave the memory format out of Module.to
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def to_input(images: Images, device: torch.device) -> torch.Tensor:
    """Images (n, h, w, 3) as a uint8 tensor (n, 3, h, w) that is channels-last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2)


def _joined(parts: list[Outputs]) -> Outputs:
    features = [part.features for part in parts if part.features is not None]
    return Outputs(
        logits=np.concatenate([part.logits for part in parts], axis=1),
        features=np.concatenate(features) if features else None,
    )


DTYPE = "float32"


def predict(
    model: ImageModel,
    prepared: Prepared,
    positions: IntArray,
    *,
    predictor: Predictor,
    condition: Condition,
    seed: int,
    loader: LoaderConfig,
) -> Outputs:
    """Logits (members, n, outputs) and features (n, d) of the images at `positions`, in float32.

    Args:
        model: what computes.
        prepared: where the images are.
        positions: rows of the manifest, in the order of the result.
        predictor: how logits are made; a row of `predictors.PREDICTORS`.
        condition: what is done to the images.
        seed: of random corruptions and of random predictors.
        loader: batch size, loader threads and device.
    """

    def images(chosen: IntArray) -> Images:
        return corrupted(prepared, chosen, condition=condition, seed=seed)

    def outputs(ready: ImageModel, batch: Images, chosen: IntArray) -> Outputs:
        return predictor(ready, batch, sample_ids=prepared.sample_ids(chosen), seed=seed)

    return run(model, images, positions, loader=loader, label=condition.name, predict=outputs)


def corrupted(
    prepared: Prepared, positions: IntArray, *, condition: Condition, seed: int
) -> Images:
    """Images (n, h, w, 3) uint8 at `positions` under a condition."""
    images = prepared.reader.take(positions)
    for row, sample_id in enumerate(prepared.sample_ids(positions)):
        images[row] = corrupt(images[row], condition, sample_id=sample_id, seed=seed)
    return images
