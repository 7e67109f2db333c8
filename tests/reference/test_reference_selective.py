"""Selective metrics against direct loops over the cases, and against scikit-learn on the kept."""

import math
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from medaudit.metrics import selective, selective_balanced
from medaudit.metrics.selective_balanced import balanced_risk_coverage

Array = NDArray[Any]
Sample = tuple[Array, Array, Array]  # errors, confidence, targets


def sample_like(n: int, *, classes: int, levels: int | None, rate: float, seed: int) -> Sample:
    generator = np.random.default_rng(seed)
    errors = generator.random(n) < rate
    confidence = generator.random(n) - 0.3 * errors
    if levels is not None:
        confidence = np.clip(np.round(confidence * levels) / levels, 0, 1)
    return (
        errors,
        confidence,
        generator.choice(classes, n, p=np.arange(1, classes + 1) * 2.0 / (classes * (classes + 1))),
    )


GRID: dict[str, Sample] = {
    "no ties": sample_like(60, classes=3, levels=None, rate=0.3, seed=0),
    "ties": sample_like(60, classes=3, levels=6, rate=0.3, seed=1),
    "nearly all tied": sample_like(30, classes=2, levels=1, rate=0.5, seed=2),
    "many classes": sample_like(80, classes=9, levels=20, rate=0.4, seed=3),
    "one class": sample_like(25, classes=1, levels=5, rate=0.3, seed=4),
    "one case, right": (np.array([False]), np.array([0.7]), np.array([0])),
    "one case, wrong": (np.array([True]), np.array([0.7]), np.array([0])),
    "all right": sample_like(20, classes=3, levels=8, rate=0.0, seed=5),
    "all wrong": sample_like(20, classes=3, levels=8, rate=1.1, seed=6),
    "all tied": (np.arange(12) % 4 == 0, np.full(12, 0.5), np.arange(12) % 3),
    "zero and one": (np.arange(12) % 4 == 0, np.arange(12) % 2 * 1.0, np.arange(12) // 9),
    "best order": (np.arange(20) >= 12, np.arange(20, 0, -1) / 20, np.arange(20) % 3),
    "worst order": (np.arange(20) < 12, np.arange(20, 0, -1) / 20, np.arange(20) % 3),
}
EVERY_SAMPLE = pytest.mark.parametrize("sample", GRID.values(), ids=GRID.keys())


def met_by_loop(losses: Array, confidence: Array) -> list[Fraction]:
    """Loss met after 1, 2, ... cases, most confident first; a tie is met in equal parts."""
    met, total = [], Fraction(0)
    for level in sorted({*confidence.tolist()}, reverse=True):
        tied = [Fraction(float(loss)) for loss in losses[confidence == level]]
        met += [total + Fraction(j, len(tied)) * sum(tied) for j in range(1, len(tied) + 1)]
        total += sum(tied)
    return met


def selective_risks_by_loop(sample: Sample) -> list[Fraction]:
    met = met_by_loop(sample[0], sample[1])
    return [total / kept for kept, total in enumerate(met, start=1)]


def balanced_risks_by_loop(sample: Sample) -> list[Fraction]:
    errors, confidence, targets = sample
    classes = [targets == c for c in np.unique(targets)]
    met = [met_by_loop(errors * members, confidence) for members in classes]
    kept = [met_by_loop(members, confidence) for members in classes]
    risks = []
    for k in range(len(errors)):
        rates = [m[k] / n[k] for m, n in zip(met, kept, strict=True) if n[k] > 0]
        risks.append(sum(rates, Fraction(0)) / len(rates))
    return risks


def balanced_generalised_risks_by_loop(sample: Sample) -> list[Fraction]:
    errors, confidence, targets = sample
    classes = [targets == c for c in np.unique(targets)]
    met = [met_by_loop(errors * members, confidence) for members in classes]
    sizes = [int(members.sum()) for members in classes]
    return [
        sum((m[k] / size for m, size in zip(met, sizes, strict=True)), Fraction(0)) / len(sizes)
        for k in range(len(errors))
    ]


def mean(values: list[Fraction]) -> float:
    return float(sum(values, Fraction(0)) / len(values))


@EVERY_SAMPLE
def test_unbalanced_areas(sample: Sample) -> None:
    errors, confidence, _ = sample
    n = len(errors)
    risks = selective_risks_by_loop(sample)
    assert selective.aurc(errors, confidence) == pytest.approx(mean(risks), abs=1e-12)
    generalised = [total / n for total in met_by_loop(errors, confidence)]
    assert selective.augrc(errors, confidence) == pytest.approx(mean(generalised), abs=1e-12)
    ideal = selective_risks_by_loop((errors, np.where(errors, 0.0, 1.0), errors))
    excess = mean(risks) - mean(ideal)
    assert selective.excess_aurc(errors, confidence) == pytest.approx(excess, abs=1e-12)


@EVERY_SAMPLE
def test_augrc_is_told_by_an_auroc(sample: Sample) -> None:
    errors, confidence, _ = sample
    accuracy, n = 1 - errors.mean(), len(errors)
    ranked = sk.roc_auc_score(~errors, confidence) if 0 < accuracy < 1 else 1.0
    identity = (1 - ranked) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    rest = (1 - accuracy) / (2 * n)
    assert selective.augrc(errors, confidence) == pytest.approx(identity + rest, abs=1e-12)


@EVERY_SAMPLE
def test_balanced_areas_and_curve(sample: Sample) -> None:
    risks = balanced_risks_by_loop(sample)
    generalised = balanced_generalised_risks_by_loop(sample)
    assert selective_balanced.balanced_aurc(*sample) == pytest.approx(mean(risks), abs=1e-12)
    assert selective_balanced.balanced_augrc(*sample) == pytest.approx(mean(generalised), abs=1e-12)
    curve = balanced_risk_coverage(*sample)
    for ours, theirs in ((curve.selective_risk, risks), (curve.generalised_risk, generalised)):
        np.testing.assert_allclose(ours, np.array(theirs, dtype=float), rtol=0, atol=1e-12)


@EVERY_SAMPLE
def test_balanced_augrc_is_augrc_of_reweighted_losses(sample: Sample) -> None:
    errors, confidence, targets = sample
    classes, places, sizes = np.unique(targets, return_inverse=True, return_counts=True)
    losses = errors * len(errors) / (len(classes) * sizes[places])
    expected = mean([total / len(errors) for total in met_by_loop(losses, confidence)])
    assert selective_balanced.balanced_augrc(*sample) == pytest.approx(expected, abs=1e-12)


@EVERY_SAMPLE
def test_replicates(sample: Sample) -> None:
    n = len(sample[0])
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=25)
    classes = np.unique(sample[2]).tolist()
    found = {
        metric: metric(*sample, weights)
        for metric in (
            selective_balanced.weighted_balanced_aurc,
            selective_balanced.weighted_balanced_augrc,
        )
    }
    loops = (balanced_risks_by_loop, balanced_generalised_risks_by_loop)
    for loop, values in zip(loops, found.values(), strict=True):
        for counts, value in zip(weights, values, strict=True):
            rows = np.repeat(np.arange(n), counts)
            errors, confidence, targets = (column[rows] for column in sample)
            complete = set(targets.tolist()) == set(classes)
            expected = mean(loop((errors, confidence, targets))) if complete else math.nan
            assert value == pytest.approx(expected, abs=1e-11, nan_ok=True)


def sk_balanced_error(errors: Array, targets: Array) -> float:
    # Any other class will do for a wrong prediction.
    predicted = np.where(errors, targets + 1, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes that are no targets
        return float(1 - sk.balanced_accuracy_score(targets, predicted))


@EVERY_SAMPLE
def test_the_balanced_risk_of_a_threshold_is_the_balanced_error_of_the_kept(
    sample: Sample,
) -> None:
    errors, confidence, targets = sample
    kept_at = {c: confidence >= c for c in np.unique(confidence)}
    risks = {c: sk_balanced_error(errors[k], targets[k]) for c, k in kept_at.items()}
    for coverage in (0.05, 0.3, 0.5, 0.8, 1.0):
        threshold = selective.threshold_for_coverage(confidence, coverage=coverage)
        found = selective_balanced.balanced_risk_at_coverage(*sample, coverage=coverage)
        assert found == pytest.approx(risks[threshold], abs=1e-12)
    for most in (0.0, 0.1, 0.3, 1.0):
        shares = [kept_at[c].mean() for c, risk in risks.items() if risk <= most + 1e-9]
        found = selective_balanced.coverage_at_balanced_risk(*sample, max_risk=most)
        assert found == pytest.approx(max(shares, default=0.0), abs=1e-12)
