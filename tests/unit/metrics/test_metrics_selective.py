import math

import numpy as np
import pytest

from medaudit.metrics import selective

# By falling confidence the errors are 0, 1, 0, 1.
CONFIDENCE = [0.9, 0.8, 0.7, 0.6]
ERRORS = [0, 1, 0, 1]


def test_risk_coverage_curve() -> None:
    curve = selective.risk_coverage(ERRORS, CONFIDENCE)
    np.testing.assert_allclose(curve.coverage, [1 / 4, 2 / 4, 3 / 4, 1])
    np.testing.assert_allclose(curve.selective_risk, [0, 1 / 2, 1 / 3, 2 / 4])
    np.testing.assert_allclose(curve.generalised_risk, [0, 1 / 4, 1 / 4, 2 / 4])
    np.testing.assert_allclose(curve.threshold, CONFIDENCE)


def test_areas_are_means_over_the_curve() -> None:
    # (0 + 1/2 + 1/3 + 1/2) / 4 = 1/3; (0 + 1/4 + 1/4 + 1/2) / 4 = 1/4
    assert selective.aurc(ERRORS, CONFIDENCE) == pytest.approx(1 / 3)
    assert selective.augrc(ERRORS, CONFIDENCE) == pytest.approx(1 / 4)


def test_excess_aurc_is_measured_from_the_ideal_order() -> None:
    # Ideal errors 0, 0, 1, 1: (0 + 0 + 1/3 + 1/2) / 4 = 5/24; 8/24 - 5/24.
    assert selective.excess_aurc(ERRORS, CONFIDENCE) == pytest.approx(3 / 24)
    assert selective.excess_aurc([0, 0, 1, 1], CONFIDENCE) == pytest.approx(0, abs=1e-15)


def test_a_block_of_ties_is_met_evenly() -> None:
    # Everybody ties: the mean risk 1/2 at every coverage; generalised 1/8, 2/8, 3/8, 4/8.
    curve = selective.risk_coverage(ERRORS, [0.5] * 4)
    np.testing.assert_allclose(curve.selective_risk, 0.5)
    np.testing.assert_allclose(curve.generalised_risk, [1 / 8, 2 / 8, 3 / 8, 4 / 8])
    assert selective.aurc(ERRORS, [0.5] * 4) == pytest.approx(0.5)
    assert selective.augrc(ERRORS, [0.5] * 4) == pytest.approx(10 / 32)


def test_a_tie_is_the_mean_over_its_orders() -> None:
    # Errors 0 | 1 0 | 1: the middle may come as 1, 0 or as 0, 1.
    tied = selective.aurc(ERRORS, [0.9, 0.7, 0.7, 0.6])
    orders = [selective.aurc([0, *middle, 1], CONFIDENCE) for middle in ([1, 0], [0, 1])]
    assert tied == pytest.approx(np.mean(orders))


def test_weights_are_copies() -> None:
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 3], [0, 0, 0, 0]])
    copies = np.repeat(range(4), weights[1])
    errors, confidence = np.array(ERRORS)[copies], np.array(CONFIDENCE)[copies]
    aurc = selective.weighted_aurc(ERRORS, CONFIDENCE, weights)
    np.testing.assert_allclose(aurc, [1 / 3, selective.aurc(errors, confidence), math.nan])
    augrc = selective.weighted_augrc(ERRORS, CONFIDENCE, weights)
    np.testing.assert_allclose(augrc, [1 / 4, selective.augrc(errors, confidence), math.nan])


def test_fractional_weights_continue_whole_ones() -> None:
    generator = np.random.default_rng(0)
    risk, confidence = generator.random(60), generator.integers(0, 9, 60)
    counts = generator.integers(0, 4, (10, 60))
    whole = selective.weighted_aurc(risk, confidence, counts)
    np.testing.assert_allclose(
        selective.weighted_aurc(risk, confidence, counts.astype(float)), whole
    )


