"""Each transplant gives the property that it names, and leaves the others nearly as they were."""

import cv2
import numpy as np
import pytest

from medaudit.core.errors import UnknownNameError
from medaudit.pixels.transplants import (
    TRANSPLANTS,
    Pictured,
    laplacian_variance,
    luma,
    possible,
    transplanted,
)

SIZE = 112
NAMES = sorted(TRANSPLANTS)


def disc(radius, centre=(SIZE // 2, SIZE // 2)):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def picture(*, radius=24, skin=(190, 160, 140), lesion=(120, 85, 70), seed=0, centre=(56, 56)):
    """A lesion with fine texture on skin."""
    mask = disc(radius, centre)
    base = np.where(mask[..., None], lesion, skin).astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, 6, (SIZE, SIZE, 1))
    return Pictured(np.clip(base + noise, 0, 255).astype(np.uint8), mask)


RECEIVER = picture()


def share_of_lesion(image):
    """Pixels that are darker than the middle between lesion and skin."""
    return float((luma(image) < 130).mean())


@pytest.mark.parametrize("name", NAMES)
def test_shape_dtype_determinism_and_untouched_inputs(name):
    donor = picture(radius=12, skin=(150, 150, 150), seed=1)
    copies = [each.image.copy() for each in (donor, RECEIVER)]
    first, second = (transplanted(name, donor, RECEIVER) for _ in range(2))
    assert first.shape == RECEIVER.image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert all(map(np.array_equal, copies, (donor.image, RECEIVER.image)))
    assert not np.shares_memory(first, RECEIVER.image)


@pytest.mark.parametrize("name", NAMES)
def test_its_own_property_changes_little(name):
    found = transplanted(name, RECEIVER, RECEIVER).astype(float)
    assert np.abs(found - RECEIVER.image).mean() < 1.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_donor_is_no_accident(name, value):
    flat = Pictured(np.full((SIZE, SIZE, 3), value, dtype=np.uint8), disc(10))
    assert transplanted(name, flat, RECEIVER).dtype == np.uint8
    assert transplanted(name, RECEIVER, flat).dtype == np.uint8


def test_contrast():
    donor = picture(skin=(150, 140, 135), lesion=(130, 120, 115))
    found = transplanted("contrast", donor, RECEIVER)
    assert luma(found).std() == pytest.approx(luma(donor.image).std(), rel=0.05)
    assert luma(found).mean() == pytest.approx(luma(RECEIVER.image).mean(), abs=1)


def test_brightness():
    donor = picture(skin=(120, 100, 90), lesion=(70, 50, 40))
    found = transplanted("brightness", donor, RECEIVER)
    assert luma(found).mean() == pytest.approx(luma(donor.image).mean(), abs=1)


def test_colour():
    donor = picture(skin=(160, 160, 190))
    found = transplanted("colour", donor, RECEIVER).mean(axis=(0, 1))
    wanted = donor.image.mean(axis=(0, 1))
    assert found / found.mean() == pytest.approx(wanted / wanted.mean(), abs=0.02)


def test_sharpness_is_taken_and_never_added():
    dull = Pictured(cv2.GaussianBlur(RECEIVER.image, (0, 0), 2), RECEIVER.mask)
    found = transplanted("sharpness", dull, RECEIVER)
    assert laplacian_variance(found) == pytest.approx(laplacian_variance(dull.image), rel=0.1)
    assert np.array_equal(transplanted("sharpness", RECEIVER, dull), dull.image)


@pytest.mark.parametrize("radius", [8, 14, 34])
@pytest.mark.parametrize("centre", [(56, 56), (40, 70)])
def test_lesion_size(radius, centre):
    donor, receiver = picture(radius=radius), picture(centre=centre)
    found = share_of_lesion(transplanted("lesion_size", donor, receiver))
    assert found == pytest.approx(donor.mask.mean(), rel=0.25)


def test_frame_keeps_what_lies_inside():
    donor = picture(skin=(60, 60, 60))
    found = transplanted("frame", donor, RECEIVER)
    assert np.array_equal(found[14:-14, 14:-14], RECEIVER.image[14:-14, 14:-14])
    assert np.array_equal(found[:10], donor.image[:10])


@pytest.mark.parametrize("mask", [None, np.zeros((SIZE, SIZE), bool), np.ones((SIZE, SIZE), bool)])
def test_size_needs_masks_of_both(mask):
    bare = Pictured(RECEIVER.image, mask)
    for donor, receiver in ((bare, RECEIVER), (RECEIVER, bare)):
        assert not possible("lesion_size", donor, receiver)
        assert possible("contrast", donor, receiver)
        with pytest.raises(ValueError, match="lesion_size needs masks"):
            transplanted("lesion_size", donor, receiver)


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match="contrast"):
        transplanted("contrasts", RECEIVER, RECEIVER)
