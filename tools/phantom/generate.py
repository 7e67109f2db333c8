"""Write the phantom to disk in the layout of HAM10000, and the truth of what is injected."""

import contextlib
import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from medaudit.core.errors import DataError
from medaudit.core.files import sync, write_json
from tools.phantom.injected_failures import INJECTED
from tools.phantom.photograph import Shot, copy, render
from tools.phantom.plan import Photo, listed_copies, plan
from tools.phantom.planted import NUISANCES, planted
from tools.phantom.sources import SOURCES
from tools.phantom.textures import stream

log = logging.getLogger(__name__)

PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
METADATA = "HAM10000_metadata.csv"
FINDINGS = "findings.csv"
KNOWN_DUPLICATES = "known_duplicates.csv"
TRUTH = "planted.json"

LATER_ROLES = "calibration/test"  # an empty cell may get any role

NAME = "medaudit.data.phantom"  # where the first version stood; it is part of the bytes
VERSION = 2  # raise it when the same seed gives other images


@dataclass(frozen=True)
class Job:
    """One image to write: `drawn` is the image that `photo` shows, another one for a copy."""

    photo: Photo
    drawn: Photo
    part: str


def generate(out: Path, *, n: int = 1600, seed: int = 1, workers: int = 1) -> None:
    """Write `n` images with masks, metadata, known duplicates and the truth of what is injected.

    The same `n` and `seed` give the same bytes, whatever the number of `workers` (processes). `out`
    must not exist or be empty; it appears only when it is whole.

    Raises:
        DataError: When `n` is too small to hold every class, or `out` holds something.
    """
    photos = plan(n=n, seed=seed)
    with _new_folder(out) as folder:
        similarities = _write_images(folder, _jobs(photos), seed, workers)
        _metadata(photos).to_csv(folder / METADATA, index=False, lineterminator="\n")
        _known_duplicates(photos, similarities).to_csv(
            folder / KNOWN_DUPLICATES, index=False, lineterminator="\n"
        )
        _findings(photos).to_csv(folder / FINDINGS, index=False, lineterminator="\n")
        generator = {"name": NAME, "version": VERSION, "n": n, "seed": seed}
        write_json(folder / TRUTH, planted(photos, similarities, generator=generator))
    log.info("phantom: %d images of %d lesions in %s", n, _lesion_count(photos), out)


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `out` when the block ends well and vanishes otherwise."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"expected a new or empty folder to write the phantom to, {out} holds something: "
            "choose another name or remove it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        yield part
        part.chmod(0o755)
        os.sync()  # thousands of small files: one by one takes a minute
        part.replace(out)
        sync(out.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _jobs(photos: list[Photo]) -> list[Job]:
    """The images sorted by the lesion that is drawn, so that it is grown once for all of them."""
    by_index = {photo.index: photo for photo in photos}
    jobs = [
        Job(photo, by_index[photo.copy_of or photo.index], _part(position, photos))
        for position, photo in enumerate(photos)
    ]
    return sorted(jobs, key=lambda job: job.drawn.lesion.index)


def _write_images(folder: Path, jobs: list[Job], seed: int, workers: int) -> dict[int, float]:
    """Write every image and mask; returns the similarity of each copy to its original, by index."""
    for name in (*PARTS, MASKS):
        (folder / name).mkdir()
    write = partial(_write_image, folder=folder, seed=seed)
    with _processes(workers) as run:
        progress = tqdm(
            run(write, jobs), desc="phantom", unit="image", total=len(jobs), disable=None
        )
        written = list(progress)
    pairs = zip(jobs, written, strict=True)
    return {job.photo.index: similarity for job, similarity in pairs if similarity is not None}


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """The built-in `map`, or one that spreads its work over processes of one thread each."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,)
    )
    with pool:
        yield partial(pool.map, chunksize=20)


def _write_image(job: Job, *, folder: Path, seed: int) -> float | None:
    """Write one image and its mask; the similarity to the original when it is a copy."""
    shot, similarity = render(job.drawn, seed=seed), None
    quality = SOURCES[job.photo.lesion.source].quality
    if job.photo.copy_of is not None:
        original, shot = shot, copy(shot, stream(seed, "copy", job.photo.index))
        similarity, quality = _similarity(original, shot), INJECTED.duplicate_quality
    name = job.photo.image_id
    Image.fromarray(shot.image).save(folder / job.part / f"{name}.jpg", quality=quality)
    Image.fromarray(shot.mask).save(folder / MASKS / f"{name}_segmentation.png", optimize=True)
    return similarity


def _similarity(a: Shot, b: Shot) -> float:
    """Correlation of the pixels, between -1 and 1."""
    return round(float(np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1]), 6)


def _metadata(photos: list[Photo]) -> pd.DataFrame:
    rows = [
        {
            "lesion_id": photo.lesion.lesion_id,
            "image_id": photo.image_id,
            "dx": photo.lesion.dx,
            "dx_type": photo.lesion.dx_type,
            "age": photo.lesion.person.age,
            "sex": photo.lesion.person.sex,
            "localization": photo.lesion.person.localization,
            "dataset": photo.lesion.source,
            "ruler": "yes" if photo.ruler else "no",
            "split": LATER_ROLES if photo.lesion.later else "",
        }
        for photo in photos
    ]
    return pd.DataFrame(rows).sort_values(["dx", "lesion_id", "image_id"], ignore_index=True)


def _findings(photos: list[Photo]) -> pd.DataFrame:
    """What stands between the camera and the skin: a table of several findings per image."""
    rows = [
        {
            "image_path": f"{_part(position, photos)}/{photo.image_id}.jpg",
            "lesion_id": photo.lesion.lesion_id,
            **{name: int(getattr(photo, name)) for name in NUISANCES},
            "age": photo.lesion.person.age,
            "sex": photo.lesion.person.sex,
            "localization": photo.lesion.person.localization,
            "dataset": photo.lesion.source,
        }
        for position, photo in enumerate(photos)
    ]
    return pd.DataFrame(rows)


def _part(position: int, photos: list[Photo]) -> str:
    """The folder of the photo at that position."""
    return PARTS[2 * position // len(photos)]


def _known_duplicates(photos: list[Photo], similarities: dict[int, float]) -> pd.DataFrame:
    """The pairs that a curator has already found."""
    rows = [
        {
            "similarity": similarities[photo.index],
            "from_img": f"PHM_{photo.copy_of:07d}.jpg",
            "to_img": f"{photo.image_id}.jpg",
        }
        for photo in photos
        if photo.index in listed_copies(photos)
    ]
    return pd.DataFrame(rows).sort_values("similarity", ascending=False, ignore_index=True)


def _lesion_count(photos: list[Photo]) -> int:
    return len({photo.lesion.index for photo in photos})
