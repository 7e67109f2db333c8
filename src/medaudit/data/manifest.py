"""From rows, images and duplicates to the manifest, in a folder that is whole or absent."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from shutil import copyfile, rmtree
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medaudit.core.errors import DataError, listed
from medaudit.core.files import settle, staged
from medaudit.core.layout import PLANTED
from medaudit.core.params import LARGEST_SEED, Section
from medaudit.data import splits
from medaudit.data.data_summary import positives, without_positives
from medaudit.data.integrity import OnBadImage, duplicate_table, merge_groups, without_conflict
from medaudit.tables.manifest import COLUMNS, ROLES, Preparation, targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from medaudit.data.datasets.base import RawDataset

_TOLERANCE = 1e-6

log = logging.getLogger(__name__)


class Fractions(BaseModel):
    """Share of the images per role; they add up to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(0.70, gt=0, lt=1)
    validation: float = Field(0.05, gt=0, lt=1)
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
        on_duplicate_across_roles: `warn` of copies that a given split puts into different roles,
            or `stop`. Roles that are made here never part copies.
    """

    section: ClassVar[str] = "prepare"

    image_size: int = Field(224, ge=16, le=2048)
    seed: int = Field(1234, ge=0, le=LARGEST_SEED)
    fractions: Fractions = Fractions()
    duplicate_distance: int = Field(6, ge=0, le=16)
    duplicate_correlation: float = Field(0.99, gt=0, le=1)
    on_bad_image: OnBadImage = "stop"
    on_duplicate_across_roles: Literal["warn", "stop"] = "warn"


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
    grouped = _grouped(rows, duplicates)
    roles = _roles(grouped, raw, params)
    columns = [*COLUMNS, *raw.slice_columns]
    manifest = grouped.assign(role=roles)[columns].merge(facts, on="sample_id", validate="1:1")
    splits.check_roles(manifest)
    splits.require_rows(manifest, ROLES)
    role_of = manifest.set_index("sample_id")["role"]
    first, second = (role_of.loc[duplicates[end]].to_numpy() for end in ("first", "second"))
    duplicates = duplicates.assign(across_roles=first != second)
    _judge_copies(duplicates, params)
    return manifest.sort_values("sample_id", ignore_index=True), duplicates


def preparation(
    manifest: pd.DataFrame, raw: RawDataset, *, duplicates: pd.DataFrame, image_size: int
) -> Preparation:
    """What `schema.json` says, with the class counts of the train role."""
    train = positives(manifest[manifest["role"] == "train"], raw.schema).sum(axis=0)
    counts = {name: int(count) for name, count in zip(raw.schema.classes, train, strict=True)}
    absent = without_positives(manifest, raw.schema)
    notes = [*raw.notes]
    if duplicates["across_roles"].any():
        notes.append(f"{_copies(duplicates)}.")
    if absent:
        notes.append(f"No positive image of {'; '.join(absent)}: metrics there are undefined.")
        log.warning(notes[-1])
    return Preparation(raw.schema, image_size, counts, raw.name, raw.group_meaning, tuple(notes))


def keep_planted(raw: RawDataset, folder: Path) -> None:
    """Copy what the data set says of its injected failures, if it has any, for the report."""
    if raw.planted is not None:
        copyfile(raw.planted, folder / PLANTED.name)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling that replaces `folder` at the end of the block, or vanishes."""
    with staged(folder) as part:
        yield part
        if folder.exists():
            rmtree(folder)
        settle(part, folder)


def _grouped(rows: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """Rows with the groups of copies joined, where a given split does not forbid it.

    Rows without a given role take that of their group.
    """
    if "role" not in rows:
        return rows.assign(group_id=merge_groups(rows, duplicates))
    given = splits.given_to_groups(rows)
    pairs = without_conflict(rows, duplicates, {str(group): role for group, role in given.items()})
    merged = rows.assign(group_id=merge_groups(rows, pairs))
    return merged.assign(role=merged["group_id"].map(splits.given_to_groups(merged)))


def _roles(rows: pd.DataFrame, raw: RawDataset, params: PrepareParams) -> npt.NDArray[np.str_]:
    fractions = params.fractions.by_role()
    given = rows["role"].fillna(splits.EITHER.join(fractions)) if "role" in rows else None
    # Where an image has one class, a class that a role lacks breaks every metric of that role.
    strict = given is None and targets(rows).ndim == 1
    return splits.assign_roles(
        rows["group_id"].tolist(),
        positives(rows, raw.schema),
        classes=raw.schema.classes,
        fractions=fractions,
        seed=params.seed,
        given=None if given is None else given.tolist(),
        scarce="stop" if strict else "allow",
    )


def _judge_copies(duplicates: pd.DataFrame, params: PrepareParams) -> None:
    if not duplicates["across_roles"].any():
        return
    message = _copies(duplicates)
    if params.on_duplicate_across_roles == "stop":
        raise DataError(
            f"{message}; correct the split, or set `prepare.on_duplicate_across_roles: warn`"
        )
    log.warning(message)


def _copies(duplicates: pd.DataFrame) -> str:
    torn = duplicates[duplicates["across_roles"]]
    pairs = (torn["first"] + " and " + torn["second"]).tolist()
    return (
        f"{len(torn)} pairs of copies stand in different roles, as the split that came with the "
        f"data has them, which makes results look better than they are: {listed(pairs)}"
    )


def _check_names(slice_columns: tuple[str, ...], facts: pd.DataFrame) -> None:
    reserved = {*COLUMNS, *facts.columns}
    clash = [name for name in slice_columns if name in reserved]
    if clash:
        raise DataError(f"metadata columns {listed(clash)} have names that are taken; rename them")
