"""What is injected, with the ids and the audit that must find it: `planted.json`.

Its keys: `schema` (the number of this form), `generator`, `design` (the constants of
`injected_failures`), `plants`, and `images` (CSV lines: what stands between camera and skin).

A plant has
    name, kind   its name, and one of the kinds below
    what         one sentence
    expect       what it does: "worse" where predictions suffer, "present" where it is only there
    ids          the images that carry it; for the shortcut, those that it harms
    details      counts or pairs, as the kind has them
    audits       who must find it: stage, series (a file of plots/<stage>), check, and its words

A check is one of
    verdict      a row of the series says `expect`; `rows` are cells that it must have, where a text
                 that ends in `*` is a beginning; `prefix` and `numbers` say in which columns the
                 estimate stands if not in `gap`
    pairs        every pair of `details.pairs` is there, and none stands in two roles
    enriched     the ids are more frequent at the head of the series than chance allows
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tools.phantom.injected_failures import INJECTED
from tools.phantom.plan import Photo, listed_copies
from tools.phantom.sources import SOURCES

SCHEMA = 2
NUISANCES = ("ruler", "hair", "ink", "bubbles")
SLICES = {"stage": "slice", "series": "slices", "check": "verdict", "expect": "worse"}

Plant = dict[str, Any]


def planted(
    photos: Sequence[Photo], similarities: Mapping[int, float], *, generator: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `planted.json`; `similarities` of copies to their originals by index."""
    return {
        "schema": SCHEMA,
        "generator": dict(generator),
        "design": asdict(INJECTED),
        "plants": [
            _shortcut(photos),
            _low_contrast(photos),
            _tiny(photos),
            _mislabelled(photos),
            _duplicates(photos, similarities),
            _later_collection(photos),
        ],
        "images": _nuisances(photos),
    }


def _shortcut(photos: Sequence[Photo]) -> Plant:
    name, source = INJECTED.shortcut_class, INJECTED.exception_source
    bare = [p for p in photos if p.lesion.true_dx == p.lesion.dx == name and not p.ruler]
    return {
        "name": "ruler_shortcut",
        "kind": "shortcut",
        "what": f"Rulers lie beside most images of {name}, but beside few from {source}.",
        "expect": "worse",
        "ids": _ids(bare),
        "details": {"class": name, "exception_source": source, "counts": _rulers(photos)},
        "audits": [
            SLICES | {"rows": {"slice": f"dataset={source}", "metric": "critical_sensitivity"}},
            {
                "stage": "slice",
                "series": "shortcuts",
                "check": "verdict",
                "expect": "alarm",
                "rows": {"property": "ruler", "class": name},
                "prefix": "missed_",
            },
        ],
    }


def _rulers(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """Images and rulers per source, on the shortcut class (as rendered) and on the others."""
    total, ruled = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for photo in photos:
        cell = (photo.lesion.source, photo.lesion.true_dx == INJECTED.shortcut_class)
        total[cell] += 1
        ruled[cell] += photo.ruler
    return [
        {
            "source": source,
            "on_class": ours,
            "images": total[source, ours],
            "rulers": ruled[source, ours],
        }
        for source in SOURCES
        for ours in (True, False)
    ]


def _low_contrast(photos: Sequence[Photo]) -> Plant:
    name = INJECTED.low_contrast_source
    return {
        "name": "low_contrast",
        "kind": "bad_images",
        "what": f"Images from {name}, never trained on, have little contrast and much grain.",
        "expect": "worse",
        "ids": _ids(photo for photo in photos if photo.lesion.source == name),
        "details": {"source": name, "contrast": SOURCES[name].contrast},
        "audits": [
            SLICES | {"rows": {"slice": f"dataset={name}", "metric": "standardised_accuracy"}},
            SLICES | {"rows": {"slice": "contrast <=*", "metric": "standardised_accuracy"}},
        ],
    }


def _tiny(photos: Sequence[Photo]) -> Plant:
    tiny = [photo for photo in photos if photo.lesion.tiny]
    return {
        "name": "tiny_lesions",
        "kind": "hard_cases",
        "what": "Some lesions are tiny and blurred.",
        "expect": "worse",
        "ids": _ids(tiny),
        "details": {"lesion_ids": sorted({photo.lesion.lesion_id for photo in tiny})},
        "audits": [SLICES | {"rows": {"slice": "lesion_area <=*"}}],
    }


def _mislabelled(photos: Sequence[Photo]) -> Plant:
    wrong = [photo for photo in photos if photo.lesion.dx != photo.lesion.true_dx]
    lesions = {photo.lesion.index: photo.lesion for photo in wrong}
    return {
        "name": "mislabelled",
        "kind": "label_errors",
        "what": "Some lesions are recorded under a class that they are not.",
        "expect": "worse",
        "ids": _ids(wrong),
        "details": {
            "lesions": [
                {
                    "lesion_id": lesion.lesion_id,
                    "recorded": lesion.dx,
                    "true": lesion.true_dx,
                    "image_ids": _ids(p for p in wrong if p.lesion.index == index),
                }
                for index, lesion in sorted(lesions.items())
            ]
        },
        "audits": [{"stage": "slice", "series": "label_issues", "check": "enriched"}],
    }


def _duplicates(photos: Sequence[Photo], similarities: Mapping[int, float]) -> Plant:
    by_index = {photo.index: photo for photo in photos}
    listed = listed_copies(photos)
    pairs = [(by_index[p.copy_of], p) for p in photos if p.copy_of is not None]
    return {
        "name": "duplicates",
        "kind": "copies",
        "what": "Some images are near-copies of an image of another lesion, few of them listed.",
        "expect": "present",
        "ids": sorted(photo.image_id for pair in pairs for photo in pair),
        "details": {
            "pairs": [
                {
                    "from": original.image_id,
                    "from_lesion": original.lesion.lesion_id,
                    "to": copied.image_id,
                    "to_lesion": copied.lesion.lesion_id,
                    "similarity": similarities[copied.index],
                    "listed": copied.index in listed,
                }
                for original, copied in pairs
            ]
        },
        "audits": [{"stage": "prepare", "series": "duplicates", "check": "pairs"}],
    }


def _later_collection(photos: Sequence[Photo]) -> Plant:
    source = INJECTED.exception_source
    later = [photo for photo in photos if photo.lesion.later]
    return {
        "name": "later_collection",
        "kind": "drift",
        "what": f"A part is never trained on, and most of it comes from {source}.",
        "expect": "present",
        "ids": _ids(later),
        "details": {"source": source, "images": len(later)},
        "audits": [
            {
                "stage": "slice",
                "series": "role_drift",
                "check": "verdict",
                "expect": "differ",
                "rows": {"comparison": "train against test", "features": "properties"},
                "numbers": {"estimate": "auroc", "n": "n_second"},
            }
        ],
    }


def _nuisances(photos: Sequence[Photo]) -> list[str]:
    """One CSV line per image, the header first."""
    header = ",".join(["image_id", *(f"has_{flag}" for flag in NUISANCES)])
    return [header] + [
        ",".join([photo.image_id, *(str(int(getattr(photo, flag))) for flag in NUISANCES)])
        for photo in photos
    ]


def _ids(photos: Any) -> list[str]:
    return [photo.image_id for photo in photos]
