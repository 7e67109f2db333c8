"""What an exported program takes, how it is asked, and the programs of `torch.export`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medaudit.core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch.export import ExportedProgram

    from medaudit.core.arrays import Float32Array

Size = int | None
LARGEST_SMALLEST = 1024  # batch that shorter ones are filled up to


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
    smallest, largest = batch
    if not 1 <= smallest <= LARGEST_SMALLEST or (largest is not None and largest < smallest):
        raise ModelError(
            f"expected a model for batches of any size, or of up to {LARGEST_SMALLEST} images, got "
            f"one for {smallest} to {largest or 'any number'}; export it again"
        )
    return Input(smallest, largest, height=known[2], width=known[3])


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


# Damaged programs make torch and onnxruntime raise whatever there is.
UNREADABLE = (Exception,)


class TorchProgram:
    """A graph of tensor operations that torch runs eagerly."""

    engine = "torch.export"

    def __init__(self, exported: ExportedProgram, *, device: torch.device) -> None:
        self._device = device
        # Guards are Python source out of the file; `input` checks the shapes instead.
        self._graph = exported.module(check_guards=False)
        self.input = _input(exported)

    @property
    def device_type(self) -> str:
        """Where it runs."""
        return self._device.type

    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w)."""
        import torch

        try:
            with torch.inference_mode():
                found = self._graph(torch.from_numpy(x).to(self._device))
        except UNREADABLE as error:
            raise ModelError(f"the exported model cannot run: {first_line(error)}") from None
        if not isinstance(found, torch.Tensor):
            raise ModelError(
                f"expected an exported model with one output tensor, got {type(found).__name__}"
            )
        return found.float().cpu().numpy()


def read_torch(content: bytes, *, device: str) -> TorchProgram:
    """The program in an archive that `archive.rebuilt` made, on a device."""
    import torch
    from torch.export.passes import move_to_device_pass

    try:
        exported = torch.export.load(io.BytesIO(content))
        if any(tensor.device.type != device for tensor in exported.state_dict.values()):
            exported = move_to_device_pass(exported, device)
        return TorchProgram(exported, device=torch.device(device))
    except ModelError:
        raise
    except UNREADABLE as error:
        raise ModelError(f"torch cannot read it: {first_line(error)}") from None


def _input(exported: ExportedProgram) -> Input:
    import torch

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


def first_line(error: BaseException) -> str:
    """What an error says, as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
