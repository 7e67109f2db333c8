"""Counterfactual edits on a synthetic lesion with planted hair, ruler, cast and noise."""

import cv2
import numpy as np
import pytest

from medaudit.core.errors import UnknownNameError
from medaudit.pixels.interventions import COUNTERFACTUALS, edited, usable

SIZE = 112
SKIN, LESION, HAIR = (205, 160, 140), (110, 70, 55), (30, 20, 20)


def disc(centre=(56, 56), radius=22, size=SIZE):
    rows, columns = np.mgrid[:size, :size]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


@pytest.fixture
def mask():
    return disc()


@pytest.fixture
def image(mask):
    """A smooth lesion on skin that gets darker to the right."""
    picture = np.where(mask[..., None], LESION, SKIN).astype(np.float64)
    picture *= np.linspace(1.02, 0.9, SIZE)[None, :, None]
    return cv2.GaussianBlur(picture, (0, 0), 1.5).round().astype(np.uint8)


def gap(first, second, where=...):
    return float(np.abs(first.astype(float) - second)[where].mean())


class TestEveryEdit:
    @pytest.mark.parametrize("name", sorted(COUNTERFACTUALS))
    def test_keeps_shape_and_dtype_is_repeatable_and_leaves_its_input(self, name, image, mask):
        before, held = image.copy(), mask.copy()
        first, second = (edited(image, name, mask=mask) for _ in range(2))
        assert first.shape == image.shape
        assert first.dtype == np.uint8
        assert np.array_equal(first, second)
        assert np.array_equal(image, before)
        assert np.array_equal(mask, held)
        assert not np.shares_memory(first, image)

    @pytest.mark.parametrize("name", sorted(COUNTERFACTUALS))
    @pytest.mark.parametrize("shape", [(96, 140, 3), (32, 32, 3)])
    def test_any_shape(self, name, shape):
        noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        inside = np.zeros(shape[:2], dtype=bool)
        inside[10:20, 8:22] = True
        assert edited(noise, name, mask=inside).shape == shape

    @pytest.mark.parametrize("name", sorted(COUNTERFACTUALS))
    @pytest.mark.parametrize("value", [0, 255])
    def test_a_flat_image_stays_in_range(self, name, value, mask):
        flat = np.full((SIZE, SIZE, 3), value, dtype=np.uint8)
        assert gap(edited(flat, name, mask=mask), flat) == 0

    @pytest.mark.parametrize("name", [n for n, e in COUNTERFACTUALS.items() if e.needs_mask])
    @pytest.mark.parametrize("share", ["none", "all", "absent"])
    def test_a_mask_that_says_nothing_is_refused(self, name, share, image):
        useless = None if share == "absent" else np.full((SIZE, SIZE), share == "all")
        assert not usable(useless)
        with pytest.raises(ValueError, match=f"{name} needs a mask"):
            edited(image, name, mask=useless)

    def test_unknown_name_lists_the_known(self, image):
        with pytest.raises(UnknownNameError, match=r"mean 'hair_removed'\? known: hair_removed"):
            edited(image, "hair_remove")


class TestHair:
    def test_a_planted_hair_is_filled(self, image):
        hairy = image.copy()
        cv2.line(hairy, (5, 20), (105, 95), HAIR, 1, cv2.LINE_AA)
        strand = (hairy != image).any(axis=-1)
        assert gap(hairy, image, strand) > 50
        assert gap(edited(hairy, "hair_removed"), image, strand) < 8

    def test_what_is_no_hair_stays(self, image):
        dotted = image.copy()
        cv2.circle(dotted, (30, 30), 2, HAIR, -1)
        assert gap(edited(dotted, "hair_removed"), dotted) == 0


class TestBorder:
    def test_a_ruler_at_the_edge_is_gone_and_the_middle_untouched(self, image):
        ruled = image.copy()
        for column in range(4, SIZE, 5):
            ruled[2:9, column] = HAIR
        clean = edited(ruled, "border_removed")
        assert gap(clean, edited(image, "border_removed")) == 0
        assert gap(clean[13:-13, 13:-13], image[13:-13, 13:-13]) == 0


class TestMasked:
    def test_background_replaced_leaves_the_lesion_to_the_bit(self, image, mask):
        found = edited(image, "background_replaced", mask=mask)
        assert np.array_equal(found[mask], image[mask])

    def test_background_is_one_colour_far_from_the_lesion(self, image, mask):
        far = ~disc(radius=40)
        found = edited(image, "background_replaced", mask=mask)[far]
        assert (found == found[0]).all()
        assert gap(found[0], np.median(image[far], axis=0)) < 3

    def test_lesion_replaced_takes_the_lesion_and_leaves_far_skin(self, image, mask):
        found = edited(image, "lesion_replaced", mask=mask)
        far = ~disc(radius=40)
        assert np.array_equal(found[far], image[far])
        skin = found[far].mean(axis=0)
        assert np.abs(found[mask] - skin).max() < 15

    def test_zoom_fills_two_thirds_of_the_frame(self, image):
        # A box of 15 pixels with half of it as margin: 15 / 22.5 of the side.
        small = disc(centre=(40, 70), radius=7)
        picture = np.where(small[..., None], LESION, SKIN).astype(np.uint8)
        found = edited(picture, "zoom_to_lesion", mask=small)
        lesion = found[..., 0] < 160
        assert lesion.any(axis=0).mean() == pytest.approx(2 / 3, abs=0.06)
        assert lesion.any(axis=1).mean() == pytest.approx(2 / 3, abs=0.06)

    def test_zoom_stays_within_the_image_and_large_lesions_stay(self, image):
        corner = disc(centre=(3, 108), radius=12)
        assert edited(image, "zoom_to_lesion", mask=corner).shape == image.shape
        assert np.array_equal(edited(image, "zoom_to_lesion", mask=disc(radius=45)), image)


class TestPhotometric:
    def test_shades_of_gray_on_paper(self):
        # One colour (200, 100, 100): e is that colour, m = 400 / 3, gains m / e make it grey.
        flat = np.full((8, 8, 3), (200, 100, 100), dtype=np.uint8)
        assert (edited(flat, "colour_constancy") == 133).all()

    def test_a_cast_is_undone(self, image):
        warm = np.clip(image * np.array([1.1, 1.0, 0.8]), 0, 255).round().astype(np.uint8)
        neutral = edited(image, "colour_constancy")
        assert gap(edited(warm, "colour_constancy"), neutral) < gap(warm, image) / 5

    def test_stretching_undoes_a_loss_of_contrast(self, image):
        pale = (128 + 0.4 * (image.astype(float) - 128)).round().astype(np.uint8)
        stretched = edited(image, "contrast_stretched")
        assert gap(edited(pale, "contrast_stretched"), stretched) < 4


class TestFilters:
    def test_median_takes_away_single_pixels(self, image):
        speckled = image.copy()
        speckled[::7, ::7] = 255
        assert gap(edited(speckled, "median_filtered"), image) < gap(speckled, image) / 5

    def test_sharpening_brings_a_blurred_image_nearer(self, image):
        blurred = cv2.GaussianBlur(image, (0, 0), 1.0)
        assert gap(edited(blurred, "sharpened"), image) < gap(blurred, image)

    def test_mirroring_twice_is_the_image(self, image):
        assert np.array_equal(edited(edited(image, "mirrored"), "mirrored"), image)
