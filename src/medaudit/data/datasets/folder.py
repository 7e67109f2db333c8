"""Folders of images: one per class, in the root or below folders called train, val and test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from medaudit.core.errors import DataError, listed
from medaudit.core.params import each_once
from medaudit.data import splits as splits_module
from medaudit.data.datasets import base, source_files
from medaudit.data.datasets.base import DataParams, RawDataset
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from pathlib import Path

USE_TABLE = "Where patients are known, write a table and use `data.dataset: csv`."


class Params(DataParams):
    """What the folders mean.

    Args:
        classes: names of the class folders in their order; by default all that hold images,
            sorted.
        critical: the class that must not be missed, if any.
    """

    dataset: str = "folder"
    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(each_once)] | None = (
        None
    )
    critical: str | None = None


def load(params: Params) -> RawDataset:
    """Read `<class>/...` or `<split>/<class>/...`; images that lie in no class have no row."""
    source_files.require_folder(params.root)
    splits = _splits(params.root)
    tops = {split: params.root / split for split in splits} or {"": params.root}
    folders = {(split, path.name): path for split, top in tops.items() for path in _inside(top)}
    source_files.warn_of_links(params.root, [*tops.values(), *folders.values()])
    rows = _rows(folders, params)
    classes = params.classes or _classes(rows, params.root)
    rows["target"] = _targets(rows["class"], classes, params.root)
    rows, notes = _with_roles(rows, params.root) if splits else (rows, ())
    return RawDataset(
        name="folder",
        schema=Schema("multiclass", classes, params.critical),
        rows=rows.drop(columns=["class", "split"]),
        slice_columns=(),
        group_meaning="image",
        images_without_row=tuple(
            path.name
            for top in {params.root, *tops.values()}
            for path in source_files.images_in(top)
        ),
        notes=(*base.warn_without_groups(USE_TABLE), *notes),
    )


def _inside(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."]
    for path in found:
        source_files.require_text(path.name, folder=folder)
    return found


def _splits(root: Path) -> list[str]:
    """Names of the folders that are splits: either all in the root, or none."""
    names = [path.name for path in _inside(root)]
    splits = [name for name in names if name.lower() in splits_module.WORDS]
    others = [name for name in names if name not in splits]
    if splits and others:
        raise DataError(
            f"{root}: folders of splits ({listed(splits)}) and others ({listed(others)}); expected "
            f"<class>/ or <split>/<class>/ throughout"
        )
    return splits


def _rows(folders: dict[tuple[str, str], Path], params: Params) -> pd.DataFrame:
    found = [
        (path.relative_to(params.root).as_posix(), str(path), name, split)
        for (split, name), folder in folders.items()
        for path in source_files.images_below([folder])
    ]
    if not found:
        raise DataError(
            f"{params.root}: no images; expected <class>/ or <split>/<class>/ with image files"
        )
    rows = pd.DataFrame(found, columns=["sample_id", "image_path", "class", "split"], dtype=object)
    return rows.assign(group_id=rows["sample_id"], mask_path=np.nan)


def _classes(rows: pd.DataFrame, root: Path) -> tuple[str, ...]:
    found = tuple(sorted(rows["class"].unique()))
    if len(found) == 1:
        raise DataError(f"{root}: expected images in 2 class folders or more, got only {found[0]}")
    return found


def _targets(names: pd.Series[str], classes: tuple[str, ...], root: Path) -> pd.Series[int]:
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise DataError(
            f"{root}: folders {listed(unknown)} are not in `data.classes` ({', '.join(classes)}); "
            f"list them, or move them away"
        )
    return names.map({name: k for k, name in enumerate(classes)}).astype(np.int64)


def _with_roles(rows: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    roles, notes = splits_module.completed(splits_module.roles_of(rows["split"], source=root))
    return rows.assign(role=roles), notes
