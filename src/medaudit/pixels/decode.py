"""From any common image file to uint8 RGB."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from medaudit.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medaudit.pixels import Image

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Pillow.DecompressionBombError)
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
_BYTE = 255
_WIDE_TO_BYTE = 257  # 65535 / 255


def decode(path: Path) -> Image:
    """Read the whole image as uint8 RGB, shape (h, w, 3).

    Grey, palette, CMYK and other modes are converted; transparency is laid over white, as
    viewers show it; 16-bit grey is divided by 257, so that the full range stays and nothing is
    clipped; the EXIF orientation is applied; of several frames the first is read.

    Raises:
        DataError: the file is absent, empty, truncated, or not an image; the path is named.
    """
    return _read(path, _to_rgb)


def decode_mask(path: Path) -> Image:
    """Read a mask as uint8 (h, w): its first channel, transparent pixels as 0.

    White below transparency, as `decode` lays it, would turn all that is outside into lesion.
    16-bit values that fit into a byte are kept, so that 0 and 1 do not become 0 and 0.

    Raises:
        DataError: as for `decode`.
    """
    return _read(path, _to_mask)


def _read(path: Path, convert: Callable[[Pillow.Image], Pillow.Image]) -> Image:
    if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
        kind = "a folder" if path.is_dir() else "a pipe or device"
        raise DataError(f"{path}: expected a whole image file, got {kind}")
    try:
        with Pillow.open(path) as image:
            image.load()
            return np.array(convert(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
            raise
        raise DataError(
            f"{path}: expected a whole image file, got {_reason(path, error)}"
        ) from None


def resize(image: Image, size: int) -> Image:
    """Stretch to (size, size, 3); the aspect ratio is not kept, so that nothing is cut off.

    Area averaging when neither side grows (no aliasing), bilinear otherwise.
    """
    shrinks = min(image.shape[:2]) >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Image = cv2.resize(image, (size, size), interpolation=method)
    return resized


def _to_rgb(image: Pillow.Image) -> Pillow.Image:
    if image.mode == "F":
        raise ValueError("floating point pixels of unknown range")
    if image.mode.startswith("I"):
        return Pillow.fromarray(_narrow(np.asarray(image))).convert("RGB")
    return _lay_over(image, "white")


def _to_mask(image: Pillow.Image) -> Pillow.Image:
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() >= 0 and wide.max() <= _BYTE:
            return Pillow.fromarray(wide.astype(np.uint8))
        return Pillow.fromarray(_narrow(wide))
    if image.mode == "F":
        raise ValueError("floating point pixels of unknown range")
    return _lay_over(image, "black").getchannel(0)


def _lay_over(image: Pillow.Image, colour: str) -> Pillow.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, colour), image)
    return image.convert("RGB")


def _narrow(wide: npt.NDArray[np.integer]) -> Image:
    if wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"grey values {wide.min()}..{wide.max()} beyond 16 bits")
    return np.rint(wide / _WIDE_TO_BYTE).astype(np.uint8)


def _reason(path: Path, error: BaseException) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "an empty file"
    if isinstance(error, UnidentifiedImageError):
        return "a file of no known image format"
    return " ".join(str(error).split()) or type(error).__name__
