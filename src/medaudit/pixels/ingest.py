"""One pass over the original images: packed pixels, statistics, perceptual hashes."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as Pillow
from tqdm import tqdm

from medaudit.core.errors import DataError
from medaudit.pixels import packed
from medaudit.pixels.decode import decode, decode_mask, resize
from medaudit.pixels.packed import write_shards
from medaudit.pixels.statistics import (
    MASK_STATISTICS,
    describe,
    describe_mask,
    describe_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from medaudit.pixels import Image
    from medaudit.pixels.statistics import Fact

THUMBNAIL = 32  # pixels; keeps large structures, forgets compression
_BLOCK = 256  # rows compared at once: 256 x 10,000 hashes take 20 MB


def perceptual_hash(image: Image) -> int:
    """64-bit perceptual hash: signs of the low cosine frequencies of the grey image.

    Near copies (other size, compression, slight colour change) differ in few bits; unrelated
    images differ in about 32. Turned or mirrored copies are not recognised.

    Reference: pHash as in the `imagehash` package.
    """
    bits = imagehash.phash(Pillow.fromarray(image)).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    hashes: Sequence[int] | npt.NDArray[np.uint64], ids: Sequence[str], *, max_distance: int
) -> pd.DataFrame:
    """All pairs of hashes at a Hamming distance of at most `max_distance`; exact search.

    Returns:
        Columns `first`, `second` (ids, first < second) and `distance`, sorted.
    """
    codes = np.asarray(hashes, dtype=np.uint64)
    if len(codes) != len(ids):
        raise ValueError(f"expected one id per hash, got {len(ids)} ids and {len(codes)} hashes")
    found = [
        (*sorted((ids[i], ids[j])), distance) for i, j, distance in _search(codes, max_distance)
    ]
    return pd.DataFrame(sorted(found), columns=["first", "second", "distance"])


def _search(codes: npt.NDArray[np.uint64], max_distance: int) -> Iterator[tuple[int, int, int]]:
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        distances = np.bitwise_count(block[:, None] ^ codes[None, start:])
        for row, column in zip(*np.nonzero(distances <= max_distance), strict=True):
            if column > row:
                yield start + int(row), start + int(column), int(distances[row, column])


def thumbnail(image: Image) -> Image:
    """The image stretched to `THUMBNAIL` square, for `confirm`."""
    return resize(image, THUMBNAIL)


def confirm(
    pairs: pd.DataFrame, thumbnails: Mapping[str, Image], *, min_correlation: float
) -> pd.DataFrame:
    """The pairs whose thumbnails agree pixel by pixel, with their `correlation` in [-1, 1].

    A hash of 64 bits is coarse: smooth round lesions in the middle of smooth skin collide. Only
    real copies correlate almost perfectly as well. The correlation of two flat thumbnails is 1.
    """
    values = [
        _correlation(thumbnails[first], thumbnails[second])
        for first, second in zip(pairs["first"], pairs["second"], strict=True)
    ]
    measured = pairs.assign(correlation=np.array(values, dtype=np.float64))
    return measured[measured["correlation"] >= min_correlation].reset_index(drop=True)


def _correlation(first: Image, second: Image) -> float:
    a = first.astype(np.float64).ravel() - first.mean()
    b = second.astype(np.float64).ravel() - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float(np.array_equal(a, b))


_AHEAD = 128  # pictures decoded before the writer has taken them, at most
_ASPECT_TOLERANCE = 0.02  # rounding when image and mask were scaled apart


@dataclass(frozen=True)
class Source:
    """Where one sample comes from."""

    sample_id: str
    image: Path
    mask: Path | None = None


@dataclass(frozen=True)
class Picture:
    """What is kept of one original.

    Args:
        sample_id: of the source.
        pixels: the image at the packed size.
        facts: statistics of the image and of its mask (missing without one), size of the original.
        code: perceptual hash of the original.
        small: thumbnail for comparing near copies.
        mask: lesion mask at the packed size, in bits; empty without a mask.
    """

    sample_id: str
    pixels: Image
    facts: dict[str, Fact]
    code: int
    small: Image
    mask: Image


@dataclass
class Ingested:
    """What the pass found; the rows of `facts` are the images of the shards, in order."""

    facts: list[dict[str, Fact]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    thumbnails: dict[str, Image] = field(default_factory=dict)
    masks: list[Image] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def has_masks(self) -> bool:
        """Whether any sample has a mask file."""
        return any(pd.notna(facts["lesion_area"]) for facts in self.facts)

    def table(self) -> pd.DataFrame:
        """`sample_id`, statistics, those of masks if there are any, size of the original."""
        table = pd.DataFrame(self.facts)
        return table if self.has_masks else table.drop(columns=list(MASK_STATISTICS))

    def write_masks(self, path: Path) -> None:
        """Write the packed masks, row i for image i of the shards, where there are any."""
        if self.has_masks:
            packed.write_masks(self.masks, path)

    def near_copies(self, *, max_distance: int, min_correlation: float) -> pd.DataFrame:
        """Pairs of packed images that are copies: `first`, `second`, `distance`, `correlation`."""
        pairs = near_pairs(self.codes, list(self.thumbnails), max_distance=max_distance)
        return confirm(pairs, self.thumbnails, min_correlation=min_correlation)


def sources(rows: pd.DataFrame) -> list[Source]:
    """Sources of rows with `sample_id`, `image_path` and `mask_path`, in their order."""
    return [
        Source(sample_id, Path(image), Path(mask) if isinstance(mask, str) else None)
        for sample_id, image, mask in zip(
            rows["sample_id"], rows["image_path"], rows["mask_path"], strict=True
        )
    ]


def ingest(
    sources: Sequence[Source],
    folder: Path,
    *,
    size: int,
    on_unreadable: Callable[[DataError], None],
) -> Ingested:
    """Decode every source once and write the shards; memory stays bounded by a few images.

    Args:
        sources: in the order that the shards shall have.
        folder: where the shards go.
        size: side of the packed square images in pixels.
        on_unreadable: called with the error of an image that cannot be read; it raises to stop,
            or returns to leave the image out.
    """
    found = Ingested()
    outcomes = tqdm(
        _examined(sources, size=size),
        total=len(sources),
        desc="decode",
        unit="image",
        mininterval=1,
    )
    write_shards(_kept(outcomes, found, on_unreadable), folder, size=size)
    return found


def examine(source: Source, *, size: int) -> Picture:
    """Everything that is kept of one original."""
    original = decode(source.image)
    mask = _mask_of(source.mask, original, image_path=source.image) if source.mask else None
    facts = {**describe(original), **describe_mask(mask, original), **describe_size(original)}
    return Picture(
        sample_id=source.sample_id,
        pixels=resize(original, size),
        facts=facts,
        code=perceptual_hash(original),
        small=thumbnail(original),
        mask=packed.pack(mask, size),
    )


def _mask_of(path: Path, original: Image, *, image_path: Path) -> Image:
    mask = decode_mask(path)
    (height, width), (tall, wide) = mask.shape, original.shape[:2]
    if abs(width * tall / (height * wide) - 1) > _ASPECT_TOLERANCE:
        raise DataError(
            f"{path}: expected a mask of the aspect ratio of {image_path} ({wide} x {tall}), "
            f"got {width} x {height}; put the mask of that image there, or remove it"
        )
    return mask


def _kept(
    outcomes: Iterable[tuple[Source, Picture | DataError]],
    found: Ingested,
    on_unreadable: Callable[[DataError], None],
) -> Iterator[Image]:
    for source, outcome in outcomes:
        if isinstance(outcome, DataError):
            on_unreadable(outcome)
            found.unreadable[source.sample_id] = str(outcome)
            continue
        found.facts.append({"sample_id": source.sample_id, **outcome.facts})
        found.codes.append(outcome.code)
        found.thumbnails[source.sample_id] = outcome.small
        found.masks.append(outcome.mask)
        yield outcome.pixels


def _examined(
    sources: Sequence[Source], *, size: int
) -> Iterator[tuple[Source, Picture | DataError]]:
    """Outcomes in the order of the sources; threads do, since decoding lets go of the lock."""

    def attempt(source: Source) -> tuple[Source, Picture | DataError]:
        try:
            return source, examine(source, size=size)
        except DataError as error:
            return source, error

    cv2.setNumThreads(1)  # the pool is the parallelism
    workers, waiting = os.cpu_count() or 1, iter(sources)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(itertools.islice(waiting, _AHEAD)):
            yield from pool.map(attempt, batch)
