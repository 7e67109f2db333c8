"""HAM10000: 10,015 dermoscopy images of 7,470 pigmented lesions in seven classes.

Reference: Tschandl, Rosendahl and Kittler, Scientific Data 5:180161 (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from medaudit.core.errors import DataError
from medaudit.core.layout import PLANTED
from medaudit.data import splits
from medaudit.data.datasets import base, source_files
from medaudit.data.datasets.base import DataParams, RawDataset
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SCHEMA = Schema(task="multiclass", classes=CLASSES, critical_class="mel")
REQUIRED = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
METADATA = (
    "HAM10000_metadata_dataverse.csv",  # first: it has the column `dataset`, the source
    "HAM10000_metadata.csv",
    "HAM10000_metadata.tab",
    "HAM10000_metadata",
)
IMAGE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "images")
MASK_FOLDERS = ("HAM10000_segmentations_lesion_tschandl", "masks")
MASK_ENDING = "_segmentation"
SPLIT = "split"
OLDEST = 120  # years
DUPLICATES = "known_duplicates.csv"
NOTES = (
    "`dx_type` tells how the label was made and is not neutral: every melanoma, basal cell "
    "carcinoma and actinic keratosis was confirmed by histology, every follow-up case is a naevus.",
    "`dataset` is the source; sources differ in camera and in class mix, so it is a shortcut.",
)


class Params(DataParams):
    """Nothing but the root."""

    dataset: str = "ham10000"


def load(params: Params) -> RawDataset:
    """Read the layout that people have: Kaggle's part folders, one `images/`, or all in `root`.

    Metadata with 7 columns or with the Dataverse column `dataset`; extra columns are kept as
    slice columns. Optional: lesion masks in a folder of their own, `known_duplicates.csv`
    (`from_img`, `to_img`), and a column `split` of given roles (train, val, calibration, test, or
    several joined by `/`; an empty cell may get any role). One image may lie in several
    folders (a common download holds all of them twice) where the copies are equal byte for byte.
    """
    root = params.root
    path = _metadata(root)
    cells = source_files.read_table(path, required=REQUIRED)
    base.refuse_taken_names(cells, path=path)
    image_folders, mask_folders = (
        source_files.find(root, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS)
    )
    source_files.warn_of_links(root, [*image_folders, *mask_folders])
    images = source_files.by_stem(
        source_files.images_below(image_folders, skip=MASK_FOLDERS) or _loose(root)
    )
    masks = source_files.by_stem(source_files.images_below(mask_folders), strip=MASK_ENDING)
    rows = _rows(cells, path)
    rows["image_path"] = source_files.paths_for(rows["sample_id"], images)
    rows["mask_path"] = source_files.paths_for(rows["sample_id"], masks)
    rows, given = _with_roles(rows, cells, path)
    return RawDataset(
        name="ham10000",
        schema=SCHEMA,
        rows=rows,
        slice_columns=_slice_columns(cells),
        group_meaning="lesion",
        known_duplicates=_duplicates(root, rows["sample_id"]),
        images_without_row=tuple(sorted(set(images) - set(rows["sample_id"]))),
        planted=next(iter(source_files.find(root, [PLANTED.name])), None),
        notes=NOTES + given,
    )


def _metadata(root: Path) -> Path:
    found = [path for path in source_files.find(root, METADATA) if path.is_file()]
    if not found:
        raise DataError(f"{root}: no metadata; expected one of {', '.join(METADATA)}")
    return found[0]


def _loose(root: Path) -> list[Path]:
    found = [path for path in source_files.images_in(root) if not path.stem.endswith(MASK_ENDING)]
    if not found:
        raise DataError(f"{root}: no images; expected folders such as {', '.join(IMAGE_FOLDERS)}")
    return found


def _rows(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    ids = {
        "sample_id": source_files.without_suffix(cells["image_id"]),
        "group_id": cells["lesion_id"],
    }
    rows = pd.DataFrame(ids)
    base.require_ids(rows, path=path)
    labelled = cells.assign(sample_id=rows["sample_id"])
    rows["target"] = source_files.class_indices(labelled, "dx", classes=CLASSES, path=path)
    for column in _slice_columns(cells):
        rows[column] = source_files.typed(cells, column)
    rows["age"] = source_files.numbers(cells, "age", path=path)
    base.warn_beyond(rows, "age", low=0, high=OLDEST, path=path)
    return rows


def _with_roles(
    rows: pd.DataFrame, cells: pd.DataFrame, path: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with the roles of a column `split`, where there is one, and what was done."""
    if SPLIT not in cells:
        return rows, ()
    roles, notes = splits.completed(splits.roles_of(cells[SPLIT], source=path))
    return rows.assign(role=roles), notes


def _slice_columns(cells: pd.DataFrame) -> tuple[str, ...]:
    own = ("age", "sex", "localization", "dataset", "dx_type")
    taken = {"lesion_id", "image_id", "dx", SPLIT, *own}
    extra = tuple(str(column) for column in cells if column not in taken)
    return tuple(column for column in own if column in cells) + extra


def _duplicates(root: Path, ids: pd.Series[str]) -> pd.DataFrame:
    found = source_files.find(root, [DUPLICATES])
    if not found:
        return base.no_pairs()
    pairs = base.read_pairs(found[0], first="from_img", second="to_img")
    return base.known_pairs(pairs, ids, path=found[0])
