"""State dicts in files: what is read, what is refused with one line, and how fast."""

import io
import pickle
import re
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from medaudit.core.errors import ModelError
from medaudit.model.state_files import read_state

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
FLOAT = b"ctorch\nFloatStorage\n"


def saved(path: Path, content: object = STATE, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def archived(path: Path, pickled: bytes, *, compressed: bool = False, **more: bytes) -> Path:
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("m/data.pkl", pickled)
        archive.writestr("m/version", b"3\n")
        archive.writestr("m/data/0", bytes(24))
        for name, content in more.items():
            archive.writestr(f"m/{name}", content)
    return path


def storage(numel: bytes) -> bytes:
    """A dict of one tensor, whose storage `0` has so many numbers."""
    kept = b"(X\x07\0\0\0storage" + FLOAT + b"X\x01\0\0\x000X\x03\0\0\0cpu" + numel + b"tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + kept + b"K\0K\x06\x85K\x01\x85\x89N"
    return b"\x80\x02}X\x01\0\0\0a" + rebuilt + b"tRs."


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_files_of_torch_save(tmp_path: Path, new: bool, wrapper: str | None) -> None:
    content = STATE if wrapper is None else {wrapper: STATE, "epoch": 3, "betas": (0.9, 0.99)}
    path = saved(tmp_path / "m.pt", content, _use_new_zipfile_serialization=new)
    found = read_state(path)
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_shared_and_transposed_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    state = {"a": base[:6], "b": base[6:], "t": base.view(3, 4).T, "half": base.half()}
    found = read_state(saved(tmp_path / "m.pt", state))
    assert all(torch.equal(found[name], state[name]) for name in state)


class Marked:
    """Would make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def test_objects_are_not_made(tmp_path: Path) -> None:
    content = {"state_dict": STATE, "more": Marked(tmp_path / "made")}
    for new in (True, False):
        path = saved(tmp_path / "m.pt", content, _use_new_zipfile_serialization=new)
        with pytest.raises(ModelError, match="holds Python objects besides tensors"):
            read_state(path)
    assert not (tmp_path / "made").exists()


def doubled(levels: int) -> bytes:
    """A tuple of two references to a tuple of two ..., as the key of a dict."""
    built = b"".join(b"\x86q" + bytes([n]) + b"h" + bytes([n]) for n in range(levels))
    return b"\x80\x02})h\xff".replace(b"h\xff", b")") + built + b"\x86K\x01s."


BAD = {
    "9 ** 9 numbers": (storage(b"J" + struct.pack("<i", 9**9)), "a storage of 387420489 numbers"),
    "2 ** 62 numbers": (storage(b"\x8a\x08" + b"\0" * 7 + b"\x40"), "a storage of 46116860184273"),
    "-1 numbers": (storage(b"J\xff\xff\xff\xff"), "a storage of -1 numbers"),
    "a long integer": (b"\x80\x02\x8b" + struct.pack("<i", 9**5) + b"\x01" * 9**5 + b".", "bits"),
    "doubling": (doubled(60), "more than 50000000 objects"),
    "cut off": (storage(b"K\x06")[:-20], "not a readable weights file"),
    "an empty stack": (b"\x80\x02.", "not a readable weights file"),
    "a missing memo": (b"\x80\x02h\x07.", "not a readable weights file"),
    "an unknown operation": (b"\x80\x02\xff.", "not a readable weights file"),
    "no bytes": (b"", "not a readable weights file"),
    "a number": (b"\x80\x02K\x01.", "expected a state dict of tensors, got int"),
    "marks": (b"\x80\x02" + b"(" * 10**5 + b"t" * 10**5 + b".", "nested more than 200 deep"),
    "nested lists": (
        b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        "nested more than 200 deep",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_pickles_that_are_refused(tmp_path: Path, what: str) -> None:
    pickled, message = BAD[what]
    begun = time.monotonic()
    with pytest.raises(ModelError, match=message):
        read_state(archived(tmp_path / "m.pt", pickled))
    assert time.monotonic() - begun < 5
    assert read_state(archived(tmp_path / "m.pt", storage(b"K\x06")))["a"].shape == (6,)


@pytest.mark.parametrize("new", [True, False])
def test_an_odd_protocol_is_no_matter_for_a_warning(tmp_path: Path, new: bool) -> None:
    """Torch would warn in several lines; the tensors are read all the same."""
    path = saved(tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    if new:
        archived(path, storage(b"K\x06").replace(b"\x80\x02", b"\x80\x12"))
    else:
        path.write_bytes(path.read_bytes().replace(b"\x80\x02}", b"\x80\x12}"))
    assert all(value.is_contiguous() for value in read_state(path).values())


def test_legacy_files_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    bad, n = re.subn(b"(cpuq.)K\x06", b"\\1J" + struct.pack("<i", 9**9), content, flags=re.DOTALL)
    assert n == 1
    path.write_bytes(bad)
    with pytest.raises(ModelError, match="a storage of 387420489 numbers, for which"):
        read_state(path)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    plain = storage(b"K\x06")
    with pytest.raises(ModelError, match="holds compressed files"):
        read_state(archived(tmp_path / "a.pt", plain, compressed=True))
    with pytest.raises(ModelError, match="a TorchScript program is none"):
        read_state(archived(tmp_path / "b.pt", plain, **{"code/model.py": b""}))
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("m/version", b"3\n")
    with pytest.raises(ModelError, match=r"holds no data\.pkl"):
        read_state(tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"")
    (tmp_path / "e.pt").write_bytes(pickle.dumps([1, 2]))
    for name in ("d.pt", "e.pt"):
        with pytest.raises(ModelError, match=r"not a readable weights file|holds Python"):
            read_state(tmp_path / name)


def test_tensors_that_are_not_plain(tmp_path: Path) -> None:
    for odd in (torch.eye(3).to_sparse(), torch.empty(3, device="meta")):
        with pytest.raises(ModelError, match=r"m\.pt: "):
            read_state(saved(tmp_path / "m.pt", {"a": odd}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8 + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        safetensors.torch.save(STATE)[:-1],
        safetensors.torch.save(STATE).replace(b'"F32"', b'"F99"'),
        safetensors.torch.save(STATE).replace(b"[2,3]", b"[9,9]"),
    ],
)
def test_safetensors_that_are_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.safetensors: not a readable weights file \(\w+\)"):
        read_state(path)


def test_a_rebuilt_archive_is_what_is_loaded(tmp_path: Path) -> None:
    """In memory: what is put before or behind the members does not matter."""
    path = archived(tmp_path / "m.pt", storage(b"K\x06"))
    held = io.BytesIO(path.read_bytes())
    path.write_bytes(b"PK\3\4 something else" + held.getvalue())
    assert read_state(path)["a"].shape == (6,)
