"""What an adapter is asked and what it returns, and the checks that adapters share."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from medaudit.core.errors import DataError, listed
from medaudit.core.params import Section
from medaudit.data.datasets.source_files import read_table, without_suffix
from medaudit.tables.manifest import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.tables.predictions import Schema

PAIR_COLUMNS = ("first", "second")
# Filled by `prepare` from the pixels (pixels/statistics.py), so no column of a table may have them.
STATISTICS = (
    *("brightness", "contrast", "sharpness", "ruler_ticks", "hair_share", "dark_corners"),
    *("lesion_area", "lesion_centre", "lesion_solidity", "lesion_contrast", "touches_border"),
    *("image_width", "image_height", "megapixels", "image_size"),
)
TAKEN = (*COLUMNS, "image_path", "mask_path", "logits", "embedding", *STATISTICS)
NO_GROUPS = (
    "It is not known which images show the same patient, so every image counts as a patient of "
    "its own. Images of one patient may stand in training and test, which makes results look "
    "better than they are, and intervals are too narrow."
)

log = logging.getLogger(__name__)


class DataParams(Section):
    """Which data set, and where it lies; adapters add what they need to know.

    Args:
        dataset: a name in `DATASETS`.
        root: its folder, relative to the repository.
    """

    section: ClassVar[str] = "data"

    dataset: str
    root: Path


def no_pairs() -> pd.DataFrame:
    """An empty list of duplicates."""
    return pd.DataFrame(columns=list(PAIR_COLUMNS), dtype=object)


@dataclass(frozen=True)
class LeftOut:
    """Rows that an adapter leaves out, for the ledger."""

    reason: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class RawDataset:
    """A data set as it lies on disk, before anything is decoded or left out.

    Args:
        name: key in `DATASETS`.
        schema: task, classes, and the class that must not be missed.
        rows: `sample_id`, `group_id`, `target` (what the task understands: a class index, or a
            list of 0/1), `image_path` and `mask_path` (text, missing where there is no file),
            then `slice_columns`. Optionally `role`, for splits that come with the data: a role;
            several, joined by `/`, among which the rows are divided; or missing, for any.
        slice_columns: metadata columns that the manifest carries.
        group_meaning: what a group is, for people: "lesion", "patient".
        known_duplicates: `first`, `second`, sample ids of pairs that came listed with the data.
        images_without_row: names of image files that no row claims.
        left_out: rows of the table that are not in `rows`, by reason, in order.
        planted: a file that says which failures were injected, for `Planted, found?`.
        notes: what a reader of the results must know about the data.
    """

    name: str
    schema: Schema
    rows: pd.DataFrame
    slice_columns: tuple[str, ...]
    group_meaning: str
    known_duplicates: pd.DataFrame = field(default_factory=no_pairs)
    images_without_row: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    planted: Path | None = None
    notes: tuple[str, ...] = ()


def require_ids(rows: pd.DataFrame, *, path: Path) -> None:
    """Raise a `DataError` where `sample_id` or `group_id` is empty or a sample id is repeated."""
    require_filled(rows, ("sample_id", "group_id"), path=path)
    repeated = rows.loc[rows["sample_id"].duplicated(), "sample_id"].unique().tolist()
    if repeated:
        raise DataError(f"{path}: image ids must be unique; repeated: {listed(repeated)}")


LONGEST_ID = 1000  # characters; NumPy gives every id the room of the longest


def require_filled(rows: pd.DataFrame, columns: Sequence[str], *, path: Path) -> None:
    """Raise a `DataError` that names the rows of the file in which a column is empty or long."""
    for column in columns:
        longest = max((len(str(cell)) for cell in rows[column]), default=0)
        if longest > LONGEST_ID:
            raise DataError(
                f"{path}: {column} of {longest} characters; expected at most {LONGEST_ID}"
            )
        empty = np.flatnonzero(rows[column].isna())
        if len(empty):
            lines = [int(row) + 2 for row in empty]
            raise DataError(f"{path}: empty {column} in rows {listed(lines)}")


def each_image_once(rows: pd.DataFrame, *, path: Path) -> tuple[pd.DataFrame, LeftOut]:
    """The first row of every `sample_id`, and the others.

    Raises:
        DataError: rows of one image differ in label, group or role.
    """
    again = rows["sample_id"].duplicated()
    told = [name for name in ("sample_id", "group_id", "role", "target") if name in rows]
    twice = rows.loc[rows["sample_id"].duplicated(keep=False), told].astype(str).drop_duplicates()
    torn = twice.loc[twice["sample_id"].duplicated(), "sample_id"].unique().tolist()
    if torn:
        raise DataError(
            f"{path}: {len(torn)} images have several rows that differ in label, group or split: "
            f"{listed(torn)}; keep the right row of each"
        )
    ids = tuple(rows.loc[again, "sample_id"])
    return rows[~again].reset_index(drop=True), LeftOut("a second row of the same image", ids)


def warn_without_groups(remedy: str) -> tuple[str, ...]:
    """Say once, and return as a note for the report, that images stand alone."""
    log.warning("%s %s", NO_GROUPS, remedy)
    return (NO_GROUPS,)


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
