"""Skin around the lesion: tone, texture, and the light that comes back through the pigments."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medaudit.data.phantom.fields import Field, fractal, ramp, smooth
from medaudit.data.phantom.lesion import Layers
from medaudit.data.phantom.structures import network

# Absorption of red, green and blue light by one unit of pigment: melanin near the surface is brown,
# the same melanin deep in the dermis is blue-grey, haemoglobin is red.
ABSORPTION = {
    "brown": (0.60, 1.05, 1.30),
    "blue": (1.25, 0.95, 0.55),
    "red": (0.16, 1.05, 0.80),
}
SCAR = (0.95, 0.90, 0.92)
KERATIN = (0.93, 0.83, 0.62)


@dataclass(frozen=True)
class Tone:
    """Reflectance of a person's skin in red, green and blue, and how blotchy it is."""

    colour: tuple[float, float, float]
    blotches: float
    furrows: float


def draw_tone(rng: np.random.Generator) -> Tone:
    """Mostly fair skin, as in the data set that is imitated, with a tail of darker tones."""
    melanin, blood = rng.gamma(1.5, 0.075), rng.uniform(0.0, 0.24)
    light = np.array([0.98, 0.88, 0.83]) * np.exp(
        -melanin * np.array(ABSORPTION["brown"]) - blood * np.array(ABSORPTION["red"])
    )
    red, green, blue = light.tolist()
    return Tone((red, green, blue), blotches=rng.gamma(1.5, 0.022), furrows=rng.uniform(0, 0.08))


def paint(tone: Tone, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Bare skin, (height, width, 3), reflectance 0 to 1."""
    shade = (
        1 + 0.03 * fractal(rng, shape, period=90) + 0.022 * fractal(rng, shape, period=9, octaves=2)
    )
    lines = network(rng, shape, irregularity=0.7, period=rng.uniform(9, 16))
    shade = shade * (1 - tone.furrows * lines)
    flush = tone.blotches * np.maximum(0.6 + fractal(rng, shape, period=24, octaves=4), 0)
    freckles = 0.25 * ramp(smooth(rng, shape, period=16), 2.1, 2.9)
    absorbed = _absorbed(flush, "red") + _absorbed(freckles, "brown")
    skin: Field = (shade[..., None] * np.array(tone.colour) * np.exp(-absorbed)).astype(np.float32)
    return skin


def shade(skin: Field, layers: Layers) -> Field:
    """Light that returns from the skin under the pigments (Beer-Lambert), then white scatter."""
    soot = np.exp(-0.35 * layers.hue)[..., None]
    absorbed = _absorbed(layers.brown, "brown") * np.concatenate(
        [soot, np.ones_like(soot), 1 / soot], 2
    )
    absorbed += _absorbed(layers.blue, "blue") + _absorbed(layers.red, "red")
    # Even the darkest lesion reflects a little of the lamp: the exponent saturates.
    light = skin * (0.03 + 0.97 * np.exp(-absorbed))
    light = _mix(light, SCAR, layers.white)
    out: Field = _mix(light, KERATIN, layers.cream).astype(np.float32)
    return out


def _absorbed(amount: Field, pigment: str) -> npt.NDArray[np.float64]:
    absorbed: npt.NDArray[np.float64] = amount[..., None] * np.array(ABSORPTION[pigment])
    return absorbed


def _mix(
    light: npt.NDArray[np.float64], colour: tuple[float, float, float], share: Field
) -> npt.NDArray[np.float64]:
    weight = share[..., None]
    return light * (1 - weight) + np.array(colour) * weight
