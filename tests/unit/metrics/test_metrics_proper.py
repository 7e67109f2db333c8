import dataclasses
import math

import numpy as np
import pytest

from medaudit.metrics import proper

PROBABILITIES = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]
TARGETS = [0, 2]


def test_brier_is_the_sum_form() -> None:
    # (0.3^2 + 0.2^2 + 0.1^2 + 0.1^2 + 0.6^2 + 0.7^2) / 2 = (0.14 + 0.86) / 2
    assert proper.brier_loss(PROBABILITIES, TARGETS) == pytest.approx(0.5)
    # Certain and wrong is the worst: 1 + 1.
    assert proper.brier_loss([[1.0, 0.0]], [1]) == 2.0


def test_log_loss_is_in_nats_and_finite() -> None:
    assert proper.log_loss(PROBABILITIES, TARGETS) == pytest.approx(
        -(math.log(0.7) + math.log(0.3)) / 2
    )
    assert proper.log_loss([[1.0, 0.0]], [1]) == pytest.approx(36.0437, abs=1e-4)
    assert proper.log_loss([[1.0, 0.0]], [0]) == 0.0


def test_weighted_losses() -> None:
    weights = [[3, 1], [0, 0]]
    brier = proper.weighted_brier_loss(PROBABILITIES, TARGETS, weights)
    np.testing.assert_allclose(brier, [(3 * 0.14 + 0.86) / 4, math.nan])
    loss = proper.weighted_log_loss(PROBABILITIES, TARGETS, weights)
    np.testing.assert_allclose(loss, [-(3 * math.log(0.7) + math.log(0.3)) / 4, math.nan])


def test_a_target_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        proper.brier_loss([0.5, 0.5], [0, 1])
    with pytest.raises(ValueError, match="expected 0 to 2, got 0 to 3"):
        proper.brier_loss(PROBABILITIES, [0, 3])
    with pytest.raises(ValueError, match="expected 0 to 2, got -1 to 0"):
        proper.log_loss(PROBABILITIES, [0, -1])


def test_brier_loss_and_skill_of_an_event() -> None:
    # Losses 0.01, 0.04, 0.36, 0.25: mean 0.165. Prevalence 1/4: its forecast loses 3/16 = 0.1875.
    stated, happened = [0.9, 0.2, 0.6, 0.5], [1, 0, 0, 0]
    assert proper.event_brier_loss(stated, happened) == pytest.approx(0.165)
    assert proper.brier_skill_score(stated, happened) == pytest.approx(1 - 0.165 / 0.1875)


def test_skill_in_a_replicate_is_against_the_prevalence_of_the_replicate() -> None:
    # Weights 3, 1 on (0.9, yes) and (0.2, no): loss (3 * 0.01 + 0.04) / 4 = 0.0175; 3/4 * 1/4.
    skill = proper.weighted_brier_skill_score([0.9, 0.2], [1, 0], [[3, 1], [2, 0], [0, 2], [0, 0]])
    np.testing.assert_allclose(skill, [1 - 0.0175 / 0.1875, math.nan, math.nan, math.nan])


def test_multiclass_skill() -> None:
    # Loss 0.5; frequencies 1/2, 0, 1/2: their forecast loses 1 - 1/4 - 1/4 = 0.5. No skill.
    assert proper.multiclass_brier_skill_score(PROBABILITIES, TARGETS) == pytest.approx(0.0)
    # Weights 3, 1: loss (0.42 + 0.86) / 4 = 0.32 against 1 - 9/16 - 1/16 = 3/8.
    skill = proper.weighted_multiclass_brier_skill_score(
        PROBABILITIES, TARGETS, np.array([[3, 1], [0.3, 0]])
    )
    np.testing.assert_allclose(skill, [1 - 0.32 / 0.375, math.nan])


def test_two_classes_have_the_skill_of_their_event() -> None:
    stated, happened = np.array([0.9, 0.2, 0.6, 0.5]), np.array([1, 0, 0, 0])
    both = proper.multiclass_brier_skill_score(np.column_stack([1 - stated, stated]), happened)
    assert both == pytest.approx(proper.brier_skill_score(stated, happened))


def test_decomposition() -> None:
    # Bin (0, 1/2]: p 0.2, 0.4, one event: c 0.3, f 1/2. Bin (1/2, 1]: p 0.7, 0.9, both: c 0.8, f 1.
    # Overall 3/4.
    parts = proper.brier_decomposition([0.2, 0.4, 0.7, 0.9], [1, 0, 1, 1], n_bins=2)
    assert parts.reliability == pytest.approx((0.2**2 + 0.2**2) / 2)
    assert parts.resolution == pytest.approx((0.25**2 + 0.25**2) / 2)
    assert parts.uncertainty == pytest.approx(3 / 16)
    # Every p is 0.1 from the mean of its bin.
    assert parts.within_bin_variance == pytest.approx(0.01)
    # First bin: (2/4) times -0.1 by 1/2 and 0.1 by -1/2. Second: y is f.
    assert parts.within_bin_covariance == pytest.approx(-0.05)
    # 0.04 - 0.0625 + 0.1875 + 0.01 + 0.05 = (0.64 + 0.16 + 0.09 + 0.01) / 4
    assert parts.brier_loss == pytest.approx(0.225)


def test_weighted_decomposition() -> None:
    weights = [[2, 2, 2, 2], [0, 3, 0, 1], [0, 0, 0, 0]]
    parts = proper.weighted_brier_decomposition(
        [0.2, 0.4, 0.7, 0.9], [1, 0, 1, 1], weights, n_bins=2
    )
    # Second: 0.4 thrice without, 0.9 once with: 3/4 * 0.16 + 1/4 * 0.01; 3/4 / 16 + 1/4 * 9/16.
    np.testing.assert_allclose(parts.reliability, [0.04, 0.1225, math.nan])
    np.testing.assert_allclose(parts.resolution, [0.0625, 0.1875, math.nan])
    np.testing.assert_allclose(parts.uncertainty, [0.1875, 0.1875, math.nan])
    np.testing.assert_allclose(parts.brier_loss, [0.225, 0.1225, math.nan])


def test_nothing_of_no_samples_is_defined() -> None:
    none = np.zeros((0, 3))
    for loss in (proper.brier_loss, proper.log_loss, proper.multiclass_brier_skill_score):
        assert math.isnan(loss(none, []))
    assert math.isnan(proper.event_brier_loss([], []))
    assert math.isnan(proper.brier_skill_score([], []))
    parts = proper.brier_decomposition([], [])
    assert all(math.isnan(part) for part in dataclasses.astuple(parts))
