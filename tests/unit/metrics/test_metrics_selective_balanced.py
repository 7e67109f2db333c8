import math
from typing import Any

import numpy as np
import pytest

from medaudit.metrics import selective, selective_balanced
from medaudit.metrics.selective_balanced import balanced_risk_coverage

# By falling confidence the classes are 0, 0, 1, 0, 1 and the errors 0, 1, 0, 0, 1.
CONFIDENCE = [0.9, 0.8, 0.7, 0.6, 0.5]
TARGETS = [0, 0, 1, 0, 1]
ERRORS = [0, 1, 0, 0, 1]
AREAS = (selective_balanced.balanced_aurc, selective_balanced.balanced_augrc)


def test_curve_by_hand() -> None:
    curve = balanced_risk_coverage(ERRORS, CONFIDENCE, TARGETS)
    np.testing.assert_allclose(curve.coverage, [0.2, 0.4, 0.6, 0.8, 1.0])
    # Class 0 alone: 0/1, 1/2. Then both: (1/2 + 0/1)/2, (1/3 + 0/1)/2, (1/3 + 1/2)/2.
    np.testing.assert_allclose(curve.selective_risk, [0, 1 / 2, 1 / 4, 1 / 6, 5 / 12])
    # (met of class 0 / 3 + met of class 1 / 2) / 2.
    np.testing.assert_allclose(curve.generalised_risk, [0, 1 / 6, 1 / 6, 1 / 6, 5 / 12])
    np.testing.assert_array_equal(curve.n_classes, [1, 1, 2, 2, 2])
    np.testing.assert_allclose(curve.threshold, CONFIDENCE)


def test_areas_are_means_over_the_curve() -> None:
    # (0 + 6/12 + 3/12 + 2/12 + 5/12) / 5 = 16/60; (0 + 2/12 + 2/12 + 2/12 + 5/12) / 5 = 11/60.
    assert selective_balanced.balanced_aurc(ERRORS, CONFIDENCE, TARGETS) == pytest.approx(16 / 60)
    assert selective_balanced.balanced_augrc(ERRORS, CONFIDENCE, TARGETS) == pytest.approx(11 / 60)


def test_points_of_the_curve() -> None:
    at = selective_balanced.balanced_risk_at_coverage
    assert at(ERRORS, CONFIDENCE, TARGETS, coverage=0.4) == 1 / 2
    assert at(ERRORS, CONFIDENCE, TARGETS, coverage=0.41) == 1 / 4
    assert at(ERRORS, CONFIDENCE, TARGETS, coverage=1) == pytest.approx(5 / 12)
    assert math.isnan(at(ERRORS, CONFIDENCE, TARGETS, coverage=0))
    # Risks 0, 1/2, 1/4, 1/6, 5/12 by coverage.
    within = selective_balanced.coverage_at_balanced_risk
    assert within(ERRORS, CONFIDENCE, TARGETS, max_risk=0.2) == 0.8
    assert within(ERRORS, CONFIDENCE, TARGETS, max_risk=0.1) == 0.2
    assert within(ERRORS, CONFIDENCE, TARGETS, max_risk=0.5) == 1.0
    assert within([1, 0], [0.9, 0.8], [0, 1], max_risk=0.1) == 0.0


def test_deferral_that_discards_the_rare_class_is_no_gain_by_itself() -> None:
    # Nine of class 0, right and confident; class 1 last, wrong. Until class 1 is kept its risk is
    # not counted, neither as 0 nor as 1; then it is half of the mean.
    errors, targets = np.r_[np.zeros(9), 1], np.r_[np.zeros(9, int), 1]
    curve = balanced_risk_coverage(errors, np.arange(10, 0, -1), targets)
    np.testing.assert_array_equal(curve.selective_risk, [*[0.0] * 9, 0.5])
    np.testing.assert_array_equal(curve.n_classes, [*[1] * 9, 2])
    # One of three in class 0 is wrong, and first: were a class that is gone counted as 0, deferring
    # all of class 1 would halve the risk.
    curve = balanced_risk_coverage([1, 0, 0, 1], [4, 3, 2, 1], [0, 0, 0, 1])
    np.testing.assert_allclose(curve.selective_risk, [1, 1 / 2, 1 / 3, (1 / 3 + 1) / 2])


def test_a_block_of_ties_is_met_evenly() -> None:
    # Everybody ties: each class is met evenly, so the balanced risk is (1/3 + 1/2)/2 throughout.
    curve = balanced_risk_coverage(ERRORS, [0.5] * 5, TARGETS)
    np.testing.assert_allclose(curve.selective_risk, 5 / 12)
    np.testing.assert_allclose(curve.generalised_risk, 5 / 12 * np.arange(1, 6) / 5)
    assert selective_balanced.balanced_aurc(ERRORS, [0.5] * 5, TARGETS) == pytest.approx(5 / 12)
    # 5/12 times the mean of 1/5 ... 5/5.
    assert selective_balanced.balanced_augrc(ERRORS, [0.5] * 5, TARGETS) == pytest.approx(
        5 / 12 * 0.6
    )


def test_a_tie_after_others() -> None:
    # 0.9: class 0 right. Then a tie of class 0 wrong and class 1 right; half of each after one.
    # Risks: 0; ((1/2)/(3/2) + 0)/2 = 1/6; (1/2 + 0)/2 = 1/4. Area 5/12 / 3.
    errors, confidence, targets = [0, 1, 0], [0.9, 0.5, 0.5], [0, 0, 1]
    curve = balanced_risk_coverage(errors, confidence, targets)
    np.testing.assert_allclose(curve.selective_risk, [0, 1 / 6, 1 / 4])
    assert selective_balanced.balanced_aurc(errors, confidence, targets) == pytest.approx(5 / 36)
    # A threshold must keep the tie whole.
    half = selective_balanced.balanced_risk_at_coverage(errors, confidence, targets, coverage=0.5)
    assert half == pytest.approx(1 / 4)


