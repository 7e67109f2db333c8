"""Counterfactual images: what the picture would look like without a suspected cause.

A diagnosis of a wrong prediction is a claim about cause and effect, and an edit of the image is
its test: take the suspected cause away and see whether the prediction turns to the truth. Every
edit is deterministic, keeps shape and dtype, and acts on the square image that the model receives.
Widths are given in pixels of a 224 pixel input and scale with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from medaudit.core.arrays import BoolArray, Float32Array
from medaudit.core.errors import lookup
from medaudit.pixels import LUMA, REFERENCE_SIZE, Image, to_uint8

Apply = Callable[[Image, BoolArray], Image]

FRAME = 0.12  # rulers, ink and dark corners lie in this outer share of either side
MINKOWSKI = 6  # Finlayson & Trezzi 2004
LEAST_HAIR = 1 / 6  # of the image side; shorter dark strokes may be pigment
LUMA_RANGE = (40, 230)  # of a well exposed dermoscopy; 0 to 255 would saturate most colours


@dataclass(frozen=True)
class Counterfactual:
    """One way to take a suspected cause out of an image.

    Args:
        apply: `apply(image, mask)` returns a new image of the same shape.
        cause: name of the cause that is supported when the prediction turns to the truth
            (`undo`), or when it stays although the evidence is gone (`remove`).
        tests: the question that the edit asks, in one line.
        kind: `undo` takes a nuisance away, `remove` takes the lesion itself away.
        needs_mask: whether the edit must know where the lesion is.
    """

    apply: Apply
    cause: str
    tests: str
    kind: Literal["undo", "remove"] = "undo"
    needs_mask: bool = False


def hair_removed(image: Image, _: BoolArray) -> Image:
    """Fill dark thin long strokes from their surroundings (after DullRazor, Lee et al. 1997)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    width = _odd(9, image)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    thin = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)
    strokes = _long_parts((thin > 12).astype(np.uint8), least=LEAST_HAIR * min(grey.shape))
    strokes = cv2.dilate(strokes, np.ones((3, 3), np.uint8))
    filled: Image = cv2.inpaint(image, strokes, 3, cv2.INPAINT_TELEA)
    return filled


def border_removed(image: Image, _: BoolArray) -> Image:
    """Replace the outer frame by the mirror image of what lies inside it; the scale is kept."""
    rows, columns = (round(FRAME * side) for side in image.shape[:2])
    inner = image[rows : len(image) - rows, columns : image.shape[1] - columns]
    sides = (rows, rows, columns, columns)
    mirrored: Image = cv2.copyMakeBorder(inner, *sides, borderType=cv2.BORDER_REFLECT_101)
    return mirrored


def background_replaced(image: Image, mask: BoolArray) -> Image:
    """Plain skin of the image's own median colour around the lesion, whose pixels stay."""
    return _blend(image, plain_skin(image, mask), keep=soft_mask(mask))


def lesion_replaced(image: Image, mask: BoolArray) -> Image:
    """Plain skin of the image's own median colour instead of the lesion."""
    return _blend(image, plain_skin(image, mask), keep=1 - soft_mask(mask))


def colour_constancy(image: Image, _: BoolArray) -> Image:
    """Shades of Gray: gains m / e with e_c = mean(I_c^6)^(1/6) and m the mean of e."""
    illuminant = (image.astype(np.float64) ** MINKOWSKI).mean(axis=(0, 1)) ** (1 / MINKOWSKI)
    if illuminant.min() <= 0:
        return image.copy()
    return to_uint8(image * (illuminant.mean() / illuminant))


def contrast_stretched(image: Image, _: BoolArray) -> Image:
    """Stretch or shrink so that the 1st and 99th percentile of luma lie at `LUMA_RANGE`."""
    low, high = np.percentile(image @ np.array(LUMA, dtype=np.float32), (1, 99))
    if high - low < 1:
        return image.copy()
    first, last = LUMA_RANGE
    return to_uint8(first + (image - low) * ((last - first) / (high - low)))


def zoom_to_lesion(image: Image, mask: BoolArray) -> Image:
    """The lesion's box with a quarter of its size as margin on each side, enlarged to the frame."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    boxes = [(part[0], part[-1] + 1) for part in (rows, columns)]
    pairs = list(zip(boxes, mask.shape, strict=True))
    share = min(1.0, 1.5 * max((stop - start) / side for (start, stop), side in pairs))
    top, left = (_window(box, side, round(share * side)) for box, side in pairs)
    crop = image[top[0] : top[1], left[0] : left[1]]
    zoomed: Image = cv2.resize(crop, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return zoomed


def median_filtered(image: Image, _: BoolArray) -> Image:
    """Median of 3 x 3 pixels, which takes away single-pixel noise and keeps edges."""
    filtered: Image = cv2.medianBlur(image, 3)
    return filtered


def sharpened(image: Image, _: BoolArray) -> Image:
    """Unsharp mask: add the difference to a Gaussian blur of 1.5 pixels."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5 * min(image.shape[:2]) / REFERENCE_SIZE)
    return to_uint8(2 * image.astype(np.float32) - smooth)


