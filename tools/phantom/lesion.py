"""A lesion and the skin around it: outline, pigments, and the light that comes back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.phantom.textures import (
    Field,
    blur,
    fractal,
    globules,
    lacunae,
    network,
    patch,
    ramp,
    ridges,
    smooth,
    specks,
    streaks,
    vessels,
)
from tools.phantom.traits import Traits

SIDE = 320
SHAPE = (SIDE, SIDE)
CENTRE = np.array([SIDE / 2, SIDE / 2])
OUTLINE_POINTS = 180
LONGEST = 135.0  # pixels; keeps the border of the largest lesion on the canvas


@dataclass(frozen=True)
class Layers:
    """Amounts per pixel on a square canvas; `cover` is the lesion itself, 0 to 1.

    `hue` says what shade of brown: negative is sooty, positive is tawny.
    """

    cover: Field
    brown: Field
    hue: Field
    blue: Field
    red: Field
    white: Field
    cream: Field


@dataclass(frozen=True)
class Sketch:
    """What every pigment of one lesion is laid out on.

    Attributes:
        traits: The traits of the lesion.
        rng: Its stream; the order of the draws is part of the lesion.
        relative: Distance to the centre in units of the outline, roughened.
        cover: Where the lesion is, 0 to 1.
        edge: The outline, (points, 2) as x, y.
        tilt: A plane through the centre, along which the lesion is lopsided.
    """

    traits: Traits
    rng: np.random.Generator
    relative: Field
    cover: Field
    edge: npt.NDArray[np.float64]
    tilt: Field


def grow(traits: Traits, rng: np.random.Generator) -> Layers:
    """Lay the traits of one lesion out on its canvas; the same stream gives the same lesion."""
    sketch = _sketch(traits, rng)
    return Layers(
        cover=sketch.cover,
        brown=_brown(sketch),
        hue=np.float32(traits.hue) + 0.35 * smooth(rng, SHAPE, period=60),
        blue=_blue(sketch),
        red=_red(sketch),
        white=_white(sketch),
        cream=_cream(sketch),
    )


def _sketch(traits: Traits, rng: np.random.Generator) -> Sketch:
    reach, edge = _outline(traits, rng)
    relative = _relative_radius(traits, reach, rng)
    cover = ramp(relative, 1.0 + traits.softness / 2, 1.0 - traits.softness)
    return Sketch(traits, rng, relative=relative, cover=cover, edge=edge, tilt=_tilt(rng))


def _outline(
    traits: Traits, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Radius in pixels at each of the outline's angles, and the outline itself as x, y."""
    angle = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    wave = np.zeros_like(angle)
    for order in range(2, 7):
        wave += rng.normal(0, 1.6 / order) * np.cos(order * angle + rng.uniform(0, 7))
    stretch = traits.elongation
    ellipse = 1 / np.sqrt(np.cos(angle) ** 2 / stretch + np.sin(angle) ** 2 * stretch)
    reach = np.minimum(
        traits.radius * ellipse * np.clip(1 + traits.lobes * wave, 0.45, 1.5), LONGEST
    )
    return reach, CENTRE + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _relative_radius(
    traits: Traits, reach: npt.NDArray[np.float64], rng: np.random.Generator
) -> Field:
    """Distance to the centre in units of the outline, roughened by the border's jaggedness."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    dx, dy = x - CENTRE[0], y - CENTRE[1]
    turn = (np.arctan2(dy, dx) / (2 * np.pi) % 1.0) * OUTLINE_POINTS
    limit = np.interp(turn, np.arange(OUTLINE_POINTS + 1), np.append(reach, reach[0]))
    period = np.clip(traits.radius / 3, 6, 22)
    rough = traits.jag * 0.34 * fractal(rng, SHAPE, period=float(period), octaves=4)
    relative: Field = (np.hypot(dx, dy) / limit + rough).astype(np.float32)
    return relative


def _tilt(rng: np.random.Generator) -> Field:
    """A plane through the centre with a slope of one per 80 pixels in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) - np.float32(SIDE / 2)
    plane: Field = ((x * np.cos(angle) + y * np.sin(angle)) / 80).astype(np.float32)
    return plane


def _brown(sketch: Sketch) -> Field:
    """Melanin near the surface: an uneven base under a mesh, with clods, streaks and blotches."""
    traits, rng = sketch.traits, sketch.rng
    uneven = 1 + traits.variegation * fractal(rng, SHAPE, period=34)
    uneven += 0.8 * traits.asymmetry * sketch.tilt
    base = traits.brown * np.maximum(uneven, 0.15) * sketch.cover
    brown = base * np.maximum(1 + _mesh(sketch), 0.1) + _clods(sketch)
    brown += _patch(sketch, far=0.6, size=(0.25, 0.5), amount=1.5 * traits.blotch)
    out: Field = np.maximum(brown, 0).astype(np.float32)
    return out


