"""Packed images and masks: files of equal shape that are read through memory maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.core.arrays import read_npy
from medaudit.core.errors import DataError
from medaudit.core.files import atomic
from medaudit.pixels import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medaudit.core.arrays import BoolArray

PER_SHARD = 1024


def write_shards(
    images: Iterable[Image], folder: Path, *, size: int, per_shard: int = PER_SHARD
) -> int:
    """Write `00000.npy`, `00001.npy`, ... of at most `per_shard` images and return the count.

    One image is in memory at a time.

    Args:
        images: uint8 arrays of shape (size, size, 3), in the order of the manifest.
        folder: where the shards go; it should be new or empty.
        size: side of the square images in pixels.
        per_shard: images in every shard but the last.
    """
    source, total = iter(images), 0
    for number in itertools.count():
        first = next(source, None)
        if first is None:
            return total
        shard = itertools.chain([first], itertools.islice(source, per_shard - 1))
        total += _write_shard(shard, folder / f"{number:05d}.npy", size=size)
    raise AssertionError("unreachable")


def _write_shard(images: Iterator[Image], path: Path, *, size: int) -> int:
    expected, count = (size, size, 3), 0
    with atomic(path) as part, part.open("wb") as handle:
        _write_header(handle, (0, *expected))
        for image in images:
            if image.shape != expected or image.dtype != np.uint8:
                raise ValueError(f"expected uint8 {expected}, got {image.dtype} {image.shape}")
            handle.write(image.tobytes())
            count += 1
        handle.seek(0)
        _write_header(handle, (count, *expected))  # numpy pads headers so that the count can grow
    return count


def _write_header(handle: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)


class ShardReader(Sequence[Image]):
    """Random access to the images of a folder that `write_shards` wrote.

    `reader[i]` and `reader.take(indices)` return copies, so that nothing keeps the map alive or
    writes through it. Pickling carries the folder only, which makes the reader cheap to hand to
    worker processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._shards = [_open(path) for path in sorted(self.folder.glob("*.npy"))]
        if not self._shards:
            raise DataError(f"{folder}: no shards (*.npy) found; run the prepare stage first")
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        if len({shard.shape[1:] for shard in self._shards}) > 1:
            raise DataError(f"{folder}: shards of different image sizes; run prepare again")

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path]]:
        return ShardReader, (self.folder,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return cast("tuple[int, int, int]", self._shards[0].shape[1:])

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # no slices: use take
        image: Image = self.take([index])[0]
        return image

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Image:
        """Images at `indices`, in that order, shape (m, h, w, 3)."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}, got {wanted.tolist()[:5]}")
        taken = np.empty((len(wanted), *self.shape), dtype=np.uint8)
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        for row, (number, index) in enumerate(zip(numbers, wanted, strict=True)):
            taken[row] = self._shards[number][index - self._starts[number]]
        return taken


def _open(path: Path) -> Image:
    try:
        shard: Image = read_npy(path, mapped=True)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(f"{path}: not a shard ({reason}); run the prepare stage again") from None
    if shard.ndim != 4 or shard.shape[-1] != 3 or shard.dtype != np.uint8:
        raise DataError(f"{path}: expected uint8 (n, h, w, 3), got {shard.dtype} {shard.shape}")
    return shard


THRESHOLD = 128


def lesion(mask: Image) -> BoolArray:
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
        self._packed = _masks_open(path, size=size) if path.exists() else None

    def __getitem__(self, index: int) -> BoolArray | None:
        """The mask of image `index`, bool (size, size), or `None` where there is none."""
        if self._packed is None:
            return None
        bits = np.unpackbits(self._packed[index], count=self.size**2).astype(bool)
        return bits.reshape(self.size, self.size) if bits.any() else None


def _masks_open(path: Path, *, size: int) -> Image:
    try:
        packed: Image = read_npy(path, mapped=True)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(f"{path}: not masks ({reason}); run the prepare stage again") from None
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-size * size // 8):
        raise DataError(f"{path}: not masks of {size} pixels; run the prepare stage again")
    return packed
