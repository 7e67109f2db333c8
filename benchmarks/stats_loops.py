"""What the bootstrap of `stats.py` is compared with: a metric computed anew for every resample.

scikit-learn where it has the metric. It has no ECE and no AURC: for these there is the plain form
that public code uses (a mask for every bin, a loop over the sorted cases), and one without inner
loops, which is what a numpy user would write with care.
"""

import itertools

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from benchmarks.stats_samples import Predictions

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
N_BINS = 15


def auroc(sample: Predictions, rows: Rows) -> Floats:
    """One versus rest, a value a class."""
    truth = sample.targets[rows, None] == np.arange(sample.n_classes)
    return np.array(
        [
            roc_auc_score(ill, scores) if ill.any() and not ill.all() else np.nan
            for ill, scores in zip(truth.T, sample.probabilities[rows].T, strict=True)
        ]
    )


def average_precision(sample: Predictions, rows: Rows) -> Floats:
    """One versus rest, a value a class."""
    truth = sample.targets[rows, None] == np.arange(sample.n_classes)
    return np.array(
        [
            average_precision_score(ill, scores) if ill.any() else np.nan
            for ill, scores in zip(truth.T, sample.probabilities[rows].T, strict=True)
        ]
    )


def _complete(sample: Predictions, truth: NDArray[np.int64]) -> bool:
    return bool((np.bincount(truth, minlength=sample.n_classes) > 0).all())


def macro_f1(sample: Predictions, rows: Rows) -> float:
    """Undefined without one of the classes, where scikit-learn would average the others."""
    truth, claims = sample.targets[rows], sample.predicted[rows]
    return float(f1_score(truth, claims, average="macro")) if _complete(sample, truth) else np.nan


def balanced_accuracy(sample: Predictions, rows: Rows) -> float:
    """Undefined without one of the classes."""
    truth, claims = sample.targets[rows], sample.predicted[rows]
    return float(balanced_accuracy_score(truth, claims)) if _complete(sample, truth) else np.nan


def ece_by_masks(sample: Predictions, rows: Rows) -> float:
    """The usual form since Guo et al. 2017: a mask and three means for every bin."""
    confidence, right = sample.confidence[rows], sample.right[rows]
    error = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, N_BINS + 1)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def ece_without_inner_loop(sample: Predictions, rows: Rows) -> float:
    """Two weighted counts over bin numbers."""
    edges = np.linspace(0, 1, N_BINS + 1)
    confidence = sample.confidence[rows]
    bins = np.digitize(confidence, edges[1:-1], right=True)
    stated = np.bincount(bins, weights=confidence, minlength=N_BINS)
    happened = np.bincount(bins, weights=sample.right[rows], minlength=N_BINS)
    return float(np.abs(happened - stated).sum() / len(bins))


def aurc_by_cases(sample: Predictions, rows: Rows) -> float:
    """A loop over the sorted cases, as in public code; a block of ties is met evenly."""
    order = rows[np.argsort(-sample.confidence[rows])]
    trust, risk = sample.confidence[order], sample.risk[order]
    area, met, start, n = 0.0, 0.0, 0, len(order)
    while start < n:
        end = start + 1
        while end < n and trust[end] == trust[start]:
            end += 1
        block = risk[start:end].sum()
        for k in range(start, end):
            area += (met + block * (k + 1 - start) / (end - start)) / (k + 1)
        met, start = met + block, end
    return area / n


def aurc_without_inner_loop(sample: Predictions, rows: Rows) -> float:
    """Sort, average the risk inside ties, cumulative mean."""
    order = rows[np.argsort(-sample.confidence[rows])]
    trust, risk = sample.confidence[order], sample.risk[order]
    firsts = np.flatnonzero(np.r_[True, trust[1:] != trust[:-1]])
    sizes = np.diff(np.r_[firsts, len(trust)])
    even = np.repeat(np.add.reduceat(risk, firsts) / sizes, sizes)
    return float((np.cumsum(even) / np.arange(1, len(even) + 1)).mean())
