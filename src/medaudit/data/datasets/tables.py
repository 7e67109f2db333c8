"""Text tables that come with a data set, and what their cells mean."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MISSING = frozenset({"", "na", "nan", "n/a", "null", "none"})
_DELIMITERS = ",;\t"
_FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
_UNCERTAIN = -1.0  # as in the CheXpert tables

log = logging.getLogger(__name__)


def read_table(
    path: Path, *, required: Sequence[str], verbatim: Sequence[str] = ()
) -> pd.DataFrame:
    """Text cells of a CSV or TSV file; empty cells and the usual words for "missing" become NaN.

    In the columns `verbatim` only an empty cell is missing: a class may be called "none".

    Commas, semicolons or tabs, with or without a byte order mark, plain or `.gz`; names and cells
    are stripped. Columns without a name (a comma at the end of the lines, the index of a data
    frame) are left out.

    Raises:
        DataError: not text, a column is missing or doubled, or a line is too long or too short.
    """
    lines = [line for line in _lines(path) if any(line)]
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
        found = [repr(value) for value in rows.loc[wrong, column].unique()]
        raise DataError(
            f"{path}: label `{column}` must be 0 or 1, got {listed(found)} in "
            f"{listed(rows.loc[wrong, 'sample_id'].tolist())}; correct the cells"
        )
    return values.where(values != _UNCERTAIN).astype(float)


def _lines(path: Path) -> list[list[str]]:
    text = _text(path)
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        return [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table: {error}") from None


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        packed = path.suffix.lower() == ".gz"
        return (gzip.decompress(content) if packed else content).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected UTF-8 text, got other bytes; save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again") from None


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
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: columns stand twice: {listed(doubled)}")
