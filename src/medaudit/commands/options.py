"""Options of the command line that hold several values, and the folder that a command writes."""

from __future__ import annotations

import itertools
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.core.errors import ParamsError
from medaudit.data.manifest import settle, staged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def names(text: str | None) -> tuple[str, ...]:
    """Names that are separated by commas."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(part for part in parts if part)


def pairs(items: Iterable[str], *, option: str) -> dict[str, str]:
    """`name=value` items; an error quotes what is none, or stands twice."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise ParamsError(f"{option}: expected name=value, got {item!r}")
        if name in found:
            raise ParamsError(f"{option}: {name!r} is given twice; name every one once")
        found[name] = value
    return found


def paths(items: Iterable[str], *, option: str) -> dict[str, Path]:
    """`name=file` items."""
    return {name: Path(value) for name, value in pairs(items, option=option).items()}


def counts(items: Iterable[str], *, option: str) -> dict[str, int]:
    """`name=number` items with whole numbers."""
    found = pairs(items, option=option)
    wrong = [f"{name}={value}" for name, value in found.items() if not value.isdecimal()]
    if wrong:
        raise ParamsError(f"{option}: expected whole numbers, got {', '.join(wrong)}")
    return {name: int(value) for name, value in found.items()}


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
