"""Weights out of files, under whichever of the usual names their authors gave them."""

from __future__ import annotations

import logging
import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from medaudit.errors import ModelError, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medaudit.model.backbones import AuditModel

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model")
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


def read_state(path: Path) -> State:
    """Tensors of a safetensors file or of a torch state dict; nothing else is unpickled."""
    if not path.is_file():
        raise ModelError(
            f"train.weights: no file {path}; known words are none, imagenet and bundled"
        )
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: holds Python objects besides tensors, which could run code when read; "
            f"save `model.state_dict()` or a safetensors file instead"
        ) from None
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path}: not a readable weights file ({type(error).__name__})") from None
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> State:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ModelError(f"{path}: expected a state dict of tensors, got {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


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
    backbone.load_state_dict(complete)


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
