"""Planted worlds: prediction tables of lesions in which one slice is known to be worse, or none."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from medaudit.audits.slicing import SliceParams
from medaudit.tables.predictions import PredictionTable, Schema

CLASSES = ("melanoma", "keratosis", "carcinoma", "nevus")
SCHEMA = Schema("multiclass", CLASSES, "melanoma")
SHARES = np.array([0.12, 0.12, 0.06, 0.7])
RICH = np.array([0.3, 0.25, 0.15, 0.3])
"""Class mix of all slices but one, and of site c, which is no failure."""
RECALLS = np.array([0.0, 0.6, 0.75, 0.92])
"""Of the other classes, where melanoma is not called."""
SENSITIVITY, SPECIFICITY = 0.8, 0.95

LESIONS = np.repeat([1, 2, 3, 4, 5, 6], [5514, 1423, 490, 34, 5, 4])
"""Images per lesion in HAM10000."""
SHARED = 0.6
"""Part of the variance of a score that the images of a lesion share."""
IMAGES = {"train": 400, "calibration": 500, "test": 1500}
BAD = 0.15
"""Share of the lesions that lie in the bad slice."""

COLUMNS = ("source", "site", "device")
PARAMS = SliceParams(
    columns=COLUMNS,
    quantiles={"age": 4, "brightness": 4, "sharpness": 3},
    confirmatory=("source", "site", "age"),
)
"""22 slices, of which 11 are confirmatory."""


@dataclass(frozen=True)
class World:
    """What is planted.

    Args:
        drop: points of sensitivity, in [0, 1], that the bad slice loses.
        lesions: melanoma lesions that the bad slice has in the test role.
        column: of the bad slice: `source` is confirmatory, `device` exploratory.
    """

    drop: float
    lesions: int
    column: str = "source"

    @property
    def bad(self) -> str:
        """The planted slice, as the audit calls it."""
        return f"{self.column}=a"


def draw(world: World, seed: int) -> PredictionTable:
    """Train, calibration (a third of test) and test role; all images of a lesion have one label."""
    generator = np.random.default_rng([2024, seed])
    rows = pd.concat(
        [_images(world, generator, role=role, n=n) for role, n in IMAGES.items()],
        ignore_index=True,
    )
    rows["sample_id"] = [f"s{number:05}" for number in range(len(rows))]
    logits = _logits(rows, generator)
    kept = ["sample_id", "group_id", "role", *PARAMS.all_columns]
    targets = rows["target"].to_numpy(np.int64)
    return PredictionTable(SCHEMA, rows[kept], targets, logits[np.newaxis])


def _images(world: World, generator: np.random.Generator, *, role: str, n: int) -> pd.DataFrame:
    """Images of one role: columns, label, what lesions share, sensitivity they lose."""
    drawn = generator.choice(LESIONS, size=n)
    sizes = drawn[: int(np.searchsorted(np.cumsum(drawn), n)) + 1]
    lesions = _lesions(world, generator, n=len(sizes), share=n / IMAGES["test"])
    lesions["group_id"] = [f"{role}{number:05}" for number in range(len(sizes))]
    lesions["shared"] = generator.normal(size=len(sizes))
    rows = lesions.loc[np.repeat(lesions.index, sizes)].reset_index(drop=True)
    for name in ("brightness", "sharpness"):
        common = generator.normal(size=len(sizes)).repeat(sizes)
        rows[name] = common + generator.normal(size=len(rows))
    return rows.assign(role=role)


def _lesions(world: World, generator: np.random.Generator, *, n: int, share: float) -> pd.DataFrame:
    """Lesions: age goes with source; site c has another class mix; the bad slice is exact."""
    columns = {
        name: generator.choice(list("bcd"), n, p=[0.3, 0.35, 0.35]) for name in ("source", "device")
    }
    site = generator.choice(list("abc"), n, p=[0.5, 0.3, 0.2])
    mixes = np.where((site == "c")[:, np.newaxis], RICH, SHARES)
    target = (mixes.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)
    bad = generator.permutation(n) < round(BAD * n)
    columns[world.column] = np.where(bad, "a", columns[world.column])
    ill = np.zeros(n, dtype=bool)
    ill[generator.choice(np.flatnonzero(bad), round(world.lesions * share), replace=False)] = True
    well = generator.choice([1, 2, 3], n, p=SHARES[1:] / SHARES[1:].sum())
    target = np.where(bad, np.where(ill, 0, well), target)
    age = generator.normal(55, 15, n) + 8 * (columns["source"] == "b")
    lost = np.where(bad, world.drop, 0.0)
    return pd.DataFrame({**columns, "site": site, "age": age, "target": target, "lost": lost})


def _logits(rows: pd.DataFrame, generator: np.random.Generator) -> NDArray[np.float32]:
    """Score of melanoma: normal, of the planted sensitivity; of the others: right or wrong."""
    n, target = len(rows), rows["target"].to_numpy()
    own = generator.normal(size=n)
    noise = np.sqrt(SHARED) * rows["shared"].to_numpy() + np.sqrt(1 - SHARED) * own
    cut = norm.ppf(SPECIFICITY)
    signal = cut + norm.ppf(SENSITIVITY - rows["lost"].to_numpy())
    melanoma = np.where(target == 0, signal, 0.0) + noise - cut
    right = generator.random(n) < RECALLS[target]
    other = (target + generator.integers(0, 2, n)) % 3 + 1
    called = np.where(right, target, np.where(other == target, target % 3 + 1, other))
    # The others add up to the same, so that melanoma is called where its score is above 0.
    logits = np.full((n, len(CLASSES)), np.log(0.05), dtype=np.float32)
    logits[np.arange(n), called] = np.log(0.9)
    logits[:, 0] = melanoma
    return logits
