"""Four sources of images, each with its own camera: size, colour, contrast, vignette, grain."""

from dataclasses import dataclass

import cv2
import numpy as np

from tools.phantom.textures import Field, Pixels, blur, smooth


@dataclass(frozen=True)
class Source:
    """How one source photographs.

    Attributes:
        size: Width and height in pixels.
        gain: Factors on red, green and blue.
        contrast: Spread around middle grey; 1 keeps it.
        lift: Grey that is added to everything (haze, faded slides).
        vignette: Share of light lost in the corners.
        blur: Standard deviation of the optical blur in canvas pixels.
        grain: Standard deviation of the noise in grey levels.
        dark_corners: Chance of a black tube around the field of view.
        hair: Chance of hair.
        quality: JPEG quality.
    """

    name: str
    size: tuple[int, int]
    gain: tuple[float, float, float]
    contrast: float
    lift: float
    vignette: float
    blur: float
    grain: float
    dark_corners: float
    hair: float
    quality: int


SOURCES: dict[str, Source] = {
    "vidir_modern": Source(
        name="vidir_modern",
        size=(200, 150),
        gain=(1.00, 0.98, 1.02),
        contrast=1.08,
        lift=0.00,
        vignette=0.16,
        blur=0.4,
        grain=1.6,
        dark_corners=0.45,
        hair=0.32,
        quality=84,
    ),
    "rosendahl": Source(
        name="rosendahl",
        size=(184, 138),
        gain=(0.98, 0.98, 1.10),
        contrast=1.0,
        lift=0.03,
        vignette=0.05,
        blur=0.5,
        grain=2.2,
        dark_corners=0.03,
        hair=0.35,
        quality=84,
    ),
    "vidir_molemax": Source(
        name="vidir_molemax",
        size=(160, 120),
        gain=(1.07, 0.90, 0.83),
        contrast=1.0,
        lift=0.0,
        vignette=0.22,
        blur=1.1,
        grain=1.2,
        dark_corners=0.0,
        hair=0.22,
        quality=86,
    ),
    "vienna_dias": Source(
        name="vienna_dias",
        size=(168, 126),
        gain=(1.02, 0.90, 0.98),
        contrast=0.40,
        lift=0.05,
        vignette=0.06,
        blur=1.4,
        grain=5.0,
        dark_corners=0.03,
        hair=0.25,
        quality=84,
    ),
}


def expose(light: Field, source: Source, rng: np.random.Generator) -> Pixels:
    """Photograph reflectances (height, width, 3) with the camera of `source`; RGB."""
    lamp = 1 + rng.normal(0, 0.05) + 0.08 * smooth(rng, light.shape[:2], period=120)
    balance = np.array(source.gain) * np.exp(rng.normal(0, 0.025, 3))
    lit = light * (lamp * _falloff(light.shape[:2], source.vignette))[..., None] * balance
    seen = 0.55 + (lit - 0.55) * source.contrast * rng.uniform(0.92, 1.08) + source.lift
    small = cv2.resize(
        blur(seen.astype(np.float32), source.blur), source.size, interpolation=cv2.INTER_AREA
    )
    grain = rng.normal(0, source.grain, (*small.shape[:2], 1)) + rng.normal(
        0, source.grain / 2, small.shape
    )
    out: Pixels = np.clip(np.round(small * 255 + grain), 0, 255).astype(np.uint8)
    return out


def _falloff(shape: tuple[int, int], loss: float) -> Field:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    out: Field = (1 - loss * (x**2 + y**2) / 2).astype(np.float32)
    return out
