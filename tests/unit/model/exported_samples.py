"""Programs that are linear in the mean of every channel, as other people would export them."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from medaudit.model.exported import model as exported_model
from medaudit.model.exported import onnx_program, programs
from medaudit.model.inference import LoaderConfig
from medaudit.model.model_config import ModelCard

SIZE = 32
CPU = torch.device("cpu")
LOADER = LoaderConfig(batch_size=5, loader_threads=1, device=CPU)
WEIGHT = np.array([[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]], dtype=np.float32)
BIAS = np.array([0.1, -0.2], dtype=np.float32)
CARD = ModelCard(
    backbone="theirs",
    task="multiclass",
    classes=("a", "b"),
    image_size=SIZE,
    dropout=0.0,
    mean=(0.5, 0.25, 0.0),
    std=(0.5, 0.5, 1.0),
    kind="exported",
    file="model.pt2",
)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3)).astype(np.uint8)


class Means(torch.nn.Module):
    """Linear in the mean of every channel, then whatever is asked."""

    def __init__(self, last: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.linear.load_state_dict(
            {"weight": torch.from_numpy(WEIGHT), "bias": torch.from_numpy(BIAS)}
        )
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.linear(x.mean(dim=(2, 3)))
        return logits if self.last is None else self.last(logits)


def expected_logits(images: np.ndarray) -> np.ndarray:
    scaled = (images / 255 - CARD.mean) / CARD.std
    return scaled.mean(axis=(1, 2)) @ WEIGHT.T + BIAS


def pt2(
    path: Path,
    model: torch.nn.Module | None = None,
    *,
    dynamic: object = torch.export.Dim.DYNAMIC,
    shape: tuple[int, ...] = (2, 3, SIZE, SIZE),
    dtype: torch.dtype = torch.float32,
) -> Path:
    shapes = None if dynamic is None else ({0: dynamic},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns about its own tree specs
        program = torch.export.export(
            (model or Means()).eval(), (torch.zeros(shape, dtype=dtype),), dynamic_shapes=shapes
        )
    torch.export.save(program, path)
    return path


def onnx_file(
    path: Path, *, batch: int | str = "n", last: str | None = None, kind: int = TensorProto.FLOAT
) -> Path:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["z"], transB=1),
    ]
    if last is not None:
        nodes.append(helper.make_node(last, ["z"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("x", kind, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y" if last else "z", TensorProto.FLOAT, [batch, 2])],
        initializer=[
            helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
            helper.make_tensor("w", TensorProto.FLOAT, [2, 3], WEIGHT.tobytes(), raw=True),
            helper.make_tensor("b", TensorProto.FLOAT, [2], BIAS),
        ],
    )
    opset = helper.make_opsetid("", 18)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    )
    return path


class InProcess:
    """What `sandbox.Sandboxed` does, without the seconds that a process takes to start."""

    def __init__(self, content: bytes, *, suffix: str, device: str = "cpu") -> None:
        if suffix == ".onnx":
            self.program = onnx_program.load(content, threads=1)
        else:
            self.program = programs.read_torch(content, device=device)
        self.engine, self.device_type = self.program.engine, self.program.device_type
        self.input, self.run = self.program.input, self.program.run

    def on(self, device: torch.device) -> "InProcess":
        return self


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported models run in this process; `test_sandbox` shows that a child does the same."""
    monkeypatch.setattr(exported_model, "Sandboxed", InProcess)


def read(path: Path, *, trust: bool = True, **changes: object) -> exported_model.ExportedModel:
    card = replace(CARD, file=f"model{path.suffix}", **changes)
    return exported_model.read(path, card, trust=trust)
