"""The table that may come with new images: truth, groups and slice columns, matched to images."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.core.errors import DataError, ParamsError, listed
from medaudit.data.datasets import base, source_files
from medaudit.data.datasets.csv_file import FEW_ROWS, MOST_LEVELS
from medaudit.data.external_outputs import column_of, ids_of, read_frame
from medaudit.data.external_tables import TruthColumns, read_truth
from medaudit.tables import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medaudit.core.arrays import IntArray
    from medaudit.tables.predictions import Schema

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


IMAGE_COLUMN = "image_path"
NO_GROUPS = (
    "It is not known which of the new images show the same patient, so every image counts as a "
    "patient of its own: intervals are too narrow, and patients of the training set go unnoticed."
)
FEW_NUMBERS = 10  # values of a column of numbers that is sliced by its values, at most


@dataclass(frozen=True)
class LabelColumns:
    """Where things stand in the table; what is not given is looked for.

    Args:
        image: paths or names of the images; else `image_path`, else the first column that differs
            in every row.
        label: class names; else the one column that holds them.
        labels: columns of 0 and 1; else those that are called like the labels of the model.
        group: patient or lesion; without it every image stands alone.
        slices: columns to slice by; else all others of a few values or of numbers.
    """

    image: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    group: str | None = None
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of new images.

    Args:
        rows: `sample_id`, `group_id` and slice columns; a row for each image that the table knows.
        targets: as the task understands them, in the order of `rows`; `None` without labels.
        by_value: slice columns that are cut by value.
        by_quantile: slice columns that are cut at quantiles.
        group: column that the groups are read from, if there is one.
        notes: what a reader must know.
    """

    rows: pd.DataFrame
    targets: IntArray | None = None
    by_value: tuple[str, ...] = ()
    by_quantile: tuple[str, ...] = ()
    group: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def group_meaning(self) -> str:
        """What a group is, for people."""
        return self.group.removesuffix("_id") if self.group else "image"

    @property
    def n_labelled(self) -> int:
        """Images whose truth is known."""
        return 0 if self.targets is None else len(self.targets)

    def group_ids(self, sample_ids: Sequence[str]) -> list[str]:
        """Group of every image; one that the table does not know stands alone."""
        known = dict(zip(self.rows["sample_id"], self.rows["group_id"], strict=True))
        return [str(known.get(name, name)) for name in sample_ids]


def nothing() -> Labels:
    """Where no table came with the images."""
    return Labels(pd.DataFrame({"sample_id": [], "group_id": []}, dtype=object))


def read_labels(
    path: Path,
    columns: LabelColumns,
    *,
    schema: Schema,
    folder: Path,
    sample_ids: Sequence[str],
    usual_group: str | None = None,
) -> Labels:
    """Read the table and match its rows with the images.

    Args:
        path: of the table.
        columns: where things stand.
        schema: task and classes of the model.
        folder: of the images.
        sample_ids: of the images.
        usual_group: taken for `columns.group` where that is not named and the table has it.

    Raises:
        DataError: unknown columns, classes or paths, doubled rows, or paths out of the folder.
    """
    frame = read_frame(path)
    frame.columns = frame.columns.map(str)
    columns = with_usual_group(columns, frame, usual_group)
    image = _image_column(frame, columns, path=path)
    where = truth_columns(frame, columns, schema, image=image, path=path)
    ids = match(ids_of(frame, image, path=path).tolist(), sample_ids, folder=folder, path=path)
    kept = np.flatnonzero([name is not None for name in ids])
    cells = frame.iloc[kept].reset_index(drop=True)
    rows = pd.DataFrame({"sample_id": [ids[row] for row in kept]}, dtype=object)
    rows["group_id"] = _groups(cells.assign(sample_id=rows["sample_id"]), columns, path=path)
    values, numbers = slice_columns(cells, columns, meant=_meant(columns, image, where), path=path)
    rows = rows.join(cells[list(values)].astype(object))
    rows = rows.join(pd.DataFrame({name: source_files.typed(cells, name) for name in numbers}))
    targets = None
    if where is not None:
        truth = read_truth(path, where, names=schema.classes, critical=schema.critical_class)
        targets = truth.targets[kept]
    notes = () if columns.group else (NO_GROUPS,)
    return Labels(rows, targets, values, numbers, columns.group, notes)


