"""Grad-CAM: where the evidence for a class lies (Selvaraju et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from medaudit.errors import ModelError
from medaudit.model.backbones import AuditModel
from medaudit.model.forward import to_input

if TYPE_CHECKING:
    from torch import Tensor

    from medaudit.model.forward import ImageModel
    from medaudit.pixels import Image

Floats = npt.NDArray[np.float32]


def grad_cam(model: AuditModel, image: Image, class_index: int) -> Floats:
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


def normalise(values: Floats) -> Floats:
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
