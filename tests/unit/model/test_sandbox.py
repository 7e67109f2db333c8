"""Exported models in a child process: the same logits, and little else that they could do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from medaudit.core.errors import ModelError
from medaudit.model.exported import archive, onnx_program, programs, sandbox
from medaudit.model.exported.sandbox import Sandboxed
from tests.unit.model.exported_samples import SIZE, Means, onnx_file, pt2

X = np.random.default_rng(1).standard_normal((6, 3, SIZE, SIZE)).astype(np.float32)


class Network(Means):
    def __init__(self) -> None:
        super().__init__(torch.relu)
        torch.manual_seed(0)
        self.deep = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.Conv2d(16, 3, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.deep(x))


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pt2(tmp_path_factory.mktemp("pt2") / "m.pt2", Network())


def test_a_child_gives_the_logits_of_this_process_to_the_last_bit(torch_file: Path) -> None:
    own = programs.read_torch(torch_file.read_bytes(), device="cpu")
    child = Sandboxed(archive.rebuilt(torch_file), suffix=".pt2")
    assert child.input == own.input
    assert (child.run(X) == own.run(X)).all()
    assert child.on(torch.device("cpu")) is child
    os.kill(child._child._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="its process could not predict 6 images"):
        child.run(X)


def test_onnx_in_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits; one that no longer answers is ended, and one that cannot read says so."""
    content = onnx_program.read(onnx_file(tmp_path / "m.onnx"))
    child = Sandboxed(content, suffix=".onnx")
    assert (child.run(X) == onnx_program.load(content, threads=1).run(X)).all()
    monkeypatch.setattr(sandbox, "RUN_SECONDS", 0.5)
    monkeypatch.setattr(sandbox, "IMAGE_SECONDS", 0.0)
    os.kill(child._child._process.pid, signal.SIGSTOP)
    with pytest.raises(ModelError, match="its process took longer than 0 s to predict 6 images"):
        child.run(X)
    assert child._child._process.returncode == -signal.SIGKILL
    with pytest.raises(ModelError, match="onnxruntime cannot read it"):
        Sandboxed(b"", suffix=".onnx")


ATTEMPTS = """
import ctypes, json, os, sys, threading
from medaudit.model.exported import confinement
folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
confinement.MEMORY = 2**30
kernel = confinement.confine(limit_memory=True)
found = {}

def of_kernel(name, *arguments):
    found[name] = [getattr(libc, name)(*arguments), ctypes.get_errno()]

def of_python(name, attempt):
    try:
        attempt()
        found[name] = "done"
    except BaseException as error:
        found[name] = type(error).__name__

made = f"{folder}/made".encode()
of_kernel("socket", 2, 1, 0)
of_kernel("open", made, os.O_CREAT | os.O_WRONLY, 0o644)
of_kernel("fork")
of_kernel("execv", b"/bin/true", None)
of_kernel("unlink", f"{folder}/kept".encode())
of_kernel("rename", f"{folder}/kept".encode(), made)
of_kernel("mkdir", made, 0o755)
of_kernel("kill", os.getppid(), 0)
of_kernel("unshare", 0)
import socket, subprocess, pickle
of_python("socket in Python", lambda: socket.create_connection(("127.0.0.1", 9), 1))
of_python("subprocess", lambda: subprocess.run(["/bin/true"]))
of_python("write", lambda: open(f"{folder}/made", "w"))
of_python("read", lambda: open(f"{folder}/kept").read())
of_python("system", lambda: os.system("true"))
of_python("import", lambda: __import__("marker_module"))
of_python("unpickle", lambda: pickle.loads(b"cos\\ngetcwd\\n(tR."))
of_python("memory", lambda: bytearray(2**31))
thread = threading.Thread(target=lambda: found.update(thread="runs"))
thread.start(); thread.join()
print(json.dumps([kernel, found]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is of Linux")
def test_what_a_confined_process_can_still_do(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "marker_module.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(tmp_path)],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    kernel, found = json.loads(done.stdout)
    assert kernel
    refused = ("socket", "open", "fork", "execv", "unlink", "rename", "mkdir", "kill", "unshare")
    assert {name: found[name] for name in refused} == {name: [-1, 1] for name in refused}
    of_python = ("socket in Python", "subprocess", "write", "read", "system", "unpickle")
    assert {name: found[name] for name in of_python} == dict.fromkeys(of_python, "PermissionError")
    assert (found["import"], found["memory"]) == ("ImportError", "MemoryError")
    assert found["thread"] == "runs"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept", "marker_module.py"]


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    content = onnx_program.read(onnx_file(tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").write_bytes(content)
    code = (
        "import os, sys; from medaudit.model.exported.sandbox import Sandboxed\n"
        f"held = Sandboxed(open({str(tmp_path / 'm.onnx')!r}, 'rb').read(), suffix='.onnx')\n"
        "pid = held._child._process.pid; os.kill(pid, 19); print(pid, flush=True)\n"
        "os.kill(pid, 18); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    pid = int(done.stdout)
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        if "zombie" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.2)
    assert time.monotonic() < until
