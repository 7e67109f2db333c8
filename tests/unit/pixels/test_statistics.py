import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medaudit.pixels import statistics
from medaudit.pixels.decode import resize
from tools.phantom.photograph import render
from tools.phantom.plan import plan


def test_flat_grey() -> None:
    # 51 / 255 = 0.2; nothing varies
    found = statistics.describe(np.full((40, 30, 3), 51, dtype=np.uint8))
    nothing = dict.fromkeys([*statistics.STATISTICS, *statistics.ARTEFACTS], 0.0)
    assert found == nothing | {"brightness": pytest.approx(0.2)}


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


GREY = np.full((100, 200, 3), 90, dtype=np.uint8)


def disc(*, centre: tuple[int, int], radius: int, hole: int = 0) -> np.ndarray:
    """A mask of 100 x 200 with a disc, and perhaps a hole in its middle."""
    mask = np.zeros((100, 200), dtype=np.uint8)
    cv2.circle(mask, centre, radius, 255, thickness=-1)
    if hole:
        cv2.circle(mask, centre, hole, 0, thickness=-1)
    return mask


@pytest.mark.parametrize("lesion", [255, 1])
def test_lesion_area_is_the_share_of_the_mask(lesion: int) -> None:
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[:5, :6] = lesion  # 30 of 200 pixels
    assert statistics.describe_mask(mask, GREY)["lesion_area"] == pytest.approx(0.15)


def test_a_solid_disc_in_the_middle() -> None:
    found = statistics.describe_mask(disc(centre=(100, 50), radius=30), GREY)
    assert found["lesion_centre"] == pytest.approx(0, abs=0.01)
    assert found["lesion_solidity"] == pytest.approx(1, abs=0.03)  # pixels round the disc
    assert found["touches_border"] == "no"
    assert found["lesion_contrast"] == 0


def test_a_hole_of_half_the_radius_takes_a_quarter_of_the_solidity() -> None:
    found = statistics.describe_mask(disc(centre=(100, 50), radius=40, hole=20), GREY)
    assert found["lesion_solidity"] == pytest.approx(0.75, abs=0.02)
    assert found["lesion_centre"] == pytest.approx(0, abs=0.01)


def test_a_disc_at_the_corner_is_far_from_the_middle_and_touches_the_border() -> None:
    # A quarter of a disc of radius 30: its centroid is 4 * 30 / (3 pi) = 12.7 from either side;
    # hypot(100 - 12.7, 50 - 12.7) / hypot(100, 50) = 0.849.
    found = statistics.describe_mask(disc(centre=(0, 0), radius=30), GREY)
    assert found["touches_border"] == "yes"
    assert found["lesion_centre"] == pytest.approx(0.849, abs=0.01)


@pytest.mark.parametrize(("left", "touches"), [(3, "yes"), (4, "no")])
def test_two_percent_of_the_frame_are_the_border(left: int, touches: str) -> None:
    mask = np.zeros((100, 200), dtype=np.uint8)
    mask[40:60, left:90] = 255  # 2 % of 200 are 4 pixels, numbers 0 to 3
    assert statistics.describe_mask(mask, GREY)["touches_border"] == touches


def test_two_pieces_share_a_hull() -> None:
    mask = np.zeros((100, 200), dtype=np.uint8)
    mask[40:60, 20:40] = mask[40:60, 60:80] = 255  # 800 pixels in a hull of 20 x 60
    assert statistics.describe_mask(mask, GREY)["lesion_solidity"] == pytest.approx(2 / 3, abs=0.01)


def test_lesion_contrast_is_skin_minus_lesion_over_white() -> None:
    mask, image = disc(centre=(100, 50), radius=25), GREY.copy()
    image[mask > 0] = 39  # (90 - 39) / 255 = 0.2
    image[:, :20] = 255  # far from the lesion: no skin around it
    found = statistics.describe_mask(mask, image)["lesion_contrast"]
    assert found == pytest.approx(0.2, abs=0.01)


