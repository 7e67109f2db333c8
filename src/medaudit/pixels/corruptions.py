"""Corruptions and shifts: what happens to an image, by name and severity.

They act on the square RGB image that the model receives (uint8, after resizing, before
normalisation). Applied to a larger original instead, resizing would undo most of a blur and
the severities of the families could not be compared. Every change has a fixed sign and size;
only noise is random, and its draw depends on (seed, sample id, corruption, severity) alone.

Severities follow common audits of dermoscopy and chest models: noise sigma 5, 12 and 25 of 255;
JPEG quality 70, 50 and 30; blur as wide as box filters of 3, 5 and 9 pixels at 224 pixels input
(a box of k pixels has the standard deviation sqrt((k^2 - 1) / 12)). They are mild: the first
three ImageNet-C noise levels are sigma 20, 31 and 46 (Hendrycks & Dietterich 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.core import keys
from medaudit.core.errors import ParamsError, lookup
from medaudit.core.files import digest
from medaudit.pixels import LUMA, REFERENCE_SIZE, Image, to_uint8
from medaudit.tables.predictions import Condition

Apply = Callable[[Image, float, np.random.Generator], Image]


@dataclass(frozen=True)
class Corruption:
    """One way to change an image.

    Args:
        apply: `apply(image, level, rng)` returns a new image of the same shape.
        levels: the level of severity 1, 2, ...; each changes the image more than the one before.
        kind: a `corruption` loses information, a `shift` is what another device would do.
        unit: what a level means, for tables and captions.
    """

    apply: Apply
    levels: tuple[float, ...]
    kind: Literal["corruption", "shift"]
    unit: str


def gaussian_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Add independent normal noise of standard deviation `sigma` grey levels.

    Sums are rounded, not truncated: truncation on uint8 would lose up to a fifth of the variance.
    """
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return to_uint8(image + np.float32(sigma) * noise)


def gaussian_blur(image: Image, sigma: float, _: np.random.Generator) -> Image:
    """Blur with a Gaussian of `sigma` pixels at an input of 224, scaled with the shorter side."""
    scaled = sigma * min(image.shape[:2]) / REFERENCE_SIZE
    blurred: Image = cv2.GaussianBlur(image, (0, 0), scaled, borderType=cv2.BORDER_REFLECT_101)
    return blurred


def jpeg(image: Image, quality: float, _: np.random.Generator) -> Image:
    """Encode and decode as JPEG of this quality (libjpeg in OpenCV, 4:2:0)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as JPEG")
    decoded: Image = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return decoded


def brightness(image: Image, factor: float, _: np.random.Generator) -> Image:
    """Multiply every value by `factor`."""
    return _look_up(image, _GREYS * factor)


def contrast(image: Image, factor: float, _: np.random.Generator) -> Image:
    """Stretch the distance to the mean luma of the image by `factor`; that mean stays in place."""
    mean = float(image.mean(axis=(0, 1)) @ np.array(LUMA))
    return _look_up(image, mean + (_GREYS - mean) * factor)


def colour_cast(image: Image, strength: float, _: np.random.Generator) -> Image:
    """Multiply red by 1 + `strength` and blue by 1 - `strength`: warm above 0, blue below."""
    gains = np.array([1 + strength, 1, 1 - strength], dtype=np.float32)
    return to_uint8(image * gains)


def down_up_sampling(image: Image, factor: float, _: np.random.Generator) -> Image:
    """Shrink both sides by `factor` (area average), then enlarge again (bilinear)."""
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    enlarged: Image = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged


_GREYS: npt.NDArray[np.float64] = np.arange(256, dtype=np.float64)


def _look_up(image: Image, curve: npt.NDArray[np.float64]) -> Image:
    mapped: Image = cv2.LUT(image, to_uint8(curve))
    return mapped


CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": Corruption(gaussian_noise, (5, 12, 25), "corruption", "sigma of 255"),
    "gaussian_blur": Corruption(gaussian_blur, (0.8, 1.4, 2.6), "corruption", "sigma, px at 224"),
    "jpeg": Corruption(jpeg, (70, 50, 30), "corruption", "quality"),
    "brightness_up": Corruption(brightness, (1.15, 1.3, 1.5), "corruption", "factor"),
    "brightness_down": Corruption(brightness, (0.85, 0.7, 0.5), "corruption", "factor"),
    "contrast_up": Corruption(contrast, (1.15, 1.3, 1.5), "corruption", "factor"),
    "contrast_down": Corruption(contrast, (0.85, 0.7, 0.5), "corruption", "factor"),
    "colour_cast_warm": Corruption(colour_cast, (0.05, 0.1, 0.2), "shift", "red and blue gain"),
    "colour_cast_blue": Corruption(colour_cast, (-0.05, -0.1, -0.2), "shift", "red and blue gain"),
    "down_up_sampling": Corruption(down_up_sampling, (1.5, 2, 4), "shift", "factor"),
}


def corrupt(image: Image, condition: Condition, *, sample_id: str, seed: int) -> Image:
    """The image under a condition; clean returns the very same array.

    Args:
        image: uint8 RGB, shape (h, w, 3), at the input size of the model.
        condition: clean, or a corruption of `CORRUPTIONS` with its severity.
        sample_id: with `seed` and the condition, the only source of randomness.
        seed: of the whole stress test.
    """
    if condition.is_clean:
        return image
    corruption = lookup("corruption", condition.corruption, CORRUPTIONS)
    level = _level(condition, corruption)
    return corruption.apply(image, level, _generator(condition, sample_id=sample_id, seed=seed))


def identity(condition: Condition) -> dict[str, object] | None:
    """What decides the pixels of a condition, as JSON values for a key; `None` of clean images.

    It holds the source of the corruption's own function and of the draw, and the level at this
    severity; other corruptions and other severities do not count.
    """
    if condition.is_clean:
        return None
    corruption = lookup("corruption", condition.corruption, CORRUPTIONS)
    call = keys.source_digest([(__name__, "corrupt")], apart_from=("CORRUPTIONS", "lookup"))
    return {
        "condition": condition.name,  # the draw depends on it
        "level": _level(condition, corruption),
        "call": call,
        **keys.identity(corruption.apply),
    }


def conditions(
    names: Iterable[str], severities: Sequence[int] | None = None
) -> tuple[Condition, ...]:
    """Every named corruption at these severities (default: all that it has), clean not included.

    Raises:
        UnknownNameError: a corruption is unknown.
        ParamsError: it has no such severity, or a corruption or a severity stands twice.
    """
    named = list(names)
    _once("corruption", named)
    _once("severity", severities or ())
    wanted = []
    for name in named:
        known = range(1, len(lookup("corruption", name, CORRUPTIONS).levels) + 1)
        for severity in severities or known:
            if severity not in known:
                raise ParamsError(f"severities of {name} are 1..{len(known)}, got {severity}")
            wanted.append(Condition(name, severity))
    return tuple(wanted)


def _once(kind: str, items: Sequence[object]) -> None:
    for item in items:
        if items.count(item) > 1:
            raise ParamsError(f"{kind} {item} stands twice; name each {kind} once")


def _level(condition: Condition, corruption: Corruption) -> float:
    count = len(corruption.levels)
    if not 1 <= condition.severity <= count:
        raise ValueError(f"{condition.name}: severities of {condition.corruption} are 1..{count}")
    return corruption.levels[condition.severity - 1]


def _generator(condition: Condition, *, sample_id: str, seed: int) -> np.random.Generator:
    parts = (str(seed), sample_id, condition.corruption, str(condition.severity))
    return np.random.default_rng(int(digest(part.encode() for part in parts), 16))