def test_threshold_for_coverage_is_an_order_statistic() -> None:
    # ceil(0.5 * 4) = 2 are kept: the second largest.
    assert selective.threshold_for_coverage(CONFIDENCE, coverage=0.5) == 0.8
    assert selective.threshold_for_coverage(CONFIDENCE, coverage=0.51) == 0.7
    assert selective.threshold_for_coverage(CONFIDENCE, coverage=1) == 0.6
    assert selective.threshold_for_coverage(CONFIDENCE, coverage=0) == math.inf
    assert math.isnan(selective.threshold_for_coverage([], coverage=0.5))
    assert (
        selective.threshold_for_coverage(np.arange(100), coverage=0.07) == 93
    )  # 0.07 * 100 > 7 in binary
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        selective.threshold_for_coverage(CONFIDENCE, coverage=80)


def test_risk_at_coverage_is_the_risk_of_the_kept() -> None:
    assert selective.risk_at_coverage(ERRORS, CONFIDENCE, coverage=0.75) == pytest.approx(1 / 3)
    assert selective.risk_at_coverage(ERRORS, CONFIDENCE, coverage=1) == 0.5
    assert math.isnan(selective.risk_at_coverage(ERRORS, CONFIDENCE, coverage=0))
    assert math.isnan(selective.risk_at_coverage([], [], coverage=0.5))
    # Half of 0.9 | 0.7 0.7 | 0.6 must keep the whole tie: 1 error of 3.
    tied = selective.risk_at_coverage(ERRORS, [0.9, 0.7, 0.7, 0.6], coverage=0.5)
    assert tied == pytest.approx(1 / 3)


def test_coverage_at_risk_is_the_largest_that_a_threshold_achieves() -> None:
    # Risks by coverage: 0, 1/2, 1/3, 1/2. Below 0.4 the best is 3/4 although 2/4 fails.
    assert selective.coverage_at_risk(ERRORS, CONFIDENCE, max_risk=0.4) == 0.75
    assert selective.coverage_at_risk(ERRORS, CONFIDENCE, max_risk=0.5) == 1.0
    assert selective.coverage_at_risk(ERRORS, CONFIDENCE, max_risk=0.0) == 0.25
    assert selective.coverage_at_risk([1, 0], [0.9, 0.8], max_risk=0.1) == 0.0
    assert math.isnan(selective.coverage_at_risk([], [], max_risk=0.1))


def test_points_of_the_curve_by_replicate() -> None:
    generator = np.random.default_rng(1)
    risk, confidence = (generator.random(60) < 0.4).astype(float), generator.integers(0, 9, 60)
    weights = generator.integers(0, 4, (30, 60))
    risks = selective.weighted_risk_at_coverage(risk, confidence, weights, coverage=0.7)
    coverages = selective.weighted_coverage_at_risk(risk, confidence, weights, max_risk=0.35)
    for row, at_coverage, at_risk in zip(weights, risks, coverages, strict=True):
        r, k = np.repeat(risk, row), np.repeat(confidence, row)
        kept = k >= selective.threshold_for_coverage(k, coverage=0.7)
        assert at_coverage == pytest.approx(r[kept].mean())
        shares = [(k >= t).mean() for t in k if r[k >= t].mean() <= 0.35]
        assert at_risk == pytest.approx(max(shares, default=0.0))


def test_a_block_that_no_replicate_holds_changes_nothing() -> None:
    weights = np.array([[0, 1, 1, 1]])
    without = selective.aurc(ERRORS[1:], CONFIDENCE[1:])
    assert selective.weighted_aurc(ERRORS, CONFIDENCE, weights)[0] == pytest.approx(without)
    assert selective.weighted_coverage_at_risk(ERRORS, CONFIDENCE, weights, max_risk=0.1)[0] == 0


def test_all_right_and_all_wrong() -> None:
    assert selective.aurc(np.zeros(5), range(5)) == 0.0
    assert selective.augrc(np.zeros(5), range(5)) == 0.0
    assert selective.aurc(np.ones(5), range(5)) == pytest.approx(1.0)
    # mean of 1/5 ... 5/5
    assert selective.augrc(np.ones(5), range(5)) == pytest.approx(0.6)
    assert selective.excess_aurc(np.ones(5), range(5)) == pytest.approx(0.0, abs=1e-15)


def test_undefined_inputs_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="risk: expected numbers"):
        selective.aurc([math.nan, 0], [0.5, 0.4])
    with pytest.raises(ValueError, match="confidence: expected numbers"):
        selective.aurc([1, 0], [0.5, math.nan])
