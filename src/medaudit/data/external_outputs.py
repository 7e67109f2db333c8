"""Model outputs in files, a row per sample and a column per class; outputs that stand twice."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from medaudit.core.arrays import read_npy
from medaudit.core.errors import DataError, listed, quoted, unprintable
from medaudit.data.datasets import source_files
from medaudit.tables import tasks
from medaudit.tables.operating_points import FOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from medaudit.core.arrays import BoolArray, Float32Array, Float64Array, IntArray
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.tasks.base import Task

log = logging.getLogger(__name__)

Kind = Literal["probabilities", "logits"]


# Printed or single-precision probabilities of a class list may miss 1 by so much.
SUM_SLACK = 1e-3
ROUNDING_SLACK = 1e-6
LONGEST_NAME = 1000  # characters of an id or a group


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model gave out, and where it was read.

    Args:
        path: the file.
        ids: sample ids, (n,).
        names: classes or labels, k of them.
        numbers: (n, k).
    """

    path: Path
    ids: npt.NDArray[np.str_]
    names: tuple[str, ...]
    numbers: Float64Array


def read_outputs(
    path: Path,
    *,
    id_column: str | None = None,
    prefix: str = "",
    names: Sequence[str] = (),
    ids: Path | None = None,
) -> Outputs:
    """Read a `.csv`, `.csv.gz`, `.tsv`, `.parquet` or `.npy` file of outputs.

    Args:
        path: the file.
        id_column: column of the sample ids; the first one if `None`.
        prefix: taken off the names of the output columns; only columns with it are outputs.
        names: the outputs to read; needed for `.npy`, whose columns have no names.
        ids: text file with one sample id a line; needed for `.npy`, whose rows have none.

    Raises:
        DataError: missing or doubled ids or columns, cells that are not finite numbers.
    """
    found = (
        _from_array(path, names=names, ids=ids)
        if path.suffix.lower() == ".npy"
        else _from_table(read_frame(path), path, id_column=id_column, prefix=prefix, names=names)
    )
    check_outputs(found)
    return found


