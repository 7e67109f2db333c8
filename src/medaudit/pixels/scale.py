"""What corruptions and counterfactual edits share: widths, luma, and rounding to grey levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from medaudit.pixels import Image

REFERENCE_SIZE = 224  # widths are given in pixels of an input of this size
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 weights of red, green and blue


def to_uint8(values: npt.NDArray[np.floating]) -> Image:
    """Rounded to the nearest grey level and clipped to 0..255, where truncation would darken."""
    clipped: Image = np.rint(values).clip(0, 255).astype(np.uint8)
    return clipped
