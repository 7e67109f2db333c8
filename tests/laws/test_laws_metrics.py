"""What must hold for every sample: invariances, bounds, identities."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medaudit.metrics import calibration, classification, operating, proper, ranking, selective
from medaudit.metrics.calibration import BINNINGS

Rows = list[tuple[float, bool, int]]

# A coarse grid, so that ties, 0 and 1 come up often.
ROWS: st.SearchStrategy[Rows] = st.lists(
    st.tuples(st.integers(0, 20).map(lambda i: i / 20), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)

WEIGHTED: dict[str, Any] = {
    "auroc": ranking.weighted_auroc,
    "average precision": ranking.weighted_average_precision,
    "sensitivity": lambda s, y, w: operating.weighted_sensitivity(s, y, w, threshold=0.4),
    "specificity": lambda s, y, w: operating.weighted_specificity(s, y, w, threshold=0.4),
    "ppv": lambda s, y, w: operating.weighted_ppv(s, y, w, threshold=0.4),
    "npv": lambda s, y, w: operating.weighted_npv(s, y, w, threshold=0.4),
    "sensitivity at specificity": lambda s, y, w: operating.weighted_sensitivity_at_specificity(
        s, y, w, specificity=0.7
    ),
    "ece": calibration.weighted_ece,
    "mce": calibration.weighted_mce,
    "aurc": lambda s, y, w: selective.weighted_aurc(y, s, w),
    "excess aurc": lambda s, y, w: selective.weighted_excess_aurc(y, s, w),
    "augrc": lambda s, y, w: selective.weighted_augrc(y, s, w),
    "risk at coverage": lambda s, y, w: selective.weighted_risk_at_coverage(y, s, w, coverage=0.6),
    "coverage at risk": lambda s, y, w: selective.weighted_coverage_at_risk(y, s, w, max_risk=0.3),
    "matthews": lambda s, y, w: classification.matthews_correlation(
        classification.weighted_confusion(s > 0.5, y, w, n_classes=2)
    ),
    "macro f1": lambda s, y, w: classification.macro_f1(
        classification.weighted_confusion(s > 0.5, y, w, n_classes=2)
    ),
}
EVERY_METRIC = pytest.mark.parametrize("metric", WEIGHTED.values(), ids=WEIGHTED.keys())


def columns(rows: Rows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    scores, positives, counts = (np.array(column) for column in zip(*rows, strict=True))
    return scores, positives, counts


def ones(samples: NDArray[Any]) -> NDArray[Any]:
    return np.ones((1, len(samples)), dtype=np.uint16)


@EVERY_METRIC
@given(rows=ROWS)
def test_a_weight_is_a_number_of_copies(metric: Any, rows: Rows) -> None:
    scores, positives, counts = columns(rows)
    s, y = np.repeat(scores, counts), np.repeat(positives, counts)
    weighted = metric(scores, positives, counts[None])
    np.testing.assert_allclose(weighted, metric(s, y, ones(s)), rtol=0, atol=1e-9)


@EVERY_METRIC
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_is_nothing(metric: Any, rows: Rows, seed: int) -> None:
    scores, positives, counts = columns(rows)
    order = np.random.default_rng(seed).permutation(len(scores))
    shuffled = metric(scores[order], positives[order], counts[order][None])
    kept = metric(scores, positives, counts[None])
    np.testing.assert_allclose(shuffled, kept, rtol=0, atol=1e-9)


@EVERY_METRIC
@given(rows=ROWS)
def test_values_are_in_range_or_undefined(metric: Any, rows: Rows) -> None:
    scores, positives, counts = columns(rows)
    (value,) = metric(scores, positives, counts[None])
    lowest = -1 if metric is WEIGHTED["matthews"] else 0
    assert math.isnan(value) or lowest - 1e-9 <= value <= 1 + 1e-9


@given(rows=ROWS)
def test_scaling_all_weights_changes_nothing_that_has_no_sample_size(rows: Rows) -> None:
    scores, positives, counts = columns(rows)
    for name in ("auroc", "average precision", "ppv", "ece", "mce", "matthews", "macro f1"):
        once, thrice = WEIGHTED[name](scores, positives, np.stack([counts, 3 * counts]))
        np.testing.assert_allclose(once, thrice, rtol=0, atol=1e-9)


@given(rows=ROWS)
def test_ranking_sees_only_the_order_of_scores(rows: Rows) -> None:
    scores, positives, _ = columns(rows)
    stretched = np.exp(5 * scores) - 7
    for metric in (ranking.auroc, ranking.average_precision):
        assert metric(scores, positives) == pytest.approx(metric(stretched, positives), nan_ok=True)
    for area in (selective.aurc, selective.augrc, selective.excess_aurc):
        assert area(positives, scores) == pytest.approx(area(positives, stretched))


@given(rows=ROWS)
def test_turning_scores_and_labels_over_is_nothing_for_auroc(rows: Rows) -> None:
    scores, positives, _ = columns(rows)
    value = ranking.auroc(scores, positives)
    assert ranking.auroc(-scores, ~positives) == pytest.approx(value, nan_ok=True)
    assert ranking.auroc(-scores, positives) == pytest.approx(1 - value, nan_ok=True)


@given(rows=ROWS)
def test_auroc_is_the_area_of_its_curve(rows: Rows) -> None:
    scores, positives, _ = columns(rows)
    fpr, tpr, _ = ranking.roc_curve(scores, positives)
    area = float(np.trapezoid(tpr, fpr))
    assert ranking.auroc(scores, positives) == pytest.approx(area, nan_ok=True)


@given(rows=ROWS, specificity=st.floats(0, 1))
def test_a_chosen_threshold_keeps_its_specificity_and_no_smaller_score_does(
    rows: Rows, specificity: float
) -> None:
    negatives = columns(rows)[0]
    threshold = operating.threshold_at_specificity(negatives, specificity=specificity)
    assert (negatives <= threshold).mean() >= specificity - 1e-9
    assert (negatives < threshold).mean() < specificity or threshold == -math.inf


@given(rows=ROWS, n_bins=st.integers(1, 20))
def test_bins_hold_every_sample_once(rows: Rows, n_bins: int) -> None:
    confidence, happened, _ = columns(rows)
    for binning in BINNINGS:
        bins = calibration.reliability_bins(confidence, happened, n_bins=n_bins, binning=binning)
        filled = bins.count > 0
        assert bins.count.sum() == len(confidence)
        assert bins.count[filled] @ bins.frequency[filled] == pytest.approx(happened.sum())
        assert (bins.mean_confidence[filled] <= bins.hi[filled] + 1e-12).all()
        assert (bins.mean_confidence[filled] >= bins.lo[filled] - 1e-12).all()
        gaps = np.abs(bins.frequency - bins.mean_confidence)[filled]
        error = calibration.ece(confidence, happened, n_bins=n_bins, binning=binning)
        assert error == pytest.approx(gaps @ bins.count[filled] / len(confidence))
        worst = calibration.mce(confidence, happened, n_bins=n_bins, binning=binning)
        assert worst == pytest.approx(gaps.max())


@given(events=st.lists(st.tuples(st.integers(0, 10), st.integers(1, 6)), min_size=1, max_size=9))
def test_perfect_bins_have_no_error(events: list[tuple[int, int]]) -> None:
    # Confidence i/10 given to 10 m samples of which i m happen.
    confidence = np.concatenate([np.full(10 * m, i / 10) for i, m in events])
    happened = np.concatenate([np.arange(10 * m) < i * m for i, m in events])
    for binning in BINNINGS:
        error = calibration.ece(confidence, happened, n_bins=10, binning=binning)
        assert error == pytest.approx(0, abs=1e-12)


@given(rows=ROWS)
def test_finer_bins_never_lower_the_error(rows: Rows) -> None:
    confidence, happened, _ = columns(rows)
    errors = [calibration.ece(confidence, happened, n_bins=n) for n in (1, 3, 12)]
    assert errors[0] <= errors[1] + 1e-12
    assert errors[1] <= errors[2] + 1e-12


@given(rows=ROWS)
def test_brier_loss_is_lowest_at_the_frequency(rows: Rows) -> None:
    _, positives, _ = columns(rows)
    share = positives.mean()
    at = [np.tile([1 - p, p], (len(positives), 1)) for p in (share, 0.0, 0.5, 1.0)]
    losses = [proper.brier_loss(table, positives) for table in at]
    assert losses[0] == pytest.approx(2 * share * (1 - share))
    assert losses[0] <= min(losses) + 1e-12


@given(rows=ROWS)
def test_augrc_identity(rows: Rows) -> None:
    confidence, wrong, _ = columns(rows)
    accuracy, n = 1 - wrong.mean(), len(wrong)
    ranked = ranking.auroc(confidence, ~wrong)
    mixed = 0.0 if math.isnan(ranked) else (1 - ranked) * accuracy * (1 - accuracy)
    identity = mixed + (1 - accuracy) ** 2 / 2
    assert selective.augrc(wrong, confidence) == pytest.approx(identity, abs=1 / n)
    # The rest is known too: half an error rate over n.
    rest = (1 - accuracy) / (2 * n)
    assert selective.augrc(wrong, confidence) == pytest.approx(identity + rest, abs=1e-9)


@given(rows=ROWS)
def test_no_order_beats_the_ideal_and_a_constant_gives_the_mean_risk(rows: Rows) -> None:
    confidence, wrong, _ = columns(rows)
    assert selective.excess_aurc(wrong, confidence) >= -1e-12
    assert selective.excess_aurc(wrong, -wrong.astype(float)) == pytest.approx(0, abs=1e-12)
    assert selective.aurc(wrong, np.zeros(len(wrong))) == pytest.approx(wrong.mean())


@given(errors=st.integers(0, 2000))
def test_the_ideal_aurc_tends_to_its_formula(errors: int) -> None:
    n = 2000
    wrong = np.arange(n) < errors
    rate = errors / n
    formula = rate + (1 - rate) * math.log(1 - rate) if errors < n else 1.0
    assert selective.aurc(wrong, -wrong.astype(float)) == pytest.approx(formula, abs=1 / n)


@given(rows=ROWS)
def test_areas_are_the_means_of_their_curve(rows: Rows) -> None:
    confidence, wrong, _ = columns(rows)
    curve = selective.risk_coverage(wrong, confidence)
    assert selective.aurc(wrong, confidence) == pytest.approx(curve.selective_risk.mean())
    assert selective.augrc(wrong, confidence) == pytest.approx(curve.generalised_risk.mean())


@given(rows=ROWS, coverage=st.floats(0.01, 1))
def test_a_deferral_threshold_keeps_its_coverage_and_no_higher_one_does(
    rows: Rows, coverage: float
) -> None:
    confidence = columns(rows)[0]
    threshold = selective.threshold_for_coverage(confidence, coverage=coverage)
    assert (confidence >= threshold).mean() >= coverage - 1e-9
    assert (confidence > threshold).mean() < coverage
