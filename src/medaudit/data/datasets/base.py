"""What an adapter returns, and the reading that adapters share."""

from __future__ import annotations

import csv
import filecmp
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.errors import DataError, listed
from medaudit.tables.manifest import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.tables.predictions import Schema

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
PAIR_COLUMNS = ("first", "second")
STATISTICS = ("brightness", "contrast", "sharpness", "lesion_area", "width", "height")
TAKEN = (*COLUMNS, "image_path", "mask_path", "logits", "embedding", *STATISTICS)
_MISSING = frozenset({"", "na", "nan", "n/a", "null", "none"})
_DELIMITERS = ",;\t"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawDataset:
    """A data set as it lies on disk, before anything is decoded or left out.

    Args:
        name: key in `DATASETS`.
        schema: task, classes, and the class that must not be missed.
        rows: `sample_id`, `group_id`, `target` (what the task understands: a class index, or a
            list of 0/1), `image_path` and `mask_path` (text, missing where there is no file),
            then `slice_columns`.
        slice_columns: metadata columns that the manifest carries.
        group_meaning: what a group is, for people: "lesion", "patient".
        known_duplicates: `first`, `second`, sample ids of pairs that came listed with the data.
        images_without_row: names of image files that no row claims.
        notes: what a reader of the results must know about the data.
    """

    name: str
    schema: Schema
    rows: pd.DataFrame
    slice_columns: tuple[str, ...]
    group_meaning: str
    known_duplicates: pd.DataFrame
    images_without_row: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_table(path: Path, *, required: Sequence[str]) -> pd.DataFrame:
    """Text cells of a CSV or TSV file; empty cells and the usual words for "missing" become NaN.

    Commas, semicolons or tabs, with or without a byte order mark; names and cells are stripped.

    Raises:
        DataError: not text, a column is missing or doubled, or a line is too long or too short.
    """
    lines = [line for line in _lines(path) if any(line)]
    header, body = (lines[0], lines[1:]) if lines else ([], [])
    _check_header(path, header, required)
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(line)} cells where the header has {len(header)}"
            )
    rows = pd.DataFrame(body, columns=header, dtype=object)
    return rows.mask(rows.apply(lambda column: column.str.lower().isin(_MISSING)))


def numbers(rows: pd.DataFrame, column: str, *, path: Path) -> pd.Series[float]:
    """A column as floats, NaN where missing; a `DataError` quotes what is not a number."""
    values = pd.to_numeric(rows[column], errors="coerce").astype(float)
    wrong = rows[column].notna() & ~np.isfinite(values)
    if wrong.any():
        found = rows.loc[wrong, column].unique().tolist()
        raise DataError(f"{path}: column `{column}` must hold numbers, got {listed(found)}")
    return values


