"""Model files that tried to run code, to read other files, or to make the reader crash."""

from __future__ import annotations

import io
import os
import struct
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import safetensors.torch
import torch
from damage import mutated, mutated_inside
from readers import Reader, put

from medaudit.model import predictions
from medaudit.model.exported import model as exported_model
from medaudit.model.state_files import read_state
from medaudit.training import checkpoint
from tests.unit.model import test_archive as archives
from tests.unit.model import test_onnx_files as onnx_files
from tests.unit.model import test_state_files as state_files
from tests.unit.model.exported_samples import (
    IMAGES,
    InProcess,
    Means,
    expected_logits,
    onnx_file,
    pt2,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Writer = Callable[[Path], object]

SANDBOXED = exported_model.Sandboxed


def every() -> Iterator[Reader]:
    """Readers of model files; those of programs in this process, and in the confined child."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        whole = _whole(top)
        attacks = {"m.pt2": _archives(top), "m.onnx": _graphs(top)}
    yield from _states(whole)
    yield from _at_hand()
    for name, known in attacks.items():
        draw = _damaged(name, whole[name], inside=name == "m.pt2")
        own = {"whole": _puts(name, whole[name]), **known}
        yield Reader(
            name[1:], lambda top, n=name: _logits(top / n, InProcess), _as_honest, own, draw
        )
    for name, known in attacks.items():
        few = {key: known[key] for key in list(known)[-6:]} | {"whole": _puts(name, whole[name])}
        title = f"{name[1:]}, in its child"
        yield Reader(title, lambda top, n=name: _logits(top / n, SANDBOXED), _as_honest, few)


def _whole(top: Path) -> dict[str, bytes]:
    state = Means().state_dict()
    pt2(top / "m.pt2")
    onnx_file(top / "m.onnx")
    torch.save(state, top / "m.pt")
    torch.save(state, top / "m.pth", _use_new_zipfile_serialization=False)
    (top / "m.safetensors").write_bytes(safetensors.torch.save(state))
    return {path.name: path.read_bytes() for path in top.iterdir()}


def _puts(name: str, content: bytes) -> Writer:
    return lambda top: put(top / name, content)


def _damaged(name: str, whole: bytes, *, inside: bool) -> Callable[..., object]:
    def write(top: Path, rng: np.random.Generator) -> None:
        seed = int(rng.integers(2**32))
        put(top / name, (mutated_inside if inside and seed % 8 else mutated)(whole, seed))

    return write


def _states(whole: dict[str, bytes]) -> Iterator[Reader]:
    known = {"m.pt": _pickles("m.pt"), "m.pth": _pickles("m.pth"), "m.safetensors": {}}
    for name, attacks in known.items():
        draw = _damaged(name, whole[name], inside=name == "m.pt")
        own = {"whole": _puts(name, whole[name]), **attacks}
        yield Reader(name[1:], lambda top, n=name: read_state(top / n), _as_torch, own, draw)
    yield Reader(
        "checkpoint",
        _resumed,
        lambda *_: True,
        {"whole": _puts("m.pt", whole["m.pt"]), **_pickles("m.pt")},
        _damaged("m.pt", whole["m.pt"], inside=True),
    )


def kept_predictions() -> bytes:
    """What the stages keep of a condition, to go on where they were interrupted."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "clean-0.npz"
        predictions._write(predictions.Kept(np.full((1, 3, 2), 0.5, np.float32), None, {}), path)
        return path.read_bytes()


def _at_hand() -> Iterator[Reader]:
    """Damaged ones are said in the log, and predicted again."""
    whole, name = kept_predictions(), "clean-0.npz"
    damaged = {str(seed): _puts(name, mutated(whole, seed)) for seed in range(60)}
    yield Reader(
        "kept predictions",
        lambda top: predictions._at_hand(top / name),
        lambda _, found: found is None or bool((found.logits == 0.5).all()),
        {"whole": _puts(name, whole), **damaged},
    )


def _resumed(top: Path) -> object:
    """A damaged checkpoint is said in the log, and training starts again without it."""
    model = torch.nn.Linear(3, 2)
    held = (top / "m.pt").read_bytes()
    try:
        optimizer = torch.optim.SGD(model.parameters())
        return checkpoint.restore(top / "m.pt", model=model, optimizer=optimizer)
    finally:  # it goes on purpose
        (top / "m.pt").write_bytes(held)


def _as_torch(top: Path, found: dict[str, torch.Tensor]) -> bool:
    """Torch and safetensors alone; they unpickle nothing else either."""
    (path,) = top.iterdir()
    if path.suffix == ".safetensors":
        theirs = safetensors.torch.load(path.read_bytes())
    else:
        theirs = torch.load(path, weights_only=True)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        theirs = theirs.get(wrapper, theirs) if isinstance(theirs.get(wrapper), dict) else theirs
    return set(found) == {str(key) for key in theirs} and all(
        torch.equal(torch.nan_to_num(found[str(key)]), torch.nan_to_num(value))
        for key, value in theirs.items()
    )


class Payload:
    """Makes a marker when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def _pickles(name: str) -> dict[str, Writer]:
    """Pickles that run something, claim too much, or do not end."""
    state = {"a": torch.ones(2)}

    def payload(top: Path, *, new: bool, deep: bool) -> None:
        bad = Payload(top / "marker")
        content = {"state_dict": state, "more": bad} if deep else bad
        torch.save(content, top / name, _use_new_zipfile_serialization=new)

    def instruction(top: Path, pickled: bytes, *, bare: bool) -> None:
        if bare:
            put(top / name, pickled)
        else:
            state_files.archived(top / name, pickled)

    found: dict[str, Writer] = {
        f"payload {new} {deep}": lambda top, n=new, d=deep: payload(top, new=n, deep=d)
        for new in (True, False)
        for deep in (True, False)
    }
    calls = {
        "system": b"cos\nsystem\n(X\x0e\x00\x00\x00: > ./marker_xtR.",
        "global of torch": b"ctorch\nload\n(X\x01\x00\x00\x00xtR.",
        "builtins": b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06getcwd\x93)R.",
        "instance": b"(ios\ngetcwd\n.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Px\n.",
        "buffers": b"\x80\x05\x97.",
        "frame": b"\x80\x04\x95" + b"\xff" * 8 + b".",
        "long line": b"V" + b"x" * 10**6 + b"\n.",
        "long text": b"X" + struct.pack("<I", 2**31) + b"x.",
        "long bytes": b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "no name": b"cos\n\n.",
        "not UTF-8": b"X\x02\x00\x00\x00\xff\xfe.",
        "protocol 18": b"\x80\x12}.",
        "deep": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    }
    pickles = {key: held for key, (held, _) in state_files.BAD.items()} | calls
    for key, held in pickles.items():
        for bare in (True, False):
            found[f"{key}{' alone' if bare else ''}"] = lambda top, h=held, b=bare: instruction(
                top, h, bare=b
            )
    found["library"] = lambda top: state_files.archived(
        top / name, pickles["system"], **{"code/model.py": b""}
    )
    found["compressed"] = lambda top: state_files.archived(
        top / name, pickles["deep"], compressed=True
    )
    return found


def _archives(top: Path) -> dict[str, Writer]:
    """The archives of `test_archive`, each with a payload that would leave a marker."""
    whole = pt2(top / "whole.pt2")
    found: dict[str, Writer] = {}
    changes = next(
        mark for mark in archives.test_archives_that_could_run_code_are_refused.pytestmark
    ).args[1]
    for number, (old, new, _) in enumerate(changes):
        found[f"program {number}"] = _copied(whole, archives.swapped(old, new), top)
    specs = next(mark for mark in archives.test_other_trees_are_refused.pytestmark).args[1]
    for number, spec in enumerate(specs):
        found[f"tree {number}"] = _copied(whole, archives.with_tree(spec), top)
    library = {"data/aotinductor/model/run.so": b"elf"}
    found["library"] = _copied(whole, lambda _, content: content, top, **library)
    torch.save(Means(), top / "pickled.pt")
    pickled = (top / "pickled.pt").read_bytes()
    found["pickled examples"] = _copied(
        whole, lambda n, c: pickled if n.endswith("model.pt") else c, top
    )
    for kind in ("builtins.tuple", "builtins.list", "collections.OrderedDict"):
        enum = _enum(whole, kind, top)
        found[f"enum in {kind}"] = _with_module(enum)
    shown = archives.rewritten(whole, top / "shown.pt2", lambda _, content: content)
    (top / "hidden.pt2").write_bytes(enum)
    padded = archives.swapped(b"torch.ops.aten.linear.default", b"torch.os.system" + b" " * 40)
    archives.rewritten(whole, top / "padded.pt2", padded)
    for zip64 in (False, True):
        for hidden in ("padded", "hidden"):
            try:
                two = archives.two_archives(shown, top / f"{hidden}.pt2", zip64=zip64)
            except AssertionError:  # the hidden one has to be as long as the one that is shown
                continue
            found[f"two archives {hidden} {'zip64' if zip64 else 'offset'}"] = _with_module(two)
    return found


def _copied(whole: Path, change: Callable[[str, bytes], bytes], top: Path, **more: bytes) -> Writer:
    held = archives.rewritten(whole, top / "m.pt2", change, **more).read_bytes()
    return _puts("m.pt2", held)


def _enum(whole: Path, kind: str, top: Path) -> bytes:
    context = {"__enum__": True, "fqn": "marker_module:Marker", "name": "A"}
    spec = {
        "type": kind,
        "context": archives.json.dumps([context]),
        "children_spec": [archives.LEAF],
    }
    return archives.rewritten(whole, top / "e.pt2", archives.with_tree(spec)).read_bytes()


def _with_module(content: bytes) -> Writer:
    """Beside the archive lies the module that it wants to be imported, which leaves a marker."""

    def write(top: Path) -> None:
        put(top / "m.pt2", content)
        put(top / "marker_module.py", f"open({str(top / 'marker')!r}, 'w')\n")

    return write


def _graphs(top: Path) -> dict[str, Writer]:
    """Graphs that take weights from elsewhere, and files that are no graphs."""

    def beside(content: bytes) -> Writer:
        def write(top: Path) -> None:
            put(top / "m.onnx", content)
            put(top / "params.yaml", bytes(24))

        return write

    odd = (
        b"",
        b"\x3a\xff\xff\xff\xff\x7f",
        b"\x80" * 20,
        b"\x0b",
        b"\x05",
        b"\x3a\x02\x08",
        b"\x08\x01" * 2_000_001,
    )
    found = {f"no graph {k}": beside(content) for k, content in enumerate(odd)}
    content = b""
    for _ in range(60):
        content = onnx_files.wrapped(
            0x0A, onnx_files.wrapped(0x2A, onnx_files.wrapped(0x32, content))
        )
    found["deep"] = beside(onnx_files.wrapped(0x3A, content))
    found |= {
        place: beside(held.SerializeToString()) for place, held in onnx_files.tensors().items()
    }
    held = onnx.load(onnx_file(top / "m.onnx"))
    held.graph.initializer[1].CopyFrom(onnx_files.elsewhere())
    return found | {"weights of params.yaml": beside(held.SerializeToString())}


def _logits(path: Path, runs: Any) -> np.ndarray:
    """Read and run, where the working directory and the modules are those of the attack."""
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    sys.dont_write_bytecode = True
    exported_model.Sandboxed = runs
    return read(path).predict(IMAGES).logits


def _as_honest(top: Path, found: np.ndarray) -> bool:
    """Torch and onnxruntime alone, with what was checked; nothing reads from elsewhere."""
    (path,) = (path for path in top.iterdir() if path.stem == "m")
    x = np.ascontiguousarray(
        (
            (IMAGES.astype(np.float32) / np.float32(255) - np.float32([0.5, 0.25, 0]))
            / np.float32([0.5, 0.5, 1])
        ).transpose(0, 3, 1, 2)
    )
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes())
        theirs = session.run(None, {session.get_inputs()[0].name: x})[0]
    else:
        with zipfile.ZipFile(path) as shown:  # as Python sees it, which is what was checked
            held = io.BytesIO()
            with zipfile.ZipFile(held, "w") as plain:
                for name in shown.namelist():
                    plain.writestr(name, shown.read(name))
        theirs = _torch_alone(held, x)
    return bool(np.allclose(found[0], theirs, rtol=1e-5, atol=1e-5, equal_nan=True))


def _torch_alone(held: io.BytesIO, x: np.ndarray) -> np.ndarray:
    """What torch makes of an archive; of the whole where parts that we leave behind stop it."""
    held.seek(0)
    try:
        program = torch.export.load(held)
    except Exception:  # noqa: BLE001
        return expected_logits(IMAGES)
    found: np.ndarray = program.module()(torch.from_numpy(x)).detach().numpy()
    return found
