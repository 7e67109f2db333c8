"""Who is in the data set: persons, lesions, their images, and which carry an injected failure.

Age, sex, site and kind of diagnosis have proportions like those of HAM10000.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from medaudit.core.errors import DataError
from tools.phantom.injected_failures import INJECTED, MISTAKEN_FOR
from tools.phantom.sources import SOURCES
from tools.phantom.textures import stream
from tools.phantom.traits import CLASSES


@dataclass(frozen=True)
class Person:
    """The clinical columns of one lesion; `age` is `None` when it was not recorded."""

    age: float | None
    sex: str
    localization: str


@dataclass(frozen=True)
class Clinic:
    """Age (mean, spread), share of men, how the diagnosis was made, and where the class sits."""

    age: tuple[float, float]
    male: float
    dx_type: dict[str, float]
    sites: dict[str, float]


UNKNOWN_AGE, UNKNOWN_SEX, UNKNOWN_SITE = 0.010, 0.008, 0.025

CLINICS: dict[str, Clinic] = {
    "akiec": Clinic(
        age=(66, 11),
        male=0.68,
        dx_type={"histo": 1.0},
        sites={
            "face": 0.36, "lower extremity": 0.20, "upper extremity": 0.20, "back": 0.10,
            "hand": 0.05, "scalp": 0.05, "neck": 0.04,
        },
    ),
    "bcc": Clinic(
        age=(66, 13),
        male=0.62,
        dx_type={"histo": 1.0},
        sites={
            "back": 0.36, "face": 0.21, "lower extremity": 0.12, "upper extremity": 0.11,
            "chest": 0.09, "abdomen": 0.04, "neck": 0.04, "scalp": 0.03,
        },
    ),
    "bkl": Clinic(
        age=(64, 14),
        male=0.57,
        dx_type={"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
        sites={
            "face": 0.29, "back": 0.19, "lower extremity": 0.16, "upper extremity": 0.10,
            "chest": 0.07, "trunk": 0.08, "abdomen": 0.05, "scalp": 0.03, "neck": 0.03,
        },
    ),
    "df": Clinic(
        age=(53, 13),
        male=0.45,
        dx_type={"histo": 0.48, "consensus": 0.52},
        sites={
            "lower extremity": 0.72, "upper extremity": 0.21, "abdomen": 0.03, "foot": 0.02,
            "back": 0.02,
        },
    ),
    "mel": Clinic(
        age=(61, 15),
        male=0.62,
        dx_type={"histo": 1.0},
        sites={
            "back": 0.29, "upper extremity": 0.19, "lower extremity": 0.17, "face": 0.09,
            "chest": 0.07, "abdomen": 0.07, "trunk": 0.05, "foot": 0.03, "ear": 0.02,
            "scalp": 0.02,
        },
    ),
    "nv": Clinic(
        age=(46, 15),
        male=0.52,
        dx_type={"histo": 0.37, "follow_up": 0.55, "consensus": 0.08},
        sites={
            "lower extremity": 0.22, "back": 0.21, "trunk": 0.19, "abdomen": 0.14,
            "upper extremity": 0.10, "foot": 0.05, "chest": 0.04, "neck": 0.02,
            "genital": 0.01, "hand": 0.01, "acral": 0.01,
        },
    ),
    "vasc": Clinic(
        age=(51, 21),
        male=0.49,
        dx_type={"histo": 0.47, "consensus": 0.53},
        sites={
            "trunk": 0.22, "lower extremity": 0.20, "abdomen": 0.19, "back": 0.15,
            "upper extremity": 0.08, "face": 0.07, "chest": 0.05, "hand": 0.04,
        },
    ),
}  # fmt: skip


def draw_person(dx: str, rng: np.random.Generator) -> Person:
    """Age in steps of five years, sex and site of a lesion that looks like `dx`."""
    clinic = CLINICS[dx]
    years = float(np.clip(5 * round(rng.normal(*clinic.age) / 5), 5, 85))
    sex = "male" if rng.random() < clinic.male else "female"
    site = _choose(clinic.sites, rng)
    age_gone, sex_gone, site_gone = rng.random(3) < (UNKNOWN_AGE, UNKNOWN_SEX, UNKNOWN_SITE)
    return Person(
        age=None if age_gone else years,
        sex="unknown" if sex_gone else sex,
        localization="unknown" if site_gone else site,
    )


def draw_dx_type(dx: str, rng: np.random.Generator) -> str:
    """How the recorded diagnosis `dx` was established."""
    return _choose(CLINICS[dx].dx_type, rng)


def _choose(table: dict[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(table.values()))
    return str(rng.choice(list(table), p=weights / weights.sum()))


T = TypeVar("T")

MIN_IMAGES = 50
MIN_LESIONS = 4  # one for each of the four roles of a split

CLASS_SHARES: dict[str, float] = {
    "akiec": 0.07, "bcc": 0.09, "bkl": 0.11, "df": 0.05, "mel": 0.20, "nv": 0.42, "vasc": 0.06,
}  # fmt: skip

VIEWS_OF_A_LESION: dict[int, float] = {1: 0.62, 2: 0.23, 3: 0.11, 4: 0.04}

# A mild natural confounder, as in reality: the classes are not spread evenly over the sources.
SOURCE_SHARES: dict[str, tuple[float, float, float, float]] = {
    "akiec": (0.30, 0.46, 0.12, 0.12),
    "bcc": (0.34, 0.40, 0.14, 0.12),
    "bkl": (0.34, 0.32, 0.20, 0.14),
    "df": (0.36, 0.26, 0.26, 0.12),
    "mel": (0.34, 0.32, 0.17, 0.17),
    "nv": (0.30, 0.22, 0.34, 0.14),
    "vasc": (0.40, 0.18, 0.28, 0.14),
}

CHANCES: dict[str, float] = {"ink": 0.06, "bubbles": 0.12}


@dataclass(frozen=True)
class Lesion:
    """One lesion: what it is (`true_dx`), what the table says (`dx`), and whose it is."""

    index: int
    dx: str
    true_dx: str
    dx_type: str
    source: str
    person: Person
    views: int
    tiny: bool
    later: bool

    @property
    def lesion_id(self) -> str:
        """Identifier in the metadata."""
        return f"PHL_{self.index:07d}"


@dataclass(frozen=True)
class Photo:
    """One image of a lesion; `copy_of` is the index of the image that it duplicates."""

    index: int
    lesion: Lesion
    ruler: bool
    hair: bool
    ink: bool
    bubbles: bool
    copy_of: int | None = None

    @property
    def image_id(self) -> str:
        """Identifier in the metadata and name of the file."""
        return f"PHM_{self.index:07d}"


def plan(*, n: int, seed: int) -> list[Photo]:
    """All `n` images in the order of their ids; `DataError` when `n` is too small to plant in."""
    if n < MIN_IMAGES:
        raise DataError(
            f"the phantom needs n >= {MIN_IMAGES} images to hold every class and injected failure, "
            f"got n = {n}: ask for more"
        )
    lesions = _relabel(_lesions(n, stream(seed, "lesions", n)), n, stream(seed, "labels", n))
    photos = _photos(lesions, seed, stream(seed, "order", n))
    return _duplicate(photos, n, stream(seed, "duplicates", n))


def _lesions(n: int, rng: np.random.Generator) -> list[Lesion]:
    rows: list[tuple[str, str, int, bool]] = []
    for dx, images in _class_counts(n).items():
        views = _views(images, rng)
        first = len(views) - round(INJECTED.later_share * (len(views) - MIN_LESIONS))
        sources = _spread(list(SOURCES), _first_shares(dx), first, rng)
        sources += _spread(list(SOURCES), _later_shares(dx), len(views) - first, rng)
        rows += [(dx, *each, i >= first) for i, each in enumerate(zip(sources, views, strict=True))]
    tiny = _spread([True, False], (INJECTED.tiny_share, 1 - INJECTED.tiny_share), len(rows), rng)
    return [
        Lesion(
            number + 1,
            dx,
            dx,
            draw_dx_type(dx, rng),
            source,
            draw_person(dx, rng),
            views,
            tiny[number],
            later,
        )
        for number, (dx, source, views, later) in enumerate(
            rows[i] for i in rng.permutation(len(rows))
        )
    ]


def _first_shares(dx: str) -> tuple[float, ...]:
    """Sources of the first collection.

    The low-contrast camera was not there yet, and hardly any image of the shortcut class came from
    the exception source: what is trained on nearly always shows the shortcut.
    """
    known = dict(zip(SOURCES, SOURCE_SHARES[dx], strict=True))
    known[INJECTED.low_contrast_source] = 0.0
    if dx == INJECTED.shortcut_class:
        known[INJECTED.exception_source] *= INJECTED.first_exception_factor
    return tuple(share / sum(known.values()) for share in known.values())


def _later_shares(dx: str) -> tuple[float, ...]:
    """Sources of the later collection: most from the exception source and the new camera.

    Few of the shortcut class come from the new camera, which would hide where the shortcut fails.
    """
    ours = dx == INJECTED.shortcut_class
    shares = {
        INJECTED.exception_source: INJECTED.later_exception_share,
        INJECTED.low_contrast_source: INJECTED.later_camera_share,
    }
    if ours:
        moved = 0.85 * INJECTED.later_camera_share
        shares[INJECTED.exception_source] += moved
        shares[INJECTED.low_contrast_source] -= moved
    other = (1 - sum(shares.values())) / (len(SOURCES) - len(shares))
    return tuple(shares.get(name, other) for name in SOURCES)


def _class_counts(n: int) -> dict[str, int]:
    """Images per class, at least `MIN_LESIONS` each; the largest class takes the rounding."""
    counts = {dx: max(round(n * CLASS_SHARES[dx]), MIN_LESIONS) for dx in CLASSES}
    counts["nv"] += n - sum(counts.values())
    return counts


def _views(images: int, rng: np.random.Generator) -> list[int]:
    """Images per lesion, summing to `images`, with at least `MIN_LESIONS` lesions."""
    views = [1] * MIN_LESIONS
    while (left := images - sum(views)) > 0:
        drawn = rng.choice(list(VIEWS_OF_A_LESION), p=list(VIEWS_OF_A_LESION.values()))
        views.append(min(int(drawn), left))
    return views


def _spread(
    items: list[T], shares: tuple[float, ...], count: int, rng: np.random.Generator
) -> list[T]:
    """`count` items in random order whose frequencies follow the shares as closely as they can."""
    positions = (np.arange(count) + rng.random()) / max(count, 1)
    picks = np.searchsorted(np.cumsum(shares)[:-1], positions)
    return [items[int(i)] for i in rng.permutation(picks)]


def _relabel(lesions: list[Lesion], n: int, rng: np.random.Generator) -> list[Lesion]:
    """Record a few lesions under the class that they are most easily mistaken for."""
    wanted, done = max(round(n * INJECTED.mislabelled_share), 1), 0
    spare = {dx: sum(lesion.dx == dx for lesion in lesions) - 2 * MIN_LESIONS for dx in CLASSES}
    out = list(lesions)
    for i in rng.permutation(len(lesions)):
        lesion = out[i]
        wrong = MISTAKEN_FOR.get(lesion.dx)
        if wrong is None or lesion.tiny or spare[lesion.dx] <= 0 or done + lesion.views > wanted:
            continue
        out[i] = replace(lesion, dx=wrong, dx_type=draw_dx_type(wrong, rng))
        spare[lesion.dx] -= 1 + spare[lesion.dx] // 3
        done += lesion.views
    return out


def _photos(lesions: list[Lesion], seed: int, rng: np.random.Generator) -> list[Photo]:
    """Number the images in random order, so that an id says nothing, and draw their nuisances."""
    owners = [lesion for lesion in lesions for _ in range(lesion.views)]
    shuffled = [owners[i] for i in rng.permutation(len(owners))]
    return [_photo(number + 1, lesion, seed) for number, lesion in enumerate(shuffled)]


def _photo(index: int, lesion: Lesion, seed: int) -> Photo:
    ruler, hair, ink, bubbles = stream(seed, "nuisance", index).random(4)
    return Photo(
        index=index,
        lesion=lesion,
        ruler=bool(ruler < INJECTED.ruler_chance(lesion.true_dx, lesion.source)),
        hair=bool(hair < SOURCES[lesion.source].hair),
        ink=bool(ink < CHANCES["ink"]),
        bubbles=bool(bubbles < CHANCES["bubbles"]),
    )


def _duplicate(photos: list[Photo], n: int, rng: np.random.Generator) -> list[Photo]:
    """Turn single images of ordinary lesions into near-copies of another lesion's image."""
    wanted = max(round(n * INJECTED.duplicate_share), 2)
    out, used = list(photos), set[int]()
    for i in rng.permutation(len(photos)):
        if len(used) == 2 * wanted:
            break
        partner = _partner(photos, int(i), used)
        if partner is not None:
            used |= {int(i), partner}
            out[i] = replace(
                photos[partner],
                index=photos[i].index,
                lesion=photos[i].lesion,
                copy_of=photos[partner].index,
            )
    return out


