"""Random fields and the dermoscopic structures made of them, reproducible from named streams.

Structures are fields between 0 and 1 on the canvas of a lesion.
"""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SUBPIXEL_BITS = 4


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the names alone, never on order or Python's hash."""
    key = "\x1f".join([str(seed), *map(str, names)]).encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:16], "little"))


def smooth(rng: np.random.Generator, shape: tuple[int, int], *, period: float) -> Field:
    """Smooth noise: a coarse standard normal grid, one node per `period` pixels, resized."""
    height, width = shape
    nodes = (int(np.ceil(height / period)) + 3, int(np.ceil(width / period)) + 3)
    grid = rng.standard_normal(nodes).astype(np.float32)
    fine = cv2.resize(
        grid, (round(nodes[1] * period), round(nodes[0] * period)), interpolation=cv2.INTER_CUBIC
    )
    top, left = (int(period * rng.uniform(1.0, 1.8)) for _ in range(2))
    field: Field = np.ascontiguousarray(fine[top : top + height, left : left + width])
    return field


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], *, period: float, octaves: int = 3
) -> Field:
    """Octaves of smooth noise, each with half the period and 0.6 of the amplitude of the last."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += 0.6**octave * smooth(rng, shape, period=max(period / 2**octave, 2.0))
    return total


def ramp(field: Field, low: float, high: float) -> Field:
    """Smoothstep from 0 at `low` to 1 at `high` (falling when `low > high`)."""
    t = np.clip((field - low) / (high - low), 0.0, 1.0)
    out: Field = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    return out


def blur(field: npt.NDArray[np.floating], sigma: float) -> Field:
    """Gaussian blur; sigma in pixels."""
    out: Field = cv2.GaussianBlur(
        field.astype(np.float32, copy=False), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101
    )
    return out


def lattice(
    rng: np.random.Generator, shape: tuple[int, int], *, period: float, jitter: float
) -> npt.NDArray[np.float64]:
    """Points (m, 2) as x, y on a hexagonal lattice, moved by `jitter` periods."""
    rows = np.arange(-1, shape[0] / (0.87 * period) + 1)
    cols = np.arange(-1, shape[1] / period + 1)
    y, x = np.meshgrid(rows * 0.87 * period, cols * period, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * period / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return points + rng.normal(0.0, jitter * period, points.shape)


def distance_to(points: npt.NDArray[np.float64], shape: tuple[int, int]) -> Field:
    """Distance in pixels to the nearest of the points (x, y)."""
    seeds = np.full(shape, 255, np.uint8)
    x, y = np.round(points).astype(int).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    seeds[y[inside], x[inside]] = 0
    distance: Field = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    return distance


def discs(
    points: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], shape: tuple[int, int]
) -> Field:
    """Filled antialiased discs, 0 to 1."""
    canvas = np.zeros(shape, np.uint8)
    scale = 2**SUBPIXEL_BITS
    for (x, y), radius in zip(points, radii, strict=True):
        centre = (round(x * scale), round(y * scale))
        cv2.circle(
            canvas, centre, max(round(radius * scale), 1), 255, -1, cv2.LINE_AA, SUBPIXEL_BITS
        )
    return canvas.astype(np.float32) / 255.0


def polyline(
    canvas: Pixels, points: npt.NDArray[np.float64], *, thickness: int, value: int = 255
) -> None:
    """Draw an antialiased line through the points (m, 2) into `canvas`."""
    scaled = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [scaled], False, value, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


Points = npt.NDArray[np.float64]


def thinned(rng: np.random.Generator, points: Points, *, keep: float) -> Points:
    """Each point stays with probability `keep`."""
    return points[rng.random(len(points)) < keep]


def within(points: Points, field: Field, *, above: float) -> Points:
    """The points where `field` exceeds `above`."""
    x, y = np.round(points).astype(int).T
    inside = (x >= 0) & (x < field.shape[1]) & (y >= 0) & (y < field.shape[0])
    points, x, y = points[inside], x[inside], y[inside]
    kept: Points = points[field[y, x] > above]
    return kept


def network(
    rng: np.random.Generator, shape: tuple[int, int], *, irregularity: float, period: float
) -> Field:
    """Pigment network: dark lines around pale holes, patchier and coarser as it gets irregular."""
    holes = lattice(rng, shape, period=period, jitter=0.12 + 0.22 * irregularity)
    distance = blur(distance_to(holes, shape), 0.8) / period
    lines = ramp(distance, 0.25, 0.52)
    patchy = ramp(fractal(rng, shape, period=40), -1.0, 0.9)
    mix: Field = lines * (1.0 - irregularity + irregularity * patchy)
    return mix


def globules(rng: np.random.Generator, cover: Field, *, amount: float, period: float) -> Field:
    """Round clods scattered over the lesion."""
    points = lattice(rng, _shape(cover), period=period, jitter=0.22)
    points = within(thinned(rng, points, keep=0.25 + 0.6 * amount), cover, above=0.4)
    drawn = discs(points, rng.uniform(0.16, 0.36, len(points)) * period, _shape(cover))
    return _ragged(rng, drawn, amount=0.12 * period)


def specks(
    rng: np.random.Generator, cover: Field, *, count: float, radius: tuple[float, float]
) -> Field:
    """About `count` small discs anywhere inside the lesion."""
    height, width = _shape(cover)
    points = rng.uniform(0, (width, height), (rng.poisson(4 * count), 2))
    points = within(points, cover, above=0.5)[: max(int(count), 1)]
    return blur(discs(points, rng.uniform(*radius, len(points)), _shape(cover)), 0.7)


def streaks(rng: np.random.Generator, edge: Points, centre: Points, *, amount: float) -> Field:
    """Radial lines with bulbs, crossing the border over a part of the circumference."""
    shape = (round(2 * centre[1]), round(2 * centre[0]))
    canvas = np.zeros(shape, np.uint8)
    start, span = rng.uniform(0, len(edge)), rng.uniform(0.25, 0.8) * len(edge)
    for offset in np.arange(0, span, len(edge) / (20 + 25 * amount)):
        rim = edge[int(start + offset + rng.uniform(-2, 2)) % len(edge)] - centre
        inner, outer = rng.uniform(0.75, 0.9), rng.uniform(1.05, 1.05 + 0.2 * amount)
        line = centre + np.stack([rim * inner, rim * outer])
        polyline(canvas, line, thickness=int(rng.integers(2, 4)))
        cv2.circle(canvas, tuple(np.round(line[1]).astype(int).tolist()), 2, 255, -1, cv2.LINE_AA)
    return blur(canvas.astype(np.float32) / 255.0, 1.0)


def patch(
    rng: np.random.Generator, cover: Field, centre: Points, *, size: float, amount: float
) -> Field:
    """One smooth, ragged blob of `size` pixels and height `amount`, inside the lesion."""
    if amount == 0:
        return np.zeros_like(cover)
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]) / size
    ragged: Field = distance + 0.3 * fractal(rng, _shape(cover), period=max(size / 1.3, 4))
    inside: Field = amount * ramp(ragged, 1.3, 0.25) * cover
    return inside


def ridges(rng: np.random.Generator, shape: tuple[int, int], *, period: float) -> Field:
    """Gyri and fissures: the zero crossings of band-passed noise."""
    noise = smooth(rng, shape, period=period)
    return ramp(np.abs(noise), 0.45, 0.05)


def vessels(rng: np.random.Generator, cover: Field, *, amount: float) -> Field:
    """Arborising vessels: trunks that wander and fork into thinner branches."""
    height, width = _shape(cover)
    canvas = np.zeros((height, width), np.uint8)
    roots = within(rng.uniform(0, (width, height), (60, 2)), cover, above=0.5)
    for root in roots[: 1 + round(4 * amount)]:
        _grow(rng, canvas, root, heading=rng.uniform(0, 2 * np.pi), thickness=3)
    return blur(canvas.astype(np.float32) / 255.0, 0.8) * ramp(cover, 0.05, 0.4)


def lacunae(rng: np.random.Generator, cover: Field, *, amount: float) -> tuple[Field, Field]:
    """Red lagoons: (fill, depth); depth says how dark each one is."""
    period = rng.uniform(14, 30)
    points = lattice(rng, _shape(cover), period=period, jitter=0.18)
    points = within(thinned(rng, points, keep=0.45 + 0.5 * amount), cover, above=0.5)
    radii = rng.uniform(0.3, 0.52, len(points)) * period
    dark = rng.random(len(points)) < rng.choice([0.05, 0.5, 0.9])
    fill = _ragged(rng, discs(points, radii, _shape(cover)), amount=2.5)
    return fill, _ragged(rng, discs(points[dark], radii[dark], _shape(cover)), amount=2.5)


def _grow(
    rng: np.random.Generator,
    canvas: npt.NDArray[np.uint8],
    root: Points,
    *,
    heading: float,
    thickness: int,
) -> None:
    """One branch and, while it is thick enough, its two forks."""
    turns = heading + np.cumsum(rng.normal(0, 0.25, 8))
    steps = rng.uniform(2.5, 5.0, 8)[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    path = np.vstack([root, root + np.cumsum(steps, axis=0)])
    polyline(canvas, path, thickness=thickness, value=(130, 190, 255)[thickness - 1])
    if thickness > 1:
        for side in (-0.6, 0.6):
            fork = path[int(rng.integers(4, 9))]
            tilt = turns[-1] + side * rng.uniform(0.5, 1.5)
            _grow(rng, canvas, fork, heading=tilt, thickness=thickness - 1)


def _ragged(rng: np.random.Generator, drawn: Field, *, amount: float) -> Field:
    """Push the outlines of drawn shapes around by `amount` pixels, then soften them."""
    y, x = np.mgrid[: drawn.shape[0], : drawn.shape[1]].astype(np.float32)
    x += amount * smooth(rng, _shape(drawn), period=9)
    y += amount * smooth(rng, _shape(drawn), period=9)
    moved: Field = cv2.remap(drawn, x, y, cv2.INTER_LINEAR)
    return blur(moved, 0.9)


def _shape(field: Field) -> tuple[int, int]:
    return field.shape[0], field.shape[1]
