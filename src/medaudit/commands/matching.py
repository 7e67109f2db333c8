"""Which image a cell of a table means."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


def match(
    cells: Sequence[str], sample_ids: Sequence[str], *, folder: Path, path: Path
) -> list[str | None]:
    """The image that every cell names, or `None`.

    A cell is a path relative to the folder of images or to that of the table, an absolute path, or
    the name of a file; the suffix may be left out.

    Args:
        cells: of the image column.
        sample_ids: paths of the images relative to `folder`.
        folder: of the images.
        path: of the table.

    Raises:
        DataError: paths out of the folder, names of several images, several rows of an image, or
            not a single row with an image.
    """
    words = [readings(cell, folder=folder, beside=path.parent) for cell in cells]
    _refuse_outside(
        [cell for cell, word in zip(cells, words, strict=True) if not word], path, folder
    )
    ways = [_by(sample_ids, key) for key in (str, _bare, _name, _stem)]
    found = [_only(word, ways, path=path) for word in words]
    absent = [cell for cell, name in zip(cells, found, strict=True) if name is None]
    if len(absent) == len(found):
        raise DataError(
            f"{path}: none of its {len(found)} rows names an image of {folder}; rows: "
            f"{listed(absent)}; images: {listed(sample_ids)}; name the column of the image paths"
        )
    if absent:
        log.warning("%s: %d rows name no image there: %s", path, len(absent), listed(absent))
    _refuse_doubled([name for name in found if name is not None], path=path)
    return found


def readings(cell: str, *, folder: Path, beside: Path) -> list[str]:
    """Paths relative to `folder` that a cell may mean; none where it leads out of it."""
    top = os.path.abspath(folder)  # noqa: PTH100  resolve would follow links
    full = (os.path.abspath(start / cell) for start in (folder, beside))  # noqa: PTH100  as above
    below = (Path(each).relative_to(top) for each in full if each.startswith(top + os.sep))
    return list(dict.fromkeys(each.as_posix() for each in below))


def _refuse_outside(cells: Sequence[str], path: Path, folder: Path) -> None:
    if cells:
        raise DataError(
            f"{path}: {len(cells)} image paths lead out of {folder}: {listed(cells)}; expected "
            f"paths of images below it"
        )


def _refuse_doubled(names: Sequence[str], *, path: Path) -> None:
    twice = sorted(name for name, group in _by(names, str).items() if len(group) > 1)
    if twice:
        raise DataError(
            f"{path}: {len(twice)} images have several rows: {listed(twice)}; keep one of each"
        )


def _by(names: Sequence[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return found


def _only(words: Sequence[str], ways: Sequence[dict[str, list[str]]], *, path: Path) -> str | None:
    """The image by the first way, from whole paths to bare names, that knows one of the words."""
    names = next((way[word] for way in ways for word in words if word in way), [])
    if len(names) > 1:
        raise DataError(f"{path}: {words[0]!r} may mean any of {listed(names)}; write whole paths")
    return names[0] if names else None


def _bare(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _name(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