def _partner(photos: list[Photo], i: int, used: set[int]) -> int | None:
    """The next image that the `i`-th could copy: same class and source, another plain lesion.

    Of the same collection too: roles are then free to part the two, unless somebody finds them.
    """
    if i in used or not _plain(photos[i].lesion):
        return None
    for step in range(1, len(photos)):
        j = (i + step) % len(photos)
        ours, theirs = photos[i].lesion, photos[j].lesion
        same = _kind(ours) == _kind(theirs)
        if j not in used and same and ours.index != theirs.index and _plain(theirs):
            return j
    return None


def _kind(lesion: Lesion) -> tuple[str, str, bool]:
    return lesion.dx, lesion.source, lesion.later


def _plain(lesion: Lesion) -> bool:
    """One image, not tiny, rightly labelled, and of a class that can spare a lesion."""
    common = lesion.dx in ("nv", "mel", "bkl", "bcc")
    return common and lesion.views == 1 and not lesion.tiny and lesion.dx == lesion.true_dx


def listed_copies(photos: Sequence[Photo]) -> list[int]:
    """Indices of the copies that `known_duplicates.csv` names; the others are left to a hash."""
    copies = [photo.index for photo in photos if photo.copy_of is not None]
    return copies[: max(round(INJECTED.duplicates_listed * len(copies)), 1)]
