"""Files and folders that are either whole or absent, also after a power cut; their fingerprints."""

import contextlib
import errno
import glob
import hashlib
import itertools
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medaudit.core.errors import DataError, ParamsError, listed, quoted

with contextlib.suppress(ImportError):  # Windows: parts of killed runs stay there
    import fcntl

_LOCK = ".lock"
# What file systems answer that cannot sync a folder; they keep its entries in another way.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF}

log = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """A temporary sibling that replaces `path` when the block ends well and vanishes otherwise.

    Only its owner can read it until then; `mode` says who can afterwards. When it returns, content
    and name are on the disk: a power cut leaves the old file or the new one. What killed runs have
    left of this very file is removed.
    """
    make_folder(path.parent)
    _remove_dead_files(path)
    with _own_file(path) as part:
        yield part
        part.chmod(mode)
        sync(part)
        part.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def _own_file(path: Path) -> Iterator[Path]:
    """A new empty sibling, locked as long as this process works on it."""
    handle, part = _locked_file(path)
    try:
        yield part
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def _locked_file(path: Path) -> tuple[int, Path]:
    """A new sibling, opened and locked. One that another run took for a dead one is left to it."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        _lock(handle, wait=True)
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)


def _remove_dead_files(path: Path) -> None:
    """Remove the temporary siblings that nobody holds: a lock ends with its process."""
    for part in _parts(path):
        with contextlib.suppress(OSError):
            handle = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(handle, wait=False):
                    part.unlink()
            finally:
                os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Whether this process now holds the file; it does until it closes it or ends."""
    if os.name == "nt":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by another process, or a file system without locks
        return False
    return True


def _parts(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.*.part")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: with the path, where the disk could not take what had been written.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":  # names of files are kept there without it
        return
    handle = os.open(path, os.O_RDONLY if is_folder or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (is_folder and error.errno in _NO_FOLDER_SYNC):
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` for all that is in a folder, and for the folder."""
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            sync(path)
    sync(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are absent; their names are on the disk."""
    absent = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in absent:
        sync(made.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; NaN is refused, so undefined values must be `None`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


MOST_JSON = 64 << 20  # bytes of a JSON file


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quoted(key)} stands twice")
        found[key] = value
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def read_bytes(path: Path, *, most: int) -> bytes:
    """The bytes of a whole file.

    Args:
        path: of a file; a pipe or device, which may never end, is refused.
        most: bytes that it may have.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: no plain file, or a larger one.
    """
    with plain_file(path).open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise DataError(
                f"{path}: expected at most {most:,} bytes, got {size:,}; is it the right file?"
            )
        return handle.read(size + 1)  # not `most`: Python takes the memory that it is asked for


def plain_file(path: Path) -> Path:
    """The path, if it leads to a file; opening a pipe would wait for a writer.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: a folder, a pipe or a device is there, or the system refuses the name.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # too long, in a folder that is a file, or with NUL
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: no usable path ({reason}); correct it") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise DataError(f"{path}: expected a file, got {kind}")
    return path


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
        content = parse_json(read_bytes(path, most=MOST_JSON), path, maker=maker)
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run {maker} first") from None
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: lacks the keys {listed(missing)}; run {maker} again")
    return content


def parse_json(held: bytes, path: Path | str, *, maker: str) -> dict[str, Any]:
    """The JSON object in the bytes of a file, which need not lie on the disk.

    Args:
        held: UTF-8 text.
        path: for errors.
        maker: what to run again where they are damaged.

    Raises:
        DataError: not JSON, or not an object.
    """
    try:
        text = held.decode("utf-8")
        content = json.loads(text, object_pairs_hook=_each_key_once, parse_constant=_no_number)
    except RecursionError:
        raise DataError(f"{path}: nested too deeply; run {maker} again") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path}: not valid JSON ({error}); run {maker} again") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise DataError(f"{path}: expected a JSON object, got {got}; run {maker} again")
    return content


def digest(parts: Iterable[bytes | memoryview]) -> str:
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
    make_folder(folder.parent)
    _remove_dead_folders(folder)
    part, lock = _own_folder(folder)
    try:
        part.chmod(0o755)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        lock.release()


def settle(part: Path, folder: Path) -> None:
    """Give a staged folder its name, once all that it holds is on the disk."""
    sync_tree(part)
    part.rename(folder)
    (folder / _LOCK).unlink()  # after the move: a part without a lock counts as dead
    sync(folder)
    sync(folder.parent)


def _own_folder(folder: Path) -> tuple[Path, FileLock]:
    """A new sibling and its lock, held. One that another run took for a dead one is left to it."""
    while True:
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        lock = FileLock(part / _LOCK)
        with contextlib.suppress(Timeout, FileNotFoundError):
            lock.acquire(timeout=0)
            if (part / _LOCK).exists():
                return part, lock
            lock.release()


def _remove_dead_folders(folder: Path) -> None:
    """Remove the parts that nobody holds: the system lets go of the lock of a killed run."""
    for part in _parts(folder):
        if part.is_dir() and not part.is_symlink():
            with contextlib.suppress(OSError), FileLock(part / _LOCK, timeout=0):
                shutil.rmtree(part)
