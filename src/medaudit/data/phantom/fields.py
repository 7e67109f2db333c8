"""Random fields, the raw material of skin and pigment, reproducible from named streams."""

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
