"""The truth of the planted failures, in a form that a test can read."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from medaudit.data.phantom.plan import Photo
from medaudit.data.phantom.plants import PLANTS
from medaudit.data.phantom.sources import SOURCES

NUISANCES = ("ruler", "hair", "ink", "bubbles")
VERSION = 1  # raise it when the same seed gives other images


def truth(
    photos: list[Photo], similarities: dict[int, float], *, n: int, seed: int
) -> dict[str, Any]:
    """Everything that an audit of these images should find, with the ids."""
    return {
        "generator": {"name": "medaudit.data.phantom", "version": VERSION, "n": n, "seed": seed},
        "design": asdict(PLANTS),
        "ruler_shortcut": _rulers(photos),
        "low_contrast": _low_contrast(photos),
        "tiny_lesions": _tiny(photos),
        "mislabelled": _mislabelled(photos),
        "duplicates": _duplicates(photos, similarities),
        "images": _nuisances(photos),
    }


def _rulers(photos: list[Photo]) -> dict[str, Any]:
    """Images and rulers per source, on the shortcut class (as rendered) and on the others."""
    total, ruled = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for photo in photos:
        cell = (photo.lesion.source, photo.lesion.true_dx == PLANTS.shortcut_class)
        total[cell] += 1
        ruled[cell] += photo.ruler
    counts = [
        {
            "source": source,
            "on_class": ours,
            "images": total[source, ours],
            "rulers": ruled[source, ours],
        }
        for source in SOURCES
        for ours in (True, False)
    ]
    return {
        "class": PLANTS.shortcut_class,
        "exception_source": PLANTS.exception_source,
        "counts": counts,
    }


def _low_contrast(photos: list[Photo]) -> dict[str, Any]:
    name = PLANTS.low_contrast_source
    images = sum(photo.lesion.source == name for photo in photos)
    return {"source": name, "contrast": SOURCES[name].contrast, "images": images}


def _tiny(photos: list[Photo]) -> dict[str, Any]:
    tiny = [photo for photo in photos if photo.lesion.tiny]
    return {
        "lesion_ids": sorted({photo.lesion.lesion_id for photo in tiny}),
        "image_ids": [photo.image_id for photo in tiny],
    }


def _mislabelled(photos: list[Photo]) -> list[dict[str, Any]]:
    wrong = {
        photo.lesion.index: photo.lesion
        for photo in photos
        if photo.lesion.dx != photo.lesion.true_dx
    }
    return [
        {
            "lesion_id": lesion.lesion_id,
            "recorded": lesion.dx,
            "true": lesion.true_dx,
            "image_ids": [photo.image_id for photo in photos if photo.lesion.index == lesion.index],
        }
        for _, lesion in sorted(wrong.items())
    ]


def _duplicates(photos: list[Photo], similarities: dict[int, float]) -> list[dict[str, Any]]:
    by_index = {photo.index: photo for photo in photos}
    return [
        {
            "from": by_index[photo.copy_of].image_id,
            "from_lesion": by_index[photo.copy_of].lesion.lesion_id,
            "to": photo.image_id,
            "to_lesion": photo.lesion.lesion_id,
            "similarity": similarities[photo.index],
            "listed": photo.index in listed_copies(photos),
        }
        for photo in photos
        if photo.copy_of is not None
    ]


def listed_copies(photos: list[Photo]) -> list[int]:
    """Indices of the copies that `known_duplicates.csv` names; the others are left to a hash."""
    copies = [photo.index for photo in photos if photo.copy_of is not None]
    return copies[: max(round(PLANTS.duplicates_listed * len(copies)), 1)]


def _nuisances(photos: list[Photo]) -> list[str]:
    """One CSV line per image, the header first: what stands between the camera and the skin."""
    header = ",".join(["image_id", *(f"has_{flag}" for flag in NUISANCES)])
    return [header] + [
        ",".join([photo.image_id, *(str(int(getattr(photo, flag))) for flag in NUISANCES)])
        for photo in photos
    ]
