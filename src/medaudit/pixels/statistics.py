"""Numbers that describe an image, for slices.

All are taken from the luma of the decoded original after stretching it to `WORKING_SIZE`
square. Without a common size the resolution of a camera would pass for sharpness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.pixels.decode import resize
from medaudit.pixels.packed import lesion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medaudit.pixels import Image

WORKING_SIZE = 160

Luma = npt.NDArray[np.uint8]


def brightness(luma: Luma) -> float:
    """Mean luma as a share of white, in [0, 1]."""
    return float(luma.mean() / 255)


def contrast(luma: Luma) -> float:
    """Standard deviation of the luma as a share of white, in [0, 0.5]."""
    return float(luma.std() / 255)


def sharpness(luma: Luma) -> float:
    """Variance of the Laplacian of the luma, in squared grey levels; 0 for a flat image.

    Reference: Pech-Pacheco et al., ICPR 2000.
    """
    return float(cv2.Laplacian(luma, cv2.CV_64F).var())


STATISTICS: Mapping[str, Callable[[Luma], float]] = {
    "brightness": brightness,
    "contrast": contrast,
    "sharpness": sharpness,
}


def describe(image: Image) -> dict[str, float]:
    """Every statistic of `STATISTICS` for a decoded RGB image of any size."""
    luma: Luma = cv2.cvtColor(resize(image, WORKING_SIZE), cv2.COLOR_RGB2GRAY)
    return {name: statistic(luma) for name, statistic in STATISTICS.items()}


def mask_area(mask: Image) -> float:
    """Share of the pixels of a mask (h, w) that are lesion (see `masks.lesion`), in [0, 1]."""
    return float(lesion(mask).mean())
