"""Programs in ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from medaudit.core.errors import ModelError
from medaudit.model.exported.programs import checked_input

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from medaudit.core.arrays import Float32Array


class OnnxProgram:
    """A graph in ONNX."""

    engine, device_type = "onnxruntime", "cpu"

    def __init__(self, session: Any) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(session.get_outputs()) != 1:
            raise ModelError(
                f"expected a model with one input and one output, got {len(inputs)} and "
                f"{len(session.get_outputs())}"
            )
        (taken,) = inputs
        batch = taken.shape[0] if taken.shape else None
        limits = (batch, batch) if isinstance(batch, int) else (1, None)
        self._session, self._name = session, taken.name
        self.input = checked_input(taken.shape, taken.type, batch=limits)

    def on(self, device: torch.device) -> Self:  # noqa: ARG002
        """Itself: on the CPU wherever the rest computes."""
        return self

    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w)."""
        try:
            (found,) = self._session.run(None, {self._name: x})
        except _ERRORS as error:
            raise ModelError(f"the exported model cannot run: {_first_line(error)}") from None
        return np.asarray(found, dtype=np.float32)


def read(path: Path) -> OnnxProgram:
    """The program in an `.onnx` file.

    Read as bytes, so that onnxruntime refuses weights in other files. A graph is data: it can
    compute, and compute for long, but not reach out.
    """
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), _options(), providers=["CPUExecutionProvider"]
        )
        return OnnxProgram(session)
    except _ERRORS as error:
        raise ModelError(
            f"{path}: onnxruntime cannot read it: {_first_line(error)}; weights must lie in the "
            f"same file (`external_data=False`)"
        ) from None


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised, too
    return options


def _errors() -> tuple[type[BaseException], ...]:
    """Whatever onnxruntime raises; its errors have no base of their own."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    found = [each for each in vars(state).values() if isinstance(each, type)]
    return (RuntimeError, *(each for each in found if issubclass(each, Exception)))


_ERRORS = _errors()


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
