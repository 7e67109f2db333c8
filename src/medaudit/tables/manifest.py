"""The manifest of a prepared data set: one row per image, and what the targets mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from medaudit.core.errors import DataError, listed
from medaudit.core.files import read_json, write_json
from medaudit.tables import predictions
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from medaudit.core.arrays import IntArray

ROLES = ("train", "validation", "calibration", "test")
COLUMNS = ("sample_id", "group_id", "role", "target")
PIXELS, MASKS = "pixels", "masks.npy"
_MANIFEST, _SCHEMA = "manifest.parquet", "schema.json"
_SCHEMA_KEYS = {
    "task": str,
    "classes": list,
    "critical_class": str | None,
    "image_size": int,
    "class_counts_train": dict,
    "dataset": str,
    "group_meaning": str,
    "notes": list,
}


@dataclass(frozen=True)
class Preparation:
    """What `schema.json` of a prepared data set says.

    Args:
        schema: task, classes, and the class that must not be missed.
        image_size: side of the packed images in pixels.
        class_counts_train: positives of every class in the train role.
        dataset: name of the adapter.
        group_meaning: what a group is, for people: "lesion", "patient".
        notes: what a reader of the results must know about the data.
    """

    schema: Schema
    image_size: int
    class_counts_train: Mapping[str, int]
    dataset: str
    group_meaning: str
    notes: tuple[str, ...] = ()


def write_manifest(rows: pd.DataFrame, folder: Path) -> None:
    """Write `manifest.parquet`, sorted by `sample_id`, byte-deterministically."""
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(f"a manifest needs the columns {', '.join(COLUMNS)}; missing {missing}")
    others = [column for column in rows if column not in COLUMNS]
    ordered = rows.sort_values("sample_id")[[*COLUMNS, *others]]
    packed = pa.Table.from_pandas(ordered, preserve_index=False).replace_schema_metadata(None)
    predictions.write_parquet(packed, folder / _MANIFEST)


def exists(folder: Path) -> bool:
    """Whether a folder holds a manifest."""
    return (folder / _MANIFEST).exists()


def read_manifest(folder: Path) -> pd.DataFrame:
    """The manifest in a prepared folder; row i is image i of its shards."""
    path = folder / _MANIFEST
    packed = predictions.read_parquet(
        path,
        what="manifest",
        absent="not found; run the prepare stage first",
        mend="run the prepare stage again",
    )
    rows: pd.DataFrame = packed.to_pandas()
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise DataError(f"{path}: lacks the columns {listed(missing)}; run prepare again")
    return rows


def targets(rows: pd.DataFrame) -> IntArray:
    """Targets of manifest rows: (n,) class indices, or (n, k) where a target is a list."""
    return np.array(rows["target"].tolist(), dtype=np.int64)


def write_preparation(preparation: Preparation, folder: Path) -> None:
    """Write `schema.json`."""
    content = {
        "task": preparation.schema.task,
        "classes": list(preparation.schema.classes),
        "critical_class": preparation.schema.critical_class,
        "image_size": preparation.image_size,
        "class_counts_train": dict(preparation.class_counts_train),
        "dataset": preparation.dataset,
        "group_meaning": preparation.group_meaning,
        "notes": list(preparation.notes),
    }
    write_json(folder / _SCHEMA, content)


def read_preparation(folder: Path) -> Preparation:
    """Read `schema.json` of a prepared folder."""
    path = folder / _SCHEMA
    content = read_json(path, stage="prepare", keys=_SCHEMA_KEYS)
    wrong = [name for name, kind in _SCHEMA_KEYS.items() if not isinstance(content[name], kind)]
    if wrong:
        raise DataError(
            f"{path}: unexpected values of {listed(wrong)}; run the prepare stage again"
        )
    schema = Schema(content["task"], tuple(content["classes"]), content["critical_class"])
    return Preparation(
        schema=schema,
        image_size=content["image_size"],
        class_counts_train=content["class_counts_train"],
        dataset=content["dataset"],
        group_meaning=content["group_meaning"],
        notes=tuple(content["notes"]),
    )


def read_schema(folder: Path) -> Schema:
    """Task and classes of a prepared folder."""
    return read_preparation(folder).schema
