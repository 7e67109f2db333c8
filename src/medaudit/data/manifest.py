"""From rows, images and duplicates to the manifest, and the tables that account for it."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medaudit.data import splits
from medaudit.data.integrity import OnBadImage, duplicate_table, merge_groups
from medaudit.errors import DataError, listed
from medaudit.findings import Findings
from medaudit.params import Section
from medaudit.tables.manifest import COLUMNS, ROLES, Preparation, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from medaudit.data.datasets.base import RawDataset
    from medaudit.data.ledger import Ledger
    from medaudit.tables.predictions import Schema

UNKNOWN = "unknown"
_TOLERANCE = 1e-6
_LOCK = ".lock"


class Fractions(BaseModel):
    """Share of the images per role; they add up to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(0.70, gt=0, lt=1)
    tune: float = Field(0.05, gt=0, lt=1)
    calibration: float = Field(0.10, gt=0, lt=1)
    test: float = Field(0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = sum(self.by_role().values())
        if abs(total - 1) > _TOLERANCE:
            raise ValueError(f"fractions must add up to 1, not {total:g}")
        return self

    def by_role(self) -> dict[str, float]:
        """Role to share, in the order of the roles."""
        return {role: float(getattr(self, role)) for role in ROLES}


class PrepareParams(Section):
    """How raw files become a manifest and packed pixels.

    Args:
        image_size: side of the packed square images in pixels.
        seed: of the split.
        fractions: share of the images per role.
        duplicate_distance: bits of 64 in which the hashes of copies may differ.
        duplicate_correlation: least correlation of the thumbnails of copies.
        on_bad_image: `stop` at an absent or unreadable image, or `quarantine` it.
    """

    section: ClassVar[str] = "prepare"

    image_size: int = Field(224, ge=16, le=2048)
    seed: int = Field(1234, ge=0)
    fractions: Fractions = Fractions()
    duplicate_distance: int = Field(6, ge=0, le=16)
    duplicate_correlation: float = Field(0.99, gt=0, le=1)
    on_bad_image: OnBadImage = "stop"


def assemble(
    raw: RawDataset,
    rows: pd.DataFrame,
    facts: pd.DataFrame,
    hashed_pairs: pd.DataFrame,
    *,
    params: PrepareParams,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and the duplicates that were found on the way.

    Args:
        raw: for its schema, slice columns and listed duplicates.
        rows: the rows of `raw` that are left.
        facts: `sample_id` with image statistics and original size.
        hashed_pairs: `first`, `second`, `distance`, `correlation` of near copies.
        params: fractions and seed.
    """
    _check_names(raw.slice_columns, facts)
    duplicates = duplicate_table(rows, raw.known_duplicates, hashed_pairs)
    merged = rows.assign(group_id=merge_groups(rows, duplicates))
    roles = splits.assign_roles(
        merged["group_id"].tolist(),
        positives(merged, raw.schema),
        classes=raw.schema.classes,
        fractions=params.fractions.by_role(),
        seed=params.seed,
    )
    columns = [*COLUMNS, *raw.slice_columns]
    manifest = merged.assign(role=roles)[columns].merge(facts, on="sample_id", validate="1:1")
    splits.check_roles(manifest)
    return manifest.sort_values("sample_id", ignore_index=True), duplicates


def positives(rows: pd.DataFrame, schema: Schema) -> npt.NDArray[np.bool_]:
    """Truth per row and class, (n, k); targets are class indices, or one 0/1 column per class."""
    found = targets(rows)
    if found.ndim == 1:
        found = found[:, np.newaxis] == np.arange(len(schema.classes))
    return found.astype(bool)


def preparation(manifest: pd.DataFrame, raw: RawDataset, *, image_size: int) -> Preparation:
    """What `schema.json` says, with the class counts of the train role."""
    train = positives(manifest[manifest["role"] == "train"], raw.schema).sum(axis=0)
    counts = {name: int(count) for name, count in zip(raw.schema.classes, train, strict=True)}
    return Preparation(raw.schema, image_size, counts, raw.name, raw.group_meaning, raw.notes)


def account_for_roles(manifest: pd.DataFrame, ledger: Ledger) -> Ledger:
    """The ledger with one entry per role, so that it ends at the test set."""
    for role in ROLES:
        count = int((manifest["role"] == role).sum())
        ledger = ledger.add(
            f"role {role}", "in another role", rows_in=len(manifest), rows_out=count
        )
    return ledger


def class_count_table(manifest: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """`class`, `role`, `images`, `groups`; an image of several classes counts for each."""
    truth = positives(manifest, schema)
    rows = []
    for k, name in enumerate(schema.classes):
        for role in ROLES:
            chosen = manifest[truth[:, k] & (manifest["role"] == role).to_numpy()]
            rows.append((name, role, len(chosen), chosen["group_id"].nunique()))
    return pd.DataFrame(rows, columns=["class", "role", "images", "groups"])


def missing_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """`column`, `missing` (empty), `unknown` (the word): counts of values that are not known."""
    columns = [name for name in manifest if name not in COLUMNS]
    rows = [
        (name, int(manifest[name].isna().sum()), int((manifest[name] == UNKNOWN).sum()))
        for name in columns
    ]
    return pd.DataFrame(rows, columns=["column", "missing", "unknown"])


def audit(
    manifest: pd.DataFrame, schema: Schema, *, duplicates: pd.DataFrame, ledger: Ledger
) -> Findings:
    """Headline counts of the prepared data, and the tables behind them."""
    counts, missing = class_count_table(manifest, schema), missing_table(manifest)
    read = ledger.entries[0]
    scalars = {
        **_sizes(manifest),
        "imbalance_ratio": _imbalance(counts),
        "n_missing_values": int(missing["missing"].sum()),
        "n_unknown_values": int(missing["unknown"].sum()),
        "n_duplicate_pairs": len(duplicates),
        "n_duplicate_pairs_across_groups": int(duplicates["across_groups"].sum()),
        "n_duplicate_pairs_labels_differ": int(duplicates["labels_differ"].sum()),
        "n_images_without_row": read.rows_in - read.rows_out,
        "n_rows_left_out": read.rows_out - len(manifest),
    }
    series = {
        "class_counts": counts,
        "missing": missing,
        "ledger": ledger.table(),
        "duplicates": duplicates.assign(pair=duplicates["first"] + " " + duplicates["second"]),
    }
    return Findings(scalars, series)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling that replaces `folder` at the end of the block, or vanishes.

    Every run has its own, so that two at once do not mix; those of killed runs are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    part = Path(mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        with (part / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            part.chmod(0o755)
            yield part
            (part / _LOCK).unlink()
            if folder.exists():
                rmtree(folder)
            part.rename(folder)
    finally:
        rmtree(part, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Remove the parts that nobody holds: the system lets go of the lock of a killed run."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        with suppress(OSError), (part / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(part)


def _check_names(slice_columns: tuple[str, ...], facts: pd.DataFrame) -> None:
    reserved = {*COLUMNS, *facts.columns}
    clash = [name for name in slice_columns if name in reserved]
    if clash:
        raise DataError(f"metadata columns {listed(clash)} have names that are taken; rename them")


def _sizes(manifest: pd.DataFrame) -> Mapping[str, int]:
    per_role = manifest["role"].value_counts()
    groups = manifest["group_id"].value_counts()
    return {
        "n_images": len(manifest),
        "n_groups": len(groups),
        "n_images_largest_group": int(groups.iloc[0]),
        **{f"n_{role}": int(per_role.get(role, 0)) for role in ROLES},
    }


def _imbalance(counts: pd.DataFrame) -> float:
    per_class = counts.groupby("class")["images"].sum()
    return float(per_class.max() / per_class.min()) if per_class.min() else float("nan")
