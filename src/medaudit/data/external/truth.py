"""What is true of samples that were predicted elsewhere."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medaudit.data.datasets import tables
from medaudit.data.external.outputs import column_of, ids_of, read_frame
from medaudit.errors import DataError, ParamsError, listed
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TruthColumns:
    """Where the truth stands in a table; exactly one of the three forms.

    Args:
        label: column with one class name per sample.
        labels: columns of 0 and 1, one per label.
        label_list: column that lists the labels of a sample.
        separator: between the labels in `label_list`.
        id_column: column of the sample ids; the first one if `None`.
    """

    label: str | None = None
    labels: tuple[str, ...] = ()
    label_list: str | None = None
    separator: str = "|"
    id_column: str | None = None

    def __post_init__(self) -> None:
        if not self.separator:
            raise ParamsError("--separator: expected what stands between labels, got nothing")
        given = [self.label is not None, bool(self.labels), self.label_list is not None]
        if sum(given) != 1:
            raise ParamsError(
                "say where the truth stands, in exactly one way: one column of class names, "
                "several columns of 0 and 1, or one column that lists labels"
            )

    @property
    def task(self) -> str:
        """One class name per sample excludes others; labels do not."""
        return "multiclass" if self.label is not None else "multilabel"


@dataclass(frozen=True, eq=False)
class Truth:
    """Schema, ids (n,) and targets as the task understands them."""

    path: Path
    schema: Schema
    ids: npt.NDArray[np.str_]
    targets: npt.NDArray[np.int64]


def read_truth(
    path: Path, columns: TruthColumns, *, names: tuple[str, ...], critical: str | None
) -> Truth:
    """Read the truth of every sample for the outputs `names`.

    Raises:
        DataError: missing columns, unknown classes, cells that are not 0 or 1, repeated ids.
    """
    named = [name for name in (columns.label, columns.label_list) if name is not None]
    frame = read_frame(path, verbatim=named)
    frame.columns = frame.columns.map(str)
    frame = frame.astype(object).where(frame.notna(), None)
    id_name = column_of(frame, columns.id_column, path=path, what="sample ids")
    ids = ids_of(frame, id_name, path=path)
    rows = frame.assign(sample_id=ids).map(_text)
    schema = Schema(columns.task, names, critical)
    if columns.label is not None:
        column = column_of(frame, columns.label, path=path, what="class names")
        targets = tables.class_indices(rows, column, classes=names, path=path).to_numpy()
    elif columns.label_list is not None:
        column = column_of(frame, columns.label_list, path=path, what="lists of labels")
        targets = _listed_labels(rows, column, names, separator=columns.separator, path=path)
    else:
        targets = _flag_columns(rows, columns.labels, names, path=path)
    return Truth(path, schema, ids, targets.astype(np.int64))


def _text(cell: object) -> object:
    if cell is None:
        return np.nan
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _flag_columns(
    rows: pd.DataFrame, labels: tuple[str, ...], names: tuple[str, ...], *, path: Path
) -> npt.NDArray[np.int64]:
    if set(labels) != set(names):
        odd = sorted(set(labels) ^ set(names))
        raise DataError(
            f"{path}: the predictions are for {listed(names, limit=20)}, and the labels asked for "
            f"differ from them in {listed(odd)}; name the same ones"
        )
    for name in names:
        column_of(rows, name, path=path, what="a label")
    found = {name: tables.flags(rows, name, path=path) for name in names}
    for name, values in found.items():
        if values.isna().any():
            ids = rows.loc[values.isna(), "sample_id"].tolist()
            raise DataError(f"{path}: label `{name}` is empty or uncertain for {listed(ids)}")
    return np.column_stack([found[name].to_numpy() for name in names]).astype(np.int64)


def _listed_labels(
    rows: pd.DataFrame, column: str, names: tuple[str, ...], *, separator: str, path: Path
) -> npt.NDArray[np.int64]:
    sets = [
        {part.strip() for part in str(cell).split(separator)} for cell in rows[column].fillna("")
    ]
    known = set().union(*sets) if sets else set()
    absent = [name for name in names if name not in known]
    told = f"{path}: column `{column}` never lists {listed(absent)}"
    if len(absent) == len(names):
        raise DataError(
            f"{told}; it lists {listed(sorted(known - {''}), limit=20)}; check the names of the "
            f"outputs, their prefix, and the separator {separator!r}"
        )
    if absent:
        log.warning("%s: no sample has them, and their metrics are undefined", told)
    return np.array([[name in found for name in names] for found in sets], dtype=np.int64)
