"""Synthetic predictions for the speed benchmarks: rare classes, tied scores, groups of rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from medaudit.stats.weighting import Resamples, cluster_resamples

# Near those of HAM10000, but the rarest class has so few rows that some replicates lack it.
SHARES = np.array([0.67, 0.11, 0.11, 0.05, 0.044, 0.014, 0.002])
SIGNAL, DECIMALS, ROWS_PER_GROUP = 2.0, 3, 1.34


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities (n, k), rounded so that they tie, and true classes (n,)."""

    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.targets)

    @cached_property
    def risk(self) -> NDArray[np.float64]:
        return (~self.right).astype(np.float64)


def predictions(n: int, *, seed: int = 0) -> Predictions:
    """Scores of a fair model; every class has a row."""
    generator = np.random.default_rng(seed)
    targets = generator.choice(len(SHARES), n, p=SHARES / SHARES.sum())
    targets[: len(SHARES)] = np.arange(len(SHARES))
    logits = generator.normal(size=(n, len(SHARES)))
    logits[np.arange(n), targets] += SIGNAL
    return Predictions(np.round(softmax(logits, axis=1), DECIMALS), targets.astype(np.int64))


def resamples(n: int, *, replicates: int, seed: int = 1) -> Resamples:
    """Cluster bootstrap over groups as large as the lesions of HAM10000 are on average."""
    groups = np.random.default_rng(seed).integers(0, max(1, round(n / ROWS_PER_GROUP)), n)
    return cluster_resamples(groups, replicates=replicates, seed=seed)
