"""Prepared data as the model room reads it: manifest, packed images, task and classes."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medaudit.core.errors import DataError, listed
from medaudit.core.files import digest
from medaudit.pixels.packed import ShardReader
from medaudit.tables.manifest import PIXELS, read_manifest, read_preparation, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from medaudit.core.arrays import IntArray
    from medaudit.tables.predictions import Schema


@dataclass(frozen=True)
class Prepared:
    """What the prepare stage wrote; row i of the manifest is image i of the reader."""

    folder: Path
    manifest: pd.DataFrame
    reader: ShardReader
    schema: Schema
    image_size: int

    def positions(self, roles: Sequence[str]) -> IntArray:
        """Row numbers of these roles, in manifest order; an error for a role without rows."""
        present = set(self.manifest["role"])
        absent = [role for role in roles if role not in present]
        if absent:
            raise DataError(f"{self.folder}: no row has the role {listed(absent)}; run prepare")
        chosen = self.manifest["role"].isin(list(roles)).to_numpy()
        return np.flatnonzero(chosen).astype(np.int64)

    def targets(self, positions: IntArray) -> IntArray:
        """Targets of these rows, as `tables.manifest.targets` reads them."""
        return targets(self.manifest.iloc[positions])

    def sample_ids(self, positions: IntArray) -> list[str]:
        """Ids of these rows."""
        return [str(name) for name in self.manifest["sample_id"].iloc[positions]]


def read_prepared(folder: Path) -> Prepared:
    """Open a prepared folder; a `DataError` says what is missing or does not fit together."""
    manifest, preparation = read_manifest(folder), read_preparation(folder)
    reader = ShardReader(folder / PIXELS)
    if len(manifest) != len(reader):
        raise DataError(
            f"{folder}: {len(manifest)} manifest rows but {len(reader)} images; run prepare again"
        )
    return Prepared(folder, manifest, reader, preparation.schema, preparation.image_size)


def rows_digest(prepared: Prepared, positions: IntArray) -> str:
    """SHA-256 over ids and pixels of these rows, in their order."""
    ids = json.dumps(prepared.sample_ids(positions)).encode()
    return digest(itertools.chain([ids], _pixels(prepared, positions)))


def training_digest(prepared: Prepared) -> str:
    """SHA-256 over all that training sees: pixels and targets of the roles train and validation.

    Positions count, since augmentation draws by them; ids, groups and slice columns do not.
    """
    head = [prepared.schema.task, prepared.schema.classes, prepared.image_size]
    parts = [json.dumps(head)]
    for role in ("train", "validation"):
        positions = prepared.positions([role])
        truth = prepared.targets(positions)
        seen = (positions.tobytes(), truth.tobytes())
        held = digest(itertools.chain(seen, _pixels(prepared, positions)))
        parts.append(f"{role} {truth.shape} {held}")
    return digest(part.encode() for part in parts)


def _pixels(prepared: Prepared, positions: IntArray) -> Iterator[bytes]:
    return (prepared.reader[int(position)].tobytes() for position in positions)
