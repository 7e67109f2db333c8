"""Perceptual hashes, and all pairs of images whose hashes nearly agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as Pillow

from medaudit.pixels.decode import resize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from medaudit.pixels import Image

THUMBNAIL = 32  # pixels; keeps large structures, forgets compression
_BLOCK = 256  # rows compared at once: 256 x 10,000 hashes take 20 MB


def fingerprint(image: Image) -> int:
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
