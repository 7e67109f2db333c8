"""Programs of `torch.export` in `.pt2` files: what they would run, and how they are asked."""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from medaudit.core.errors import ModelError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from torch.export import ExportedProgram

    from medaudit.core.arrays import Float32Array

EXAMPLES = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
PLAIN = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|extra/.*|archive_format|archive_version|"
    r"byteorder|version|\.data/\w+|" + "|".join(map(re.escape, (EXAMPLES, GRAPH, *CONFIGS)))
)
OPERATION = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|higher_order)\.[\w.]+|"
    r"_operator\.\w+|math\.\w+|torch\._?sym_\w+"
)
REACHES_OUT = re.compile(r"torch\.ops\.\w+\.(from_file|save|load)\b.*|.*triton.*|.*torchbind.*")
SIZE = re.compile(r"(?:'\w+'|[\w\s=,()*/+<>&|~-]|==|!=)*")
SIZE_NAMES = re.compile(
    r"[a-z]+\d+|\d+|Symbol|Integer|Rational|positive|nonnegative|integer|real|True|False|Add|Mul|Pow|"
    r"Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|ModularIndexing|PowByNatural|Where|"
    r"FloorToInt|CeilToInt|TruncToInt|Equality|Unequality|(Strict)?(Less|Greater)Than|And|Or|Not"
)

Content = dict[str, bytes]


def check(path: Path) -> None:
    """Raise a `ModelError` that names the first thing in an archive that is not a plain graph."""
    content = _read(path)
    findings = (*_foreign(content), *_pickled(content), *_unsafe(content))
    if findings:
        raise ModelError(
            f"{path}: {findings[0]}, which could run code when read; "
            f"export the model again with `torch.export.save`, or as ONNX"
        )


def _read(path: Path) -> Content:
    """Small files of an archive by their names below its root; weights are left unread."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            roots = {name.partition("/")[0] for name in names}
            if len(roots) != 1 or len(set(names)) != len(names):
                raise ModelError(f"{path}: not an archive of `torch.export.save`")
            below = {name.partition("/")[2]: name for name in names}
            wanted = {EXAMPLES, GRAPH, *CONFIGS}
            return {
                name: archive.read(full) if name in wanted else b"" for name, full in below.items()
            }
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a readable file"
        raise ModelError(f"{path}: {reason}; expected one of `torch.export.save`") from None


def _foreign(content: Content) -> Iterator[str]:
    odd = [name for name in content if not PLAIN.fullmatch(name)]
    if odd:
        yield f"holds {listed(odd, limit=3)}"


def _pickled(content: Content) -> Iterator[str]:
    for name in CONFIGS:
        payloads = _json(content, name).get("config", {})
        odd = [key for key, payload in payloads.items() if payload.get("use_pickle") is not False]
        if odd:
            yield f"holds the pickled objects {listed(odd, limit=3)}"
    try:
        if content.get(EXAMPLES):
            torch.load(io.BytesIO(content[EXAMPLES]), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        yield "holds pickled objects as example inputs"


def _unsafe(content: Content) -> Iterator[str]:
    for node in _dicts(_json(content, GRAPH)):
        operation, size = node.get("target"), node.get("expr_str")
        if "inputs" in node and isinstance(operation, str) and not _is_operation(operation):
            yield f"calls {operation[:80]}"
        if size is not None and not _is_size(str(size)):
            yield f"holds the size {str(size)[:80]!r}"


def _is_operation(name: str) -> bool:
    return bool(OPERATION.fullmatch(name)) and not REACHES_OUT.fullmatch(name)


def _is_size(text: str) -> bool:
    if "__" in text or not SIZE.fullmatch(text):
        return False
    bare = re.sub(r"'\w+'", "", text)
    return all(SIZE_NAMES.fullmatch(word) for word in re.findall(r"\w+", bare))


def _json(content: Content, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content[name])
    except (KeyError, ValueError):
        raise ModelError(f"not an archive of `torch.export.save`: no readable {name}") from None
    if not isinstance(found, dict):
        raise ModelError(f"not an archive of `torch.export.save`: {name} holds no object")
    return found


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    """Every object in nested JSON."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            yield each
            stack += each.values()
        elif isinstance(each, list):
            stack += each


Size = int | None


@dataclass(frozen=True)
class Input:
    """The batches that a program takes.

    Args:
        smallest: batch; a shorter one is filled up.
        largest: batch; `None` without a limit.
        height: of the images; `None` where any will do.
        width: likewise.
    """

    smallest: int
    largest: Size
    height: Size
    width: Size


