"""One photograph of a lesion, with what stands between camera and skin.

Hair, rulers, ink and gel bubbles, the black tube of a contact dermatoscope, and the mask.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from tools.phantom.injected_failures import INJECTED
from tools.phantom.lesion import SIDE, Layers, draw_tone, grow, paint, shade
from tools.phantom.plan import Lesion, Photo
from tools.phantom.sources import SOURCES, expose
from tools.phantom.textures import Field, Pixels, blur, discs, polyline, ramp, stream
from tools.phantom.traits import Traits, draw_traits

INK = (0.28, 0.16, 0.45)


def hair(image: Field, rng: np.random.Generator) -> Field:
    """A few to many curved hairs, dark or fair, roughly combed in one direction."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    combed, count = rng.uniform(0, np.pi), int(rng.integers(3, 26))
    for _ in range(count):
        start = rng.uniform((-20, -20), (width + 20, height + 20))
        turns = combed + rng.normal(0, 0.35) + np.cumsum(np.full(9, rng.normal(0, 0.07)))
        steps = rng.uniform(8, 26) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        path = np.vstack([start, start + np.cumsum(steps, axis=0)])
        polyline(
            canvas, path, thickness=1 + int(rng.random() < 0.3), value=int(rng.integers(120, 256))
        )
    colour = (0.16, 0.10, 0.09) if rng.random() < 0.75 else (0.80, 0.70, 0.55)
    return _over(image, colour, 0.85 * blur(canvas.astype(np.float32) / 255, 0.6))


def ruler(image: Field, rng: np.random.Generator, *, pale: bool) -> Field:
    """A scale bar: ticks along one edge, every fifth longer; pale ones show on dark corners."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    side, tilt = int(rng.integers(0, 4)), rng.normal(0, 0.035)
    length, depth = (width, height) if side % 2 == 0 else (height, width)
    spacing, margin = rng.uniform(9, 14), rng.uniform(3, 9)
    for number, along in enumerate(np.arange(rng.uniform(0, spacing), length, spacing)):
        tick = 24 if number % 5 == 0 else 14
        near = margin + tilt * (along - length / 2)
        ends = np.array([[along, near], [along + tilt * tick, near + tick]])
        ends = np.array([[a, depth - b] for a, b in ends]) if side >= 2 else ends
        polyline(canvas, ends if side % 2 == 0 else ends[:, ::-1], thickness=2)
    colour = (0.72, 0.72, 0.70) if pale else (0.10, 0.10, 0.12)
    return _over(image, colour, 0.9 * blur(canvas.astype(np.float32) / 255, 0.6))


def ink(image: Field, rng: np.random.Generator) -> Field:
    """Strokes of a surgical pen near the frame."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        angle = rng.uniform(0, 2 * np.pi)
        middle = np.array([width / 2, height / 2]) * (
            1 + 0.8 * np.array([np.cos(angle), np.sin(angle)])
        )
        bend = angle + np.pi / 2 + np.linspace(-0.5, 0.5, 7) * rng.uniform(0.3, 1.5)
        steps = rng.uniform(8, 16) * np.stack([np.cos(bend), np.sin(bend)], axis=1)
        path = middle + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
        polyline(canvas, path, thickness=int(rng.integers(6, 12)))
    faded = 0.7 + 0.15 * cv2.resize(
        rng.standard_normal((20, 26)).astype(np.float32), (width, height)
    )
    return _over(image, INK, np.clip(faded, 0, 1) * blur(canvas.astype(np.float32) / 255, 1.5))


def bubbles(image: Field, rng: np.random.Generator) -> Field:
    """Gel bubbles: thin bright rims with a dim inside and one glint."""
    shape = (image.shape[0], image.shape[1])
    count = int(rng.integers(2, 16))
    centres = rng.uniform(0, (shape[1], shape[0]), (count, 2))
    radii = rng.gamma(2.0, 2.8, count) + 2.0
    disc, core = discs(centres, radii, shape), discs(centres, np.maximum(radii - 1.6, 0.5), shape)
    glint = discs(centres - 0.45 * radii[:, None], 0.22 * radii, shape)
    rim = blur(np.clip(disc - core, 0, 1), 0.7)
    dim: Field = image * (1 - 0.10 * core[..., None])
    return _over(dim, (0.97, 0.96, 0.97), np.clip(0.5 * rim + 0.8 * blur(glint, 0.6), 0, 0.9))