def read_frame(path: Path, *, verbatim: Sequence[str] = ()) -> pd.DataFrame:
    """A table of any of the known formats; cells of text files are text.

    In the columns `verbatim` the word "none" is a word and no missing cell.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".parquet":
        return source_files.read_parquet(path)
    return source_files.read_table(path, required=(), verbatim=verbatim)


def stored_logits(found: Outputs, task: Task, *, kind: Kind) -> Float32Array:
    """Logits as a prediction table holds them, (1, n, k).

    Raises:
        DataError: probabilities outside [0, 1], or of a class list that do not add up to 1.
    """
    values = found.numbers
    if task.exclusive and len(found.names) < 2:
        raise DataError(
            f"{found.path}: one output {quoted(found.names[0])} cannot be one class out of "
            f"several; give all classes, or name it as a label with a column of 0 and 1"
        )
    if kind == "probabilities":
        _check_probabilities(found, exclusive=task.exclusive)
        values = task.logits(np.clip(values, 0.0, 1.0))
    elif values.min() >= 0 and values.max() <= 1:
        log.warning(
            "%s: declared logits, but all of them lie in [0, 1]; declare probabilities if they "
            "are probabilities",
            found.path,
        )
    return values[np.newaxis].astype(np.float32)


def column_of(frame: pd.DataFrame, name: str | None, *, path: Path, what: str) -> str:
    """The named column, or the first one; an error lists what is there."""
    columns = [str(column) for column in frame.columns]
    if name is None and columns:
        return columns[0]
    if name not in columns:
        raise DataError(
            f"{path}: no column {quoted(name)} for {what}; columns there: "
            f"{listed(columns, limit=20)}"
        )
    return str(name)


def ids_of(frame: pd.DataFrame, column: str, *, path: Path) -> npt.NDArray[np.str_]:
    """Sample ids of a table, all present and each once."""
    cells = frame[column]
    empty = np.flatnonzero(cells.isna())
    if len(empty):
        raise DataError(f"{path}: empty `{column}` in rows {listed([int(r) + 2 for r in empty])}")
    refuse_odd_names(map(str, cells), what=f"{path}: column `{column}`")
    ids = cells.astype(str)
    repeated = ids[ids.duplicated()].unique().tolist()
    if repeated:
        raise DataError(
            f"{path}: expected every id in `{column}` once, got {len(repeated)} of them more than "
            f"once: {listed(repeated)}; remove the repeated rows"
        )
    return np.asarray(ids, dtype=np.str_)


def refuse_odd_names(names: Iterable[str], *, what: str) -> None:
    """Refuse ids, groups and names that cannot be shown, or are so long that they are none.

    Raises:
        DataError: an unprintable character, or more than `LONGEST_NAME` characters.
    """
    for row, name in enumerate(names, start=1):
        odd = unprintable(name)
        if odd is not None or len(name) > LONGEST_NAME:
            reason = f"unprintable character {odd}" if odd else f"{len(name)} characters"
            raise DataError(
                f"{what}: {reason} in entry {row}, {quoted(name)}; expected printable text of at "
                f"most {LONGEST_NAME} characters"
            )


def _from_table(
    frame: pd.DataFrame, path: Path, *, id_column: str | None, prefix: str, names: Sequence[str]
) -> Outputs:
    frame.columns = frame.columns.map(str)
    id_name = column_of(frame, id_column, path=path, what="sample ids")
    others = [name for name in frame.columns if name != id_name and name.startswith(prefix)]
    wanted = [f"{prefix}{name}" for name in names] or others
    absent = [name for name in wanted if name not in frame]
    if absent or not wanted:
        raise DataError(
            f"{path}: no output columns {listed(absent) or f'that begin with {prefix!r}'}; "
            f"columns there: {listed(list(frame.columns), limit=20)}"
        )
    ids = ids_of(frame, id_name, path=path)
    numbers = frame[wanted].apply(pd.to_numeric, errors="coerce")
    wrong = numbers.isna() & frame[wanted].notna()
    if wrong.to_numpy().any():
        column = str(wrong.any().idxmax())
        cells = frame.loc[wrong[column], column].unique().tolist()
        raise DataError(
            f"{path}: column `{column}` must hold numbers, got {listed(cells)}; name the output "
            f"columns or give their prefix if it is no output"
        )
    outputs = tuple(name.removeprefix(prefix) for name in wanted)
    return Outputs(path, ids, outputs, numbers.to_numpy(dtype=np.float64))


def _from_array(path: Path, *, names: Sequence[str], ids: Path | None) -> Outputs:
    if ids is None or not names:
        raise DataError(
            f"{path}: rows and columns of an .npy file have no names; give a text file of ids, one "
            f"a line, and the names of the outputs in the order of the columns"
        )
    try:
        values = read_npy(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    lines = pd.DataFrame({"id": source_files.read_lines(ids)}, dtype=object)
    expected = (len(lines), len(names))
    if values.shape != expected or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: expected numbers of shape {expected}, one row for each id of {ids} and one "
            f"column for each of {listed(list(names))}, got {values.dtype} {values.shape}"
        )
    found = ids_of(lines, "id", path=ids)
    return Outputs(path, found, tuple(names), values.astype(np.float64))


def check_outputs(found: Outputs) -> None:
    """Refuse outputs without rows, numbers that are not finite, and names that stand twice."""
    if not len(found.ids):
        raise DataError(f"{found.path}: no rows")
    broken = ~np.isfinite(found.numbers).all(axis=1)
    if broken.any():
        raise DataError(
            f"{found.path}: expected finite numbers, got empty, NaN or infinite ones for "
            f"{listed(found.ids[broken].tolist())}"
        )
    if len(set(found.names)) != len(found.names):
        raise DataError(f"{found.path}: output columns stand twice: {listed(found.names)}")
    refuse_odd_names(found.names, what=f"{found.path}: names of the outputs")


def _check_probabilities(found: Outputs, *, exclusive: bool) -> None:
    low, high = found.numbers.min(axis=1), found.numbers.max(axis=1)
    outside = (low < -ROUNDING_SLACK) | (high > 1 + ROUNDING_SLACK)
    if outside.any():
        raise DataError(
            f"{found.path}: declared probabilities, but {int(outside.sum())} rows hold numbers "
            f"outside [0, 1]: {listed(found.ids[outside].tolist())}; declare logits if they are "
            f"logits"
        )
    sums = found.numbers.sum(axis=1)
    off = np.abs(sums - 1) > SUM_SLACK
    if exclusive and off.any():
        first = int(np.flatnonzero(off)[0])
        raise DataError(
            f"{found.path}: the probabilities of one class out of {len(found.names)} must add up "
            f"to 1; those of {int(off.sum())} rows do not, such as {found.ids[first]} "
            f"({sums[first]:.4g}); give all classes, or declare labels that do not exclude each "
            f"other"
        )


EXACT_DIGITS, ROUNDED_DIGITS = 7, 5
"""Significant digits of a number in single precision, and of one that is compared rounded."""
COPY_COLUMNS = (
    "test_id",
    "test_group",
    "other_id",
    "other_group",
    "n_copies",
    "same_target",
    "match",
)


@dataclass(frozen=True, eq=False)
class Copies:
    """Samples of different groups that have the same outputs: most likely one image twice.

    Args:
        across_roles: test samples with a copy among those that froze their thresholds, a row each:
            ids and groups of both, how many copies there are, whether the first has the same
            truth, and whether outputs are the same `exact` or `rounded` to five digits.
        in_test: the same of copies inside the test role.
        n_by_chance: test samples whose outputs stand twice but are too coarse to tell a copy from
            a coincidence, such as 0.97 of a single output.
    """

    across_roles: pd.DataFrame
    in_test: pd.DataFrame
    n_by_chance: int

    def notes(self, n_test: int) -> tuple[str, ...]:
        """What a reader of the results must know, a sentence for each kind."""
        found = []
        if len(self.across_roles):
            found.append(
                f"DUPLICATES: {len(self.across_roles)} of {n_test} test samples have the very "
                f"outputs of samples of other groups that froze their thresholds "
                f"(duplicates_across_roles.csv names them). They are most likely the same images, "
                f"so results look better than they are; give both the same group, or leave one out."
            )
        if len(self.in_test):
            found.append(
                f"{len(self.in_test)} of {n_test} test samples have the very outputs of test "
                f"samples of other groups (duplicates_in_test.csv names them). If they are the "
                f"same images, intervals are too narrow."
            )
        return tuple(found)


def copies(table: PredictionTable) -> Copies:
    """Test samples whose outputs stand twice, in samples of different groups.

    Outputs are hashed, as they are and rounded to five digits. They tell a copy where two samples
    of n would share so many digits by chance once in ten tables: free digits ≥ 2 log₁₀ n + 1.

    Args:
        table: clean predictions of the calibration and the test role, or of the test role in folds.
    """
    samples = _Samples.of(table)
    across: dict[int, dict[str, object]] = {}
    beside: dict[int, dict[str, object]] = {}
    doubtful: set[int] = set()
    for match, members, telling in _coincidences(table):
        tested = members[samples.test[members]].tolist()
        if not telling:
            doubtful.update(tested)
            continue
        for row in tested:
            elsewhere, here = samples.others(row, members)
            for found, others in ((across, elsewhere), (beside, here)):
                if len(others):
                    found.setdefault(row, samples.record(row, others, match))
    first, second = (
        pd.DataFrame([found[row] for row in sorted(found)], columns=list(COPY_COLUMNS))
        for found in (across, beside)
    )
    return Copies(first, second, len(doubtful - set(across) - set(beside)))


def _coincidences(table: PredictionTable) -> Iterator[tuple[str, IntArray, bool]]:
    """Rows of several groups with the same outputs: how they match, which, and if that tells."""
    numbers = np.moveaxis(table.logits, 1, 0).reshape(len(table), -1)
    hashes = [("exact", EXACT_DIGITS, _hashes(numbers))]
    hashes += [("rounded", ROUNDED_DIGITS, each) for each in _rounded_hashes(numbers)]
    needed = 2 * np.log10(max(len(table), 2)) + 1
    groups = table.group_ids
    for match, digits, keys in hashes:
        telling = _free_digits(table, digits) >= needed
        for members in _repeated(keys, groups):
            yield match, members, bool(telling[members].all())


@dataclass(frozen=True, eq=False)
class _Samples:
    """What is known of n samples: ids, groups, role or fold, whether they are tested, truth."""

    ids: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]
    test: BoolArray
    targets: IntArray

    @classmethod
    def of(cls, table: PredictionTable) -> _Samples:
        """Of a prediction table."""
        parts = table.rows[FOLD] if FOLD in table.rows else table.rows["role"]
        test = (table.rows["role"] == "test").to_numpy()
        ids = np.array(table.sample_ids)
        return cls(ids, table.group_ids, np.asarray(parts, dtype=str), test, table.targets)

    def others(self, row: int, members: IntArray) -> tuple[IntArray, IntArray]:
        """Those of the members in other groups: of another role or fold, and of the same."""
        apart = members[self.groups[members] != self.groups[row]]
        same = self.parts[apart] == self.parts[row]
        return apart[~same], apart[same]

    def record(self, row: int, others: IntArray, match: str) -> dict[str, object]:
        """A row of the tables of copies."""
        other = int(others[0])
        same = bool(np.array_equal(self.targets[row], self.targets[other]))
        names = (self.ids[row], self.groups[row], self.ids[other], self.groups[other])
        return dict(zip(COPY_COLUMNS, (*names, len(others), same, match), strict=True))


def _hashes(numbers: npt.NDArray[np.generic]) -> npt.NDArray[np.void]:
    """The bytes of every row as one value, (n,)."""
    packed = np.ascontiguousarray(numbers)
    return packed.view(np.dtype((np.void, packed.dtype.itemsize * packed.shape[1]))).ravel()


def _rounded_hashes(numbers: Float32Array) -> list[npt.NDArray[np.void]]:
    """Of rows rounded on two grids, half a step apart: close ones are equal on one of them."""
    scale = 10.0 ** (ROUNDED_DIGITS - 1)
    return [
        _hashes(np.floor(numbers.astype(np.float64) * scale + shift).astype(np.int64))
        for shift in (0.0, 0.5)
    ]


def _repeated(keys: npt.NDArray[np.void], groups: npt.NDArray[np.str_]) -> list[IntArray]:
    """Row numbers of every value that stands in more than one group."""
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(counts)
    parts = [order[end - count : end] for end, count in zip(ends, counts, strict=True) if count > 1]
    return [rows for rows in parts if len(set(groups[rows].tolist())) > 1]


def _free_digits(table: PredictionTable, digits: int) -> Float64Array:
    """Significant digits in which the outputs of every row may differ, (n,).

    Numbers at 0 and 1 have none; those that were printed with d decimals have d; of a class list
    one number follows from the others.
    """
    exclusive = tasks.get(table.schema.task).exclusive
    logits = table.logits.astype(np.float64)
    values = logits
    if table.provenance.get("kind") == "probabilities":
        values = np.exp(logits) if exclusive else 1 / (1 + np.exp(-logits))
        free = (values > 10.0**-digits) & (values < 1 - 10.0**-digits)
    else:
        free = np.ones(values.shape, dtype=bool)
    count = free.sum(axis=2) - int(exclusive)
    return np.asarray(np.maximum(count, 0).sum(axis=0) * min(digits, _decimals(values)))


def _decimals(values: Float64Array) -> int:
    """Decimals with which all numbers were printed, from 1 to 4; `EXACT_DIGITS` if with more."""
    for decimals in range(1, 5):
        scaled = values * 10.0**decimals
        if np.abs(scaled - np.round(scaled)).max(initial=0.0) < 1e-3 * max(1.0, decimals - 2):
            return decimals
    return EXACT_DIGITS
