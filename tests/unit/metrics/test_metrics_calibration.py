import math

import numpy as np
import pytest

from medaudit.metrics import calibration

# Two bins (0, 1/2] and (1/2, 1]:
# first: confidences 0.2, 0.4 with one event -> mean 0.3, frequency 0.5, gap 0.2
# second: 0.7, 0.8, 0.9 with two events -> mean 0.8, frequency 2/3, gap 2/15
CONFIDENCE = [0.2, 0.4, 0.7, 0.8, 0.9]
HAPPENED = [1, 0, 1, 1, 0]


def test_reliability_bins() -> None:
    bins = calibration.reliability_bins(CONFIDENCE, HAPPENED, n_bins=2)
    np.testing.assert_array_equal(bins.lo, [0, 0.5])
    np.testing.assert_array_equal(bins.hi, [0.5, 1])
    np.testing.assert_array_equal(bins.count, [2, 3])
    np.testing.assert_allclose(bins.mean_confidence, [0.3, 0.8])
    np.testing.assert_allclose(bins.frequency, [0.5, 2 / 3])


def test_ece_and_mce() -> None:
    # 2/5 * 0.2 + 3/5 * 2/15 = 0.08 + 0.08
    assert calibration.ece(CONFIDENCE, HAPPENED, n_bins=2) == pytest.approx(0.16)
    assert calibration.mce(CONFIDENCE, HAPPENED, n_bins=2) == pytest.approx(0.2)


def test_weighted_ece_and_mce() -> None:
    weights = np.array([[1, 1, 1, 1, 1], [0, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
    # Only 0.4, which did not happen: the gap is 0.4. Nobody: undefined.
    ece = calibration.weighted_ece(CONFIDENCE, HAPPENED, weights, n_bins=2)
    np.testing.assert_allclose(ece, [0.16, 0.4, math.nan])
    mce = calibration.weighted_mce(CONFIDENCE, HAPPENED, weights, n_bins=2)
    np.testing.assert_allclose(mce, [0.2, 0.4, math.nan])


def test_confidence_of_exactly_zero_and_one_is_counted() -> None:
    bins = calibration.reliability_bins([0.0, 1.0, 0.5], [0, 1, 1], n_bins=2)
    np.testing.assert_array_equal(bins.count, [2, 1])
    assert calibration.ece([0.0, 1.0], [0, 1]) == 0.0
    assert calibration.ece([0.0, 1.0], [1, 0]) == 1.0


def test_an_edge_belongs_to_the_bin_below() -> None:
    bins = calibration.reliability_bins([0.25, 0.5, 0.75], [0, 0, 0], n_bins=4)
    np.testing.assert_array_equal(bins.count, [1, 1, 1, 0])


def test_an_empty_bin_has_no_mean() -> None:
    bins = calibration.reliability_bins([0.9], [1], n_bins=2)
    assert math.isnan(bins.mean_confidence[0])
    assert math.isnan(bins.frequency[0])


def test_equal_mass_bins_hold_equal_counts() -> None:
    confidence = np.linspace(0.01, 0.7, 12)
    bins = calibration.reliability_bins(confidence, np.zeros(12), n_bins=3, binning="equal_mass")
    np.testing.assert_array_equal(bins.count, [4, 4, 4])
    assert bins.lo[0] == 0
    assert bins.hi[-1] == 1


def test_equal_mass_bins_keep_ties_together() -> None:
    # Ranks 2, 4, 6 of 0.1 0.5 0.5 0.5 0.5 0.9 end at 0.5, 0.5, 0.9: two bins are left.
    confidence = [0.5, 0.1, 0.5, 0.9, 0.5, 0.5]
    bins = calibration.reliability_bins(confidence, np.zeros(6), n_bins=3, binning="equal_mass")
    np.testing.assert_array_equal(bins.count, [5, 1])
    np.testing.assert_array_equal(bins.hi, [0.5, 1.0])


def test_equal_mass_with_few_samples_or_all_zero() -> None:
    assert calibration.ece([0.3], [1], n_bins=15, binning="equal_mass") == pytest.approx(0.7)
    assert calibration.ece([0.0, 0.0], [0, 1], n_bins=15, binning="equal_mass") == 0.5


def test_an_unknown_binning_lists_the_known() -> None:
    with pytest.raises(ValueError, match="known: equal_width, equal_mass"):
        calibration.ece(CONFIDENCE, HAPPENED, binning="isotonic")  # type: ignore[arg-type]


PROBABILITIES = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]
TARGETS = [0, 2]


def test_classwise_ece_is_the_mean_over_classes() -> None:
    # One bin: |1/2 - 0.4|, |0 - 0.4|, |1/2 - 0.2| -> (0.1 + 0.4 + 0.3) / 3
    assert calibration.classwise_ece(PROBABILITIES, TARGETS, n_bins=1) == pytest.approx(0.8 / 3)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration.ece([1.2], [1])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration.ece([math.nan], [1])
    with pytest.raises(ValueError, match="targets"):
        calibration.classwise_ece([0.5, 0.5], [0, 1])
    with pytest.raises(ValueError, match="expected 0 to 2, got -1 to 2"):
        calibration.classwise_ece(PROBABILITIES, [2, -1])


def test_rounding_of_single_precision_is_tolerated() -> None:
    assert calibration.ece(np.array([1.0000001], dtype=np.float32), [1]) == 0.0


def test_nothing_of_no_samples_is_defined() -> None:
    assert math.isnan(calibration.ece([], []))
    assert math.isnan(calibration.mce([], []))
    assert math.isnan(calibration.classwise_ece(np.zeros((0, 3)), []))
    assert calibration.reliability_bins([], [], n_bins=3).count.tolist() == [0, 0, 0]
