"""Pictures of maps over images, and how much of a map lies on a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from medaudit.files import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medaudit.pixels import Image
    from medaudit.pixels.counterfactuals import Mask

Floats = npt.NDArray[np.float32]

OPACITY = 0.45


def energy(cam: Floats | None, mask: Mask | None) -> float:
    """Sum of a map on the mask over its whole sum, in [0, 1]; NaN without either or for zeros.

    A map that looks nowhere in particular gives the mask's share of the image.
    """
    if cam is None or mask is None or not cam.any():
        return float("nan")
    return float(cam[mask].sum()) / float(cam.sum())


def overlay(image: Image, cam: Floats) -> Image:
    """An image with a map in [0, 1] laid over it, more opaque where the map is high."""
    colours = cv2.applyColorMap(np.rint(cam * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    shade = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    share = OPACITY * (0.4 + 0.6 * cam[..., np.newaxis])
    return np.asarray(np.rint((1 - share) * image + share * shade), dtype=np.uint8)


def write_all(pictures: Mapping[str, Image], stem: Path) -> dict[str, str]:
    """Write `<stem>_<what>.png` for every picture; file names by what they show."""
    names = {what: f"{stem.name}_{what}.png" for what in pictures}
    for what, name in names.items():
        with atomic(stem.with_name(name)) as part:
            Pillow.fromarray(pictures[what]).save(part, format="PNG")
    return names
