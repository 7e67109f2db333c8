"""Programs of `torch.export`, in `.pt2` files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch.export.passes import move_to_device_pass

from medaudit.errors import ModelError
from medaudit.model.exported import archive
from medaudit.model.exported.program import Floats, Input, checked_input

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from torch.export import ExportedProgram

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
    def run(self, x: Floats) -> Floats:
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


def read(path: Path) -> TorchProgram:
    """The program in a `.pt2` file, on the CPU, after `archive.check` of what it would run."""
    archive.check(path)
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
