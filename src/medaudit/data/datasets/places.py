"""Where the images of a data set lie."""

from __future__ import annotations

import filecmp
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

log = logging.getLogger(__name__)


def find(root: Path, names: Sequence[str]) -> list[Path]:
    """Entries of `root` with these names in any letter case, in the order of `names`."""
    require_folder(root)
    entries: dict[str, list[Path]] = {}
    for entry in sorted(root.iterdir()):
        entries.setdefault(entry.name.lower(), []).append(entry)
    return [entry for name in names for entry in entries.get(name.lower(), [])]


def require_folder(root: Path) -> None:
    """Raise a `DataError` where `root` is no folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; put the data there or set `data.root`")


def images_in(folder: Path) -> list[Path]:
    """Image files that lie in `folder` itself, sorted."""
    return [path for path in sorted(folder.iterdir()) if _is_image(path)]


def images_below(folders: Sequence[Path], *, skip: Sequence[str] = ()) -> list[Path]:
    """Image files in `folders` and the folders in them, save those called `skip` in any case.

    Raises:
        DataError: a folder cannot be read, or a name is no text.
    """
    unwanted = {name.lower() for name in skip}
    return [
        path
        for folder in folders
        for path in sorted(_files_below(folder))
        if _is_image(path)
        and unwanted.isdisjoint(part.lower() for part in path.relative_to(folder).parts[:-1])
    ]


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links to folders are named in a warning and not followed."""
    for place, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(place)
        links = [str(here / name) for name in folders if (here / name).is_symlink()]
        if links:
            log.warning("%s: links to folders are not followed; copy what they hold", listed(links))
        for name in names:
            if not name.isprintable():
                raise DataError(f"{place}: a file name that is no plain text, {name!r}; rename it")
            yield here / name


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: cannot be read ({error.strerror}); its images would be left out"
    )


def by_stem(paths: Sequence[Path], *, strip: str = "") -> dict[str, Path]:
    """Image files by stem without the ending `strip`; of copies the first.

    Raises:
        DataError: two files of one stem hold different bytes, so that either could be meant.
    """
    found: dict[str, Path] = {}
    for path in paths:
        first = found.setdefault(path.stem.removesuffix(strip), path)
        if first != path and not filecmp.cmp(first, path, shallow=False):
            raise DataError(f"{first} and {path}: two different files of one image; remove one")
    if len(found) < len(paths):
        log.info("%d image files are copies of others and left out", len(paths) - len(found))
    return found


def warn_of_links(root: Path, folders: Sequence[Path]) -> None:
    """Say that DVC does not track what lies behind symbolic links, where there are any."""
    above = () if root.is_absolute() else root.parents
    links = [path for path in (*above, root, *folders) if path.is_symlink()]
    if links:
        log.warning(
            "%s: a symbolic link; DVC does not see through links, so a change of the data behind "
            "it starts no stage: put the files there themselves",
            listed(links),
        )


def within(root: Path, cells: Iterable[str], *, table: Path, anywhere: bool) -> list[Path]:
    """The places that the cells of a table name, relative to `root` or absolute.

    Links are followed, since a link below the root may lead out of it as well as `..` does.

    Args:
        root: folder of the data set.
        cells: paths as they stand in the table.
        table: for the error.
        anywhere: whether absolute paths and links may lead out of the root; `..` never may.

    Raises:
        DataError: paths that leave the root, quoted.
    """
    parents: dict[str, str] = {}
    top = os.path.realpath(root)
    found, outside = [], []
    for cell in cells:
        path = os.path.normpath(root / cell)
        inside = _below(_real(path, parents), top)
        relative = not Path(cell).is_absolute()
        if not inside and (not anywhere or (relative and not _below(path, os.path.normpath(root)))):
            outside.append(cell)
        found.append(Path(path))
    if outside:
        raise DataError(
            f"{table}: {len(outside)} image paths lead out of {root}: {listed(outside)}; put the "
            f"images below it, or set `data.allow_absolute: true` where absolute paths or links "
            f"are meant"
        )
    return found


def paths_for(ids: pd.Series[str], files: Mapping[str, Path]) -> pd.Series:
    """Path of every id as text, missing where there is no file."""
    return ids.map({name: str(path) for name, path in files.items()}).astype(object)


def without_suffix(ids: pd.Series[str]) -> pd.Series[str]:
    """Ids with an image suffix such as `.jpg` taken off."""
    return ids.map(_bare, na_action="ignore")


def _bare(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _real(path: str, parents: dict[str, str]) -> str:
    """`os.path.realpath`, asking once per folder: tables name thousands of files in a few."""
    folder, name = os.path.split(path)
    if folder not in parents:
        parents[folder] = os.path.realpath(folder)
    place = Path(parents[folder], name)
    return os.path.realpath(place) if place.is_symlink() else str(place)


def _below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _is_image(path: Path) -> bool:
    hidden = any(part.startswith(("._", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not path.is_dir()
