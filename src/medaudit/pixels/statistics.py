"""Numbers that describe an image and its lesion mask, for slices.

Those of light are taken from the luma of the decoded original after stretching it to
`WORKING_SIZE` square, those of artefacts at `DETAIL_SIZE`. Without a common size the resolution of
a camera would pass for sharpness, or for hair.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.pixels.decode import resize
from medaudit.pixels.packed import lesion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.pixels import Image

WORKING_SIZE = 160
DETAIL_SIZE = 256
Fact = float | str | None

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


_REACH = 0.2  # of the side: how far from the frame a scale bar stands
_BAND = 0.04  # of the side: about the length of a short tick
_SPACING = (0.025, 0.075)  # of the side: distances between ticks that count
_HIGH_PASS = 0.09  # of the side: light that changes more slowly is no tick


def ruler_ticks(luma: Luma) -> float:
    """How regularly marks repeat along a side of the frame, about 0 to 1; 1 is a perfect ruler.

    Bands along each of the four sides are averaged across, freed of slow changes and correlated
    with themselves. A scale bar correlates at the distance of its ticks and at twice that
    distance; the smaller of the two correlations counts, the largest over distances, bands and
    sides. Skin seldom repeats itself twice.
    """
    return max(_repetition(np.rot90(luma, turns)) for turns in range(4))


def _repetition(luma: Luma) -> float:
    """`ruler_ticks` of the upper side alone."""
    size = luma.shape[1]
    profiles = _profiles(luma[: round(_REACH * size)].astype(np.float32))
    correlation = _autocorrelation(profiles)
    lags = np.arange(round(_SPACING[0] * size), round(_SPACING[1] * size) + 1)
    twice = np.minimum(correlation[:, lags], correlation[:, 2 * lags])
    return float(max(0.0, twice.max()))


def _profiles(strip: npt.NDArray[np.float32]) -> Float64Array:
    """Means across overlapping bands of a strip, without slow changes, (bands, length)."""
    size = strip.shape[1]
    fast = strip - cv2.blur(strip, (round(_HIGH_PASS * size) | 1, 1))
    depth = round(_BAND * size)
    starts = range(0, len(fast) - depth + 1, depth // 2)
    found = np.stack([fast[start : start + depth].mean(axis=0) for start in starts])
    return np.asarray(found - found.mean(axis=1, keepdims=True), dtype=np.float64)


def _autocorrelation(profiles: Float64Array) -> Float64Array:
    """Of each row at every lag; a grey level squared of noise keeps flat rows at 0."""
    length = profiles.shape[1]
    power = np.abs(np.fft.rfft(profiles, 2 * length, axis=1)) ** 2
    sums = np.fft.irfft(power, axis=1)[:, :length]
    overlap = length - np.arange(length)
    return np.asarray(sums / overlap / (sums[:, :1] / length + 1.0))


_LINE = 9  # pixels at `DETAIL_SIZE`: dark things that are thinner than this in a direction count
_DARKER = 12  # grey levels below what surrounds it
_LONG = 0.1  # of the side
_THIN = 0.15  # area of a hair over the square of its length, at most


def hair_share(luma: Luma) -> float:
    """Share of the pixels in dark, thin and long structures such as hair, in [0, 1].

    A black-hat transform with lines in four directions, cut at `_DARKER` grey levels; pieces that
    are long and thin are kept. Fair hair goes unnoticed.

    Reference: the closing of DullRazor, Lee et al. 1997, Comput. Biol. Med. 27:533-543.
    """
    smooth = cv2.GaussianBlur(luma, (3, 3), 0)
    darker = [cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, line) for line in _lines()]
    found = (np.max(darker, axis=0) > _DARKER).astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    width, height, area = (pieces[1:, column] for column in (2, 3, 4))  # the first is background
    length = np.hypot(width, height)
    kept = (length > _LONG * len(luma)) & (area < _THIN * length**2)
    return float(area[kept].sum() / luma.size)


def _lines() -> list[Luma]:
    """Structuring elements: horizontal, vertical and the two diagonals."""
    diagonal = np.eye(_LINE, dtype=np.uint8)
    flat = np.ones((1, _LINE), dtype=np.uint8)
    return [flat, flat.T.copy(), diagonal, diagonal[::-1].copy()]


def dark_corners(luma: Luma) -> float:
    """How much darker the corners are than the middle: 1 − mean of corners / median, in [0, 1].

    Corners lie farther from the middle than 1.2 half sides, the middle nearer than 0.8; 0 where
    corners are no darker, 1 where they are black.
    """
    radius = _radius(len(luma))
    corners, typical = luma[radius > 1.2].mean(), np.median(luma[radius < 0.8])
    return max(0.0, 1 - float(corners / typical)) if typical > 0 else 0.0


@functools.cache
def _radius(size: int) -> Float64Array:
    """Distance of every pixel from the middle in half sides, (size, size)."""
    y, x = 2 * (np.indices((size, size)) + 0.5) / size - 1
    return np.asarray(np.hypot(x, y))


STATISTICS: Mapping[str, Callable[[Luma], float]] = {
    "brightness": brightness,
    "contrast": contrast,
    "sharpness": sharpness,
}
"""Of light; a new image outside of what training saw in these is deferred."""

ARTEFACTS: Mapping[str, Callable[[Luma], float]] = {
    "ruler_ticks": ruler_ticks,
    "hair_share": hair_share,
    "dark_corners": dark_corners,
}
"""Of what stands between camera and skin."""


def describe(image: Image) -> dict[str, float]:
    """Every statistic of `STATISTICS` and `ARTEFACTS` for a decoded RGB image of any size."""
    luma, detail = luma_of(image, WORKING_SIZE), luma_of(image, DETAIL_SIZE)
    light = {name: statistic(luma) for name, statistic in STATISTICS.items()}
    return light | {name: statistic(detail) for name, statistic in ARTEFACTS.items()}


def luma_of(image: Image, size: int) -> Luma:
    """Luma (size, size) of an RGB image."""
    found: Luma = cv2.cvtColor(resize(image, size), cv2.COLOR_RGB2GRAY)
    return found


def describe_size(image: Image) -> dict[str, Fact]:
    """Size of the original: width and height in pixels, megapixels, and `image_size` in words."""
    height, width = image.shape[:2]
    return {
        "image_width": width,
        "image_height": height,
        "megapixels": width * height / 1e6,
        "image_size": f"{width}x{height}",
    }


BORDER = 0.02  # of the side: a lesion that comes nearer to the frame may go on outside of it
_RING = 0.1  # of the side: how wide the skin around a lesion is

MASK_STATISTICS = (
    "lesion_area",
    "lesion_centre",
    "lesion_solidity",
    "lesion_contrast",
    "touches_border",
)


def describe_mask(mask: Image | None, image: Image) -> dict[str, Fact]:
    """Every statistic of `MASK_STATISTICS`: missing without a mask; of an empty one only its area.

    Args:
        mask: values of a mask file (h, w); see `packed.lesion`.
        image: RGB, of the same aspect ratio, any size.
    """
    if mask is None:
        return dict.fromkeys(MASK_STATISTICS, math.nan) | {"touches_border": None}
    inside = lesion(mask)
    if not inside.any():
        return describe_mask(None, image) | {"lesion_area": 0.0}
    return {
        "lesion_area": float(inside.mean()),
        "lesion_centre": lesion_centre(inside),
        "lesion_solidity": lesion_solidity(inside),
        "lesion_contrast": lesion_contrast(inside, image),
        "touches_border": "yes" if touches_border(inside) else "no",
    }


def lesion_centre(inside: BoolArray) -> float:
    """Distance of the centroid from the middle of the frame over half of the diagonal, in [0, 1].

    Args:
        inside: which pixels are lesion, (h, w); at least one.
    """
    height, width = inside.shape
    y, x = (places.mean() + 0.5 for places in np.nonzero(inside))
    return math.hypot(x - width / 2, y - height / 2) / math.hypot(width / 2, height / 2)


def lesion_solidity(inside: BoolArray) -> float:
    """Area over the area of the convex hull, in (0, 1]: 1 is solid, less is hollow or ragged.

    Several pieces share one hull.
    """
    flags = inside.astype(np.uint8)
    outlines, _ = cv2.findContours(flags, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.fillConvexPoly(hull := np.zeros_like(flags), cv2.convexHull(np.vstack(outlines)), 1)
    return float(inside.sum() / (hull | flags).sum())


def touches_border(inside: BoolArray) -> bool:
    """Whether any of the lesion lies within `BORDER` of the frame."""
    near = [max(1, math.ceil(BORDER * side)) for side in inside.shape]
    core = inside[near[0] : -near[0], near[1] : -near[1]]
    return bool(core.sum() < inside.sum())


def lesion_contrast(inside: BoolArray, image: Image) -> float:
    """Mean luma of the skin around the lesion minus that of the lesion, over 255, in [-1, 1].

    The skin around it is a ring of `_RING` of the side, at `WORKING_SIZE`. Negative for a lesion
    that is lighter than its skin; NaN where the lesion leaves no skin, or is smaller than a pixel.
    """
    luma = luma_of(image, WORKING_SIZE).astype(np.float64)
    shape = (WORKING_SIZE, WORKING_SIZE)
    small = cv2.resize(inside.astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
    side = 2 * round(_RING * WORKING_SIZE) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    ring = (cv2.dilate(small, disc) > 0) & (small == 0)
    if not ring.any() or not small.any():
        return math.nan
    return float((luma[ring].mean() - luma[small > 0].mean()) / 255)
