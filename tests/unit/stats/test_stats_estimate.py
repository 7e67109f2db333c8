import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medaudit.stats import intervals
from medaudit.stats.weighting import cluster_resamples

VALUES = np.array([1.0, 2.0, 3.0, 6.0])


def mean(weights: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ VALUES / weights.sum(axis=1))


def test_the_interval_is_of_percentiles() -> None:
    # Replicates 0..100: 2.5 % and 97.5 % are 2.5 and 97.5.
    made = intervals.estimate_from(50.0, np.arange(101.0), n=10, n_groups=7, n_positive=3)
    assert (made.value, made.low, made.high) == pytest.approx((50, 2.5, 97.5))
    assert (made.n, made.n_groups, made.n_positive) == (10, 7, 3)
    assert (made.method, made.undefined_share) == (intervals.PERCENTILE, 0.0)
    assert intervals.estimate_from(
        50.0, np.arange(101.0), n=10, n_groups=7, level=0.8
    ).low == pytest.approx(10)


def test_undefined_replicates_are_counted_and_left_out() -> None:
    # 101 defined values 0..100 and 5 undefined ones: the percentiles are those of the defined
    replicates = np.r_[np.arange(101.0), [math.nan] * 5]
    made = intervals.estimate_from(50.0, replicates, n=10, n_groups=10)
    assert (made.low, made.high, made.undefined_share) == pytest.approx((2.5, 97.5, 5 / 106))


@pytest.mark.parametrize(("undefined", "incomplete"), [(0, False), (1, False), (2, True)])
def test_more_than_one_percent_undefined_is_said(undefined: int, incomplete: bool) -> None:
    replicates = np.r_[np.arange(100.0 - undefined), [math.nan] * undefined]
    made = intervals.estimate_from(50.0, replicates, n=10, n_groups=10)
    assert made.undefined_share == undefined / 100
    assert made.incomplete == incomplete


def test_too_many_undefined_replicates_leave_no_interval_and_no_p_value() -> None:
    replicates = np.r_[np.arange(101.0), [math.nan] * 20]
    made = intervals.estimate_from(50.0, replicates, n=10, n_groups=10)
    assert math.isnan(made.low)
    assert made.method == intervals.NO_INTERVAL
    assert math.isnan(intervals.bootstrap_p_value(50.0, replicates))


def test_estimate_takes_value_and_replicates_from_one_statistic() -> None:
    resamples = cluster_resamples(["a", "a", "b", "c"], replicates=500, seed=0)
    made = intervals.estimate(mean, resamples)
    assert made.value == 3.0
    assert (made.n, made.n_groups, made.n_positive) == (4, 3, None)
    replicates = mean(resamples.weights)
    assert (made.low, made.high) == pytest.approx(np.quantile(replicates, [0.025, 0.975]))


def test_clusters_widen_the_interval() -> None:
    # 40 groups of 5 equal rows hold the information of 40 rows, not of 200: √5 times the width.
    values = np.repeat(np.random.default_rng(0).normal(size=40), 5)

    def average(weights: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(weights @ values / weights.sum(axis=1))

    clustered = intervals.estimate(
        average, cluster_resamples(np.arange(200) // 5, replicates=2000, seed=1)
    )
    naive = intervals.estimate(average, cluster_resamples(np.arange(200), replicates=2000, seed=1))
    widening = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert widening == pytest.approx(math.sqrt(5), rel=0.1)


def test_a_difference_with_itself_is_nothing() -> None:
    resamples = cluster_resamples(range(4), replicates=100, seed=0)
    made = intervals.difference(mean, mean, resamples)
    assert (made.value, made.low, made.high, made.p_value) == (0, 0, 0, 1)


def test_a_difference_is_first_minus_second_on_the_same_resamples() -> None:
    resamples = cluster_resamples(range(4), replicates=99, seed=0)
    made = intervals.difference(lambda w: mean(w) + 0.5, mean, resamples, n_positive=2)
    # What both share cancels: every replicate is 0.5, none at or below 0: 2 * (1 + 0) / 100.
    assert made.value == 0.5
    assert (made.low, made.high) == pytest.approx((0.5, 0.5))
    assert made.p_value == 0.02
    assert (made.n, made.n_groups, made.n_positive) == (4, 4, 2)


def test_p_value_counts_replicates_beyond_zero() -> None:
    # 3 of 9 at or below 0, 7 at or above: 2 * (1 + 3) / 10.
    replicates = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.nan]
    assert intervals.bootstrap_p_value(2.0, replicates) == 0.8
    assert intervals.bootstrap_p_value(0.0, [-1.0, 1.0]) == 1.0
    assert math.isnan(intervals.bootstrap_p_value(math.nan, [1.0]))
    assert math.isnan(intervals.bootstrap_p_value(1.0, [math.nan]))


def test_a_difference_is_undefined_where_either_side_is() -> None:
    made = intervals.difference_from(1.0, math.nan, [1.0, 2.0], [math.nan, 1.0], n=2, n_groups=2)
    assert math.isnan(made.value)
    assert math.isnan(made.p_value)
    assert made.undefined_share == 0.5


def test_replicates_of_other_resamples_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        intervals.difference_from(1.0, 1.0, [1.0, 2.0], [1.0], n=2, n_groups=2)


def test_a_level_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.estimate_from(1.0, [1.0], n=1, n_groups=1, level=95)


def test_weights_of_zero_and_subset_are_the_same_slice() -> None:
    resamples = cluster_resamples(["a", "a", "b", "c"], replicates=300, seed=0)
    mask = np.array([True, False, True, False])
    inside = VALUES[mask]

    def mean_inside(weights: NDArray[Any]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.asarray(weights @ inside / weights.sum(axis=1))

    zeroed = intervals.estimate(lambda weights: mean(weights * mask), resamples)
    cut = intervals.estimate(mean_inside, resamples.subset(mask))
    assert zeroed.value == cut.value == 2.0
    assert (zeroed.low, zeroed.high) == (cut.low, cut.high)
    # Neither a nor b is drawn in (1/3)^3 of the replicates: 3.7 %.
    assert zeroed.undefined_share == cut.undefined_share
    assert zeroed.undefined_share == pytest.approx(1 / 27, abs=0.03)
    assert (cut.n, cut.n_groups) == (2, 2)
