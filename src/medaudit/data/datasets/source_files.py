"""The files of a data set: where its images lie, and what the cells of its text tables mean."""

from __future__ import annotations

import csv
import filecmp
import gzip
import io
import itertools
import logging
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medaudit.core.errors import DataError, listed, quoted, unprintable
from medaudit.core.files import plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        for name in (*folders, *names):
            require_text(name, folder=here)
        yield from (here / name for name in names)


def require_text(name: str, *, folder: Path) -> None:
    """Raise a `DataError` where the name of a file or folder is no text, such as not UTF-8."""
    if not name.isprintable():
        raise DataError(f"{folder}: a name that is no plain text, {quoted(name)}; rename it")


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


_MISSING = frozenset({"", "na", "nan", "n/a", "null", "none"})
_DELIMITERS = ",;\t"
_FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
_UNCERTAIN = -1.0  # as in the CheXpert tables

MOST_TEXT = 512 << 20  # characters of a table, unpacked
MOST_CELLS = 20_000_000  # of a table; text cells take about 100 bytes each
MOST_COLUMNS = 10_000
_MOST_BLANK = 1 << 20  # rows; what spreadsheets append
_LONGEST_LINE = 1 << 20  # characters
# How far a packed table may unpack: real ones to 5 to 50 times their size, an attack to 1000.
_UNPACKED_FREELY, _UNPACKED_TIMES = 8 << 20, 100


def read_table(
    path: Path, *, required: Sequence[str], verbatim: Sequence[str] = ()
) -> pd.DataFrame:
    """Text cells of a CSV or TSV file; empty cells and the usual words for "missing" become NaN.

    In the columns `verbatim` only an empty cell is missing: a class may be called "none".

    Commas, semicolons or tabs, with or without a byte order mark, plain or `.gz`; names and cells
    are stripped. Columns without a name (a comma at the end of the lines, the index of a data
    frame) are left out.

    Raises:
        DataError: not text, a column is missing or doubled, a line is too long or too short, a cell
            holds an unprintable character, or there is more than a table of this kind holds.
    """
    lines = _lines(path)
    header, body = (_without_tail(lines[0]), lines[1:]) if lines else ([], [])
    _check_header(path, header, required)
    body = [_cut(line, len(header)) for line in body]
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(line)} cells where the header has {len(header)}"
            )
    rows = pd.DataFrame(body, columns=header, dtype=object)
    rows = rows[[name for name in header if name]]
    missing = rows.apply(lambda column: column.str.lower().isin(_MISSING))
    for name in verbatim:
        if name in rows:
            missing[name] = rows[name] == ""
    return rows.mask(missing)


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


