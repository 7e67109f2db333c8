"""What must be known of a stored model to rebuild it and to feed it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from medaudit.core.errors import ModelError
from medaudit.core.files import file_digest, read_json, write_json
from medaudit.core.frozen import Finite, parse_facts
from medaudit.core.layout import PARAMS
from medaudit.core.params import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS_FILE, CARD_FILE = "model.safetensors", "model.json"
FORMAT = 2
DECIMALS = 6  # of the channel statistics and shifts, which are single precision

MOST_PIXELS = 4096  # of a side: more is a damaged number, and would fill the memory

Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Channels = tuple[Finite, Finite, Finite]
Spreads = tuple[Spread, Spread, Spread]
Name = Annotated[str, Field(min_length=1)]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # a file beside the card, no path


@dataclass(frozen=True)
class ModelCard:
    """What must be known to rebuild a stored model and to feed it.

    Args:
        backbone: timm name; of an exported model whatever its owner calls it.
        task: what the outputs mean.
        classes: class or label names, in the order of the outputs.
        image_size: side of the input in pixels.
        dropout: probability in front of the linear layer.
        mean: of the channels on the 0..1 scale, subtracted from the input.
        std: of the channels on the 0..1 scale, by which the input is divided.
        kind: `backbone` (timm, with weights in safetensors) or `exported` (a program).
        file: name of the weights or of the program, beside the card.
        outputs: what a program gives; whatever leaves the loaded model are logits.
        logit_shift: what weighting in training would have added to every logit, ln w. The stored
            model carries no shift: its logits are those of unweighted probabilities. `None` where
            nothing was weighted, or where weights are not to be undone.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    backbone: Name
    task: Name
    classes: Annotated[tuple[Name, ...], Field(min_length=1)]
    image_size: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    mean: Channels
    std: Spreads
    kind: Literal["backbone", "exported"] = "backbone"
    file: FileName = WEIGHTS_FILE
    outputs: Literal["logits", "probabilities"] = "logits"
    logit_shift: tuple[Finite, ...] | None = None


def write_card(card: ModelCard, folder: Path) -> None:
    """Write `model.json`."""
    write_json(folder / CARD_FILE, {"format": FORMAT, **asdict(card)})


def read_card(folder: Path) -> ModelCard:
    """The card of a stored model."""
    path = folder / CARD_FILE
    if not path.exists():
        raise ModelError(f"{path}: not found; run the train stage first")
    content = read_json(path, stage="train")
    if content.pop("format", None) != FORMAT:
        raise ModelError(f"{path}: expected format {FORMAT}; run the train stage again")
    card = parse_facts(ModelCard, content, path=path, stage="train", error=ModelError)
    wanted, shifts = len(card.classes), card.logit_shift
    if len(set(card.classes)) != wanted or (shifts is not None and len(shifts) != wanted):
        raise ModelError(
            f"{path}: expected {wanted} different classes with a `logit_shift` each or none; run "
            f"the train stage again"
        )
    return card


def weights_digest(folder: Path) -> str:
    """SHA-256 of the stored weights or program."""
    return file_digest(folder / read_card(folder).file)


def rounded(values: list[float]) -> tuple[float, ...]:
    """Single-precision numbers as people write them."""
    return tuple(round(value, DECIMALS) for value in values)


def is_exported(file: str) -> bool:
    """Whether a file holds a whole program, by its name, and not the weights of a backbone."""
    return file.endswith((".pt2", ".onnx"))


def stages_trust(params: Path = PARAMS) -> bool:
    """Whether the user said `trust: true` under `train`; of exported torch programs.

    Read here, and not out of the card: whoever makes a model folder makes its card.
    """
    section = read_yaml(params).get("train") if params.exists() else None
    return isinstance(section, dict) and section.get("trust") is True


def engine_versions(file: str) -> dict[str, str]:
    """Versions of what runs this file beside torch; an error says what to install.

    >>> engine_versions("model.safetensors")
    {}
    """
    if not file.endswith(".onnx"):
        return {}
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(
            f"{file}: ONNX models need onnxruntime, which is not installed: "
            f"`pip install -e '.[onnx]'`"
        ) from None
    return {"onnxruntime": str(onnxruntime.__version__)}
