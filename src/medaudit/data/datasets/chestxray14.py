"""NIH ChestX-ray14: 112,120 frontal chest radiographs of 30,805 patients, 14 findings.

Reference: Wang et al., "ChestX-ray8", CVPR 2017; the images come from the NIH Clinical Center.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from medaudit.core.errors import DataError, listed, lookup
from medaudit.core.params import each_once
from medaudit.data import splits
from medaudit.data.datasets import base, source_files
from medaudit.data.datasets.base import DataParams, LeftOut, RawDataset
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NO_FINDING = "No Finding"
TABLES = (
    "Data_Entry_2017_v2020.csv",  # first: its ages are corrected
    "Data_Entry_2017_v2020.csv.gz",
    "Data_Entry_2017.csv",
    "Data_Entry_2017.csv.gz",
)
IMAGE_FOLDERS = ("images", *(f"images_{part:03}" for part in range(1, 13)))
TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
REQUIRED = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "View Position",
)
SEX = ("Patient Gender", "Patient Sex")
SLICES = ("view", "sex", "age", "follow_up", "n_findings")
OLDEST = 120  # years
YEARS = {"Y": 1.0, "M": 1 / 12, "D": 1 / 365.25, "": 1.0}
NOTES = (
    "Labels were mined from radiology reports by text analysis and are about 90 % accurate by "
    "NIH's account; an error of the model may be an error of the label.",
    "`view` tells how ill a patient is: AP images are taken at the bedside, so it is a shortcut.",
)

log = logging.getLogger(__name__)


def _known(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(lookup("label", label, {name: name for name in FINDINGS}) for label in labels)


class Params(DataParams):
    """Which findings, and whose split.

    Args:
        labels: 2 to 14 of `FINDINGS`; "No Finding" follows from the absence of all.
        critical: the finding that must not be missed, if any.
        table: file in the root; by default the first of `TABLES` that is there.
        split: `patient` makes roles by patient; `official` keeps NIH's `test_list.txt` and
            divides `train_val_list.txt` by patient.
        missing_images: `stop` at rows whose image is absent, or `leave_out` those rows, for
            people who hold a part of the images.
    """

    dataset: str = "chestxray14"
    labels: Annotated[
        tuple[str, ...],
        Field(min_length=2, max_length=14),
        AfterValidator(each_once),
        AfterValidator(_known),
    ] = ("Cardiomegaly", "Edema", "Effusion")
    critical: str | None = None
    table: str | None = None
    split: Literal["patient", "official"] = "patient"
    missing_images: Literal["stop", "leave_out"] = "stop"

    @field_validator("critical")
    @classmethod
    def _chosen(cls, name: str | None, info: ValidationInfo) -> str | None:
        labels = info.data.get("labels", FINDINGS)
        return name and lookup("label", name, {label: label for label in labels})


def load(params: Params) -> RawDataset:
    """Read the table as NIH or Kaggle give it and the images in one folder or in twelve."""
    table = _table(params)
    log.info("%s: the table of the data set", table)
    folders = source_files.find(params.root, IMAGE_FOLDERS)
    if not folders:
        raise DataError(f"{params.root}: no images; expected images/ or images_001/ to images_012/")
    source_files.warn_of_links(params.root, folders)
    images = source_files.by_stem(source_files.images_below(folders))
    rows = _rows(source_files.read_table(table, required=REQUIRED), table, labels=params.labels)
    orphans = tuple(sorted(set(images) - set(rows["sample_id"])))
    rows["image_path"] = source_files.paths_for(rows["sample_id"], images)
    rows["mask_path"] = np.nan
    rows, again = base.each_image_once(rows, path=table)
    rows, absent = _present(rows, params, table=table)
    rows, notes = _official(rows, params.root) if params.split == "official" else (rows, ())
    base.warn_beyond(rows, "age", low=0, high=OLDEST, path=table)
    return RawDataset(
        name="chestxray14",
        schema=Schema("multilabel", params.labels, params.critical),
        rows=rows,
        slice_columns=SLICES,
        group_meaning="patient",
        images_without_row=orphans,
        left_out=(again, absent),
        notes=(*NOTES, *notes),
    )


def _table(params: Params) -> Path:
    names = TABLES if params.table is None else (params.table,)
    found = [path for path in source_files.find(params.root, names) if path.is_file()]
    if not found:
        raise DataError(f"{params.root}: no table of findings; expected {' or '.join(names)}")
    return found[0]


def _rows(cells: pd.DataFrame, path: Path, *, labels: tuple[str, ...]) -> pd.DataFrame:
    ids = {
        "sample_id": source_files.without_suffix(cells["Image Index"]),
        "group_id": cells["Patient ID"],
    }
    rows = pd.DataFrame(ids)
    base.require_filled(rows, ("sample_id", "group_id"), path=path)
    found = _findings(cells["Finding Labels"], rows["sample_id"], path=path)
    rows["target"] = found[list(labels)].to_numpy(dtype=np.int64).tolist()
    rows["view"], rows["sex"] = cells["View Position"], cells[_sex(cells, path)]
    rows["age"] = _years(cells["Patient Age"], path)
    rows["follow_up"] = source_files.numbers(cells, "Follow-up #", path=path)
    rows["n_findings"] = found.sum(axis=1).astype(float)
    return rows


def _findings(cells: pd.Series[str], ids: pd.Series[str], *, path: Path) -> pd.DataFrame:
    """One column of 0/1 per finding, from cells such as `Edema|Effusion`."""
    words = cells.fillna("(empty)").str.split("|")
    known = {"", *FINDINGS, NO_FINDING}
    odd = [[name for name in each if name not in known] for each in words]
    if any(odd):
        unknown = sorted({name for each in odd for name in each})
        rows = ids[[bool(each) for each in odd]].tolist()
        raise DataError(
            f"{path}: unknown findings {listed(unknown)} in {listed(rows)}; "
            f"known: {', '.join(FINDINGS)}, {NO_FINDING}"
        )
    found = {name: [int(name in each) for each in words] for name in FINDINGS}
    return pd.DataFrame(found, index=cells.index)


def _sex(cells: pd.DataFrame, path: Path) -> str:
    found = [name for name in SEX if name in cells]
    if not found:
        raise DataError(f"{path}: missing columns {' or '.join(SEX)}; found {listed(list(cells))}")
    return found[0]


def _years(cells: pd.Series[str], path: Path) -> pd.Series[float]:
    """Ages in years from `58`, or from `058Y`, `011M` and `007D` of the first release."""
    parts = cells.str.upper().str.extract(r"^(\d+(?:\.\d+)?)\s*([YMD]?)$")
    wrong = parts[0].isna() & cells.notna()
    if wrong.any():
        found = cells[wrong].unique().tolist()
        raise DataError(f"{path}: column `Patient Age` must hold ages, got {listed(found)}")
    return parts[0].astype(float) * parts[1].map(YEARS).astype(float)


def _present(rows: pd.DataFrame, params: Params, *, table: Path) -> tuple[pd.DataFrame, LeftOut]:
    absent = rows["image_path"].isna()
    ids = tuple(rows.loc[absent, "sample_id"])
    if ids and params.missing_images == "stop":
        raise DataError(
            f"{table}: {len(ids)} of {len(rows)} rows have no image below {params.root}: "
            f"{listed(ids)}; add them, or set `data.missing_images: leave_out`"
        )
    return rows[~absent].reset_index(drop=True), LeftOut("image is not at hand", ids)


def _official(rows: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with the roles of NIH's lists; no image may stand in both lists or in neither."""
    train, test = (_listed_images(root, name) for name in (TRAIN_LIST, TEST_LIST))
    for ids, what in ((train & test, "both"), (set(rows["sample_id"]) - train - test, "neither")):
        if ids:
            raise DataError(
                f"{root}: {len(ids)} images stand in {what} of {TRAIN_LIST} and {TEST_LIST}: "
                f"{listed(sorted(ids))}; fetch the lists again, or set `data.split: patient`"
            )
    roles = pd.Series(np.where(rows["sample_id"].isin(test), "test", "train"), dtype=object)
    absent = [
        name
        for name, role in ((TRAIN_LIST, "train"), (TEST_LIST, "test"))
        if role not in set(roles)
    ]
    if absent:
        raise DataError(
            f"{root}: no image of {' and '.join(absent)} is at hand; add them, or set "
            f"`data.split: patient`"
        )
    roles, notes = splits.completed(roles)
    return rows.assign(role=roles), notes


def _listed_images(root: Path, name: str) -> set[str]:
    found = source_files.find(root, [name])
    if not found:
        raise DataError(f"{root}: {name} is missing; put it there, or set `data.split: patient`")
    words = [word for line in source_files.read_lines(found[0]) for word in line.split()]
    return set(source_files.without_suffix(pd.Series(words, dtype=object)))