def mirrored(image: Image, _: BoolArray) -> Image:
    """Left and right exchanged, which means nothing in dermoscopy."""
    return np.ascontiguousarray(image[:, ::-1])


COUNTERFACTUALS: Mapping[str, Counterfactual] = {
    "hair_removed": Counterfactual(
        hair_removed, "hair", "Does it turn when dark hair is filled from its surroundings?"
    ),
    "border_removed": Counterfactual(
        border_removed, "frame_artefact", "Does it turn without ruler, ink and dark corners?"
    ),
    "background_replaced": Counterfactual(
        background_replaced,
        "background",
        "Does it turn when plain skin surrounds the lesion?",
        needs_mask=True,
    ),
    "lesion_replaced": Counterfactual(
        lesion_replaced,
        "context_shortcut",
        "Does it stay although the lesion is gone?",
        kind="remove",
        needs_mask=True,
    ),
    "colour_constancy": Counterfactual(
        colour_constancy, "colour_cast", "Does it turn under neutral light (Shades of Gray, p = 6)?"
    ),
    "contrast_stretched": Counterfactual(
        contrast_stretched, "contrast", "Does it turn when luma fills a common range?"
    ),
    "zoom_to_lesion": Counterfactual(
        zoom_to_lesion,
        "small_lesion",
        "Does it turn when the lesion fills the frame?",
        needs_mask=True,
    ),
    "median_filtered": Counterfactual(
        median_filtered, "noise", "Does it turn when single-pixel noise is filtered out?"
    ),
    "sharpened": Counterfactual(sharpened, "blur", "Does it turn when edges are sharpened?"),
    "mirrored": Counterfactual(
        mirrored, "instability", "Does it turn under a change that means nothing?"
    ),
}


QUESTIONS: Mapping[str, str] = {name: each.tests for name, each in COUNTERFACTUALS.items()}


def edited(image: Image, name: str, *, mask: BoolArray | None = None) -> Image:
    """The image after the counterfactual of this name.

    Args:
        image: uint8 RGB, shape (h, w, 3).
        name: a key of `COUNTERFACTUALS`.
        mask: bool (h, w), true on the lesion; only edits that need it look at it.
    """
    counterfactual = lookup("counterfactual", name, COUNTERFACTUALS)
    if counterfactual.needs_mask and not usable(mask):
        raise ValueError(f"{name} needs a mask that holds some but not all pixels")
    empty = np.zeros(image.shape[:2], dtype=bool)
    return counterfactual.apply(image, empty if mask is None else mask)


def usable(mask: BoolArray | None) -> bool:
    """Whether a mask shows a lesion and leaves skin around it."""
    return mask is not None and bool(mask.any()) and not bool(_near(mask).all())


def _long_parts(flags: Image, *, least: float) -> Image:
    """Connected parts that are long and thin: length over `least` and over 3 times the width."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flags, connectivity=8)
    length = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    wanted = (length >= least) & (stats[:, cv2.CC_STAT_AREA] <= length**2 / 3)
    wanted[0] = False  # the background
    return np.asarray(wanted[labels], dtype=np.uint8)


def _near(mask: BoolArray) -> BoolArray:
    width = _odd(7, mask)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def soft_mask(mask: BoolArray) -> Float32Array:
    """1 on the lesion, falling to 0 within a few pixels outside it, (h, w)."""
    near = _near(mask).astype(np.float32)
    faded = cv2.GaussianBlur(near, (0, 0), 2 * min(mask.shape) / REFERENCE_SIZE)
    return np.where(mask, np.float32(1), faded)


def plain_skin(image: Image, mask: BoolArray) -> Float32Array:
    """Median colour of what lies around the lesion, (3,)."""
    return np.asarray(np.median(image[~_near(mask)], axis=0), dtype=np.float32)


def _blend(image: Image, colour: Float32Array, *, keep: Float32Array) -> Image:
    share = keep[..., None]
    return to_uint8(share * image + (1 - share) * colour)


def _window(box: tuple[int, int], side: int, length: int) -> tuple[int, int]:
    """`length` pixels around the middle of `box`, moved to lie within the image."""
    start = min(max(0, (box[0] + box[1] - length) // 2), side - length)
    return start, start + length


def _odd(pixels: float, image: Image | BoolArray) -> int:
    scaled = round(pixels * min(image.shape[:2]) / REFERENCE_SIZE)
    return int(max(3, scaled + 1 - scaled % 2))
