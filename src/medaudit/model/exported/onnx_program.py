"""Programs in ONNX files: what they may hold, and how onnxruntime runs them on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medaudit.core.errors import ModelError
from medaudit.model.exported.programs import UNREADABLE, checked_input, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medaudit.core.arrays import Float32Array

LARGEST = 2**31 - 1  # bytes; protobuf knows no larger message
MOST_FIELDS = 2_000_000  # read in about 4 s
DEEPEST = 100


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

    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w)."""
        try:
            (found,) = self._session.run(None, {self._name: x})
            return np.asarray(found, dtype=np.float32)
        except UNREADABLE as error:
            raise ModelError(f"the exported model cannot run: {first_line(error)}") from None


def prepare() -> None:
    """Import what runs the programs; later it may be too late."""
    import onnxruntime  # noqa: F401


def load(content: bytes, *, threads: int) -> OnnxProgram:
    """The program in the bytes of an `.onnx` file, after `check`."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            content, _options(threads), providers=["CPUExecutionProvider"]
        )
        return OnnxProgram(session)
    except ModelError:
        raise
    except UNREADABLE as error:
        raise ModelError(f"onnxruntime cannot read it: {first_line(error)}") from None


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.load_model_format", "ONNX")  # which `check` reads
    options.log_severity_level = 4  # what goes wrong is raised, too
    return options


class _Message(NamedTuple):
    """What a kind of message in a model holds: by field number, the kinds of messages below."""

    name: str
    below: dict[int, str]


# Of onnx.proto: whatever leads to a tensor.
MESSAGES = {
    "model": _Message("model", {7: "graph", 20: "training", 25: "function"}),
    "training": _Message("training", {1: "graph", 2: "graph"}),
    "graph": _Message("graph", {1: "node", 5: "tensor", 15: "sparse"}),
    "function": _Message("function", {7: "node", 11: "attribute"}),
    "node": _Message("node", {5: "attribute"}),
    "attribute": _Message(
        "attribute",
        {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    ),
    "sparse": _Message("sparse", {1: "tensor", 2: "tensor"}),
    "tensor": _Message("tensor", {}),
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor


def read(path: Path) -> bytes:
    """The bytes of an `.onnx` file, after `check`."""
    try:
        if path.stat().st_size > LARGEST:
            raise ModelError(f"{path}: larger than 2 GiB, the most that an ONNX file may have")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: not a readable file ({type(error).__name__})") from None
    try:
        check(content)
    except _DamagedError as found:
        raise ModelError(f"{path}: not an ONNX model: {found}") from None
    except _ExternalError:
        raise ModelError(
            f"{path}: takes weights from another file, which could be any; weights must lie in "
            f"the same file: export again with `external_data=False`"
        ) from None
    return content


class _DamagedError(Exception):
    """Bytes that are no ONNX model."""


class _ExternalError(Exception):
    """A tensor that lies in another file."""


def check(content: bytes) -> None:
    """Raise if any tensor of a model, in subgraphs and functions too, says to lie elsewhere.

    Walks the wire format of protobuf (protobuf.dev/programming-guides/encoding), so that nothing
    has to be installed, and counts any field 13 of a tensor, and any field 14 that is not 0.
    """
    stack, n = [("model", 0, len(content), 0)], 0
    while stack:
        kind, start, end, depth = stack.pop()
        if depth > DEEPEST:
            raise _DamagedError(f"nested more than {DEEPEST} deep")
        for field, value in _fields(content, start, end):
            n += 1
            if n > MOST_FIELDS:
                raise _DamagedError(f"more than {MOST_FIELDS} parts")
            if kind == "tensor" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                raise _ExternalError
            below = MESSAGES[kind].below.get(field)
            if below is not None and isinstance(value, tuple):
                stack.append((below, *value, depth + 1))


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Numbers of fields with their value: a whole number, or where bytes begin and end."""
    while at < end:
        tag, at = _varint(content, at, end)
        field, wire = tag >> 3, tag & 7
        if not 0 < field < 2**29:
            raise _DamagedError(f"a field of number {field}")
        value: int | tuple[int, int]
        if wire == 0:
            value, at = _varint(content, at, end)
        elif wire in {1, 5}:
            value = (at, at := at + (8 if wire == 1 else 4))
        elif wire == 2:
            length, at = _varint(content, at, end)
            value = (at, at := at + length)
        else:
            raise _DamagedError(f"a field of kind {wire}")
        if at > end:
            raise _DamagedError("cut off")
        yield field, value


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _DamagedError("cut off")
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _DamagedError("a number of more than 10 bytes")
