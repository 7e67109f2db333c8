import math

import numpy as np
import pytest
from scipy.stats import norm

from medaudit.stats import intervals
from medaudit.stats.hypothesis_tests import benjamini_hochberg, holm, kendall_tau, shrink


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


class TestShrinkage:
    def test_one_effect_against_numerical_integration(self):
        """Posterior mean of the effect by two-dimensional quadrature over effect and spread."""
        z, tau = np.linspace(-8, 8, 4001), np.linspace(1e-4, 1, 1001)[:, None]
        effects = tau * z  # in units of the prior, so that a peak of any width is resolved
        joint = norm.pdf(0.3, effects, 0.1) * norm.pdf(z)

        def integral(weight):
            return np.trapezoid(np.trapezoid(weight(effects) * joint, z), tau[:, 0])

        whole = integral(np.ones_like)
        found = shrink([0.3], [0.1], margin=0.1)
        assert found.value[0] == pytest.approx(integral(lambda e: e) / whole, abs=2e-3)
        beyond = integral(lambda e: e > 0.1) / whole
        assert found.p_beyond[0] == pytest.approx(beyond, abs=5e-3)

    def test_noise_is_drawn_towards_0_and_keeps_its_width(self):
        found = shrink([0.05, -0.04, 0.03, -0.05], [0.1] * 4, margin=0.1)
        assert (np.abs(found.value) < 0.03).all()
        assert (found.high - found.low > 0.05).all()

    def test_large_effects_stay(self):
        found = shrink([0.5, -0.5, 0.4, -0.4], [0.02] * 4, margin=0.1)
        assert found.value == pytest.approx([0.5, -0.5, 0.4, -0.4], abs=0.01)
        assert found.p_beyond == pytest.approx([1, 0, 1, 0], abs=1e-6)

    def test_intervals_hold_the_values_and_never_widen_beyond_those_of_the_estimates(self):
        generator = np.random.default_rng(0)
        errors = generator.uniform(0.02, 0.2, 12)
        found = shrink(generator.normal(0, 0.2, 12), errors, margin=0.1)
        assert (found.low <= found.value).all()
        assert (found.value <= found.high).all()
        assert (found.high - found.low <= 2 * 1.96 * errors + 1e-6).all()

    def test_undefined_effects_are_no_members(self):
        alone = shrink([0.2, -0.1], [0.1, 0.1], margin=0.1)
        found = shrink([0.2, np.nan, -0.1], [0.1, 0.1, 0.1], margin=0.1)
        assert found.value[[0, 2]] == pytest.approx(alone.value)
        assert np.isnan([found.value[1], found.low[1], found.p_beyond[1]]).all()
        assert np.isnan(shrink([np.nan], [0.1], margin=0.1).spread)

    def test_intervals_cover_what_was_drawn(self):
        generator = np.random.default_rng(1)
        covered = []
        for _ in range(400):
            true = generator.normal(0, 0.1, 5)
            found = shrink(generator.normal(true, 0.1), np.full(5, 0.1), margin=0.1)
            covered.append((found.low <= true) & (true <= found.high))
        assert np.mean(covered) == pytest.approx(0.95, abs=0.025)
