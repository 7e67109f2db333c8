"""What a training run starts from: model, optimizer, precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medaudit.model import network
from medaudit.model.model_config import rounded

if TYPE_CHECKING:
    from torch import Tensor

    from medaudit.model.network import AuditModel
    from medaudit.model.prepared import Prepared
    from medaudit.training.loop import TrainParams

BETAS = (0.9, 0.999)


def new_model(prepared: Prepared, params: TrainParams, shift: Tensor | None) -> AuditModel:
    """The model before its first step."""
    model = network.create(
        params.backbone,
        len(prepared.schema.classes),
        weights=params.weights,
        dropout=params.dropout,
        image_size=prepared.image_size,
        keep_head=params.epochs == 0,
    )
    model.renormalise(params.mean, params.std)
    if shift is not None and model.head_is_new:
        model.shift_logits(-shift)  # so that the loss, which adds the shift, begins at zero
    return model


def noted(shift: Tensor | None) -> tuple[float, ...] | None:
    """A shift as the card notes it; `None` where it is zero."""
    return None if shift is None or not shift.any() else rounded(shift.tolist())


def optimizer(model: AuditModel, params: TrainParams) -> torch.optim.AdamW:
    """AdamW, with weight decay on matrices and kernels alone."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]  # biases and normalisation
    groups = [
        {"params": decayed, "weight_decay": params.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params.learning_rate, betas=BETAS)


def resolve_precision(asked: str, model: torch.nn.Module, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` takes bf16 on CUDA and for dense convolutions on a fit CPU.

    Networks of depthwise convolutions train slower in bf16 than in fp32 on a CPU.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16"
    fast = cpu_has_bf16() and not network.is_depthwise(model)
    return "bf16" if fast else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware, as far as torch can tell."""
    read = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 and later
    found = read() if read is not None else {}
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