def flags(rows: pd.DataFrame, column: str, *, path: Path) -> pd.Series[float]:
    """A column of 0 and 1 (or false and true), NaN where it is empty or -1, which is uncertain.

    Raises:
        DataError: other values, quoted with their ids.
    """
    words = rows[column].str.lower().map(_FLAGS)
    values = words.fillna(pd.to_numeric(rows[column], errors="coerce"))
    wrong = rows[column].notna() & ~values.isin([0.0, 1.0, _UNCERTAIN])
    if wrong.any():
        found = [quoted(value) for value in rows.loc[wrong, column].unique()]
        raise DataError(
            f"{path}: label `{column}` must be 0 or 1, got {listed(found)} in "
            f"{listed(rows.loc[wrong, 'sample_id'].tolist())}; correct the cells"
        )
    return values.where(values != _UNCERTAIN).astype(float)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, stripped; refused as `read_table` does."""
    try:
        lines = list(itertools.islice(_text(path), MOST_CELLS))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    for number, line in enumerate(lines, start=1):
        _refuse_unprintable([line.rstrip("\r\n")], path=path, row=number)
    return [line.strip() for line in lines if line.strip()]


def read_parquet(path: Path) -> pd.DataFrame:
    """A parquet file as a table; columns of lists and the like are left out and named in the log.

    Raises:
        DataError: not a whole parquet file, a column stands twice, a cell holds an unprintable
            character, or there is more than a table of this kind holds.
    """
    try:
        frame = _parquet(path)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  Arrow and pandas believe what the file says
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"{path}: not a readable parquet file ({reason})") from None
    for name in frame.columns:
        _refuse_unprintable([str(name)], path=path, row=0)
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = _words(frame[name], path=path)
    return frame


def _parquet(path: Path) -> pd.DataFrame:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    fields = list(file.schema_arrow)
    _check_header(path, [field.name for field in fields], ())
    packed = sum(
        file.metadata.row_group(group).column(column).total_uncompressed_size
        for group in range(file.metadata.num_row_groups)
        for column in range(file.metadata.num_columns)
    )
    _check_extent(path, file.metadata.num_rows * len(fields), packed)
    nested = [field.name for field in fields if pa.types.is_nested(field.type)]
    if nested:
        log.info("%s: columns of lists are not read: %s", path, listed(nested))
    # As dictionaries, so that a long text that stands in many rows is in memory once.
    texts = [field.name for field in fields if _is_text(field.type)]
    file = pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True)
    kept = [field.name for field in fields if field.name not in nested]
    found: pd.DataFrame = file.read(columns=kept, use_threads=False).to_pandas()
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_extent(path: Path, cells: int, characters: int) -> None:
    if cells > MOST_CELLS or characters > MOST_TEXT:
        raise DataError(
            f"{path}: expected at most {MOST_CELLS:,} cells and {MOST_TEXT:,} characters, got "
            f"more; leave out the columns that are not needed"
        )


def _words(column: pd.Series, *, path: Path) -> pd.Series:
    for code, word in enumerate(column.cat.categories):
        if isinstance(word, str) and unprintable(word):
            row = int(np.flatnonzero(column.cat.codes == code)[0]) + 1
            _refuse_unprintable([word], path=path, row=row)
    return column.astype(object)


def _lines(path: Path) -> list[list[str]]:
    """The rows of a table that are not empty, cell by cell."""
    text = _text(path)
    header = next(text, "")
    delimiter = max(_DELIMITERS, key=header.count)
    found: list[list[str]] = []
    cells = blank = 0
    try:
        for row in csv.reader(itertools.chain([header], text), delimiter=delimiter, strict=True):
            if any("\r" in cell for cell in row):  # line ends within a cell, as spreadsheets write
                row = [cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row]
            _refuse_unprintable(row, path=path, row=len(found) + 1)
            stripped = [cell.strip() for cell in row]
            if any(stripped):
                found.append(stripped)
                cells += len(row)
                _check_extent(path, cells, 0)
            elif (blank := blank + 1) > _MOST_BLANK:
                raise DataError(f"{path}: more than {_MOST_BLANK:,} empty rows; remove them")
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table: {error}") from None
    return found


def _text(path: Path) -> Iterator[str]:
    """The lines of a text file, plain or packed, as long as they do not become too much."""
    packed = plain_file(path).suffix.lower() == ".gz"
    left = MOST_TEXT
    try:
        if packed:
            _check_unpacked(path)
        with (
            gzip.open(path) if packed else path.open("rb") as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text,
        ):
            while line := text.readline(_LONGEST_LINE + 1):
                left -= len(line)
                if left < 0 or len(line) > _LONGEST_LINE:
                    raise DataError(
                        f"{path}: expected lines of at most {_LONGEST_LINE:,} characters, "
                        f"{MOST_TEXT:,} together, got more; is it the right file?"
                    )
                yield line
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected UTF-8 text, got other bytes; save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again") from None


def _check_unpacked(path: Path) -> None:
    """Refuse a packed file that is far larger unpacked, before its rows take time and memory."""
    most = min(MOST_TEXT, max(_UNPACKED_FREELY, _UNPACKED_TIMES * path.stat().st_size))
    with gzip.open(path) as raw:
        for n in itertools.count(1):
            if not raw.read(_LONGEST_LINE):
                return
            if n * _LONGEST_LINE > most:
                raise DataError(
                    f"{path}: unpacks to more than {most:,} bytes, {_UNPACKED_TIMES} times its "
                    f"size, as no table does; is it the right file?"
                )


def _refuse_unprintable(cells: Sequence[str], *, path: Path, row: int) -> None:
    odd = unprintable("".join(cells))
    if odd is not None:
        cell = next(cell for cell in cells if unprintable(cell))
        raise DataError(
            f"{path}: unprintable character {odd} in row {row}, cell {quoted(cell)}; remove it"
        )


def _without_tail(header: list[str]) -> list[str]:
    while header and not header[-1]:
        header = header[:-1]
    return header


def _cut(line: list[str], width: int) -> list[str]:
    return line[:width] if not any(line[width:]) else line


def _check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        found = listed([name for name in header if name], limit=20) or "nothing"
        raise DataError(f"{path}: missing columns {listed(missing, limit=20)}; found {found}")
    doubled = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if doubled:
        raise DataError(f"{path}: columns stand twice: {listed(doubled)}")
    if len(header) > MOST_COLUMNS:
        raise DataError(f"{path}: expected at most {MOST_COLUMNS} columns, got {len(header)}")
