import math

import numpy as np
import pytest
from scipy.special import expit, logit

from medaudit.metrics import calibration_curves


def groups(*rows: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, outcome, and one row of weights, from (confidence, with event, without)."""
    confidence = np.repeat([row[0] for row in rows], 2)
    happened = np.tile([1, 0], len(rows))
    return confidence, happened, np.array([[count for row in rows for count in row[1:]]])


def test_two_confidences_fit_their_frequencies() -> None:
    # 0.2 happens 1 in 3, 0.8 2 in 3: log-odds -+ln 4 become -+ln 2. Slope ln 2 / ln 4 = 1/2.
    confidence, happened, weights = groups((0.2, 1, 2), (0.8, 2, 1))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    np.testing.assert_allclose(line.slope, [0.5], atol=1e-9)
    np.testing.assert_allclose(line.intercept, [0.0], atol=1e-9)


def test_an_intercept_alone() -> None:
    # 0.5 happens 3 in 4 (odds 1 -> 3), 0.2 happens 3 in 7 (odds 1/4 -> 3/4): ln 3 and slope 1.
    confidence, happened, weights = groups((0.5, 3, 1), (0.2, 3, 4))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    np.testing.assert_allclose(line.intercept, [math.log(3)], atol=1e-9)
    np.testing.assert_allclose(line.slope, [1.0], atol=1e-9)


def test_perfect_calibration_is_the_identity() -> None:
    confidence, happened, weights = groups((0.1, 1, 9), (0.4, 4, 6), (0.75, 30, 10))
    intercept, slope = calibration_curves.cox(
        *(np.repeat(column, weights[0]) for column in (confidence, happened))
    )
    assert intercept == pytest.approx(0, abs=1e-9)
    assert slope == pytest.approx(1, abs=1e-9)


def test_no_finite_line() -> None:
    confidence = [0.1, 0.4, 0.6, 0.9]
    happened = [0, 1, 0, 1]
    weights = [
        [1, 1, 1, 1],  # 0.4 and 0.6 are out of order: finite
        [1, 0, 1, 1],  # separated
        [1, 0, 0, 1],  # separated
        [0, 1, 1, 0],  # separated backwards
        [0, 1, 0, 1],  # always happened
        [1, 0, 1, 0],  # never happened
        [0, 0, 0, 0],
    ]
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    assert np.isnan(line.slope).tolist() == [False] + [True] * 6
    assert np.isnan(line.intercept).tolist() == [False] + [True] * 6


def test_a_tie_at_the_threshold_separates_still() -> None:
    assert math.isnan(calibration_curves.cox([0.2, 0.5, 0.5, 0.8], [0, 0, 1, 1])[1])
    assert math.isnan(calibration_curves.cox([0.5, 0.5], [0, 1])[1])


def test_lines_far_from_the_identity_are_found() -> None:
    # 0.5 -+ 1e-4 happen 1 and 9 times in 10: log-odds -+4e-4 become -+ln 9, slope 5493.
    confidence, happened, weights = groups((0.4999, 1, 9), (0.5001, 9, 1))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    np.testing.assert_allclose(line.slope, [math.log(9) / logit(0.5001)], rtol=1e-8)
    # Steep over a wide range: 0.01 and 0.99 happen once in a million and all but once.
    confidence, happened, weights = groups((0.01, 1, 10**6), (0.99, 10**6, 1))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    np.testing.assert_allclose(line.slope, [math.log(10**6) / logit(0.99)], rtol=1e-8)


def test_a_line_that_full_steps_of_newton_miss_is_found() -> None:
    # From the flat line they overshoot to where all is certain and the information is 0.
    confidence, happened, weights = groups((0.01, 0, 1), (0.5, 1000, 0), (0.9, 0, 1), (1.0, 5, 0))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    x = logit(np.minimum(confidence, 1 - calibration_curves.CLIP))
    residual = weights[0] * (happened - expit(line.intercept + line.slope * x))
    # At the best line residuals sum to 0, and so do their products with the log-odds.
    assert residual.sum() == pytest.approx(0, abs=1e-8)
    assert residual @ x == pytest.approx(0, abs=1e-8)


def test_zero_and_one_count_as_the_clip() -> None:
    confidence, happened, weights = groups((0.0, 1, 9), (1.0, 9, 1))
    line = calibration_curves.weighted_cox(confidence, happened, weights)
    np.testing.assert_allclose(
        line.slope, [math.log(9) / logit(1 - calibration_curves.CLIP)], rtol=1e-8
    )


def test_many_samples_take_one_step_from_the_whole() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.beta(2, 2, calibration_curves.MAX_FULL + 1)
    happened = generator.random(len(confidence)) < expit(0.3 + 0.7 * logit(confidence))
    draws = generator.multinomial(len(confidence), np.full(len(confidence), 1 / len(confidence)), 3)
    whole = np.ones((1, len(confidence)), dtype=np.int64)
    short = calibration_curves.weighted_cox(confidence, happened, np.concatenate([whole, draws]))
    expected = [
        calibration_curves.weighted_cox(confidence[kept], happened[kept], draws[i : i + 1, kept])
        for i in range(3)
        for kept in [np.flatnonzero(draws[i])]
    ]
    assert short.slope[0] == pytest.approx(
        calibration_curves.cox(confidence, happened)[1], abs=1e-9
    )
    # The spread between replicates is 0.03; the second order is what is left out.
    for i, line in enumerate(expected, start=1):
        assert short.slope[i] == pytest.approx(line.slope[0], abs=0.003)
        assert short.intercept[i] == pytest.approx(line.intercept[0], abs=0.003)


def test_spiegelhalter() -> None:
    # p 0.1, 0.1, 0.8; y 0, 1, 1: (-0.1 + 0.9) * 0.8 + 0.2 * -0.6 = 0.52;
    # variance 2 * 0.64 * 0.09 + 0.36 * 0.16 = 0.1728.
    z = 0.52 / math.sqrt(0.1728)
    found = calibration_curves.spiegelhalter([0.1, 0.1, 0.8], [0, 1, 1])
    assert found.z == pytest.approx(z)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_weighted_spiegelhalter() -> None:
    z = 0.52 / math.sqrt(0.1728)
    weights = [[1, 1, 1, 1], [4, 4, 4, 0], [0, 0, 0, 5], [0, 0, 0, 0]]
    # 1/2 says nothing; four copies of everybody double z.
    found = calibration_curves.weighted_spiegelhalter_z([0.1, 0.1, 0.8, 0.5], [0, 1, 1, 1], weights)
    np.testing.assert_allclose(found, [z, 2 * z, math.nan, math.nan])


def test_a_forecast_that_cannot_lose_by_chance_has_no_z() -> None:
    found = calibration_curves.spiegelhalter([0.0, 1.0, 0.5], [1, 0, 1])
    assert math.isnan(found.z)
    assert math.isnan(found.p_value)


def test_nothing_of_no_samples_is_defined() -> None:
    assert math.isnan(calibration_curves.cox([], [])[0])
    assert math.isnan(calibration_curves.spiegelhalter([], []).z)
