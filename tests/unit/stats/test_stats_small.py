import math

import numpy as np
import pytest

from medaudit.stats import intervals
from medaudit.stats.hypothesis_tests import benjamini_hochberg, holm, kendall_tau


def test_wilson_of_two_in_thirty_five() -> None:
    # z2 = 3.8415; centre (2/35 + z2/70) / (1 + z2/35) = 0.1121 / 1.1098 = 0.1009;
    # reach 1.96 * sqrt(2/35 * 33/35 / 35 + z2/4900) / 1.1098 = 0.0852.
    made = intervals.wilson(2, 35)
    assert made.value == 2 / 35
    assert (made.low, made.high) == pytest.approx((0.0158, 0.1861), abs=1e-4)
    assert (made.n, made.n_groups, made.n_positive, made.method) == (35, 35, 2, "wilson")


def test_clopper_pearson_of_none_in_ten() -> None:
    # (1 - p)^10 = 0.025 -> p = 1 - 0.025^(1/10)
    made = intervals.clopper_pearson(0, 10)
    assert made.low == 0
    assert made.high == pytest.approx(1 - 0.025**0.1)


@pytest.mark.parametrize("interval", [intervals.wilson, intervals.clopper_pearson])
def test_ends_of_a_proportion(interval: object) -> None:
    assert callable(interval)
    assert interval(0, 5).low == 0.0
    assert interval(5, 5).high == 1.0
    assert math.isnan(interval(0, 0).value)
    assert math.isnan(interval(0, 0).high)
    with pytest.raises(ValueError, match="3 of 2"):
        interval(3, 2)
    with pytest.raises(ValueError, match="level"):
        interval(1, 2, level=95)


def test_holm_by_hand() -> None:
    # Sorted 0.01 0.02 0.04 times 3, 2, 1: 0.03, 0.04, 0.04.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.02]), [0.04, 0.03, 0.04])
    # 0.03 * 2 = 0.06, then 0.05 * 1 may not fall below it; nothing exceeds 1.
    np.testing.assert_allclose(holm([0.03, 0.05]), [0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted 0.01 0.02 0.04 times 3/1, 3/2, 3/3: 0.03, 0.03, 0.04.
    np.testing.assert_allclose(benjamini_hochberg([0.04, 0.01, 0.02]), [0.04, 0.03, 0.03])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_an_undefined_p_value_is_no_member_of_the_family(adjust: object) -> None:
    assert callable(adjust)
    adjusted = adjust([0.01, math.nan, 0.02])
    np.testing.assert_array_equal(adjusted[[0, 2]], adjust([0.01, 0.02]))
    assert math.isnan(adjusted[1])
    assert adjust([]).shape == (0,)
    assert np.isnan(adjust([math.nan])).all()
    with pytest.raises(ValueError, match="p_values"):
        adjust([1.5])


def test_adjusting_leaves_its_input_alone() -> None:
    p_values = np.array([0.01, 0.02])
    holm(p_values)
    np.testing.assert_array_equal(p_values, [0.01, 0.02])


def test_kendall_tau_by_hand() -> None:
    # Of 10 pairs one disagrees (0.7 before 0.8): (9 - 1) / 10 against a falling order.
    assert kendall_tau([1, 2, 3, 4, 5], [0.9, 0.7, 0.8, 0.6, 0.5]).tau == pytest.approx(-0.8)
    perfect = kendall_tau([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    # Two of the 5! = 120 orders are as extreme.
    assert (perfect.tau, perfect.p_value) == pytest.approx((-1, 2 / 120))


@pytest.mark.parametrize(
    "values", [[1.0, math.nan, 3.0], [2.0, 2.0, 2.0]], ids=["undefined", "constant"]
)
def test_no_trend_without_an_order(values: list[float]) -> None:
    assert math.isnan(kendall_tau([1, 2, 3], values).tau)
    assert math.isnan(kendall_tau([1], [1.0]).tau)
    with pytest.raises(ValueError, match="one length"):
        kendall_tau([1, 2], [1.0])
