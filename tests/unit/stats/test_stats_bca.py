import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import skew

from medaudit.stats import bca
from medaudit.stats.intervals import NO_INTERVAL, PERCENTILE, estimate_from
from medaudit.stats.weighting import cluster_resamples

VALUES = np.array([1.0, 2.0, 3.0, 6.0])
SINGLE = cluster_resamples(range(4), replicates=200, seed=0)


def mean_of(values: NDArray[Any]) -> Any:
    def mean(weights: NDArray[Any]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.asarray(weights @ values / weights.sum(axis=1))

    return mean


def test_bias_correction_counts_ties_half() -> None:
    # Two of four below, none equal: 1/2. One below and one equal: 3/8, whose normal quantile is
    # -0.3186.
    assert bca.bias_correction(2.5, [1.0, 2.0, 3.0, 4.0]) == 0
    assert bca.bias_correction(2.0, [1.0, 2.0, 3.0, 4.0]) == pytest.approx(-0.31864, abs=1e-5)
    assert bca.bias_correction(9.0, [1.0, 2.0]) == math.inf
    assert math.isnan(bca.bias_correction(1.0, [1.0, 1.0]))
    assert math.isnan(bca.bias_correction(1.0, []))


def test_acceleration_of_a_mean_is_its_skewness() -> None:
    # Deviations -2, -1, 0, 3: cubes sum to 18, squares to 14; 18 / (6 * 14^1.5) = 0.05727.
    assert bca.acceleration(mean_of(VALUES), range(4)) == pytest.approx(0.05727, abs=1e-5)
    assert bca.acceleration(mean_of(-VALUES), range(4)) == pytest.approx(-0.05727, abs=1e-5)
    assert bca.acceleration(mean_of(np.array([1.0, 2.0, 3.0])), range(3)) == 0


def test_whole_groups_are_left_out() -> None:
    # Without a: (3 + 6)/2; without b: (1 + 2 + 6)/3; without c: (1 + 2 + 3)/3.
    left = bca.jackknife(mean_of(VALUES), ["a", "a", "b", "c"])
    np.testing.assert_allclose(left, [4.5, 3.0, 2.0])


def test_many_groups_are_left_out_in_blocks() -> None:
    # Groups 0 and 2 are block 0, groups 1 and 3 block 1: (2 + 6)/2 and (1 + 3)/2.
    np.testing.assert_allclose(bca.jackknife(mean_of(VALUES), range(4), blocks=2), [4.0, 2.0])


def test_blocks_leave_the_acceleration_as_it_is() -> None:
    # 2,000 groups in 500 blocks of 4: still the skewness of the rows over 6 * sqrt(2,000). The
    # skewness of 500 blocks is known to sqrt(6 / 500), which is 0.0008 here.
    values = np.random.default_rng(0).exponential(size=2000)
    expected = skew(values) / (6 * math.sqrt(2000))
    assert expected > 0.006
    assert bca.acceleration(mean_of(values), range(2000)) == pytest.approx(expected, abs=0.0016)


def test_weights_held_at_once_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bca.jackknife(mean_of(VALUES), range(4))
    monkeypatch.setattr(bca, "WEIGHTS_AT_ONCE", 5)
    np.testing.assert_array_equal(bca.jackknife(mean_of(VALUES), range(4)), whole)


def test_the_interval_by_hand() -> None:
    # Replicates 0..100 around 50: no bias. With a = 0.05727 the ends stand at
    # Phi(-1.96 / (1 + 1.96 a)) = Phi(-1.7622) = 0.0390 and Phi(1.96 / (1 - 1.96 a)) = Phi(2.2078)
    # = 0.9864.
    made = bca.bca_from(mean_of(VALUES), 50.0, np.arange(101.0), SINGLE, n_positive=3)
    assert (made.low, made.high) == pytest.approx((3.902, 98.637), abs=2e-3)
    assert (made.value, made.method, made.n_positive) == (50.0, bca.BCA, 3)
    assert (made.n, made.n_groups, made.undefined_share) == (4, 4, 0.0)


def test_without_bias_and_skewness_it_is_the_percentile_interval() -> None:
    symmetric = mean_of(np.array([-2.0, -1.0, 1.0, 2.0]))
    made = bca.bca_from(symmetric, 50.0, np.arange(101.0), SINGLE, level=0.9)
    plain = estimate_from(50.0, np.arange(101.0), n=4, n_groups=4, level=0.9)
    assert (made.low, made.high) == pytest.approx((plain.low, plain.high))


def test_undefined_replicates_are_counted_and_left_out() -> None:
    replicates = np.r_[np.arange(101.0), [math.nan] * 5]
    made = bca.bca_from(mean_of(VALUES), 50.0, replicates, SINGLE)
    assert made.low == pytest.approx(3.902, abs=2e-3)
    assert made.undefined_share == pytest.approx(5 / 106)


@pytest.mark.parametrize(
    ("statistic", "value", "replicates"),
    [
        pytest.param(mean_of(VALUES), 2.0, [2.0] * 50, id="all equal"),
        pytest.param(mean_of(VALUES), 200.0, np.arange(101.0), id="outside"),
        pytest.param(mean_of(np.ones(4)), 50.0, np.arange(101.0), id="no influence"),
        pytest.param(
            lambda w: np.where(w[:, 0] > 0, 1.0, np.nan), 50.0, np.arange(101.0), id="undefined"
        ),
    ],
)
def test_it_falls_back_to_percentiles_and_says_so(
    statistic: Any, value: float, replicates: Any
) -> None:
    made = bca.bca_from(statistic, value, replicates, SINGLE)
    assert made == estimate_from(value, replicates, n=4, n_groups=4)
    assert made.method == PERCENTILE


def test_a_correction_past_the_last_quantile_falls_back() -> None:
    # One of 60 rows has all the influence: a = 58 / sqrt(59) / (6 * sqrt(60)) = 0.1625. 999 of
    # 1,000 replicates lie below: z0 = 3.09; z = 3.89 at 99.99 %. 1 - 0.1625 * 6.98 < 0.
    resamples = cluster_resamples(range(60), replicates=1, seed=0)
    outlier = mean_of(np.r_[np.zeros(59), 1.0])
    assert bca.acceleration(outlier, range(60)) == pytest.approx(0.1625, abs=1e-4)
    made = bca.bca_from(outlier, 998.5, np.arange(1000.0), resamples, level=0.9999)
    assert made.method == PERCENTILE
    assert bca.bca_from(outlier, 998.5, np.arange(1000.0), resamples, level=0.9).method == bca.BCA


def test_no_replicates_no_interval() -> None:
    made = bca.bca_from(mean_of(VALUES), math.nan, [1.0, 2.0], SINGLE)
    assert (made.method, math.isnan(made.low)) == (NO_INTERVAL, True)
    with pytest.raises(ValueError, match="level"):
        bca.bca_from(mean_of(VALUES), 1.0, [1.0, 2.0], SINGLE, level=95)
