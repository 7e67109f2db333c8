"""A timm backbone with a dropout head, and how models of any kind are stored."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from medaudit.core.errors import ModelError, listed
from medaudit.core.files import atomic
from medaudit.model import inference
from medaudit.model import weights as first_weights
from medaudit.model.exported import model as exported_model
from medaudit.model.exported.model import ExportedModel
from medaudit.model.inference import Outputs
from medaudit.model.model_config import CARD_FILE, ModelCard, read_card, write_card
from medaudit.model.state_files import UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from medaudit.model.inference import ImageModel, Images
    from medaudit.model.model_config import Channels


class AuditModel(nn.Module):
    """Pooled features of a timm backbone, then dropout and one linear layer.

    Input is RGB (n, 3, h, w) in 0..255, uint8 or float; scaling to the mean and standard
    deviation of the pretraining happens inside, so that nobody can forget it.
    """

    backbone: Any  # timm is untyped, and its models have more than nn.Module promises
    mean: Tensor
    std: Tensor
    head_is_new: bool  # whether the linear layer is untrained
    engine = "eager"

    def __init__(self, backbone: Any, *, n_outputs: int, dropout: float) -> None:
        super().__init__()
        config = backbone.pretrained_cfg
        self.backbone = backbone
        self.head_is_new = True
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(_width(backbone), n_outputs))
        self.register_buffer("mean", _channels(config["mean"]))
        self.register_buffer("std", _channels(config["std"]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, outputs)."""
        logits: Tensor = self.head(self.forward_features_pooled(x))
        return logits

    def forward_features_pooled(self, x: Tensor) -> Tensor:
        """Penultimate features (n, d), before dropout."""
        pooled: Tensor = self.backbone(self.normalised(x))
        return pooled

    def normalised(self, x: Tensor) -> Tensor:
        """Input in units of the pretraining data, float32."""
        return (x.float() / 255 - self.mean) / self.std

    def renormalise(self, mean: Channels | None, std: Channels | None) -> None:
        """Use other channel statistics, on the 0..1 scale; `None` keeps those at hand."""
        for held, wanted in ((self.mean, mean), (self.std, std)):
            if wanted is not None:
                held.copy_(_channels(wanted))

    @torch.no_grad()
    def shift_logits(self, shift: Tensor) -> None:
        """Add numbers (n_outputs,) to the bias of the linear layer."""
        linear = self.head[1]
        linear.bias += shift  # type: ignore[operator]  # torch types every attribute as a module

    @property
    def device_type(self) -> str:
        """Where it computes."""
        return self.mean.device.type

    def on(self, device: torch.device) -> Self:
        """Itself on the device, channels-last, in evaluation mode."""
        return inference.prepare_model(self, device).eval()

    @torch.inference_mode()
    def predict(self, images: Images) -> Outputs:
        """Logits (1, n, outputs) and penultimate features (n, d) of uint8 images (n, h, w, 3)."""
        pooled = self.forward_features_pooled(inference.to_input(images, self.mean.device))
        return Outputs(self.head(pooled).cpu().numpy()[np.newaxis], pooled.cpu().numpy())


def create(
    name: str,
    n_outputs: int,
    *,
    weights: str,
    dropout: float,
    image_size: int | None = None,
    keep_head: bool = False,
) -> AuditModel:
    """A new model on any timm backbone.

    Args:
        name: of a timm model.
        n_outputs: width of the linear layer.
        weights: `none`, `imagenet` (download), `bundled` (from an installed package), or the path
            of a safetensors file or state dict.
        dropout: probability in front of the linear layer.
        image_size: side of the input; only networks of fixed input size need it.
        keep_head: refuse weights without a head that fits; otherwise such a head begins anew.
    """
    backbone = _bare(name, image_size=image_size)
    model = AuditModel(backbone, n_outputs=n_outputs, dropout=dropout)
    first_weights.fill(model, name, weights, keep_head=keep_head)
    return model


def save_network(model: AuditModel, folder: Path, *, card: ModelCard) -> None:
    """Write `model.safetensors` and `model.json`; the same weights give the same bytes."""
    state = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    with atomic(folder / card.file) as part:
        part.write_bytes(safetensors.torch.save(state))
    write_card(card, folder)


def load_network(folder: Path) -> AuditModel:
    """The stored model, in evaluation mode."""
    card = read_card(folder)
    path = folder / card.file
    backbone = _bare(card.backbone, image_size=card.image_size)
    model = AuditModel(backbone, n_outputs=len(card.classes), dropout=card.dropout)
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except UNREADABLE as error:
        raise ModelError(f"{path}: does not fit {CARD_FILE}: {_first_line(error)}") from None
    return model.eval()


def is_depthwise(model: nn.Module) -> bool:
    """Whether any convolution works on every channel by itself (EfficientNet, MobileNet, ...)."""
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    return any(m.groups > 1 and m.groups == m.in_channels for m in convolutions)


def _bare(name: str, *, image_size: int | None) -> Any:
    if not timm.is_model(name):
        raise ModelError(f"unknown backbone {name!r}; {_suggestion(name)}")
    config = _config(name)
    fixed = image_size is not None and config is not None and config.fixed_input_size
    extra = {"img_size": image_size} if fixed else {}
    return timm.create_model(name, pretrained=False, num_classes=0, **extra)


def _config(name: str) -> Any:
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        architecture, _, tag = name.partition(".")
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        raise ModelError(
            f"backbone {architecture!r} has no pretrained tag {tag!r}; "
            f"known tags: {listed(tags, limit=9) or 'none'}; or leave the tag out"
        ) from None


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), timm.list_models(), n=3)
    known = "`python -c 'import medaudit, timm; print(timm.list_models())'` lists all"
    return f"did you mean {listed(close)}? {known}" if close else known


def _width(backbone: Any) -> int:
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)


def _channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def load_model(folder: Path, *, trust: bool = False) -> ImageModel:
    """The model that the train stage stored; its logits need no more correction.

    Args:
        folder: that holds it.
        trust: whether the user said to trust who made it, which exported torch programs need.
    """
    if read_card(folder).kind == "exported":
        return exported_model.load(folder, trust=trust)
    return load_network(folder)


def save_model(model: ImageModel, folder: Path, *, card: ModelCard) -> None:
    """Write a model and its card; the same model gives the same bytes."""
    if isinstance(model, ExportedModel):
        exported_model.save(model, folder, card=card)
    elif isinstance(model, AuditModel):
        save_network(model, folder, card=card)
    else:
        raise TypeError(f"expected a backbone or an exported model, got {type(model).__name__}")
