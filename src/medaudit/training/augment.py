"""Training-time augmentation; the one module that knows albumentations."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import albumentations
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Images = npt.NDArray[np.uint8]


class AugmentParams(BaseModel):
    """How far training images may differ from the stored ones; 0 (crop: 1) turns a change off.

    Args:
        flips: mirror left-right and top-bottom, each with probability 1/2.
        quarter_turns: rotate by 0, 90, 180 or 270 degrees.
        crop_scale: smallest share of the area that a random resized crop keeps.
        brightness: largest relative change; likewise contrast and saturation.
        contrast: see brightness.
        saturation: see brightness.
        hue: largest turn of the colour circle as a share of it; 0.02 already turns red to brown,
            which tells some lesions apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: bool = True
    quarter_turns: bool = True
    crop_scale: float = Field(default=0.7, gt=0, le=1)
    brightness: float = Field(default=0.0, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    saturation: float = Field(default=0.0, ge=0, lt=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)


class Augmenter:
    """Augments images so that each result depends on (seed, epoch, index of the image) alone."""

    def __init__(self, params: AugmentParams, *, image_size: int, seed: int) -> None:
        self._pipeline = _build(params, image_size=image_size)
        self._seed = seed

    def __call__(self, images: Images, indices: npt.NDArray[np.int64], *, epoch: int) -> Images:
        """Augmented copies of images (m, h, w, 3); safe to call from several threads at once."""
        pipeline = copy.deepcopy(self._pipeline)  # a pipeline carries its random state
        changed = np.empty_like(images)
        for row, index in enumerate(indices):
            # Seeded as a whole, the steps would draw the same numbers: flips only ever in pairs.
            for place, step in enumerate(pipeline.transforms):
                step.set_random_seed(_draw_seed(self._seed, epoch, int(index), place))
            changed[row] = pipeline(image=images[row])["image"]
        return changed


def _draw_seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _build(params: AugmentParams, *, image_size: int) -> albumentations.Compose:
    # albumentations only warns about arguments that it does not know, and then uses its defaults.
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return albumentations.Compose([*_geometry(params, image_size), *_colour(params)], seed=0)


def _geometry(params: AugmentParams, image_size: int) -> list[Any]:
    steps: list[Any] = []
    if params.crop_scale < 1:
        size, scale = (image_size, image_size), (params.crop_scale, 1.0)
        steps.append(albumentations.RandomResizedCrop(size=size, scale=scale, p=1.0))
    if params.flips:
        steps += [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    if params.quarter_turns:
        steps.append(albumentations.RandomRotate90(p=1.0))
    return steps


def _colour(params: AugmentParams) -> list[Any]:
    strengths = {
        "brightness": params.brightness,
        "contrast": params.contrast,
        "saturation": params.saturation,
    }
    if not any((*strengths.values(), params.hue)):
        return []
    ranges = {name: (1 - strength, 1 + strength) for name, strength in strengths.items()}
    return [albumentations.ColorJitter(**ranges, hue=(-params.hue, params.hue), p=1.0)]
