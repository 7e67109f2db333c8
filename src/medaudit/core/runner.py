"""Run one pipeline stage: log lines, one-line errors, wall clock recorded aside."""

import errno
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import NoReturn

from medaudit.core.errors import MedauditError, plain
from medaudit.core.files import write_json
from medaudit.core.layout import RUNTIME

INTERRUPTED = 130
VERSIONED = (
    "medaudit",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scikit-learn",
    "albumentations",
    "dvc",
)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

log = logging.getLogger(__name__)


def run(main: Callable[[], None], name: str) -> None:
    """Call `main`, turn what can go wrong into one line and an exit code, and note the time."""
    configure_logging()
    heed_signals()
    message = outcome(lambda: timed(main, name))
    if message is not None:
        log.error("%s: %s", name, message[1])
        leave(message[0])


def heed_signals() -> None:
    """Let a termination, as Ctrl-C, unwind, so that nothing half written stays."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    After an interruption at once: where Ctrl-C struck inside `exec` of a string, as in an import,
    CPython ends by SIGINT although the interruption was handled.
    """
    if code == INTERRUPTED:
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def timed(main: Callable[[], None], name: str) -> None:
    """Call `main` between two log lines and note how long it took."""
    log.info("%s: begins", name)
    started = time.perf_counter()
    main()
    record(name, seconds=time.perf_counter() - started)


def outcome(main: Callable[[], object]) -> tuple[int, str] | None:
    """`None` when `main` ends well, else the exit code and the line for the user."""
    try:
        main()
    except MedauditError as error:
        return 1, str(error)
    except KeyboardInterrupt:
        return (
            INTERRUPTED,
            "interrupted; run again (stages keep finished epochs and conditions)",
        )
    except MemoryError as error:
        return 1, plain(f"out of memory ({error}); lower the batch size or the image size")
    except OSError as error:
        return 1, _about(error)
    return None


def _about(error: OSError) -> str:
    """The line for what the system refused; an error that names no file is a mistake of ours."""
    if error.errno in _NO_SPACE:
        where = error.filename or "the output"
        return plain(f"no space left while writing {where}; free some disk space and run again")
    if error.filename is None:
        raise error
    reason = (error.strerror or type(error).__name__).lower()
    return plain(f"cannot use {error.filename}: {reason}; check the path and its permissions")


class _OneLine(logging.Formatter):
    """Records of one line each: what they quote of files cannot steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name of logging
        record.message = plain(record.message)
        return super().formatMessage(record)


def configure_logging() -> None:
    """One line a step on standard error, without the module's name or control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("fontTools", "matplotlib", "PIL", "timm", "dvclive", "git"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def record(name: str, *, seconds: float) -> None:
    """Note wall clock and machine in `runtime/<stage>.json`, which no stage depends on."""
    log.info("%s: done in %.1f s", name, seconds)
    facts = {
        "stage": name,
        "seconds": round(seconds, 1),
        "machine": machine(),
        "versions": versions(),
    }
    write_json(RUNTIME / f"{name}.json", facts)


def machine() -> dict[str, str | int]:
    """Processor, cores, system and Python of this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide results."""
    found = {}
    for package in VERSIONED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
