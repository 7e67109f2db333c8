"""Made-up prediction tables of both kinds of task, with planted failures."""

import numpy as np
import pandas as pd

from medaudit.tables import tasks
from medaudit.tables.predictions import Condition, PredictionTable, Schema

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.06, 0.08, 0.14, 0.04, 0.16, 0.47, 0.05)
LABELS = {
    "Infiltration": 0.18,
    "Effusion": 0.14,
    "Atelectasis": 0.11,
    "Nodule": 0.06,
    "Mass": 0.05,
    "Pneumothorax": 0.05,
    "Consolidation": 0.045,
    "Pleural_Thickening": 0.035,
    "Cardiomegaly": 0.03,
    "Emphysema": 0.025,
    "Edema": 0.02,
    "Fibrosis": 0.02,
    "Pneumonia": 0.015,
    "Hernia": 0.008,
}
ROLES = {"train": 0.4, "validation": 0.1, "calibration": 0.2, "test": 0.3}
STRENGTHS = {
    "gaussian_noise": 1.4,
    "gaussian_blur": 1.0,
    "jpeg": 0.15,
    "brightness_up": 0.5,
    "brightness_down": 0.6,
    "contrast_up": 0.2,
    "contrast_down": 0.4,
    "colour_cast_warm": 0.7,
    "colour_cast_blue": 0.5,
    "down_up_sampling": 0.3,
}


def schema_of(n_labels: int | None, *, critical: bool) -> Schema:
    """Seven classes, of which one is critical or none; or so many labels, none of them critical."""
    if n_labels is not None:
        return Schema("multilabel", tuple(LABELS)[:n_labels], None)
    return Schema("multiclass", CLASSES, "mel" if critical else None)


def rows(n: int, rng: np.random.Generator) -> pd.DataFrame:
    groups = np.sort(rng.integers(0, int(n * 0.7), n))
    names = list(ROLES)
    role = np.array(names)[
        np.searchsorted(np.cumsum(list(ROLES.values()))[:-1], groups / groups.max())
    ]
    return pd.DataFrame(
        {
            "sample_id": [f"TEST_{i:05}" for i in range(n)],
            "group_id": [f"L{g:05}" for g in groups],
            "role": role,
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.integers(4, 18, n) * 5.0),
            "sex": rng.choice(["female", "male", "unknown"], n, p=[0.47, 0.5, 0.03]),
            "localization": rng.choice(["back", "face", "lower extremity", "trunk"], n),
            "dataset": rng.choice(["source_a", "source_b", "source_c"], n, p=[0.45, 0.35, 0.2]),
            "brightness": rng.normal(0.6, 0.1, n),
        }
    )


def clean_table(n: int, schema: Schema) -> PredictionTable:
    """Source c is weak; everything else is told apart fairly well."""
    rng = np.random.default_rng(3)
    frame = rows(n, rng)
    strength = np.where(frame["dataset"] == "source_c", 0.8, 2.6)
    if schema.task == "multilabel":
        shares = np.array([LABELS[name] for name in schema.classes])
        truth = rng.random((n, len(shares))) < shares
        logits = rng.normal(size=truth.shape) + strength[:, None] * truth
        logits = 1.3 * logits + np.log(shares / (1 - shares))
        targets = truth.astype(np.int64)
    else:
        targets = rng.choice(len(CLASSES), n, p=SHARES).astype(np.int64)
        logits = rng.normal(size=(n, len(CLASSES)))
        logits[np.arange(n), targets] += strength
        logits *= 1.6
    return PredictionTable(schema, frame, targets, logits[None].astype(np.float32))


def corrupted(clean: PredictionTable, name: str, severity: int) -> PredictionTable:
    """Noise on the logits, and a pull towards the most frequent output."""
    rng = np.random.default_rng([severity, len(name)])
    test = clean.role("test")
    noise = rng.normal(size=test.logits.shape) * severity * STRENGTHS[name]
    noise[..., truth_of(clean).sum(axis=0).argmax()] += severity * STRENGTHS[name]
    logits = (test.logits + noise).astype(np.float32)
    return PredictionTable(
        clean.schema, test.rows, test.targets, logits, condition=Condition(name, severity)
    )


def truth_of(table: PredictionTable) -> np.ndarray:
    """Truth per output, (n, outputs)."""
    return tasks.get(table.schema.task).positives(table.targets, len(table.schema.classes))
