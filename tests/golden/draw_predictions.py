"""Draw the table of predictions for the golden values: python tests/golden/draw_predictions.py."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SAMPLE = Path(__file__).with_name("predictions.csv")
CLASSES = ("common", "uncommon", "rare")

Numbers = NDArray[Any]


def drawn_sample(seed: int = 20, n: int = 120) -> pd.DataFrame:
    """Predictions with groups, ties, and probabilities of exactly 0 and 1, some of them wrong."""
    generator = np.random.default_rng(seed)
    groups = np.sort(generator.integers(0, 80, n))
    targets = generator.choice(3, n, p=[0.6, 0.28, 0.12])
    logits = generator.normal(size=(n, 3)) * 1.4 + 1.5 * (targets[:, None] == np.arange(3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shares = np.round(probabilities[:, :2] * 20) / 20
    shares = np.column_stack([shares, 1 - shares.sum(axis=1)]).clip(0, 1)
    sure = generator.random(n) < 0.08
    shares[sure] = np.eye(3)[generator.integers(0, 3, sure.sum())]
    shares = np.round(shares / shares.sum(axis=1, keepdims=True), 2)
    numbers = np.unique(groups, return_inverse=True)[1]
    draws = generator.multinomial(
        numbers.max() + 1, np.full(numbers.max() + 1, 1) / (numbers.max() + 1), 2
    )
    worse = partial(_spoilt, generator)
    predicted = shares.argmax(axis=1)
    reference = worse(targets, 0.45)
    return pd.DataFrame(
        {
            "sample_id": [f"s{i:03}" for i in range(n)],
            "group_id": [f"g{i:02}" for i in numbers],
            "target": targets,
            **{f"p_{name}": shares[:, k] for k, name in enumerate(CLASSES)},
            **{f"draw_{i + 1}": draw[numbers] for i, draw in enumerate(draws)},
            **{f"corruption_{i}": worse(predicted, 0.15 * i) for i in (1, 2)},
            "reference": reference,
            **{f"reference_{i}": worse(reference, 0.2 * i) for i in (1, 2)},
        }
    )


def _spoilt(generator: np.random.Generator, classes: Numbers, share: float) -> Numbers:
    """Classes of which a share is drawn anew."""
    anew = generator.integers(0, 3, len(classes))
    return np.where(generator.random(len(classes)) < share, anew, classes)


if __name__ == "__main__":
    drawn_sample().to_csv(SAMPLE, index=False, lineterminator="\n")
