"""The folder that a command writes: new, whole, and never over anything."""

from __future__ import annotations

import itertools
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.data.manifest import settle, staged
from medaudit.errors import ParamsError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
