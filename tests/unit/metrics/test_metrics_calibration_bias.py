import math

import numpy as np
import pytest

from medaudit.metrics import calibration


def test_debiased_ece() -> None:
    # Equal-mass halves. First: c 0.2, f 1/3 of 3: (2/15)^2 - (2/9)/2. Second: c 0.7, f 0:
    # 0.49 - 0. Half of each: (0.0177778 - 0.1111111 + 0.49) / 2 = 0.1983333.
    stated, happened = [0.1, 0.2, 0.3, 0.6, 0.7, 0.8], [0, 0, 1, 0, 0, 0]
    expected = math.sqrt((4 / 225 - 1 / 9 + 0.49) / 2)
    assert calibration.debiased_ece(stated, happened, n_bins=2) == pytest.approx(expected)


def test_what_noise_explains_is_floored_at_zero() -> None:
    # c = f = 1/2: the square is 0 and its noise is 1/4 / 3.
    assert calibration.debiased_ece([0.5] * 4, [0, 1, 0, 1], n_bins=1) == 0.0


def test_a_bin_with_less_than_two_is_undefined() -> None:
    stated, happened = [0.1, 0.2, 0.8, 0.9], [0, 1, 1, 0]
    weights = [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0]]
    # Whole: gaps 0.35 in both bins, f 1/2: 0.1225 - 1/4 < 0. Third: the same, one bin.
    # Fourth: gaps 0.8 and 0.2, f 1: (0.64 + 0.04) / 2.
    found = calibration.weighted_debiased_ece(stated, happened, weights, n_bins=2)
    np.testing.assert_allclose(found, [0, math.nan, 0, math.sqrt(0.34), math.nan], atol=1e-15)
    assert math.isnan(calibration.debiased_ece(stated, happened, n_bins=4))
    assert math.isnan(calibration.debiased_ece([], []))


def test_the_square_is_unbiased_where_the_plain_one_is_not() -> None:
    # One bin, c = 0.3, true frequency 0.4: the square is 0.01 and noise adds 0.24 / 20 = 0.012.
    generator = np.random.default_rng(0)
    draws = generator.random((20_000, 20)) < 0.4
    stated = np.full(20, 0.3)
    plain = np.mean([(row.mean() - 0.3) ** 2 for row in draws])
    assert plain == pytest.approx(0.022, abs=0.001)
    found = np.array([calibration.debiased_ece(stated, row, n_bins=1) for row in draws[:2000]])
    raw = (draws[:2000].mean(axis=1) - 0.3) ** 2
    spread = draws[:2000].mean(axis=1) * (1 - draws[:2000].mean(axis=1)) / 19
    np.testing.assert_allclose(found**2, np.maximum(raw - spread, 0), atol=1e-12)
    # Standard error near 0.00015.
    every = (draws.mean(axis=1) - 0.3) ** 2 - draws.mean(axis=1) * (1 - draws.mean(axis=1)) / 19
    assert every.mean() == pytest.approx(0.01, abs=0.0006)


def test_noise_floor_is_what_calibrated_outcomes_score() -> None:
    confidence = np.random.default_rng(0).uniform(0.4, 1, 300)
    floor = calibration.ece_noise_floor(confidence, n_bins=15, replicates=2000, seed=1)
    generator = np.random.default_rng(2)
    drawn = [calibration.ece(confidence, generator.random(300) < confidence) for _ in range(500)]
    # Standard error of the mean of 500 draws is near 0.0006.
    assert floor.mean == pytest.approx(np.mean(drawn), abs=0.003)
    assert floor.p95 == pytest.approx(np.quantile(drawn, 0.95), abs=0.008)
    assert floor.mean < floor.p95


def test_noise_floor_is_the_mean_and_percentile_of_the_draws() -> None:
    confidence = np.linspace(0.3, 1, 50)
    drawn = calibration.ece_under_calibration(
        confidence, replicates=200, seed=5, binning="equal_mass"
    )
    assert drawn.shape == (200,)
    floor = calibration.ece_noise_floor(confidence, replicates=200, seed=5, binning="equal_mass")
    assert floor == calibration.NoiseFloor(drawn.mean(), np.quantile(drawn, 0.95))


def test_noise_floor_is_deterministic_and_zero_for_certain_forecasts() -> None:
    confidence = np.linspace(0.3, 1, 50)
    assert calibration.ece_noise_floor(confidence, seed=5) == calibration.ece_noise_floor(
        confidence, seed=5
    )
    assert calibration.ece_noise_floor(confidence, seed=5) != calibration.ece_noise_floor(
        confidence, seed=6
    )
    assert calibration.ece_noise_floor([0.0, 1.0, 1.0], seed=0) == calibration.NoiseFloor(0.0, 0.0)


def test_consistency_of_calibrated_outcomes_is_uniform() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 300)
    p_values = [
        calibration.ece_consistency(
            confidence, rng.random(300) < confidence, replicates=99, seed=k
        ).p_value
        for k in range(300)
    ]
    # 5 % and 50 % of 300, two standard errors either way.
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.026)
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.06)


def test_consistency_by_hand() -> None:
    # Certain and right: every draw has an ECE of 0, so has the sample.
    sure = calibration.ece_consistency([1.0, 1.0], [1, 1], replicates=9, seed=0)
    assert (sure.ece, sure.floor, sure.p_value) == (0, calibration.NoiseFloor(0, 0), 1)
    # Certain and wrong: none of 9 draws is as far off.
    wrong = calibration.ece_consistency([1.0, 1.0], [0, 0], replicates=9, seed=0)
    assert (wrong.ece, wrong.p_value) == (1, pytest.approx(1 / 10))


def test_groups_that_are_drawn_together_raise_the_floor() -> None:
    rng = np.random.default_rng(1)
    confidence, groups = np.repeat(rng.uniform(0.5, 1, 100), 4), np.repeat(np.arange(100), 4)
    alone, together, single = (
        calibration.ece_under_calibration(confidence, replicates=500, seed=2, groups=ids).mean()
        for ids in (None, groups, np.arange(400))
    )
    # Four equal outcomes have four times the variance of four independent ones.
    assert together == pytest.approx(2 * alone, rel=0.1)
    assert single == pytest.approx(alone, rel=0.05)


def test_consistency_of_no_samples_is_undefined() -> None:
    found = calibration.ece_consistency([], [], seed=0)
    assert math.isnan(found.p_value)


def test_noise_floor_of_no_samples_is_undefined() -> None:
    floor = calibration.ece_noise_floor([], seed=0)
    assert math.isnan(floor.mean)
    assert math.isnan(floor.p95)
    assert (
        np.isnan(calibration.ece_under_calibration([], replicates=3, seed=0)).tolist() == [True] * 3
    )
