"""Your own table: one row per image, labels in one column or in several columns of 0 and 1."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from medaudit.core.errors import DataError, listed, lookup
from medaudit.core.params import each_once
from medaudit.data import splits
from medaudit.data.datasets import base, source_files
from medaudit.data.datasets.base import DataParams, LeftOut, RawDataset
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

NAME_GROUP = "Set `data.group` to the column of the patient or lesion."
MOST_LEVELS = 30  # of a text column that is sliced unasked
MOST_CLASSES = 100  # that are taken from a column unasked
FEW_ROWS = 50  # below that a column of distinct whole numbers need not be an id

log = logging.getLogger(__name__)

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(each_once)]


class Params(DataParams):
    """What the columns of the table mean.

    Args:
        table: the file, relative to the root.
        image_column: paths of the images, relative to the root or absolute.
        labels: columns of 0 and 1, for images with any number of findings.
        label: one column of class names, for images of one class each. Give this or `labels`.
        classes: the values of `label` in their order; by default all values, sorted.
        critical: the label or class that must not be missed, if any.
        group: column of the patient or lesion; without it every image stands alone.
        split: column of given roles: train, val (valid, validation, validation), calibration (cal),
            test. Roles that no row has are made by dividing; empty cells may get any role.
        slices: columns to slice by; by default all others of a few texts or of numbers.
        uncertain: what a label cell that is empty or -1 means: `stop`, count it as `negative`, or
            `leave_out` the row.
        allow_absolute: whether absolute paths and links may lead out of the root.
    """

    dataset: str = "csv"
    table: Name
    image_column: Name = "image_path"
    labels: Names | None = None
    label: Name | None = None
    classes: Annotated[tuple[Name, ...], AfterValidator(each_once)] | None = None
    critical: Name | None = None
    group: Name | None = None
    split: Name | None = None
    slices: Names | None = None
    uncertain: Literal["stop", "negative", "leave_out"] = "stop"
    allow_absolute: bool = False

    @property
    def meant(self) -> tuple[str, ...]:
        """Columns that are no slices: image, labels, group and split."""
        single = (self.image_column, self.label, self.group, self.split)
        return (*(name for name in single if name is not None), *(self.labels or ()))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.labels is None) == (self.label is None):
            raise ValueError("give `labels` (columns of 0 and 1) or `label` (one column)")
        if self.label is None and self.classes is not None:
            raise ValueError("`classes` belongs to `label`, not to `labels`")
        if self.label is not None and self.uncertain == "negative":
            raise ValueError("`uncertain: negative` belongs to `labels`, not to `label`")
        each_once((*self.meant, *(self.slices or ())))
        if "sample_id" in self.meant:
            raise ValueError("`sample_id` is a name that medaudit gives itself; rename the column")
        if self.labels and self.critical is not None:
            lookup("critical label", self.critical, dict.fromkeys(self.labels))
        return self


def load(params: Params) -> RawDataset:
    """Read the table; unknown columns, values and paths are named."""
    table = _table(params)
    cells = source_files.read_table(
        table,
        required=(*params.meant, *(params.slices or ())),
        verbatim=() if params.label is None else (params.label,),
    )
    filled = [params.image_column, *([] if params.group is None else [params.group])]
    base.require_filled(cells, filled, path=table)
    ids, paths = _paths(cells, params, table=table)
    cells = cells.assign(sample_id=ids, image_path=paths)
    cells, uncertain, assumed = _certain(cells, params, table=table)
    slices = _slices(cells, params)
    rows, schema = _rows(cells, params, table=table, slices=slices)
    rows, notes = _with_roles(rows, cells, params, table=table)
    rows, again = base.each_image_once(rows, path=table)
    if params.group is None:
        notes = (*base.warn_without_groups(NAME_GROUP), *notes)
    notes = (*notes, *assumed)
    return RawDataset(
        name="csv",
        schema=schema,
        rows=rows,
        slice_columns=slices,
        group_meaning="image" if params.group is None else params.group.removesuffix("_id"),
        left_out=(uncertain, again),
        notes=notes,
    )


def _table(params: Params) -> Path:
    source_files.require_folder(params.root)
    source_files.warn_of_links(params.root, [])
    table = params.root / params.table
    if not table.is_file():
        raise DataError(f"{table}: no such table; `data.table` is relative to `data.root`")
    if not table.resolve().is_relative_to(params.root.resolve()):
        raise DataError(
            f"{table}: lies outside of {params.root}, where DVC would not see that it changed; put "
            f"it there"
        )
    return table


def _paths(
    cells: pd.DataFrame, params: Params, *, table: Path
) -> tuple[list[str], list[str | float]]:
    """Ids, relative to the folder that holds all the images; paths, NaN where nothing is there."""
    found = source_files.within(
        params.root, cells[params.image_column], table=table, anywhere=params.allow_absolute
    )
    there = [str(path) if path.exists() else np.nan for path in found]
    if not any(isinstance(path, str) for path in there):
        example = f", such as {found[0]}" if found else ""
        raise DataError(
            f"{table}: none of its {len(found)} images is there{example}; "
            f"paths in `{params.image_column}` are relative to `data.root`"
        )
    full = [os.path.abspath(path) for path in found]  # noqa: PTH100  resolve would follow links
    top = os.path.abspath(params.root)  # noqa: PTH100  as above
    start = top if all(path.startswith(top + os.sep) for path in full) else _above(full, top)
    ids = [os.path.relpath(path, start).replace(os.sep, "/") for path in full]
    return ids, there


def _above(paths: Sequence[str], root: str) -> str:
    log.warning("images lie outside of %s, where DVC does not see that they change", root)
    return os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  text in


def _certain(
    cells: pd.DataFrame, params: Params, *, table: Path
) -> tuple[pd.DataFrame, LeftOut, tuple[str, ...]]:
    """The rows whose labels count, with numbers in the columns of 0 and 1; and notes."""
    columns = params.labels or (str(params.label),)
    if params.labels:
        cells = cells.assign(
            **{name: source_files.flags(cells, name, path=table) for name in params.labels}
        )
    unknown = cells[list(columns)].isna()
    ids = tuple(cells.loc[unknown.any(axis=1), "sample_id"])
    if ids and params.uncertain == "stop":
        ways = "`negative` or `leave_out`" if params.labels else "`leave_out`"
        raise DataError(
            f"{table}: label {listed(list(unknown.columns[unknown.any()]))} is empty or -1 in "
            f"{len(ids)} rows: {listed(ids)}; fill it, or set `data.uncertain` to {ways}"
        )
    if params.uncertain == "negative":
        notes = _assumed_negative(unknown, table=table)
        return cells.fillna(dict.fromkeys(columns, 0.0)), LeftOut("uncertain label", ()), notes
    kept = cells[~unknown.any(axis=1)].reset_index(drop=True)
    return kept, LeftOut("uncertain label", ids), ()


def _assumed_negative(unknown: pd.DataFrame, *, table: Path) -> tuple[str, ...]:
    """Say once, and return as a note for the report, how many cells count as negative."""
    counts = {str(name): int(n) for name, n in unknown.sum().items() if n}
    if not counts:
        return ()
    each = listed([f"{name} {n}" for name, n in counts.items()], limit=20)
    note = (
        f"Label cells that are empty or -1 count as negative (images of {len(unknown)}: {each}); "
        f"findings among them are errors of the truth."
    )
    log.warning("%s: %s", table, note)
    return (note,)


def _rows(
    cells: pd.DataFrame, params: Params, *, table: Path, slices: Sequence[str]
) -> tuple[pd.DataFrame, Schema]:
    rows = cells[["sample_id", "image_path"]].assign(mask_path=np.nan)
    rows["group_id"] = cells["sample_id"] if params.group is None else cells[params.group]
    if params.labels:
        rows["target"] = cells[list(params.labels)].to_numpy(dtype=np.int64).tolist()
        schema = Schema("multilabel", params.labels, params.critical)
    else:
        column = str(params.label)
        classes = params.classes or _classes(cells[column], table)
        rows["target"] = source_files.class_indices(cells, column, classes=classes, path=table)
        schema = Schema("multiclass", classes, params.critical)
    base.refuse_taken_names(cells[list(slices)], path=table)
    for name in slices:
        rows[name] = source_files.typed(cells, name)
    return rows, schema


def _classes(column: pd.Series[str], table: Path) -> tuple[str, ...]:
    found = tuple(sorted(column.unique()))
    if not 1 < len(found) <= MOST_CLASSES:
        raise DataError(
            f"{table}: column `{column.name}` has {len(found)} classes ({listed(found)}); expected "
            f"2 to {MOST_CLASSES}; name another column in `data.label`, or list `data.classes`"
        )
    return found


def _with_roles(
    rows: pd.DataFrame, cells: pd.DataFrame, params: Params, *, table: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if params.split is None:
        return rows, ()
    roles, notes = splits.completed(splits.roles_of(cells[params.split], source=table))
    return rows.assign(role=roles), notes


def _slices(cells: pd.DataFrame, params: Params) -> tuple[str, ...]:
    if params.slices is not None:
        return params.slices
    others = [str(name) for name in cells if name not in {*params.meant, "sample_id", "image_path"}]
    chosen = tuple(name for name in others if name not in base.TAKEN and _sliceable(cells, name))
    unfit = [name for name in others if name not in chosen]
    if unfit:
        log.info("columns that are not sliced: %s; `data.slices` names those wanted", listed(unfit))
    return chosen


def _sliceable(cells: pd.DataFrame, name: str) -> bool:
    """Whether a column is a measure or a category, and neither empty nor an id or free text."""
    values = source_files.typed(cells, name).dropna()
    if values.empty or values.dtype != float:
        return bool(0 < values.nunique() <= MOST_LEVELS)
    whole = bool((values % 1 == 0).all())
    return not (whole and bool(values.is_unique) and len(values) >= FEW_ROWS)
