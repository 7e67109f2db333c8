"""Damaged model files of every kind: read, or refused with one line, at once.

`MEDAUDIT_FUZZ=300` tries so many of each kind; 30 without it.
"""

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
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


def mutated(content: bytes, seed: int) -> bytes:
    """A few bytes changed, cut out, doubled, or made a text that says something to a reader."""
    rng = np.random.default_rng(seed)
    held = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, n = int(rng.integers(max(len(held), 1))), int(rng.integers(1, 40))
        how = int(rng.integers(7))
        if how < 2 and held:
            held[at] ^= 1 << int(rng.integers(8))
        elif how == 2:
            held[at : at + n] = rng.integers(0, 256, n).astype(np.uint8).tobytes()
        elif how == 3:
            del held[at : at + n]
        elif how == 4:
            held[at:at] = held[at : at + n]
        elif how == 5:
            held[at : at + 8] = b"\xff" * int(rng.integers(1, 9))
        else:
            _swap_digits(held, at, rng)
    return bytes(held) or b"\0"


def mutated_inside(content: bytes, seed: int) -> bytes:
    """An archive of which one member is changed, so that its checksum is right."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(held, "w") as target:
        names = source.namelist()
        texts = [name for name in names if name.endswith(("model.json", "data.pkl"))]
        hit = texts[0] if seed % 2 else names[seed % len(names)]
        for name in names:
            member = source.read(name)
            target.writestr(name, mutated(member, seed) if name == hit and member else member)
    return held.getvalue()


def _swap_digits(held: bytearray, at: int, rng: np.random.Generator) -> None:
    """Another digit for the next one, so that texts stay texts."""
    digits = [i for i in range(at, min(at + 4000, len(held))) if 48 <= held[i] <= 57]
    if digits:
        held[digits[0]] = 48 + int(rng.integers(10))


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
