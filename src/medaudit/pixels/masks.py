"""Lesion masks at the size of the packed images, one bit a pixel in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.errors import DataError
from medaudit.files import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medaudit.pixels import Image

Mask = npt.NDArray[np.bool_]
THRESHOLD = 128


def lesion(mask: Image) -> Mask:
    """Which pixels of a mask file (h, w) are lesion, bool (h, w).

    At least `THRESHOLD` of 255; in a mask whose maximum is 1, so of 0 and 1, the ones.
    """
    threshold = 1 if mask.max() == 1 else THRESHOLD
    return np.asarray(mask >= threshold)


def pack(mask: Image | None, size: int) -> Image:
    """A mask file's values as bits at (size, size), uint8 (ceil(size * size / 8),).

    Without a mask all bits are zero. A pixel counts where at least half of its area is lesion.
    """
    if mask is None:
        return np.zeros(-(-size * size // 8), dtype=np.uint8)
    shares = lesion(mask).astype(np.float32)
    method = cv2.INTER_AREA if min(mask.shape) >= size else cv2.INTER_LINEAR
    return np.packbits(cv2.resize(shares, (size, size), interpolation=method) >= 0.5)


def write_masks(packed: Sequence[Image], path: Path) -> None:
    """Write packed masks, row i for image i of the shards."""
    with atomic(path) as part, part.open("wb") as handle:
        np.save(handle, np.stack(packed), allow_pickle=False)


class MaskReader:
    """Random access to the masks that `write_masks` wrote; without the file nothing has one."""

    def __init__(self, path: Path, *, size: int) -> None:
        self.size = size
        self._packed = _open(path, size=size) if path.exists() else None

    def __getitem__(self, index: int) -> Mask | None:
        """The mask of image `index`, bool (size, size), or `None` where there is none."""
        if self._packed is None:
            return None
        bits = np.unpackbits(self._packed[index], count=self.size**2).astype(bool)
        return bits.reshape(self.size, self.size) if bits.any() else None


def _open(path: Path, *, size: int) -> Image:
    try:
        packed: Image = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not masks ({error}); run the prepare stage again") from None
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-size * size // 8):
        raise DataError(f"{path}: not masks of {size} pixels; run the prepare stage again")
    return packed