class Program(Protocol):
    """A program from one kind of file."""

    @property
    def engine(self) -> str:
        """What runs it."""

    @property
    def device_type(self) -> str:
        """Where it runs."""

    @property
    def input(self) -> Input:
        """The batches that it takes."""

    def on(self, device: torch.device) -> Self:
        """Itself on a device, or where it was if it cannot go there."""

    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w), for n within `input`."""


def checked_input(shape: Sequence[object], dtype: str, *, batch: tuple[int, Size]) -> Input:
    """The input of a program; a `ModelError` unless it is float32 images, channels first.

    Args:
        shape: four sizes; those that are not whole numbers are free.
        dtype: as the format writes it.
        batch: smallest and largest batch.
    """
    known = [size if isinstance(size, int) else None for size in shape]
    if (
        dtype not in {"torch.float32", "tensor(float)"}
        or len(known) != 4
        or known[1] not in {3, None}
    ):
        found = ", ".join("any" if size is None else str(size) for size in known)
        raise ModelError(
            f"expected one float32 input of shape (n, 3, height, width), got {dtype} ({found}); "
            f"put other scalings and layouts into the model, then export it again"
        )
    return Input(*batch, height=known[2], width=known[3])


def in_pieces(program: Program, x: Float32Array) -> Float32Array:
    """Outputs for any number of images: cut to the largest batch, filled up to the smallest."""
    taken = program.input
    step = taken.largest or max(len(x), 1)
    return np.concatenate(
        [_filled(program, x[i : i + step], taken.smallest) for i in range(0, len(x), step)]
    )


def _filled(program: Program, x: Float32Array, smallest: int) -> Float32Array:
    lacking = max(smallest - len(x), 0)
    padded = np.concatenate([x, np.repeat(x[-1:], lacking, axis=0)])
    return program.run(np.ascontiguousarray(padded))[: len(x)]


# What torch raises for an archive that it cannot read, depending on what is wrong with it.
_UNREADABLE = (RuntimeError, LookupError, ValueError, TypeError, AssertionError, OSError)

log = logging.getLogger(__name__)


class TorchProgram:
    """A graph of tensor operations that torch runs eagerly, on any device."""

    engine = "torch.export"

    def __init__(self, exported: ExportedProgram, *, device: torch.device) -> None:
        self._exported, self._device = exported, device
        # Guards are Python source out of the file; `input` checks the shapes instead.
        self._graph = exported.module(check_guards=False)
        self.input = _input(exported)

    @property
    def device_type(self) -> str:
        """Where it runs."""
        return self._device.type

    def on(self, device: torch.device) -> Self:
        """A copy on the device."""
        if device.type == self._device.type:
            return self
        return type(self)(move_to_device_pass(self._exported, str(device)), device=device)

    @torch.inference_mode()
    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w)."""
        try:
            found = self._graph(torch.from_numpy(x).to(self._device))
        except RuntimeError as error:
            raise ModelError(f"the exported model cannot run: {_first_line(error)}") from None
        if not isinstance(found, torch.Tensor):
            raise ModelError(
                f"expected an exported model with one output tensor, got {type(found).__name__}"
            )
        return found.float().cpu().numpy()


def read_torch(path: Path) -> TorchProgram:
    """The program in a `.pt2` file, on the CPU, after `check` of what it would run."""
    check(path)
    try:
        exported = torch.export.load(path)
        if any(tensor.device.type != "cpu" for tensor in exported.state_dict.values()):
            exported = move_to_device_pass(exported, "cpu")
        return TorchProgram(exported, device=torch.device("cpu"))
    except _UNREADABLE as error:
        raise ModelError(f"{path}: torch cannot read it: {_first_line(error)}") from None


def _input(exported: ExportedProgram) -> Input:
    names = exported.graph_signature.user_inputs
    held = [node.meta["val"] for node in exported.graph.nodes if node.name in names]
    if len(held) != 1 or not isinstance(held[0], torch.Tensor):
        raise ModelError(f"expected a model with one input, images, got {len(held)}")
    (tensor,) = held
    sizes: list[Any] = [size if isinstance(size, int) else None for size in tensor.shape]
    limits = _limits(exported, tensor.shape[0]) if tensor.ndim else (1, None)
    return checked_input(sizes, str(tensor.dtype), batch=limits)


def _limits(exported: ExportedProgram, batch: int | torch.SymInt) -> tuple[int, int | None]:
    """Smallest and largest batch that the graph was exported for."""
    if isinstance(batch, int):
        return batch, batch
    bounds = exported.range_constraints.get(batch.node.expr)
    if bounds is None:
        return 1, None
    largest = int(bounds.upper) if bounds.upper.is_Integer else None
    return max(int(bounds.lower), 1), largest


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