def dark_corners(image: Field, rng: np.random.Generator) -> Field:
    """The black tube of a contact dermatoscope around a round field of view."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre = np.array([width, height]) / 2 + rng.normal(0, 6, 2)
    distance: Field = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    radius = width / 2 * rng.uniform(0.93, 1.24)
    return _over(image, (0.05, 0.04, 0.06), ramp(distance, radius - 7, radius + 7))


def _over(
    image: Field, colour: tuple[float, float, float], alpha: npt.NDArray[np.floating]
) -> Field:
    weight = alpha[..., None]
    out: Field = (image * (1 - weight) + np.array(colour) * weight).astype(np.float32)
    return out


CANVAS = (240, 320)  # height, width


@dataclass(frozen=True)
class Shot:
    """An RGB image and the mask of its lesion (0 or 255)."""

    image: Pixels
    mask: Pixels


def render(photo: Photo, *, seed: int) -> Shot:
    """Photograph a lesion: the lesion follows from its own stream, the view from the image's."""
    rng = stream(seed, "image", photo.index)
    layers = _seen_from(_layers(photo.lesion, seed), _view(photo, rng))
    tone = draw_tone(stream(seed, "tone", photo.lesion.index))
    light = shade(paint(tone, CANVAS, rng), layers)
    source = SOURCES[photo.lesion.source]
    image = expose(_dirty(light, photo, rng), source, rng)
    return Shot(image, _mask(layers.cover, source.size))


def copy(shot: Shot, rng: np.random.Generator) -> Shot:
    """A near-copy of an image: slightly cropped and a little brighter or darker."""
    height, width = shot.mask.shape
    left, top = rng.uniform(0, INJECTED.duplicate_crop, 2) * (width, height)
    zoom = 1 + INJECTED.duplicate_crop * rng.uniform(0.5, 1)
    matrix = np.array([[zoom, 0, -left], [0, zoom, -top]])
    gain = 1 + INJECTED.duplicate_gain * rng.choice([-1, 1]) * rng.uniform(0.5, 1)
    moved = cv2.warpAffine(shot.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    image: Pixels = np.clip(np.round(moved * gain), 0, 255).astype(np.uint8)
    mask: Pixels = cv2.warpAffine(shot.mask, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return Shot(image, mask)


@lru_cache(maxsize=1)
def _layers(lesion: Lesion, seed: int) -> Layers:
    """The lesion itself; kept until the next one, since most come with more than one image."""
    rng = stream(seed, "lesion", lesion.index)
    traits = draw_traits(lesion.true_dx, rng)
    if not lesion.tiny:
        return grow(traits, rng)
    layers = grow(_shrunk(traits, rng), rng)
    soft = {f.name: blur(getattr(layers, f.name), INJECTED.tiny_blur) for f in fields(Layers)}
    return Layers(**soft)


def _shrunk(traits: Traits, rng: np.random.Generator) -> Traits:
    return replace(traits, radius=float(rng.uniform(*INJECTED.tiny_radius)))


def _view(photo: Photo, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Rotation, zoom and shift from the canvas of the lesion to the canvas of the image (2, 3)."""
    spread = 0.18 if photo.lesion.tiny else 0.085
    angle, zoom = rng.uniform(0, 360), rng.uniform(0.85, 1.15)
    matrix: npt.NDArray[np.float64] = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, zoom)
    shift = np.clip(rng.normal(0, spread, 2), -0.25, 0.25) * (CANVAS[1], CANVAS[0])
    matrix[:, 2] += shift + np.array([CANVAS[1] - SIDE, CANVAS[0] - SIDE]) / 2
    return matrix


def _seen_from(layers: Layers, view: npt.NDArray[np.float64]) -> Layers:
    height, width = CANVAS
    moved = {
        f.name: cv2.warpAffine(getattr(layers, f.name), view, (width, height))
        for f in fields(Layers)
    }
    return Layers(**moved)


def _dirty(light: Field, photo: Photo, rng: np.random.Generator) -> Field:
    tube = rng.random() < SOURCES[photo.lesion.source].dark_corners
    if photo.ink:
        light = ink(light, rng)
    if photo.bubbles:
        light = bubbles(light, rng)
    if photo.hair:
        light = hair(light, rng)
    if tube:
        light = dark_corners(light, rng)
    return ruler(light, rng, pale=tube) if photo.ruler else light


def _mask(cover: Field, size: tuple[int, int]) -> Pixels:
    """The lesion without holes and crumbs, at the size of the image."""
    small = cv2.resize(blur(cover, 2.0), size, interpolation=cv2.INTER_AREA)
    level = min(0.5, 0.6 * float(small.max()))
    inside: Pixels = np.where(small >= level, 255, 0).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    mask: Pixels = cv2.drawContours(np.zeros_like(inside), [largest], -1, 255, cv2.FILLED)
    return mask
