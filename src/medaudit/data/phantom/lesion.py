"""A lesion: its outline and how much of each pigment lies where."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medaudit.data.phantom import structures
from medaudit.data.phantom.fields import Field, blur, fractal, ramp, smooth
from medaudit.data.phantom.recipes import Traits

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
    lines = structures.network(rng, SHAPE, irregularity=traits.irregularity, period=period)
    rim = ramp(sketch.relative, 0.0, 0.5 + traits.patch)
    gyri = structures.ridges(rng, SHAPE, period=rng.uniform(8, 14))
    mesh: Field = traits.network * (1.3 * lines - 0.45) * rim + traits.ridges * (0.9 * gyri - 0.25)
    return mesh


def _clods(sketch: Sketch) -> Field:
    """Globules, streaks across the border, and comedo-like plugs."""
    traits, rng, cover = sketch.traits, sketch.rng, sketch.cover
    dots = structures.globules(rng, cover, amount=traits.globules, period=rng.uniform(7, 12))
    rays = structures.streaks(rng, sketch.edge, CENTRE, amount=traits.streaks)
    plugs = structures.specks(rng, cover, count=4 + 22 * traits.comedones, radius=(1.8, 4.5))
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
    nests = structures.globules(rng, sketch.cover, amount=0.2 * traits.nests, period=period)
    out: Field = veil + 1.5 * traits.nests * blur(nests, 1.2)
    return out


def _red(sketch: Sketch) -> Field:
    """Blood: a flush in and around the lesion, vessels, red dots, lagoons and a sore."""
    traits, rng, cover = sketch.traits, sketch.rng, sketch.cover
    uneven = 1 + 0.35 * fractal(rng, SHAPE, period=30) + 0.3 * traits.asymmetry * sketch.tilt
    red = np.maximum(uneven, 0) * (traits.red * cover + traits.erythema * blur(cover, 14))
    red += 1.1 * traits.vessels * structures.vessels(rng, cover, amount=traits.vessels)
    dots = structures.specks(rng, cover, count=10 + 60 * traits.dotted, radius=(1.2, 2.4))
    fill, depth = structures.lacunae(rng, cover, amount=traits.lacunae)
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
    milia = structures.specks(rng, cover, count=4 + 26 * traits.cysts, radius=(1.4, 3.4))
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
    return structures.patch(rng, sketch.cover, CENTRE + offset, size=extent, amount=amount)
