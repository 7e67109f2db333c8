"""A folder of results: whole or absent, and never in the place of other work."""

import fcntl
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from medaudit.core.errors import ParamsError

_LOCK = ".lock"

log = logging.getLogger(__name__)


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


@contextmanager
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


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary sibling of `folder` that the block must move, or it vanishes.

    Every run has its own, so that two at once do not mix; those of killed runs are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    part = Path(mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        with (part / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            part.chmod(0o755)
            yield part
    finally:
        rmtree(part, ignore_errors=True)


def settle(part: Path, folder: Path) -> None:
    """Give a staged folder its name."""
    (part / _LOCK).unlink()
    part.rename(folder)


def _remove_stale(folder: Path) -> None:
    """Remove the parts that nobody holds: the system lets go of the lock of a killed run."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        with suppress(OSError), (part / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(part)