def with_usual_group(columns: LabelColumns, frame: pd.DataFrame, usual: str | None) -> LabelColumns:
    """With the group column of the training data, where none is named and the table has it."""
    if columns.group is not None or usual is None or usual not in frame:
        return columns
    log.info("groups are read from column `%s`, as `data.group` of the parameters says", usual)
    return replace(columns, group=usual)


def truth_columns(
    frame: pd.DataFrame, columns: LabelColumns, schema: Schema, *, image: str, path: Path
) -> TruthColumns | None:
    """Where the truth stands, as named or as found; `None` where there is none."""
    exclusive = tasks.get(schema.task).exclusive
    if columns.labels if exclusive else columns.label:
        wanted = "one column of class names" if exclusive else "columns of 0 and 1, one per label"
        raise ParamsError(f"{path}: the model is {schema.task}; name {wanted}")
    if exclusive:
        label = columns.label or _class_column(frame, schema, path=path)
        found = None if label is None else TruthColumns(label=label, id_column=image)
    else:
        present = schema.classes if any(name in frame for name in schema.classes) else ()
        labels = columns.labels or present
        found = TruthColumns(labels=labels, id_column=image) if labels else None
    if found is None:
        log.warning(
            "%s: no column holds the labels of the model (%s); going on without labels",
            path,
            listed(schema.classes, limit=20),
        )
    return found


def slice_columns(
    cells: pd.DataFrame, columns: LabelColumns, *, meant: set[str], path: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are sliced by value, and those that are sliced at quantiles."""
    for name in columns.slices:
        column_of(cells, name, path=path, what="slices")
    base.refuse_taken_names(cells[list(columns.slices)], path=path)
    others = [str(name) for name in cells if name not in meant and name not in base.TAKEN]
    kinds = {name: _kind(cells, name) for name in columns.slices or others}
    unfit = [name for name, kind in kinds.items() if kind == "unfit"]
    if unfit and not columns.slices:
        log.info("%s: columns that are not sliced: %s", path, listed(unfit))
    by_value = {"values", "unfit"} if columns.slices else {"values"}
    values = tuple(name for name, kind in kinds.items() if kind in by_value)
    return values, tuple(name for name, kind in kinds.items() if kind == "numbers")


def _image_column(frame: pd.DataFrame, columns: LabelColumns, *, path: Path) -> str:
    distinct = [str(name) for name in frame if frame[name].notna().all() and frame[name].is_unique]
    usual = IMAGE_COLUMN if IMAGE_COLUMN in frame else next(iter(distinct), None)
    return column_of(frame, columns.image or usual, path=path, what="images")


def _class_column(frame: pd.DataFrame, schema: Schema, *, path: Path) -> str | None:
    """The one column of which at least half of the cells are class names."""
    known = set(schema.classes)
    fits = [name for name in frame if frame[name].dropna().astype(str).isin(known).mean() >= 0.5]
    if len(fits) > 1:
        raise ParamsError(
            f"{path}: columns {listed(fits)} all hold class names; say which is the truth"
        )
    if fits:
        log.info("%s: the truth is read from column `%s`", path, fits[0])
    return str(fits[0]) if fits else None


def _meant(columns: LabelColumns, image: str, where: TruthColumns | None) -> set[str]:
    """Columns that are no slices."""
    truth = (where.label, *where.labels) if where else ()
    return {name for name in (image, columns.group, *truth) if name is not None}


def _groups(cells: pd.DataFrame, columns: LabelColumns, *, path: Path) -> pd.Series[str]:
    if columns.group is None:
        log.warning("NO GROUPS: %s Name the column of the patient to mend it.", NO_GROUPS)
        return cells["sample_id"]
    column_of(cells, columns.group, path=path, what="groups")
    base.require_filled(cells, (columns.group,), path=path)
    return cells[columns.group].astype(str)


def _kind(cells: pd.DataFrame, name: str) -> str:
    """`values`, `numbers`, or `unfit` for ids, free text and empty columns."""
    values = source_files.typed(cells, name).dropna()
    levels = values.nunique()
    if values.dtype != float or levels <= FEW_NUMBERS:
        return "values" if 0 < levels <= MOST_LEVELS else "unfit"
    whole = bool((values % 1 == 0).all())
    return "unfit" if whole and levels == len(values) >= FEW_ROWS else "numbers"
