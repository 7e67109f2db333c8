"""What is kept of one original and its mask."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from medaudit.core.errors import DataError
from medaudit.pixels.ingest import Source, examine


def source(folder: Path, mask: np.ndarray) -> Source:
    """An image of 40 x 30 and this mask."""
    grey = np.full((30, 40, 3), 90, dtype=np.uint8)
    for name, pixels in (("image.png", grey), ("mask.png", mask)):
        cv2.imwrite(str(folder / name), pixels)
    return Source("a", folder / "image.png", folder / "mask.png")


def test_a_transparent_mask_is_not_all_lesion(tmp_path: Path) -> None:
    mask = np.zeros((30, 40, 4), dtype=np.uint8)
    mask[:15] = 255  # the upper half is opaque and white
    picture = examine(source(tmp_path, mask), size=16)
    assert picture.facts["lesion_area"] == 0.5


def test_a_mask_of_zeros_and_ones(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[:15] = 1
    picture = examine(source(tmp_path, mask), size=16)
    assert picture.facts["lesion_area"] == 0.5
    assert np.unpackbits(picture.mask).sum() == 16 * 8


def test_a_mask_of_another_aspect_ratio_is_named(tmp_path: Path) -> None:
    # 40 / 30 = 1.333; 20 / 15 is the same and 200 / 148 = 1.351 differs by 1.35 %
    for shape in ((15, 20), (148, 200)):
        examine(source(tmp_path, np.zeros(shape, dtype=np.uint8)), size=16)
    message = r"mask\.png: expected .* of .*image\.png \(40 x 30\), got 30 x 30; put the mask"
    with pytest.raises(DataError, match=message):
        examine(source(tmp_path, np.zeros((30, 30), dtype=np.uint8)), size=16)
