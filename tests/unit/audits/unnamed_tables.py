"""Predictions with properties and embeddings, in which failures can be planted."""

import numpy as np
import pandas as pd

from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions

CLASSES = ("bkl", "mel", "nv")
POINTS = OperatingPoints(CLASSES, (0.5, 0.5, 0.5), 0.95, (9, 9, 9))


def rows(n, rng, *, role, prefix="s", per_group=1):
    """Rows of n samples with a source, a sex, an age and a brightness, all of them chance."""
    return pd.DataFrame(
        {
            "sample_id": [f"{prefix}{i:04d}" for i in range(n)],
            "group_id": [f"{prefix}g{i // per_group:04d}" for i in range(n)],
            "role": role,
            "source": rng.choice(["graz", "vienna", "zurich"], n, p=[0.5, 0.3, 0.2]),
            "sex": rng.choice(["female", "male"], n),
            "age": rng.integers(20, 90, n).astype(float),
            "brightness": rng.normal(0.5, 0.1, n),
        }
    )


def table(frame, targets, wrong, *, embeddings=None):
    """Sure predictions: right, or wrong by the next class where `wrong` says so."""
    called = np.where(wrong, (targets + 1) % len(CLASSES), targets)
    logits = np.full((1, len(frame), len(CLASSES)), -3.0, np.float32)
    logits[0, np.arange(len(frame)), called] = 3.0
    schema = Schema("multiclass", CLASSES, "mel")
    return PredictionTable(schema, frame, targets, logits, embeddings)


def scored(found):
    return ScoredPredictions(found, POINTS)
