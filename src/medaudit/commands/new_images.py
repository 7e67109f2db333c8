"""New images on their way to logits: found, decoded as the prepare stage does, and predicted."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from shutil import rmtree
from typing import TYPE_CHECKING

import numpy as np

from medaudit.data.datasets import places
from medaudit.errors import DataError, listed
from medaudit.model import stored
from medaudit.model.card import read_card
from medaudit.model.compute import setup
from medaudit.model.forward import Feed, run
from medaudit.pixels.ingest import Source, ingest
from medaudit.pixels.shards import ShardReader
from medaudit.pixels.statistics import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from medaudit.model.compute import ComputeParams
    from medaudit.pixels.ingest import Ingested

ASPECT = "aspect_ratio"
COLUMNS = (*STATISTICS, "width", "height", ASPECT)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Seen:
    """What became of the images of a folder.

    Args:
        facts: `sample_id` and the statistics `COLUMNS` of every image that could be read.
        logits: uncalibrated, in the order of `facts`, (1, n, outputs).
        unreadable: the others, each with the reason.
        engine: what computed the logits.
        digests: of the packed pixels, in the order of `facts`.
    """

    facts: pd.DataFrame
    logits: npt.NDArray[np.float32]
    unreadable: dict[str, str]
    engine: str
    digests: tuple[bytes, ...]

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the images that could be read."""
        return [str(name) for name in self.facts["sample_id"]]


def images_of(folder: Path) -> list[Source]:
    """Image files in a folder and the folders below it; an id is the path relative to it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder of the new images")
    found = [
        Source(path.relative_to(folder).as_posix(), path) for path in places.images_below([folder])
    ]
    known = listed(sorted(places.IMAGE_SUFFIXES), limit=len(places.IMAGE_SUFFIXES))
    if not found:
        raise DataError(f"{folder}: no image files in it or below it; expected {known}")
    others = sum(path.is_file() for path in folder.rglob("*")) - len(found)
    if others:
        log.warning("%s: %d other files are not looked at; images end in %s", folder, others, known)
    return sorted(found, key=lambda source: source.sample_id)


def see(
    sources: list[Source],
    model_folder: Path,
    *,
    scratch: Path,
    batch_size: int,
    compute: ComputeParams,
) -> Seen:
    """Decode every image once, describe it, and predict those that could be read.

    Args:
        sources: the images.
        model_folder: what the train stage stored.
        scratch: a folder for the packed pixels; it is removed in the end.
        batch_size: images per forward pass.
        compute: threads and device.

    Raises:
        DataError: not a single image can be read.
    """
    found = ingest(
        sources, scratch, size=read_card(model_folder).image_size, on_unreadable=lambda _: None
    )
    place = {source.sample_id: f"{source.image}: " for source in sources}
    unreadable = {name: told.removeprefix(place[name]) for name, told in found.unreadable.items()}
    require_some(found, unreadable)
    model = stored.load(model_folder)
    feed = Feed(batch_size, compute.loader_threads, setup(compute))
    reader = ShardReader(scratch)
    outputs = run(model, reader.take, np.arange(len(reader)), feed=feed, label="predict")
    digests = tuple(pixel_digests(reader, range(len(reader))))
    rmtree(scratch)
    facts = with_aspect(found.table())
    return Seen(facts, outputs.logits, unreadable, model.engine, digests)


def pixel_digests(reader: ShardReader, rows: Iterable[int]) -> Iterator[bytes]:
    """SHA-1 of packed images, which tells whether two are the same to the last bit."""
    return (hashlib.sha1(reader[row].data, usedforsecurity=False).digest() for row in rows)


def require_some(found: Ingested, unreadable: dict[str, str]) -> None:
    """Say which images cannot be read; an error where that is all of them."""
    if not found.facts:
        name, why = next(iter(unreadable.items()))
        raise DataError(
            f"none of the {len(unreadable)} images can be read; the first, {name}: {why}"
        )
    if unreadable:
        names = listed(list(unreadable))
        log.warning("%d images cannot be read and are deferred: %s", len(unreadable), names)


def with_aspect(facts: pd.DataFrame) -> pd.DataFrame:
    """Image statistics with `aspect_ratio` = width / height, which stretching to a square hides."""
    return facts.assign(**{ASPECT: facts["width"] / facts["height"]})
