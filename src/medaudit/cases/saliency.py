"""Grad-CAM: where the evidence for a class lies (Selvaraju et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from torch.nn import functional

from medaudit.core.errors import ModelError
from medaudit.core.files import atomic
from medaudit.model.inference import to_input
from medaudit.model.network import AuditModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from medaudit.core.arrays import BoolArray, Float32Array
    from medaudit.model.inference import ImageModel
    from medaudit.pixels import Image


def grad_cam(model: AuditModel, image: Image, class_index: int) -> Float32Array:
    """Map of the evidence for one class, float32 (h, w) in [0, 1].

    ReLU(sum_k a_k A^k) over the channels k of the last feature map A, where a_k is the mean of
    dy_c / dA^k over positions and y_c the logit of the class; enlarged to the image and scaled by
    (x - min) / (max - min). A flat map says nothing and becomes zeros.

    Args:
        model: in evaluation mode; its parameters and their gradients are left alone.
        image: uint8 (h, w, 3).
        class_index: column of the logits.
    """
    device = model.mean.device
    maps = _feature_maps(model, to_input(image[np.newaxis], device))
    logit = model.head(model.backbone.forward_head(maps))[0, class_index]
    (gradient,) = torch.autograd.grad(logit, maps)
    channel_weights = gradient.mean(dim=(2, 3), keepdim=True)
    evidence = torch.relu((channel_weights * maps.detach()).sum(dim=1, keepdim=True))
    enlarged = functional.interpolate(
        evidence, size=image.shape[:2], mode="bilinear", align_corners=False
    )
    return normalise(enlarged[0, 0].cpu().numpy())


def obstacle(model: ImageModel, *, image_size: int) -> str | None:
    """Why there is no Grad-CAM of a model; `None` where there is."""
    if not isinstance(model, AuditModel):
        return "an exported model shows neither features nor gradients"
    black = np.zeros((1, image_size, image_size, 3), dtype=np.uint8)
    try:
        _feature_maps(model, to_input(black, model.mean.device))
    except ModelError as error:
        return str(error)
    return None


def normalise(values: Float32Array) -> Float32Array:
    """(x - min) / (max - min), zeros where all values are equal."""
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros_like(values)
    return np.asarray((values - low) / (high - low), dtype=np.float32)


def _feature_maps(model: AuditModel, x: Tensor) -> Tensor:
    if model.training:
        raise ValueError("expected a model in evaluation mode; call `model.eval()` first")
    with torch.no_grad():
        maps: Tensor = model.backbone.forward_features(model.normalised(x))
    if maps.ndim != 4 or maps.shape[1] != model.backbone.num_features:
        raise ModelError(
            f"Grad-CAM needs feature maps (n, channels, h, w), got {tuple(maps.shape)}; "
            f"it is defined for convolutional backbones"
        )
    return maps.requires_grad_()


OPACITY = 0.45


def energy(cam: Float32Array | None, mask: BoolArray | None) -> float:
    """Sum of a map on the mask over its whole sum, in [0, 1]; NaN without either or for zeros.

    A map that looks nowhere in particular gives the mask's share of the image.
    """
    if cam is None or mask is None or not cam.any():
        return float("nan")
    return float(cam[mask].sum()) / float(cam.sum())


def overlay(image: Image, cam: Float32Array) -> Image:
    """An image with a map in [0, 1] laid over it, more opaque where the map is high."""
    colours = cv2.applyColorMap(np.rint(cam * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    shade = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    share = OPACITY * (0.4 + 0.6 * cam[..., np.newaxis])
    return np.asarray(np.rint((1 - share) * image + share * shade), dtype=np.uint8)


def write_all(pictures: Mapping[str, Image], stem: Path) -> dict[str, str]:
    """Write `<stem>_<what>.png` for every picture; file names by what they show."""
    names = {what: f"{stem.name}_{what}.png" for what in pictures}
    for what, name in names.items():
        with atomic(stem.with_name(name)) as part:
            Pillow.fromarray(pictures[what]).save(part, format="PNG")
    return names
