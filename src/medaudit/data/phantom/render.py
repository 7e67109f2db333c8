"""One image and its mask, from the plan and the seed."""

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import numpy.typing as npt

from medaudit.data.phantom import artefacts
from medaudit.data.phantom.fields import Field, Pixels, blur, stream
from medaudit.data.phantom.lesion import SIDE, Layers, grow
from medaudit.data.phantom.plan import Photo
from medaudit.data.phantom.plants import PLANTS
from medaudit.data.phantom.recipes import Traits, draw_traits
from medaudit.data.phantom.skin import draw_tone, paint, shade
from medaudit.data.phantom.sources import SOURCES, expose

CANVAS = (240, 320)  # height, width


@dataclass(frozen=True)
class Shot:
    """An RGB image and the mask of its lesion (0 or 255)."""

    image: Pixels
    mask: Pixels


def render(photo: Photo, *, seed: int) -> Shot:
    """Photograph a lesion: the lesion follows from its own stream, the view from the image's."""
    rng = stream(seed, "image", photo.index)
    layers = _seen_from(_layers(photo, seed), _view(photo, rng))
    tone = draw_tone(stream(seed, "tone", photo.lesion.index))
    light = shade(paint(tone, CANVAS, rng), layers)
    source = SOURCES[photo.lesion.source]
    image = expose(_dirty(light, photo, rng), source, rng)
    return Shot(image, _mask(layers.cover, source.size))


def copy(shot: Shot, rng: np.random.Generator) -> Shot:
    """A near-copy of an image: slightly cropped and a little brighter or darker."""
    height, width = shot.mask.shape
    left, top = rng.uniform(0, PLANTS.duplicate_crop, 2) * (width, height)
    zoom = 1 + PLANTS.duplicate_crop * rng.uniform(0.5, 1)
    matrix = np.array([[zoom, 0, -left], [0, zoom, -top]])
    gain = 1 + PLANTS.duplicate_gain * rng.choice([-1, 1]) * rng.uniform(0.5, 1)
    moved = cv2.warpAffine(shot.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    image: Pixels = np.clip(np.round(moved * gain), 0, 255).astype(np.uint8)
    mask: Pixels = cv2.warpAffine(shot.mask, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return Shot(image, mask)


def _layers(photo: Photo, seed: int) -> Layers:
    rng = stream(seed, "lesion", photo.lesion.index)
    traits = draw_traits(photo.lesion.true_dx, rng)
    if not photo.lesion.tiny:
        return grow(traits, rng)
    layers = grow(_shrunk(traits, rng), rng)
    soft = {f.name: blur(getattr(layers, f.name), PLANTS.tiny_blur) for f in fields(Layers)}
    return Layers(**soft)


def _shrunk(traits: Traits, rng: np.random.Generator) -> Traits:
    return replace(traits, radius=float(rng.uniform(*PLANTS.tiny_radius)))


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
        light = artefacts.ink(light, rng)
    if photo.bubbles:
        light = artefacts.bubbles(light, rng)
    if photo.hair:
        light = artefacts.hair(light, rng)
    if tube:
        light = artefacts.dark_corners(light, rng)
    return artefacts.ruler(light, rng, pale=tube) if photo.ruler else light


def _mask(cover: Field, size: tuple[int, int]) -> Pixels:
    """The lesion without holes and crumbs, at the size of the image."""
    small = cv2.resize(blur(cover, 2.0), size, interpolation=cv2.INTER_AREA)
    level = min(0.5, 0.6 * float(small.max()))
    inside: Pixels = np.where(small >= level, 255, 0).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    mask: Pixels = cv2.drawContours(np.zeros_like(inside), [largest], -1, 255, cv2.FILLED)
    return mask
