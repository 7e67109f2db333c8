"""Age, sex, site and kind of diagnosis, in proportions like those of HAM10000."""

from dataclasses import dataclass

import numpy as np


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
