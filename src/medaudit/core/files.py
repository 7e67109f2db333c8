"""Files and folders that are either whole or absent, and fingerprints of their content."""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from medaudit.core.errors import DataError, ParamsError, listed

_LOCK = ".lock"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling that replaces `path` when the block ends well and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; NaN is refused, so undefined values must be `None`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *, stage: str | None = None, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: of the file.
        stage: that writes the file; the user is sent there.
        keys: that must be present.

    Raises:
        DataError: no such file, not JSON, not an object, or a key is missing.
    """
    maker = f"the {stage} stage" if stage else "the stage that writes it"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run {maker} first") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path}: not valid JSON ({error}); run {maker} again") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise DataError(f"{path}: expected a JSON object, got {got}; run {maker} again")
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: lacks the keys {listed(missing)}; run {maker} again")
    return content


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 over length-prefixed parts, so that no two lists of parts can collide by joining."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_free(out: Path) -> Path:
    """The folder with its full path, if it is absent, or empty and of its own.

    Raises:
        ParamsError: it holds something, or is a file, a link or a mount point.
    """
    target = out.expanduser().absolute()
    if ".." in target.parts:
        raise ParamsError(f"{out}: name the output folder without `..`, so that it is plain which")
    if target.is_symlink() or target.is_mount():
        raise ParamsError(f"{out}: a link or a mount point; name a new folder inside it")
    if target == Path.cwd() or (target.exists() and not _is_empty_folder(target)):
        raise ParamsError(f"{out}: exists and is not an empty folder; name another one")
    return target


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that becomes `out` at the end of the block, or vanishes.

    What has appeared at `out` meanwhile is left alone, and the result takes another name.
    """
    target = check_free(out)
    with staged(target) as part:
        yield part
        if target.exists() and _is_empty_folder(target):
            target.rmdir()
        if target.exists():
            target = next(
                path
                for number in itertools.count(2)
                if not (path := target.with_name(f"{target.name}-{number}")).exists()
            )
            log.warning("%s: something has appeared there; the result is in %s", out, target)
        settle(part, target)
        log.info("written: %s", target)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary sibling of `folder` that the block must move, or it vanishes.

    Every run has its own, so that two at once do not mix; those of killed runs are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        with FileLock(part / _LOCK):
            part.chmod(0o755)
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def settle(part: Path, folder: Path) -> None:
    """Give a staged folder its name."""
    (part / _LOCK).unlink()
    part.rename(folder)


def _remove_stale(folder: Path) -> None:
    """Remove the parts that nobody holds: the system lets go of the lock of a killed run."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        # One without a lock has just been made by a run that is about to hold it.
        if (part / _LOCK).exists():
            with contextlib.suppress(OSError), FileLock(part / _LOCK, timeout=0):
                shutil.rmtree(part)
