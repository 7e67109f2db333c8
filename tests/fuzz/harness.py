"""One input, one process: what came of it, and whether anything was lost, left, or run."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from battery import SECONDS, below

from medaudit.core.errors import LONGEST_LINE
from medaudit.core.runner import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

# In the order of the table. Where nothing went wrong, all behind `accepted` are 0.
GOOD = ("one line", "accepted")
BAD = ("wrong", "traceback", "hang", "memory", "lost", "left behind", "executed")
ASLEEP = 60  # seconds, after which a process waits for what does not come
GIGABYTES = 1.5  # that a reader may take beyond what is loaded
MARKER = "marker"  # a file that payloads would make


@dataclass(frozen=True)
class Input:
    """A file, or several, and the reader that meets them.

    Args:
        reader: line of the table.
        name: of the input, to find it again.
        write: puts it into an empty folder.
        read: what the program does with that folder.
        right: whether what came out is what an honest reader gets; asked only if it was accepted.
    """

    reader: str
    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    right: Callable[[Path, object], bool]


@dataclass(frozen=True)
class Result:
    """What came of an input: one of `GOOD`, or some of `BAD`."""

    reader: str
    name: str
    found: tuple[str, ...]
    told: str


def attempt(given: Input, folder: Path) -> Result:
    """Write an input, read it in a process of its own, and look at what is there afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    given.write(folder)
    before = contents(folder)
    said = in_child(lambda: judged(given, folder))
    after = contents(folder)
    found = [said["outcome"]] if said["outcome"] in GOOD else []
    found += [each for each in BAD if each in said["outcome"].split(", ")]
    if any(after.get(path) != held for path, held in before.items()):
        found.append("lost")
    if executed := [path for path in after if path.name == MARKER]:
        found.append("executed")
    if after.keys() - before.keys() - {*executed}:
        found.append("left behind")
    bad = tuple(each for each in found if each in BAD)
    return Result(given.reader, given.name, bad or tuple(found), said["told"])


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Everything below a folder; bytes of plain files."""
    return {path: path.read_bytes() if path.is_file() else None for path in below(folder)}


def judged(given: Input, folder: Path) -> dict[str, str]:
    """Read once, in the child."""
    values: list[object] = []
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = outcome(lambda: values.append(given.read(folder)))
            seconds = time.process_time() - began
            if told is None and not given.right(folder, values[0]):
                return {"outcome": "wrong", "told": repr(values[0])[:300]}
    except BaseException:  # noqa: BLE001  that is the question
        return {"outcome": "traceback", "told": traceback.format_exc()[-1500:]}
    line = "" if told is None else told[1]
    if not line.isprintable() or len(line) > LONGEST_LINE:
        return {"outcome": "traceback", "told": f"no line for a terminal: {line[:300]!r}"}
    wrong = ["hang"] * (seconds > SECONDS) + ["memory"] * ("out of memory" in line)
    return {"outcome": ", ".join(wrong) or GOOD[told is None], "told": line}


def in_child(work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What `work` says in a forked process under limits; a crash or no end is said, too."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(receiving)
            _limit()
            with os.fdopen(sending, "wb") as pipe:
                pipe.write(json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        code = _ended(pid)
        said = pipe.read()
    with contextlib.suppress(ValueError):
        return dict(json.loads(said))
    ended_by = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    late = ended_by in {"SIGKILL", "SIGXCPU"}
    return {"outcome": "hang" if late else "traceback", "told": ended_by}


def _limit() -> None:
    """Quiet, with a bound of memory and of processor time."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + int(GIGABYTES * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    used = time.process_time()
    most = int(used + 4 * SECONDS)  # of this reader and of the honest one
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


def _ended(pid: int) -> int:
    """The exit code of a child, which is killed where it sleeps."""
    until = time.monotonic() + ASLEEP
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