def test_without_a_mask_all_is_missing_and_an_empty_mask_has_an_area() -> None:
    absent = statistics.describe_mask(None, GREY)
    assert list(absent) == list(statistics.MASK_STATISTICS)
    assert pd.isna(list(absent.values())).all()
    empty = statistics.describe_mask(np.zeros((100, 200), dtype=np.uint8), GREY)
    assert empty.pop("lesion_area") == 0
    assert pd.isna(list(empty.values())).all()


def test_a_mask_that_covers_all_leaves_no_skin() -> None:
    found = statistics.describe_mask(np.full((100, 200), 255, dtype=np.uint8), GREY)
    assert found["lesion_area"] == found["lesion_solidity"] == 1
    assert np.isnan(found["lesion_contrast"])


def test_statistics_of_a_mask_do_not_depend_on_its_resolution() -> None:
    mask = disc(centre=(60, 40), radius=30, hole=12)
    twice = cv2.resize(mask, (400, 200), interpolation=cv2.INTER_NEAREST)
    small, large = (statistics.describe_mask(each, GREY) for each in (mask, twice))
    for name in ("lesion_area", "lesion_centre", "lesion_solidity"):
        assert small[name] == pytest.approx(large[name], abs=0.02)
    assert small["touches_border"] == large["touches_border"] == "no"


def test_size_is_that_of_the_original() -> None:
    found = statistics.describe_size(np.zeros((450, 600, 3), dtype=np.uint8))
    assert found == {
        "image_width": 600,
        "image_height": 450,
        "megapixels": 0.27,
        "image_size": "600x450",
    }


def ticks(luma: np.ndarray, *, spacing: int, turns: int) -> np.ndarray:
    """Dark ticks along the upper side, turned by quarter turns."""
    ruled = luma.copy()
    for along in range(4, ruled.shape[1], spacing):
        ruled[8:24, along : along + 2] = 20
    return np.rot90(ruled, turns).copy()


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("spacing", [8, 11, 16])
def test_ticks_along_any_side_are_a_ruler(turns: int, spacing: int) -> None:
    noise = np.random.default_rng(turns).normal(150, 12, (256, 256)).astype(np.uint8)
    assert statistics.ruler_ticks(noise) < 0.35
    assert statistics.ruler_ticks(ticks(noise, spacing=spacing, turns=turns)) > 0.8


def test_a_line_that_stands_alone_is_no_ruler() -> None:
    luma = np.full((256, 256), 150, dtype=np.uint8)
    luma[:40, 100:103] = 20
    assert statistics.ruler_ticks(luma) < 0.1


def test_hair_is_thin_long_and_dark() -> None:
    luma = np.full((256, 256), 150, dtype=np.uint8)
    cv2.line(hair := luma.copy(), (20, 30), (230, 200), 40, thickness=2)
    drawn = (hair == 40).mean()
    assert drawn <= statistics.hair_share(hair) <= 2 * drawn  # smoothing adds a pixel on each side
    cv2.circle(mole := luma.copy(), (128, 128), 50, 40, thickness=-1)
    assert statistics.hair_share(mole) == 0
    cv2.line(fair := luma.copy(), (20, 30), (230, 200), 250, thickness=2)
    assert statistics.hair_share(fair) == 0


def test_dark_corners_of_a_tube() -> None:
    tube = np.full((256, 256), 0, dtype=np.uint8)
    cv2.circle(tube, (128, 128), 134, 200, thickness=-1)
    assert statistics.dark_corners(tube) == 1
    assert statistics.dark_corners(np.full((256, 256), 200, dtype=np.uint8)) == 0
    assert statistics.dark_corners(np.zeros((256, 256), dtype=np.uint8)) == 0
    half = np.where(tube == 0, 100, tube).astype(np.uint8)
    assert statistics.dark_corners(half) == pytest.approx(0.5)


def test_artefacts_of_rendered_images_are_told_apart() -> None:
    photos = plan(n=240, seed=3)
    shots = [render(photo, seed=3).image for photo in photos]
    found = pd.DataFrame([statistics.describe(shot) for shot in shots])
    assert roc_auc_score([photo.ruler for photo in photos], found["ruler_ticks"]) > 0.85
    assert roc_auc_score([photo.hair for photo in photos], found["hair_share"]) > 0.75
