import math

import numpy as np
import pytest

from medaudit.metrics import calibration_curves


def test_residuals_of_one_sign_are_their_mean_at_any_width() -> None:
    # The reflected kernel keeps all mass in [0, 1]: 0.3 + 0.1 + 0.2 over 3.
    assert calibration_curves.smooth_ece([0.3, 0.1, 0.2], [0, 0, 0]) == pytest.approx(0.2, abs=1e-6)
    assert calibration_curves.smooth_ece([0.25], [1]) == pytest.approx(0.75, abs=1e-6)


def test_all_wrong_and_certain_is_one_and_all_right_is_zero() -> None:
    assert calibration_curves.smooth_ece([1.0, 1.0], [0, 0]) == pytest.approx(1.0, abs=1e-6)
    assert calibration_curves.smooth_ece([0.0, 1.0], [0, 1]) == 0.0


def test_residuals_at_one_place_cancel() -> None:
    assert calibration_curves.smooth_ece([0.5, 0.5], [0, 1]) == pytest.approx(0.0, abs=1e-9)


def test_two_opposite_residuals_far_apart() -> None:
    # At 0 and 1 with residuals +1 and -1: the smooth residual of width w is, by symmetry,
    # 1/2 [f(t) - f(1 - t)] with f the reflected kernel at 0. Over [0, 1/2] f exceeds its mirror by
    # 2 P(0 < w N < 1/2) - 2 P(1/2 < w N < 1) and so on; w solves the alternating sum = w.
    def share(width: float) -> float:
        def below(x: float) -> float:
            return math.erf(x / width / math.sqrt(2))

        parts = [below((k + 1) / 2) - below(k / 2) for k in range(12)]
        signs = [1 if k % 4 in (0, 3) else -1 for k in range(12)]
        return sum(sign * part for sign, part in zip(signs, parts, strict=True))

    width = calibration_curves.smooth_ece([0.0, 1.0], [1, 0])
    assert 0.3 < width < 0.7
    assert share(width) == pytest.approx(width, abs=1e-4)


def test_weighted_form() -> None:
    weights = np.array([[1, 1, 1], [0, 2, 0], [0, 0, 0]])
    found = calibration_curves.weighted_smooth_ece([0.3, 0.1, 0.2], [0, 0, 0], weights)
    np.testing.assert_allclose(found, [0.2, 0.1, math.nan], atol=1e-6)


def test_nothing_of_no_samples_is_defined() -> None:
    assert math.isnan(calibration_curves.smooth_ece([], []))
