"""Means of one-versus-rest AUROCs against scikit-learn, for classes and for labels."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from medaudit.metrics import ranking

MEANS = pytest.mark.parametrize(
    ("weighted", "average"),
    [
        (ranking.weighted_macro_auroc, "macro"),
        (ranking.weighted_prevalence_auroc, "weighted"),
    ],
)


def probabilities(n: int, k: int, *, seed: int, levels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    generator = np.random.default_rng(seed)
    targets = generator.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
    logits = np.round(generator.normal(size=(n, k)) * levels) / levels
    logits[np.arange(n), targets] += 1
    table = np.exp(logits)
    return table / table.sum(axis=1, keepdims=True), targets


@MEANS
@pytest.mark.parametrize(("n", "k", "levels"), [(60, 3, 100), (200, 7, 2), (40, 5, 1)])
def test_classes(weighted: Any, average: str, n: int, k: int, levels: int) -> None:
    scores, targets = probabilities(n, k, seed=n, levels=levels)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=25)
    values = weighted(scores, targets[:, None] == np.arange(k), weights)
    for value, counts in zip(values, weights, strict=True):
        rows = np.repeat(np.arange(n), counts)
        if len(np.unique(targets[rows])) < k:
            assert np.isnan(value)
            continue
        expected = roc_auc_score(
            targets[rows], scores[rows], multi_class="ovr", average=average, labels=range(k)
        )
        assert value == pytest.approx(expected, abs=1e-12)


@MEANS
def test_labels_and_fractional_weights(weighted: Any, average: str) -> None:
    generator = np.random.default_rng(1)
    positives = generator.random((150, 4)) < [0.1, 0.3, 0.5, 0.9]
    scores = np.round(generator.normal(size=(150, 4)) + positives, 1)
    weights = generator.random((10, 150))
    values = weighted(scores, positives, weights)
    for value, row in zip(values, weights, strict=True):
        expected = roc_auc_score(positives, scores, average=average, sample_weight=row)
        assert value == pytest.approx(expected, abs=1e-12)