def test_weights_are_copies() -> None:
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 3, 1], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
    copies = np.repeat(range(5), weights[1])
    sample = [np.array(x)[copies] for x in (ERRORS, CONFIDENCE, TARGETS)]
    aurc = selective_balanced.weighted_balanced_aurc(ERRORS, CONFIDENCE, TARGETS, weights)
    np.testing.assert_allclose(
        aurc, [16 / 60, selective_balanced.balanced_aurc(*sample), math.nan, math.nan]
    )
    augrc = selective_balanced.weighted_balanced_augrc(ERRORS, CONFIDENCE, TARGETS, weights)
    np.testing.assert_allclose(
        augrc, [11 / 60, selective_balanced.balanced_augrc(*sample), math.nan, math.nan]
    )


def test_fractional_weights_continue_whole_ones() -> None:
    generator = np.random.default_rng(0)
    risk, confidence = generator.random(60), generator.integers(0, 9, 60)
    targets, counts = generator.integers(0, 3, 60), generator.integers(0, 4, (10, 60))
    for metric in (
        selective_balanced.weighted_balanced_aurc,
        selective_balanced.weighted_balanced_augrc,
    ):
        whole = metric(risk, confidence, targets, counts)
        np.testing.assert_allclose(metric(risk, confidence, targets, counts.astype(float)), whole)


def test_many_replicates_come_in_chunks_without_a_seam() -> None:
    generator = np.random.default_rng(3)
    risk, confidence = generator.random(300), generator.integers(0, 50, 300)
    targets, weights = generator.integers(0, 3, 300), generator.integers(0, 3, (4000, 300))
    whole = selective_balanced.weighted_balanced_aurc(risk, confidence, targets, weights)
    some = selective_balanced.weighted_balanced_aurc(risk, confidence, targets, weights[3990:])
    np.testing.assert_array_equal(whole[3990:], some)


def test_all_right_and_all_wrong() -> None:
    confidence, targets = np.arange(6), [0, 1, 2, 0, 0, 0]
    for area in AREAS:
        assert area(np.zeros(6), confidence, targets) == 0.0
    assert selective_balanced.balanced_aurc(np.ones(6), confidence, targets) == pytest.approx(1.0)
    # Class 0: 1 .. 4 of 4 in order 0 0 0 2 1 0: 3/4 met after three. (1/3)(1/6) of
    # (1+2+3+3+3+4)/4 for class 0, 2/1 for class 1, 3/1 for class 2: (4 + 2 + 3)/18.
    assert selective_balanced.balanced_augrc(np.ones(6), confidence, targets) == pytest.approx(
        9 / 18
    )


def test_one_class_is_the_unbalanced_form() -> None:
    targets = [3] * 5
    assert selective_balanced.balanced_aurc(ERRORS, CONFIDENCE, targets) == pytest.approx(
        selective.aurc(ERRORS, CONFIDENCE)
    )
    assert selective_balanced.balanced_augrc(ERRORS, CONFIDENCE, targets) == pytest.approx(
        selective.augrc(ERRORS, CONFIDENCE)
    )


def test_one_case() -> None:
    for area in AREAS:
        assert area([1], [0.5], [0]) == pytest.approx(1.0)
        assert area([0], [0.5], [0]) == 0.0


def test_a_class_of_the_list_without_cases_is_undefined() -> None:
    everything: list[Any] = [ERRORS, CONFIDENCE, TARGETS]
    for area in AREAS:
        assert math.isnan(area(*everything, classes=[0, 1, 2]))
    assert math.isnan(
        selective_balanced.balanced_risk_at_coverage(*everything, coverage=0.5, classes=[0, 1, 2])
    )
    assert math.isnan(
        selective_balanced.coverage_at_balanced_risk(*everything, max_risk=0.5, classes=[0, 1, 2])
    )
    curve = balanced_risk_coverage(*everything, classes=[0, 1, 2])
    assert np.isnan(curve.selective_risk).all()
    assert np.isnan(curve.generalised_risk).all()


def test_no_cases_at_all() -> None:
    for area in AREAS:
        assert math.isnan(area([], [], []))
    assert math.isnan(selective_balanced.balanced_risk_at_coverage([], [], [], coverage=0.5))
    assert math.isnan(selective_balanced.coverage_at_balanced_risk([], [], [], max_risk=0.5))
    assert len(balanced_risk_coverage([], [], []).selective_risk) == 0


def test_wrong_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="risk: expected numbers"):
        selective_balanced.balanced_aurc([math.nan, 0], [0.5, 0.4], [0, 1])
    with pytest.raises(ValueError, match="confidence: expected numbers"):
        selective_balanced.balanced_aurc([1, 0], [0.5, math.nan], [0, 1])
    with pytest.raises(ValueError, match=r"expected classes \[0, 1\], got \[7\]"):
        selective_balanced.balanced_aurc([1, 0], [0.5, 0.4], [0, 7], classes=[1, 0])
    with pytest.raises(ValueError, match="one length"):
        selective_balanced.balanced_aurc([1, 0], [0.5, 0.4], [0, 1, 1])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        selective_balanced.balanced_risk_at_coverage([1, 0], [0.5, 0.4], [0, 1], coverage=80)
