"""Exported models: what they are fed, what they may give, and what is refused."""

import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from medaudit.core.errors import ModelError
from medaudit.model.exported import model as exported_model
from medaudit.model.inference import run
from medaudit.tables import tasks
from tests.unit.model.exported_samples import (
    CARD,
    IMAGES,
    LOADER,
    SIZE,
    Means,
    expected_logits,
    in_process,
    onnx_file,
    pt2,
    read,
)

__all__ = ["in_process"]
pytestmark = pytest.mark.usefixtures("in_process")


class Pooled(Means):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        halves = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        return super().forward(halves.flatten(2).unsqueeze(-1))


def test_a_program_for_images_of_any_size(tmp_path: Path) -> None:
    """Its sizes are expressions, which the check of the archive has to know."""
    dims = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(
            Pooled().eval(), (torch.zeros(2, 3, 48, 48),), dynamic_shapes=(dims,)
        )
    torch.export.save(program, tmp_path / "m.pt2")
    assert b"FloorDiv" in zipfile.ZipFile(tmp_path / "m.pt2").read("m/models/model.json")
    model = read(tmp_path / "m.pt2")
    assert (model.program.input.height, model.program.input.width) == (None, None)
    assert model.predict(IMAGES).logits[0] == pytest.approx(expected_logits(IMAGES), abs=1e-5)


@pytest.mark.parametrize("batch", ["any", "fixed", "limited"])
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_logits_for_any_number_of_images(tmp_path: Path, kind: str, batch: str) -> None:
    """Seven images in batches of 5, through programs for any batch, for 2, and for 2 to 4."""
    if kind == "onnx":
        path = onnx_file(tmp_path / "m.onnx", batch=4 if batch == "fixed" else "n")
    else:
        limits = torch.export.Dim("n", min=2, max=4)
        dynamic = {"any": torch.export.Dim.DYNAMIC, "fixed": None, "limited": limits}[batch]
        path = pt2(tmp_path / "m.pt2", dynamic=dynamic)
    found = run(read(path), lambda i: IMAGES[i], np.arange(7), loader=LOADER, label="test")
    assert found.logits[0] == pytest.approx(expected_logits(IMAGES), abs=1e-5)
    assert found.features is None


def test_an_export_by_torch_in_onnx(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about torch and about itself
        torch.onnx.export(
            Means().eval(),
            (torch.zeros(2, 3, SIZE, SIZE),),
            tmp_path / "m.onnx",
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            external_data=False,
            verbose=False,
        )
    found = read(tmp_path / "m.onnx").predict(IMAGES).logits[0]
    assert found == pytest.approx(expected_logits(IMAGES), abs=1e-5)


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_declared_probabilities_become_logits(tmp_path: Path, kind: str) -> None:
    if kind == "pt2":
        path = pt2(tmp_path / "m.pt2", Means(torch.sigmoid))
    else:
        path = onnx_file(tmp_path / "m.onnx", last="Sigmoid")
    model = read(path, task="multilabel", outputs="probabilities")
    assert model.predict(IMAGES).logits[0] == pytest.approx(expected_logits(IMAGES), abs=1e-4)


def test_probabilities_over_classes(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m.onnx", last="Softmax")
    logits = read(path, outputs="probabilities").predict(IMAGES).logits
    expected = softmax(expected_logits(IMAGES), axis=1)
    assert tasks.get("multiclass").probabilities(logits) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["multiclass", "multilabel"])
def test_probabilities_are_understood_as_the_task_understands_them(name: str) -> None:
    p = np.array([[0.0, 1.0], [0.25, 0.75], [1e-12, 1 - 1e-12]])
    card = replace(CARD, task=name, outputs="probabilities")
    found = exported_model.as_logits(p.astype(np.float32), card)
    assert found == pytest.approx(tasks.get(name).logits(p.astype(np.float32)), rel=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("task", "row", "rule"),
    [
        ("multiclass", [0.6, 0.6], r"in \[0, 1\] with a sum of 1"),
        ("multiclass", [-0.5, 1.5], r"in \[0, 1\] with a sum of 1"),
        ("multilabel", [0.2, 2.5], r"in \[0, 1\], got \[0\.2"),
        ("multilabel", [np.nan, 0.5], r"in \[0, 1\], got \[nan"),
    ],
)
def test_what_cannot_be_probabilities_is_refused(task: str, row: list[float], rule: str) -> None:
    card = replace(CARD, task=task, outputs="probabilities")
    with pytest.raises(ModelError, match=rf"expected probabilities {rule}.*check `train.outputs`"):
        exported_model.as_logits(np.array([row], dtype=np.float32), card)
    assert exported_model.as_logits(np.array([[0.6, 0.6]]), replace(card, task="multilabel")).all()


def test_models_that_take_something_else(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"takes images of 32 x 32 pixels.*`prepare.image_size`"):
        read(pt2(tmp_path / "a.pt2"), image_size=64)
    with pytest.raises(ModelError, match=r"got torch\.float16 \(any, 3, 32, 32\)"):
        read(pt2(tmp_path / "b.pt2", torch.nn.Flatten(), dtype=torch.float16))
    with pytest.raises(ModelError, match=r"got torch\.float32 \(any, 32, 32, 3\)"):
        read(pt2(tmp_path / "c.pt2", torch.nn.Flatten(), shape=(2, SIZE, SIZE, 3)))
    with pytest.raises(ModelError, match=r"expected outputs of shape \(7, 2\).*got \(7, 3072\)"):
        read(pt2(tmp_path / "d.pt2", torch.nn.Flatten())).predict(IMAGES)
    match = r"name all 3072 in the model's order in `data.labels`"
    with pytest.raises(ModelError, match=match):
        read(tmp_path / "d.pt2", task="multilabel").predict(IMAGES)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file; `train.weights` names an exported model"):
        read(tmp_path / "none.onnx")
    for name in ("m.onnx", "m.pt2"):
        (tmp_path / name).write_bytes(b"no model")
        with pytest.raises(ModelError, match=f"{name}: (not an ONNX model|not a readable file)"):
            read(tmp_path / name)


def test_onnx_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    held = onnx.load(onnx_file(tmp_path / "m.onnx"))
    onnx.save(held, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="weights must lie in the same file"):
        read(tmp_path / "m.onnx")


def test_without_onnxruntime_the_line_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"`pip install -e '.\[onnx\]'`"):
        read(path)
