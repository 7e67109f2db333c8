import numpy as np
import pytest

from medaudit.pixels import statistics
from medaudit.pixels.decode import resize


def test_flat_grey() -> None:
    # 51 / 255 = 0.2; nothing varies
    found = statistics.describe(np.full((40, 30, 3), 51, dtype=np.uint8))
    assert found == {"brightness": pytest.approx(0.2), "contrast": 0.0, "sharpness": 0.0}


def test_half_black_half_white() -> None:
    # mean 0.5 and standard deviation 0.5; the Laplacian is +-255 in the two columns at the edge
    # of 160 and 0 elsewhere: its variance is 255^2 * 2 / 160 = 812.8
    image = np.zeros((160, 160, 3), dtype=np.uint8)
    image[:, 80:] = 255
    found = statistics.describe(image)
    assert found["brightness"] == pytest.approx(0.5)
    assert found["contrast"] == pytest.approx(0.5)
    assert found["sharpness"] == pytest.approx(255**2 * 2 / 160)


def test_resolution_does_not_pass_for_sharpness() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    large, larger = resize(coarse, 320), resize(coarse, 640)
    a, b = (statistics.describe(image)["sharpness"] for image in (large, larger))
    assert a == pytest.approx(b, rel=0.05)


def test_lesion_area_is_the_share_of_the_mask() -> None:
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[:5, :6] = 255  # 30 of 200 pixels
    assert statistics.mask_area(mask) == pytest.approx(0.15)


def test_lesion_area_of_a_mask_of_zeros_and_ones() -> None:
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[:5, :6] = 1  # 30 of 200 pixels
    assert statistics.mask_area(mask) == pytest.approx(0.15)
