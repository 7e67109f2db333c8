"""Programs of others in a process of their own, which can compute and little else.

The parent never deserialises a program. It starts a child, which imports what it needs, gives up
what it does not need (`confine`), and only then gets the file. Both sides exchange JSON and raw
arrays over two pipes, nothing that could be unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from medaudit.core.errors import ModelError
from medaudit.model.exported import confinement
from medaudit.model.exported.programs import UNREADABLE, Input, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import torch

    from medaudit.core.arrays import Float32Array
    from medaudit.model.exported.programs import Program

START_SECONDS, READ_SECONDS = 300.0, 120.0  # torch takes 2 s to start, on a busy machine 20
RUN_SECONDS, IMAGE_SECONDS = 60.0, 5.0  # of a batch, and more for each of its images
LARGEST_REPLY, LARGEST_OUTPUT = 2**16, 2**31  # bytes
ENGINES = {".pt2": "torch.export", ".onnx": "onnxruntime"}
KEPT = re.compile(r"(OMP|MKL|KMP|GOMP|CUDA|CUBLAS|NVIDIA|ATEN|DNNL|ONEDNN)_.*|LD_LIBRARY_PATH|LANG")
log = logging.getLogger(__name__)

START = """
import json, sys
path, inbox, outbox = json.loads(sys.argv[1])
sys.path[:] = path
from medaudit.model.exported.sandbox import serve
serve(inbox, outbox)
"""


class Sandboxed:
    """A program that runs in a child process.

    Args:
        content: of the file.
        suffix: `.pt2`, of an archive that was built by `archive.rebuilt`, or `.onnx`.
        device: `cpu` or `cuda`.

    Raises:
        ModelError: the child cannot read it, needs too much, takes too long, or dies.
    """

    def __init__(self, content: bytes, *, suffix: str, device: str = "cpu") -> None:
        self._content, self._suffix, self._lock = content, suffix, threading.Lock()
        self.engine = ENGINES[suffix]
        self.device_type = device if suffix == ".pt2" else "cpu"
        self._child = _Child()
        with self._child.within(START_SECONDS, what="start"):
            self._child.say({"suffix": suffix, "device": self.device_type, "threads": _threads()})
            if not self._child.reply().get("kernel"):
                log.warning("%s: this system has no filter of system calls (seccomp)", self.engine)
        with self._child.within(READ_SECONDS, what="read the exported model"):
            self._child.send(content)
            self.input = _input_of(self._child.reply())

    def on(self, device: torch.device) -> Self:
        """Itself on a device, or where it was if it cannot go there."""
        if self._suffix == ".onnx" or device.type == self.device_type:
            return self
        return type(self)(self._content, suffix=self._suffix, device=device.type)

    def run(self, x: Float32Array) -> Float32Array:
        """Outputs of normalised images (n, 3, h, w)."""
        seconds = RUN_SECONDS + IMAGE_SECONDS * len(x)
        with self._lock, self._child.within(seconds, what=f"predict {len(x)} images"):
            self._child.say({"shape": list(x.shape), "threads": _threads()})
            self._child.send(_bytes_of(x))
            return self._child.array(self._child.reply())


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _bytes_of(x: Float32Array) -> memoryview:
    """The memory of an array; that of a contiguous one, not of a copy."""
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    return memoryview(flat.view(np.uint8).data)


def _input_of(reply: dict[str, Any]) -> Input:
    """The input that a child tells, believed as far as its types go."""
    smallest, *others = (reply.get(field.name) for field in dataclasses.fields(Input))
    if type(smallest) is not int or not all(n is None or type(n) is int for n in others):
        raise EOFError
    return Input(smallest, *others)


class _Child:
    """A process, and the pipes to it; it ends with the object, and with its parent."""

    def __init__(self) -> None:
        (inbox, to_child), (from_child, outbox) = os.pipe(), os.pipe()
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-c", START, json.dumps([path, inbox, outbox])],
            env={key: value for key, value in os.environ.items() if KEPT.fullmatch(key)},
            cwd="/",
            pass_fds=(inbox, outbox),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(inbox)
        os.close(outbox)
        self._in, self._out = Connection(from_child, writable=False), Connection(to_child)
        self._late = False
        self.end = weakref.finalize(self, _end, self._process, self._in, self._out)

    @contextlib.contextmanager
    def within(self, seconds: float, *, what: str) -> Iterator[None]:
        """End the process if the block takes longer; what it left undone becomes an error."""
        timer = threading.Timer(seconds, self._too_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError, ValueError, TypeError, RecursionError) as error:
            self.end()
            raise ModelError(self._death(seconds, what=what, error=error)) from None
        finally:
            timer.cancel()

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()

    def _death(self, seconds: float, *, what: str, error: BaseException) -> str:
        if self._late:
            return f"its process took longer than {seconds:.0f} s to {what}, and was ended"
        code = self._process.returncode
        how = f"by signal {-code}" if code is not None and code < 0 else type(error).__name__
        return (
            f"its process could not {what} ({how}); the model is damaged, or needs more than "
            f"{confinement.MEMORY >> 30} GiB"
        )

    def say(self, what: dict[str, Any]) -> None:
        """Send a line of JSON."""
        self.send(json.dumps(what).encode())

    def send(self, content: bytes | memoryview) -> None:
        """Send bytes."""
        self._out.send_bytes(content)

    def reply(self) -> dict[str, Any]:
        """The answer of the child; an error that it tells is raised."""
        found = dict(json.loads(self._in.recv_bytes(LARGEST_REPLY)))
        if "error" in found:
            text = str(found["error"])[:1000]
            raise ModelError("".join(c if c.isprintable() else "?" for c in text))
        return found

    def array(self, reply: dict[str, Any]) -> Float32Array:
        """The numbers that follow an answer with their shape."""
        shape = reply.get("shape", [])
        content = self._in.recv_bytes(LARGEST_OUTPUT)
        fits = isinstance(shape, list) and all(type(s) is int and s >= 0 for s in shape)
        if not fits or len(content) != 4 * math.prod(shape):
            raise ValueError(shape)
        return np.frombuffer(content, np.float32).reshape(shape).copy()


def _end(process: subprocess.Popen[bytes], *pipes: Connection) -> None:
    process.kill()
    process.wait()
    for pipe in pipes:
        pipe.close()


def serve(inbox: int, outbox: int) -> NoReturn:
    """What the child does: prepare, confine itself, read a program, run it until nobody asks."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    asks, answers = Connection(inbox), Connection(outbox)
    with contextlib.suppress(EOFError, BrokenPipeError):
        program = _opened(json.loads(asks.recv_bytes()), asks, answers)
        while program is not None:
            _answer(program, asks, answers)
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    """End with the parent, also in the middle of an endless computation."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _opened(wanted: dict[str, Any], asks: Connection, answers: Connection) -> Program | None:
    engine = _torch_engine(wanted) if wanted["suffix"] == ".pt2" else _onnx_engine(wanted)
    kernel = confinement.confine(limit_memory=wanted["device"] == "cpu")
    _say(answers, {"kernel": kernel})
    try:
        program = engine(asks.recv_bytes())
    except UNREADABLE as error:
        _say(answers, {"error": first_line(error)})
        return None
    _say(answers, dataclasses.asdict(program.input))
    return program


def _say(answers: Connection, what: dict[str, Any]) -> None:
    answers.send_bytes(json.dumps(what).encode())


def _torch_engine(wanted: dict[str, Any]) -> Callable[[bytes], Program]:
    """Everything imported and started that cannot be once the process is confined."""
    import torch
    import torch._export.serde.serialize
    import torch.export.passes
    import torch.export.pt2_archive._package

    from medaudit.model import compute
    from medaudit.model.exported import programs

    device = wanted["device"]
    torch.set_num_threads(wanted["threads"])
    if device == "cpu":
        compute.tune_allocator()
    else:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cudnn.allow_tf32 = False
        images = torch.ones(1, 3, 8, 8, device=device)
        torch.nn.functional.conv2d(images, images).flatten(1).matmul(images[0, :1, :1])
    return lambda content: programs.read_torch(content, device=device)


def _onnx_engine(wanted: dict[str, Any]) -> Callable[[bytes], Program]:
    from medaudit.model.exported import onnx_program

    onnx_program.prepare()
    return lambda content: onnx_program.load(content, threads=wanted["threads"])


def _answer(program: Program, asks: Connection, answers: Connection) -> None:
    """Run the program on one batch."""
    asked = json.loads(asks.recv_bytes())
    x = np.empty(asked["shape"], np.float32)
    asks.recv_bytes_into(_bytes_of(x))
    if "torch" in sys.modules and sys.modules["torch"].get_num_threads() != asked["threads"]:
        sys.modules["torch"].set_num_threads(asked["threads"])
    try:
        found = np.ascontiguousarray(program.run(x), np.float32)
    except UNREADABLE as error:
        _say(answers, {"error": first_line(error)})
        return
    _say(answers, {"shape": list(found.shape)})
    answers.send_bytes(_bytes_of(found))
