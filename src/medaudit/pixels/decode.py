"""From any common image file to uint8 RGB."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from medaudit.core.errors import DataError
from medaudit.core.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medaudit.pixels import Image

# What a file says of itself, not its name, decides who reads it. Pillow would hand PostScript that
# is called x.jpg to Ghostscript, which runs programs.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
MOST_BYTES = 256 << 20  # of an image file
MOST_PIXELS = 50_000_000  # of an image; decoding takes up to 20 bytes for each
LONGEST_SIDE = 32_767  # pixels; OpenCV counts no further
MOST_SCANS = 500  # of a JPEG; cameras write about 10, and every scan visits all the pixels
_SCAN = b"\xff\xda"

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
_BYTE = 255
_WIDE_TO_BYTE = 257  # 65535 / 255


def decode(path: Path) -> Image:
    """Read the whole image as uint8 RGB, shape (h, w, 3).

    Grey, palette, CMYK and other modes are converted; transparency is laid over white, as
    viewers show it; 16-bit grey is divided by 257, so that the full range stays and nothing is
    clipped; the EXIF orientation is applied; of several frames the first is read.

    Raises:
        DataError: the file is absent, empty, truncated, not an image of `FORMATS`, or larger than
            `MOST_BYTES`, `MOST_PIXELS` or `LONGEST_SIDE`; the path is named.
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
    try:
        content = read_bytes(path, most=MOST_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    try:
        with Pillow.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image, content)
            image.load()
            return np.array(convert(ImageOps.exif_transpose(image)))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything at bytes that are damaged
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
            raise
        raise DataError(
            f"{path}: expected a whole image file, got {_reason(content, error)}"
        ) from None


def _check_size(image: Pillow.Image, content: bytes) -> None:
    """Refuse what would take too much memory or time, before anything is decoded."""
    width, height = image.size
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        raise ValueError(f"{width} x {height} pixels; sides may have 1 to {LONGEST_SIDE}")
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels, more than {MOST_PIXELS // 10**6} million; scale it down"
        )
    if image.format in ("JPEG", "MPO") and content.count(_SCAN) > MOST_SCANS:
        raise ValueError(f"a JPEG of more than {MOST_SCANS} scans; save it anew")


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


def _reason(content: bytes, error: BaseException) -> str:
    if not content:
        return "an empty file"
    if isinstance(error, UnidentifiedImageError):
        return f"a file of no known image format ({', '.join(FORMATS)})"
    return " ".join(str(error).split()) or type(error).__name__
