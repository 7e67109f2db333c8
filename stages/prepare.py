"""Read the raw data once: manifest with roles, packed pixels, and an account of every row."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from medaudit.core import findings, runner
from medaudit.core.layout import PREPARED
from medaudit.core.params import load
from medaudit.data import data_summary, datasets, integrity, manifest
from medaudit.data.manifest import PrepareParams
from medaudit.pixels.ingest import ingest, sources
from medaudit.tables.manifest import MASKS, PIXELS, write_manifest, write_preparation

if TYPE_CHECKING:
    from pathlib import Path

    from medaudit.data.datasets.base import RawDataset

log = logging.getLogger(__name__)


def main() -> None:
    """Prepare the data set that the parameters name."""
    params, data = load(PrepareParams), datasets.read_params()
    raw = datasets.load(data)
    log.info("%s: %d rows, packed at %d px", raw.name, len(raw.rows), params.image_size)
    with manifest.whole_folder(PREPARED) as folder:
        found = prepare(raw, folder, params=params)
    findings.write(found, "prepare")


def prepare(raw: RawDataset, folder: Path, *, params: PrepareParams) -> findings.Findings:
    """Write pixels, manifest and schema into `folder` and return the account."""
    rows, ledger = integrity.require_images(raw, on_bad_image=params.on_bad_image)
    found = ingest(
        sources(rows),
        folder / PIXELS,
        size=params.image_size,
        on_unreadable=integrity.on_unreadable(params.on_bad_image),
    )
    rows, ledger = integrity.leave_out(rows, found.unreadable, ledger)
    copies = found.near_copies(
        max_distance=params.duplicate_distance, min_correlation=params.duplicate_correlation
    )
    table, duplicates = manifest.assemble(raw, rows, found.table(), copies, params=params)
    log.info("%d groups, %d duplicate pairs", table["group_id"].nunique(), len(duplicates))
    found.write_masks(folder / MASKS)
    write_manifest(table, folder)
    manifest.keep_planted(raw, folder)
    facts = manifest.preparation(table, raw, duplicates=duplicates, image_size=params.image_size)
    write_preparation(facts, folder)
    ledger = data_summary.account_for_roles(table, ledger)
    return data_summary.audit(table, raw.schema, duplicates=duplicates, ledger=ledger)


if __name__ == "__main__":
    runner.run(main, "prepare")
