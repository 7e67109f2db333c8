"""Properties of one image given to another: is the property enough to make a right call wrong?

Undoing a suspected cause rarely brings back what the picture lost: a lesion of ten pixels stays
without structure however far it is enlarged. The other direction is a stronger test. Images that
the model calls rightly are given the property of the failed image, and as a comparison that of
another right image of their class, so that what any such edit does is known. All transplants are
deterministic, keep shape and dtype, and act on the square image that the model receives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from medaudit.core.errors import lookup
from medaudit.pixels import LUMA, Image, to_uint8
from medaudit.pixels.interventions import FRAME, plain_skin, soft_mask, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medaudit.core.arrays import BoolArray, Float32Array

LEAST_SPREAD = 1.0  # grey levels; a flatter image has no contrast to scale
WIDEST_BLUR = 8.0  # pixels of the input
BISECTIONS = 12


class Pictured(NamedTuple):
    """An image uint8 (h, w, 3) with the mask of its lesion, bool (h, w), where there is one."""

    image: Image
    mask: BoolArray | None


@dataclass(frozen=True)
class Transplant:
    """One property that an image can be given.

    Args:
        apply: `apply(donor, receiver)` returns the receiver's image with the donor's property.
        cause: name of the failure factor that it speaks for.
        words: the property, to stand after "this image's".
        needs_mask: whether both need a mask.
    """

    apply: Callable[[Pictured, Pictured], Image]
    cause: str
    words: str
    needs_mask: bool = False


def contrast(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's standard deviation of the luma, around the receiver's mean."""
    wanted, found = luma(donor.image).std(), luma(receiver.image)
    if found.std() < LEAST_SPREAD:
        return receiver.image.copy()
    middle = float(found.mean())
    return to_uint8(middle + (receiver.image - middle) * (wanted / found.std()))


def brightness(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's mean luma, by a shift."""
    shift = luma(donor.image).mean() - luma(receiver.image).mean()
    return to_uint8(receiver.image + np.float32(shift))


def colour(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's ratios between the channel means, by gains; brightness stays nearly as it is."""
    wanted, found = (each.image.mean(axis=(0, 1)) for each in (donor, receiver))
    if min(found.min(), wanted.mean()) <= 0:
        return receiver.image.copy()
    return to_uint8(receiver.image * (wanted / wanted.mean()) / (found / found.mean()))


def sharpness(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's variance of the Laplacian, by the Gaussian blur that reaches it.

    An image that is no sharper stays as it is: sharpness cannot be added.
    """
    wanted = laplacian_variance(donor.image)
    if laplacian_variance(receiver.image) <= wanted:
        return receiver.image.copy()
    low, high = 0.1, WIDEST_BLUR
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if laplacian_variance(blurred(receiver.image, middle)) > wanted:
            low = middle
        else:
            high = middle
    return blurred(receiver.image, high)


def lesion_size(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's share of the image that is lesion: the lesion shrinks on skin, or all grows.

    A smaller lesion stays where it was, on plain skin of the receiver's own colour.
    """
    if donor.mask is None or receiver.mask is None:
        raise ValueError("lesion_size needs the masks of both images")
    factor = float(np.sqrt(donor.mask.mean() / receiver.mask.mean()))
    matrix = _scaled(receiver.mask, factor)
    if factor >= 1:
        return _warped(receiver.image, matrix, cv2.INTER_CUBIC)
    near = soft_mask(receiver.mask)
    skin = plain_skin(receiver.image, receiver.mask)
    base = near[..., None] * skin + (1 - near[..., None]) * receiver.image
    small, share = _warped(receiver.image, matrix, cv2.INTER_AREA), _faded(near, matrix)
    return to_uint8(share * small + (1 - share) * base)


def frame(donor: Pictured, receiver: Pictured) -> Image:
    """The donor's outer frame, where rulers, ink and dark corners lie."""
    rows, columns = (round(FRAME * side) for side in receiver.image.shape[:2])
    given = cv2.resize(donor.image, receiver.image.shape[1::-1], interpolation=cv2.INTER_AREA)
    inner = slice(rows, len(given) - rows), slice(columns, given.shape[1] - columns)
    given[inner] = receiver.image[inner]
    return np.asarray(given, dtype=np.uint8)


TRANSPLANTS: Mapping[str, Transplant] = {
    "contrast": Transplant(contrast, "contrast", "contrast"),
    "brightness": Transplant(brightness, "exposure", "brightness"),
    "colour": Transplant(colour, "colour_cast", "colour of the light"),
    "sharpness": Transplant(sharpness, "blur", "sharpness"),
    "lesion_size": Transplant(lesion_size, "small_lesion", "size of the masked region", True),
    "frame": Transplant(frame, "frame_artefact", "outer frame"),
}


def transplanted(name: str, donor: Pictured, receiver: Pictured) -> Image:
    """The receiver's image with a property of the donor; `name` is a key of `TRANSPLANTS`.

    Raises:
        ValueError: the property needs a mask that holds some but not all pixels, of both.
    """
    found = lookup("transplant", name, TRANSPLANTS)
    if found.needs_mask and not possible(name, donor, receiver):
        raise ValueError(f"{name} needs masks that hold some but not all pixels, of both images")
    return found.apply(donor, receiver)


def possible(name: str, donor: Pictured, receiver: Pictured) -> bool:
    """Whether both images have what the transplant needs."""
    needs_mask = TRANSPLANTS[name].needs_mask
    return not needs_mask or (usable(donor.mask) and usable(receiver.mask))


def luma(image: Image) -> Float32Array:
    """Grey levels, (h, w) in [0, 255]."""
    return np.asarray(image @ np.array(LUMA, dtype=np.float32))


def laplacian_variance(image: Image) -> float:
    """Sharpness as in `statistics.sharpness`, at the size of the input."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def blurred(image: Image, sigma: float) -> Image:
    """Gaussian blur of `sigma` pixels."""
    found: Image = cv2.GaussianBlur(image, (0, 0), sigma)
    return found


def _scaled(mask: BoolArray, factor: float) -> Float32Array:
    """Affine matrix that scales by a factor around the middle of the mask."""
    middles = [float(np.flatnonzero(mask.any(axis=axis)).mean()) for axis in (0, 1)]
    shifts = [(1 - factor) * at for at in middles]
    return np.array([[factor, 0, shifts[0]], [0, factor, shifts[1]]], dtype=np.float32)


def _warped(image: Image, matrix: Float32Array, interpolation: int) -> Image:
    size = image.shape[1::-1]
    warped: Image = cv2.warpAffine(
        image, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
    )
    return warped


def _faded(near: Float32Array, matrix: Float32Array) -> Float32Array:
    share = cv2.warpAffine(near, matrix, near.shape[::-1])  # outside of the image: 0
    return np.asarray(share[..., None], dtype=np.float32)
