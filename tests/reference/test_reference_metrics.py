"""Our metrics against unrelated libraries on a grid of samples, by name of what is odd in them."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

import medaudit  # noqa: F401  # lets torchvision import, which torchmetrics wants
from medaudit.metrics import calibration, classification, operating, proper, ranking, selective

Sample = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # scores, positives, weights


def scores_like(n: int, *, levels: int | None, prevalence: float, seed: int) -> Sample:
    generator = np.random.default_rng(seed)
    positives = generator.random(n) < prevalence
    scores = generator.normal(size=n) + positives
    if levels is not None:
        scores = np.round(scores * levels / 6)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=30)
    return scores, positives, weights


BINARY = {
    "plain": scores_like(200, levels=None, prevalence=0.4, seed=0),
    "ties": scores_like(200, levels=8, prevalence=0.4, seed=1),
    "nearly all tied": scores_like(60, levels=1, prevalence=0.5, seed=2),
    "rare positives": scores_like(150, levels=20, prevalence=0.02, seed=3),
    "two rows": (np.array([0.0, 1.0]), np.array([True, False]), np.array([[1, 1], [2, 0], [0, 2]])),
    "all right": (np.arange(20.0), np.arange(20) >= 12, np.ones((1, 20), dtype=int)),
    "all wrong": (np.arange(20.0), np.arange(20) < 12, np.ones((1, 20), dtype=int)),
    "zeros and ones": (np.r_[[0.0] * 9, [1.0] * 9], np.arange(18) % 3 > 0, np.ones((1, 18), int)),
}
BINARY_GRID = pytest.mark.parametrize("sample", BINARY.values(), ids=BINARY.keys())


def by_loop(
    metric: Callable[..., float], sample: Sample, *, needs: tuple[bool, ...]
) -> NDArray[np.float64]:
    """The metric of the resampled rows themselves; NaN without a class that it needs."""
    scores, positives, weights = sample
    values = []
    for counts in weights:
        rows = np.repeat(np.arange(len(scores)), counts)
        defined = all((positives[rows] == kind).any() for kind in needs)
        values.append(metric(positives[rows], scores[rows]) if defined else np.nan)
    return np.array(values)


@BINARY_GRID
def test_auroc(sample: Sample) -> None:
    expected = by_loop(sk.roc_auc_score, sample, needs=(False, True))
    actual = ranking.weighted_auroc(*sample)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@BINARY_GRID
def test_average_precision(sample: Sample) -> None:
    expected = by_loop(sk.average_precision_score, sample, needs=(True,))
    actual = ranking.weighted_average_precision(*sample)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_fractional_weights() -> None:
    scores, positives, _ = BINARY["ties"]
    weights = np.random.default_rng(0).random((10, len(scores)))
    for ours, theirs in (
        (ranking.weighted_auroc, sk.roc_auc_score),
        (ranking.weighted_average_precision, sk.average_precision_score),
    ):
        expected = [theirs(positives, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(ours(scores, positives, weights), expected, rtol=0, atol=1e-12)


@BINARY_GRID
def test_curves(sample: Sample) -> None:
    scores, positives, _ = sample
    expected = sk.roc_curve(positives, scores, drop_intermediate=False)
    for ours, theirs in zip(ranking.roc_curve(scores, positives), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    expected = sk.precision_recall_curve(positives, scores)
    for ours, theirs in zip(
        ranking.precision_recall_curve(scores, positives), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs)


@BINARY_GRID
def test_rates_by_threshold_are_the_roc_curve_read_backwards(sample: Sample) -> None:
    scores, positives, _ = sample
    rates = ranking.rates_by_threshold(scores, positives)
    fpr, tpr, _ = sk.roc_curve(positives, scores, drop_intermediate=False)
    np.testing.assert_allclose(rates.sensitivity, tpr[::-1])
    np.testing.assert_allclose(rates.specificity, 1 - fpr[::-1])


@BINARY_GRID
@pytest.mark.parametrize("specificity", [0.5, 0.9, 0.95])
def test_sensitivity_at_specificity(sample: Sample, specificity: float) -> None:
    def best_on_the_curve(positives: NDArray[Any], scores: NDArray[Any]) -> float:
        fpr, tpr, _ = sk.roc_curve(positives, scores, drop_intermediate=False)
        return float(tpr[1 - fpr >= specificity - 1e-9].max())

    expected = by_loop(best_on_the_curve, sample, needs=(False, True))
    actual = operating.weighted_sensitivity_at_specificity(*sample, specificity=specificity)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.0])
def test_rates_at_a_threshold(threshold: float) -> None:
    scores, positives, weights = BINARY["ties"]
    flagged = scores > threshold
    for counts in weights[:5]:
        (tn, fp), (fn, tp) = sk.confusion_matrix(positives, flagged, sample_weight=counts)
        rates = {
            operating.weighted_sensitivity: tp / (tp + fn),
            operating.weighted_specificity: tn / (tn + fp),
            operating.weighted_ppv: tp / (tp + fp),
            operating.weighted_npv: tn / (tn + fn),
        }
        for rate, expected in rates.items():
            actual = rate(scores, positives, counts[None], threshold=threshold)
            np.testing.assert_allclose(actual, [expected], rtol=0, atol=1e-12)


def classes_like(n: int, k: int, *, seed: int, skill: float = 1.5) -> tuple[NDArray[Any], ...]:
    generator = np.random.default_rng(seed)
    targets = generator.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), targets] += skill
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=20)
    return probabilities, targets, weights


MULTICLASS = {
    "two": classes_like(100, 2, seed=0),
    "seven": classes_like(400, 7, seed=1),
    "rare classes": classes_like(40, 9, seed=2),
    "no skill": classes_like(100, 3, seed=3, skill=0.0),
    "one row": classes_like(1, 3, seed=4),
}
MULTICLASS_GRID = pytest.mark.parametrize("sample", MULTICLASS.values(), ids=MULTICLASS.keys())


@MULTICLASS_GRID
def test_confusion_and_what_is_read_off_it(sample: tuple[NDArray[Any], ...]) -> None:
    probabilities, targets, weights = sample
    predicted, k = probabilities.argmax(axis=1), probabilities.shape[1]
    matrices = classification.weighted_confusion(predicted, targets, weights, n_classes=k)
    for matrix, counts in zip(matrices, weights, strict=True):
        t, p = np.repeat(targets, counts), np.repeat(predicted, counts)
        np.testing.assert_array_equal(matrix, sk.confusion_matrix(t, p, labels=range(k)))
        present = np.unique(t)
        options = {"labels": present, "average": None, "zero_division": np.nan}
        recall, precision = sk.recall_score(t, p, **options), sk.precision_score(t, p, **options)
        np.testing.assert_allclose(classification.recall_per_class(matrix)[present], recall)
        np.testing.assert_allclose(classification.precision_per_class(matrix)[present], precision)
        f1 = sk.f1_score(t, p, labels=present, average="macro")
        np.testing.assert_allclose(classification.macro_f1(matrix, classes=present.tolist()), f1)
        np.testing.assert_allclose(classification.accuracy(matrix), sk.accuracy_score(t, p))
        assert np.isnan(classification.macro_f1(matrix)) == (len(present) < k)


@MULTICLASS_GRID
def test_balanced_accuracy_and_matthews(sample: tuple[NDArray[Any], ...]) -> None:
    probabilities, targets, _ = sample
    predicted, k = probabilities.argmax(axis=1), probabilities.shape[1]
    present = np.unique(targets).tolist()
    with warnings.catch_warnings():
        # They warn of predicted classes without targets; ours names the classes instead.
        warnings.simplefilter("ignore")
        balanced = sk.balanced_accuracy_score(targets, predicted)
        matthews = sk.matthews_corrcoef(targets, predicted)
    actual = classification.balanced_accuracy_score(
        predicted, targets, n_classes=k, classes=present
    )
    assert actual == pytest.approx(balanced, abs=1e-12)
    if len(set(predicted)) > 1 and len(present) > 1:
        actual = classification.matthews_correlation_score(predicted, targets, n_classes=k)
        assert actual == pytest.approx(matthews, abs=1e-12)


@MULTICLASS_GRID
def test_proper_losses(sample: tuple[NDArray[Any], ...]) -> None:
    probabilities, targets, weights = sample
    labels = range(probabilities.shape[1])
    brier = proper.weighted_brier_loss(probabilities, targets, weights)
    nll = proper.weighted_log_loss(probabilities, targets, weights)
    for i, counts in enumerate(weights):
        options = {"labels": labels, "sample_weight": counts}
        expected = sk.brier_score_loss(targets, probabilities, scale_by_half=False, **options)
        assert brier[i] == pytest.approx(expected, abs=1e-12)
        assert nll[i] == pytest.approx(sk.log_loss(targets, probabilities, **options), abs=1e-12)


def test_log_loss_of_the_impossible() -> None:
    probabilities, targets = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1])
    expected = sk.log_loss(targets, probabilities, labels=[0, 1])
    assert proper.log_loss(probabilities, targets) == pytest.approx(expected, abs=1e-12)


@MULTICLASS_GRID
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_errors(sample: tuple[NDArray[Any], ...], n_bins: int) -> None:
    probabilities, targets, weights = sample
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    for norm, weighted in (("l1", calibration.weighted_ece), ("max", calibration.weighted_mce)):
        actual = weighted(confidence, right, weights, n_bins=n_bins)
        for value, counts in zip(actual, weights, strict=True):
            rows = np.repeat(np.arange(len(targets)), counts)
            expected = multiclass_calibration_error(
                torch.tensor(probabilities[rows]),
                torch.tensor(targets[rows]),
                num_classes=probabilities.shape[1],
                n_bins=n_bins,
                norm=norm,  # type: ignore[arg-type]
            )
            assert value == pytest.approx(float(expected), abs=2e-6)  # they bin in float32


def test_aurc_and_augrc_against_the_definition() -> None:
    generator = np.random.default_rng(0)
    risk, confidence = generator.random(50), generator.permutation(50)
    order = np.argsort(-confidence)
    met, kept = np.cumsum(risk[order]), np.arange(1, 51)
    assert selective.aurc(risk, confidence) == pytest.approx((met / kept).mean(), abs=1e-12)
    assert selective.augrc(risk, confidence) == pytest.approx((met / 50).mean(), abs=1e-12)
