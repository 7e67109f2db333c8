"""Eight samples that can be read on paper, clean and under corruptions."""

import numpy as np
import pandas as pd

from medaudit.cases.case_selection import CasesParams
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Condition, PredictionTable, Schema

CLASSES = ("bkl", "mel", "nv")
BKL, MEL, NV = 0, 1, 2
PARAMS = CasesParams(per_kind=2, confident=0.6)
POINTS = OperatingPoints(CLASSES, (0.5, 0.2, 0.5), 0.95, (10, 10, 10))
# truth, called, its probability; the rest is shared equally by the other two classes
CLEAN = {
    "a": (MEL, NV, 0.9),  # p(mel) 0.05
    "b": (MEL, NV, 0.7),  # p(mel) 0.15
    "c": (MEL, BKL, 0.5),  # p(mel) 0.25, above the threshold 0.2
    "d": (MEL, MEL, 0.8),
    "e": (MEL, MEL, 0.7),
    "f": (NV, MEL, 0.9),
    "g": (NV, NV, 0.9),
    "h": (BKL, NV, 0.8),
}


def make(samples, *, condition=None, critical="mel", groups=None):
    probabilities = np.array(
        [
            np.where(np.arange(3) == called, p, (1 - p) / 2) + 1e-9 * np.arange(3)
            for _, called, p in samples.values()
        ]
    )
    groups = groups or {}
    return PredictionTable(
        schema=Schema("multiclass", CLASSES, critical),
        rows=pd.DataFrame(
            {
                "sample_id": list(samples),
                "group_id": [groups.get(name, f"lesion_{name}") for name in samples],
                "role": "test",
            }
        ),
        targets=np.array([truth for truth, _, _ in samples.values()], dtype=np.int64),
        logits=np.log(probabilities)[None].astype(np.float32),
        condition=condition or Condition.clean(),
    )


def stressed(name, changes, **options):
    return make(CLEAN | changes, condition=Condition.parse(name), **options)