def _mesh(sketch: Sketch) -> Field:
    """By how much network and ridges deepen (above 0) or thin (below 0) the brown."""
    traits, rng = sketch.traits, sketch.rng
    period = rng.uniform(6.5, 11)
    lines = network(rng, SHAPE, irregularity=traits.irregularity, period=period)
    rim = ramp(sketch.relative, 0.0, 0.5 + traits.patch)
    gyri = ridges(rng, SHAPE, period=rng.uniform(8, 14))
    mesh: Field = traits.network * (1.3 * lines - 0.45) * rim + traits.ridges * (0.9 * gyri - 0.25)
    return mesh


def _clods(sketch: Sketch) -> Field:
    """Globules, streaks across the border, and comedo-like plugs."""
    traits, rng, cover = sketch.traits, sketch.rng, sketch.cover
    dots = globules(rng, cover, amount=traits.globules, period=rng.uniform(7, 12))
    rays = streaks(rng, sketch.edge, CENTRE, amount=traits.streaks)
    plugs = specks(rng, cover, count=4 + 22 * traits.comedones, radius=(1.8, 4.5))
    clods: Field = (
        traits.globules * (0.3 + 0.6 * traits.brown) * dots
        + traits.streaks * (0.3 + 0.7 * traits.brown) * np.maximum(rays - cover / 2, 0)
        + 1.1 * traits.comedones * plugs
    )
    return clods


def _blue(sketch: Sketch) -> Field:
    """Melanin deep in the skin: a veil, and ovoid nests."""
    traits, rng = sketch.traits, sketch.rng
    veil = _patch(sketch, far=0.5, size=(0.35, 0.7), amount=0.9 * traits.veil)
    period = rng.uniform(16, 30)
    nests = globules(rng, sketch.cover, amount=0.2 * traits.nests, period=period)
    out: Field = veil + 1.5 * traits.nests * blur(nests, 1.2)
    return out


def _red(sketch: Sketch) -> Field:
    """Blood: a flush in and around the lesion, vessels, red dots, lagoons and a sore."""
    traits, rng, cover = sketch.traits, sketch.rng, sketch.cover
    uneven = 1 + 0.35 * fractal(rng, SHAPE, period=30) + 0.3 * traits.asymmetry * sketch.tilt
    red = np.maximum(uneven, 0) * (traits.red * cover + traits.erythema * blur(cover, 14))
    red += 1.1 * traits.vessels * vessels(rng, cover, amount=traits.vessels)
    dots = specks(rng, cover, count=10 + 60 * traits.dotted, radius=(1.2, 2.4))
    fill, depth = lacunae(rng, cover, amount=traits.lacunae)
    red += traits.dotted * dots + traits.lacunae * (1.3 * fill + 1.6 * depth)
    red += _patch(sketch, far=0.4, size=(0.2, 0.4), amount=1.3 * traits.crust)
    out: Field = red.astype(np.float32)
    return out


def _white(sketch: Sketch) -> Field:
    """Scatter: central scar, regression, milia-like cysts, flakes, the haze of a veil."""
    traits, rng, cover = sketch.traits, sketch.rng, sketch.cover
    white = _patch(sketch, far=0.15, size=(0.35, 0.6), amount=0.75 * traits.patch)
    white += _patch(sketch, far=0.7, size=(0.3, 0.5), amount=0.6 * traits.regression)
    white += _patch(sketch, far=0.0, size=(0.9, 1.1), amount=0.12 * traits.veil)
    milia = specks(rng, cover, count=4 + 26 * traits.cysts, radius=(1.4, 3.4))
    flakes = ramp(fractal(rng, SHAPE, period=10), 0.5, 1.3) * cover
    flakes *= ramp(smooth(rng, SHAPE, period=50), -0.4, 0.6)
    white += 0.75 * traits.cysts * milia + 0.6 * traits.scale * flakes
    out: Field = np.clip(white, 0, 0.85).astype(np.float32)
    return out


def _cream(sketch: Sketch) -> Field:
    """Keratin and crust, yellowish."""
    traits = sketch.traits
    rough = ramp(fractal(sketch.rng, SHAPE, period=14), 0.3, 1.0) * sketch.cover
    out: Field = (min(0.35 * traits.scale + 0.4 * traits.crust, 0.6) * rough).astype(np.float32)
    return out


def _patch(sketch: Sketch, *, far: float, size: tuple[float, float], amount: float) -> Field:
    """A blob at up to `far` radii from the centre; its size, too, is in radii."""
    rng, radius = sketch.rng, sketch.traits.radius
    angle = rng.uniform(0, 2 * np.pi)
    offset = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0, far) * radius
    extent = rng.uniform(*size) * radius
    return patch(rng, sketch.cover, CENTRE + offset, size=extent, amount=amount)


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