def typed(rows: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats where every present cell is a finite number, otherwise as text."""
    values = pd.to_numeric(rows[column], errors="coerce").astype(float)
    numeric = rows[column].notna().any() and bool((np.isfinite(values) | rows[column].isna()).all())
    return values if numeric else rows[column]


def class_indices(
    rows: pd.DataFrame, column: str, *, classes: Sequence[str], path: Path
) -> pd.Series[int]:
    """Index into `classes` of every cell; a `DataError` quotes other values and their ids."""
    index = {name: position for position, name in enumerate(classes)}
    found = rows[column].map(index)
    wrong = found.isna()
    if wrong.any():
        values = rows.loc[wrong, column].fillna("(empty)").unique().tolist()
        raise DataError(
            f"{path}: column `{column}` has unknown classes {listed(values)} in "
            f"{listed(rows.loc[wrong, 'sample_id'].tolist())}; known: {', '.join(classes)}"
        )
    return found.astype(np.int64)


def require_ids(rows: pd.DataFrame, *, path: Path) -> None:
    """Raise a `DataError` where `sample_id` or `group_id` is empty or a sample id is repeated."""
    for column in ("sample_id", "group_id"):
        empty = np.flatnonzero(rows[column].isna())
        if len(empty):
            lines = [int(row) + 2 for row in empty]
            raise DataError(f"{path}: empty {column} in rows {listed(lines)}")
    repeated = rows.loc[rows["sample_id"].duplicated(), "sample_id"].unique().tolist()
    if repeated:
        raise DataError(f"{path}: image ids must be unique; repeated: {listed(repeated)}")


def refuse_taken_names(rows: pd.DataFrame, *, path: Path) -> None:
    """Raise a `DataError` where a metadata column is called like one that is made later."""
    clash = [name for name in TAKEN if name in rows]
    if clash:
        raise DataError(
            f"{path}: metadata columns with names that medaudit gives itself: {listed(clash)}; "
            f"expected other names: rename it"
        )


def warn_beyond(rows: pd.DataFrame, column: str, *, low: float, high: float, path: Path) -> None:
    """Say how many present values of a column lie beyond [low, high], and in which rows."""
    ids = rows.loc[(rows[column] < low) | (rows[column] > high), "sample_id"].tolist()
    if ids:
        log.warning(
            "%s: expected `%s` in %g..%g, got other values in %d rows: %s; correct or empty them",
            path,
            column,
            low,
            high,
            len(ids),
            listed(ids),
        )


def find(root: Path, names: Sequence[str]) -> list[Path]:
    """Entries of `root` with these names in any letter case, in the order of `names`."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; put the data there or set `data.root`")
    entries: dict[str, list[Path]] = {}
    for entry in sorted(root.iterdir()):
        entries.setdefault(entry.name.lower(), []).append(entry)
    return [entry for name in names for entry in entries.get(name.lower(), [])]


def images_in(folder: Path) -> list[Path]:
    """Image files that lie in `folder` itself, sorted."""
    return [path for path in sorted(folder.iterdir()) if _is_image(path)]


def images_below(folders: Sequence[Path], *, skip: Sequence[str] = ()) -> list[Path]:
    """Image files in `folders` and the folders in them, save those called `skip` in any case."""
    unwanted = {name.lower() for name in skip}
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if _is_image(path)
        and unwanted.isdisjoint(part.lower() for part in path.relative_to(folder).parts[:-1])
    ]


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


def paths_for(ids: pd.Series[str], files: Mapping[str, Path]) -> pd.Series:
    """Path of every id as text, missing where there is no file."""
    return ids.map({name: str(path) for name, path in files.items()}).astype(object)


def read_pairs(path: Path, *, first: str, second: str) -> pd.DataFrame:
    """Pairs of sample ids from two columns that hold ids or file names."""
    rows = read_table(path, required=[first, second])
    return pd.DataFrame(
        {"first": without_suffix(rows[first]), "second": without_suffix(rows[second])}
    )


def known_pairs(pairs: pd.DataFrame, ids: pd.Series[str], *, path: Path) -> pd.DataFrame:
    """The pairs whose two ids are in `ids`; a warning counts and names the other ids."""
    known = pairs.isin(set(ids))
    wrong = pairs.fillna("(empty)").to_numpy()[~known.to_numpy()]
    whole = known.all(axis=1)
    if len(wrong):
        log.warning(
            "%s: expected ids of the metadata, got empty or unknown ones in %d pairs, which are "
            "left out: %s; correct or remove them",
            path,
            int((~whole).sum()),
            listed(list(dict.fromkeys(wrong))),
        )
    return pairs[whole].reset_index(drop=True)


def without_suffix(ids: pd.Series[str]) -> pd.Series[str]:
    """Ids with an image suffix such as `.jpg` taken off."""
    return ids.map(_bare, na_action="ignore")


def no_pairs() -> pd.DataFrame:
    """An empty list of duplicates."""
    return pd.DataFrame(columns=list(PAIR_COLUMNS), dtype=object)


def _bare(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected UTF-8 text, got other bytes; save it as UTF-8") from None
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        return [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table: {error}") from None


def _check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        found = listed(header, limit=20) or "nothing"
        raise DataError(f"{path}: missing columns {listed(missing, limit=20)}; found {found}")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: columns stand twice: {listed(doubled)}")


def _is_image(path: Path) -> bool:
    hidden = any(part.startswith(("._", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not path.is_dir()
