import math

import numpy as np
import pytest
from scipy.stats import t

from medaudit.stats import intervals

REPLICATES = np.arange(1001.0) / 1000


def of(value: float, replicates: object = REPLICATES) -> intervals.Estimate:
    return intervals.estimate_from(value, np.asarray(replicates), n=50, n_groups=40, n_positive=9)


def test_expanded_percentiles_by_hand() -> None:
    # t of 4 degrees is 2.7764, times sqrt(5/4) is 3.1042; Phi(-3.1042) = 0.00095.
    made = intervals.expanded(of(0.5), REPLICATES, degrees=4)
    assert (made.low, made.high) == pytest.approx((0.00095, 0.99905), abs=1e-5)
    assert (made.method, made.n, made.n_groups, made.n_positive) == (intervals.EXPANDED, 50, 40, 9)


def test_the_logit_interval_by_hand() -> None:
    # Replicates 0.7 and 0.9 around 0.8: s = 0.1; 4 degrees: 3.1042 * 0.1 / (0.8 * 0.2) = 1.9401;
    # logit 0.8 = 1.3863; expit(-0.5538) = 0.3650 and expit(3.3264) = 0.9653.
    replicates = [0.7, 0.9, math.nan, *([0.7, 0.9] * 10)]
    made = intervals.on_logit_scale(of(0.8, replicates), replicates, degrees=4)
    assert (made.low, made.high) == pytest.approx((0.3650, 0.9653), abs=1e-4)
    assert made.method == intervals.LOGIT_T
    assert made.undefined_share == pytest.approx(1 / 23)


def test_both_vanish_with_many_groups() -> None:
    wide = intervals.expanded(of(0.5), REPLICATES, degrees=10**6)
    assert (wide.low, wide.high) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_the_p_value_moves_along_with_the_interval() -> None:
    # The percentile interval at the level of the p-value touches 0; so does the expanded one.
    replicates = np.random.default_rng(0).normal(1, 1, size=20_000)
    made = intervals.difference_from(1.0, 0.0, replicates, np.zeros(20_000), n=9, n_groups=9)
    moved = intervals.expanded(made, replicates, degrees=8)
    assert moved.p_value > made.p_value
    touching = intervals.expanded(made, replicates, degrees=8, level=1 - moved.p_value)
    assert touching.low == pytest.approx(0, abs=0.01)
    assert moved.method == intervals.EXPANDED


def test_no_difference_keeps_its_p_value() -> None:
    made = intervals.difference_from(0.5, 0.5, np.zeros(50), np.zeros(50), n=9, n_groups=9)
    assert intervals.expanded(made, np.zeros(50), degrees=4).p_value == 1


def test_one_group_has_no_interval() -> None:
    for made in (
        intervals.expanded(of(0.5), REPLICATES, degrees=0),
        intervals.on_logit_scale(of(0.5), REPLICATES, degrees=0),
    ):
        assert (made.method, made.value) == (intervals.NO_INTERVAL, 0.5)
        assert math.isnan(made.low)
        assert math.isnan(made.high)
    made = intervals.difference_from(1.0, 0.5, REPLICATES, REPLICATES / 2, n=9, n_groups=9)
    assert math.isnan(intervals.expanded(made, REPLICATES / 2, degrees=0).p_value)


def test_at_the_ends_it_is_wilson_of_the_groups() -> None:
    # 4 of 4: 4 / (4 + 1.96^2) = 0.5101.
    ones = np.ones(50)
    made = intervals.on_logit_scale(of(1.0, ones), ones, degrees=3)
    assert (made.low, made.high) == pytest.approx((0.5101, 1.0), abs=1e-4)
    assert made.method == "wilson"
    none = intervals.on_logit_scale(of(0.0, 0 * ones), 0 * ones, degrees=3)
    assert (none.low, none.high) == pytest.approx((0, 1 - made.low))


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(of(0.5, [math.nan] * 10), id="no interval"),
        pytest.param(intervals.wilson(5, 9), id="another method"),
    ],
)
def test_other_intervals_stay_as_they_are(found: intervals.Estimate) -> None:
    assert intervals.expanded(found, REPLICATES, degrees=4) is found
    assert intervals.on_logit_scale(found, REPLICATES, degrees=4) is found


def test_what_the_logit_cannot_hold_stays_as_it_is() -> None:
    for found, replicates in ((of(2.0), REPLICATES), (of(0.5, [0.5] * 9), [0.5] * 9)):
        assert intervals.on_logit_scale(found, replicates, degrees=4) is found


def test_a_level_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.expanded(of(0.5), REPLICATES, degrees=4, level=95)


class TestResolved:
    def found(self, replicates, value=1.0):
        return intervals.difference_from(
            value, 0.0, replicates, np.zeros_like(replicates), n=99, n_groups=30
        )

    def test_a_far_difference_is_read_from_students_t(self):
        replicates = np.random.default_rng(0).normal(1.0, 0.2, 2000)
        resolved = intervals.resolved(self.found(replicates), replicates, degrees=29)
        spread = replicates.std() * np.sqrt(30 / 29)
        assert resolved.p_value == pytest.approx(2 * t.sf(1 / spread, 29))
        assert resolved.p_value < 2 / 2001

    def test_never_zero(self):
        replicates = np.random.default_rng(0).normal(1.0, 0.001, 2000)
        found = intervals.resolved(self.found(replicates), replicates, degrees=1e6)
        assert found.p_value == intervals.SMALLEST_P > 0

    def test_replicates_beyond_zero_say_it_themselves(self):
        replicates = np.random.default_rng(1).normal(1.0, 1.0, 2000)
        found = self.found(replicates)
        assert intervals.resolved(found, replicates, degrees=29) == found

    def test_never_larger_than_before_and_unmoved_without_spread(self):
        near = np.r_[0.01, np.full(99, 5.0)]
        found = self.found(near, value=0.02)
        assert intervals.resolved(found, near, degrees=2).p_value == found.p_value
        flat = np.full(100, 0.5)
        found = self.found(flat, value=0.5)
        assert intervals.resolved(found, flat, degrees=8) == found
