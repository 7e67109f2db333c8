"""Images as arrays: decoding, packing, statistics, near copies, corruptions, interventions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


REFERENCE_SIZE = 224  # widths are given in pixels of an input of this size
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 weights of red, green and blue


def to_uint8(values: npt.NDArray[np.floating]) -> Image:
    """Rounded to the nearest grey level and clipped to 0..255, where truncation would darken."""
    clipped: Image = np.rint(values).clip(0, 255).astype(np.uint8)
    return clipped
