"""Damaged model files of every kind: read, or refused with one line, at once.

`MEDAUDIT_FUZZ=300` tries so many of each kind; 30 without it.
"""

import os
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from damage import mutated, mutated_inside
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medaudit.core.errors import ModelError
from medaudit.model.state_files import read_state
from tests.unit.model.exported_samples import IMAGES, InProcess, Means, onnx_file, pt2, read

N = int(os.environ.get("MEDAUDIT_FUZZ", "30"))
SECONDS = 5.0
KINDS = ("m.pt2", "m.onnx", "m.pt", "old.pth", "m.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of every kind."""
    folder = tmp_path_factory.mktemp("fuzz")
    state = Means().state_dict()
    pt2(folder / "m.pt2")
    onnx_file(folder / "m.onnx")
    torch.save(state, folder / "m.pt")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "m.safetensors").write_bytes(safetensors.torch.save(state))
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_read_or_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("medaudit.model.exported.model.Sandboxed", InProcess)
    whole, path = (folder / name).read_bytes(), tmp_path / name

    @settings(
        max_examples=N,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32 - 1))
    def tried(seed: int) -> None:
        inside = seed % 8 and name in {"m.pt2", "m.pt"}
        path.write_bytes((mutated_inside if inside else mutated)(whole, seed))
        begun = time.process_time()
        said = ""
        try:
            if name in {"m.pt2", "m.onnx"}:
                read(path).predict(IMAGES)
            else:
                read_state(path)
        except ModelError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 1000 + len(str(path))
        assert time.process_time() - begun < SECONDS
        assert [each.name for each in tmp_path.iterdir()] == [name]

    tried()
