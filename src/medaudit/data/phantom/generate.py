"""Write the phantom to disk in the layout of HAM10000."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from medaudit.data.phantom.fields import stream
from medaudit.data.phantom.plan import Photo, plan
from medaudit.data.phantom.plants import PLANTS
from medaudit.data.phantom.render import Shot, copy, render
from medaudit.data.phantom.sources import SOURCES
from medaudit.data.phantom.truth import NUISANCES, listed_copies, truth
from medaudit.errors import DataError
from medaudit.files import write_json

log = logging.getLogger(__name__)

PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
METADATA = "HAM10000_metadata.csv"
FINDINGS = "findings.csv"
KNOWN_DUPLICATES = "known_duplicates.csv"
TRUTH = "planted.json"


def generate(out: Path, *, n: int = 900, seed: int = 1) -> None:
    """Write `n` images with masks, metadata, known duplicates and the truth of what is planted.

    The same `n` and `seed` give the same bytes. `out` must not exist or be empty; it appears only
    when it is whole.

    Raises:
        DataError: When `n` is too small to hold every class, or `out` holds something.
    """
    photos = plan(n=n, seed=seed)
    with _new_folder(out) as folder:
        similarities = _write_images(folder, photos, seed)
        _metadata(photos).to_csv(folder / METADATA, index=False, lineterminator="\n")
        _known_duplicates(photos, similarities).to_csv(
            folder / KNOWN_DUPLICATES, index=False, lineterminator="\n"
        )
        _findings(photos).to_csv(folder / FINDINGS, index=False, lineterminator="\n")
        write_json(folder / TRUTH, truth(photos, similarities, n=n, seed=seed))
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
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_images(folder: Path, photos: list[Photo], seed: int) -> dict[int, float]:
    """Write every image and mask; returns the similarity of each copy to its original, by index."""
    for name in (*PARTS, MASKS):
        (folder / name).mkdir()
    by_index = {photo.index: photo for photo in photos}
    similarities: dict[int, float] = {}
    for position, photo in enumerate(tqdm(photos, desc="phantom", unit="image")):
        shot = render(by_index[photo.copy_of or photo.index], seed=seed)
        if photo.copy_of is not None:
            original, shot = shot, copy(shot, stream(seed, "copy", photo.index))
            similarities[photo.index] = _similarity(original, shot)
        _write_shot(folder, photo, shot, part=_part(position, photos))
    return similarities


def _write_shot(folder: Path, photo: Photo, shot: Shot, *, part: str) -> None:
    copied = photo.copy_of is not None
    quality = PLANTS.duplicate_quality if copied else SOURCES[photo.lesion.source].quality
    Image.fromarray(shot.image).save(folder / part / f"{photo.image_id}.jpg", quality=quality)
    mask = folder / MASKS / f"{photo.image_id}_segmentation.png"
    Image.fromarray(shot.mask).save(mask, optimize=True)


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
