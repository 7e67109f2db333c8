"""What must hold for every interval and every family."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medaudit.stats import bca, delong, intervals
from medaudit.stats.hypothesis_tests import benjamini_hochberg, holm
from medaudit.stats.weighting import cluster_resamples

SCORED = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=40)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
NUMBERS = st.lists(st.floats(-9, 9), min_size=1, max_size=50)


@given(p_values=P_VALUES)
def test_adjusting_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    raw = np.array(p_values)
    for adjusted in (holm(raw), benjamini_hochberg(raw)):
        assert (adjusted >= raw).all()
        assert (adjusted <= 1).all()
        assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()
    assert (benjamini_hochberg(raw) <= holm(raw) + 1e-12).all()


@given(n=st.integers(1, 300), share=st.floats(0, 1), level=st.sampled_from([0.5, 0.9, 0.99]))
def test_intervals_of_proportions_hold_their_value(n: int, share: float, level: float) -> None:
    successes = round(n * share)
    for interval in (intervals.wilson, intervals.clopper_pearson):
        made, mirror = interval(successes, n, level=level), interval(n - successes, n, level=level)
        assert 0 <= made.low <= made.value <= made.high <= 1
        assert (made.low, made.high) == pytest.approx((1 - mirror.high, 1 - mirror.low))


@given(replicates=NUMBERS, shift=st.floats(-5, 5))
def test_intervals_move_with_their_replicates(replicates: list[float], shift: float) -> None:
    made = intervals.estimate_from(0.0, replicates, n=1, n_groups=1)
    moved = intervals.estimate_from(shift, np.array(replicates) + shift, n=1, n_groups=1)
    assert min(replicates) <= made.low <= made.high <= max(replicates)
    assert (moved.low, moved.high) == pytest.approx((made.low + shift, made.high + shift))


@given(replicates=NUMBERS)
def test_a_difference_turned_round_changes_its_sign_alone(replicates: list[float]) -> None:
    first, second = np.array(replicates), np.array(replicates)[::-1] ** 2
    one = intervals.difference_from(1.0, 2.0, first, second, n=1, n_groups=1)
    other = intervals.difference_from(2.0, 1.0, second, first, n=1, n_groups=1)
    assert one.value == -other.value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_value == other.p_value
    assert 0 < one.p_value <= 1


@given(replicates=st.lists(st.floats(0.1, 9), min_size=1, max_size=300))
def test_an_interval_clear_of_zero_and_its_p_value_agree(replicates: list[float]) -> None:
    p_value = intervals.bootstrap_p_value(1.0, replicates)
    assert p_value == pytest.approx(min(1.0, 2 / (len(replicates) + 1)))


@given(
    groups=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_resample_is_made_of_whole_groups(groups: list[int], seed: int) -> None:
    resamples = cluster_resamples(groups, replicates=7, seed=seed)
    names, firsts = np.unique(groups, return_index=True)
    for name, first in zip(names, firsts, strict=True):
        rows = np.flatnonzero(np.array(groups) == name)
        assert (resamples.weights[:, rows] == resamples.weights[:, [first]]).all()
    assert (resamples.weights[:, firsts].sum(axis=1) == len(names)).all()


@given(replicates=st.lists(st.sampled_from([1.0, 2.0, math.nan]), min_size=1, max_size=20))
def test_undefined_replicates_are_never_lost(replicates: list[float]) -> None:
    made = intervals.estimate_from(1.0, replicates, n=1, n_groups=1)
    assert made.undefined_share * len(replicates) == pytest.approx(np.isnan(replicates).sum())


@given(replicates=st.lists(st.sampled_from([1.0, math.nan]), min_size=1, max_size=300))
def test_an_estimate_is_incomplete_above_one_percent(replicates: list[float]) -> None:
    made = intervals.estimate_from(1.0, replicates, n=1, n_groups=1)
    assert made.incomplete == (100 * np.isnan(replicates).sum() > len(replicates))


@given(
    rows=st.lists(st.integers(-9, 9), min_size=1, max_size=50),
    shift=st.integers(-5, 5),
    seed=st.integers(0, 99),
)
def test_bca_moves_with_its_statistic_and_stays_among_the_replicates(
    rows: list[int], shift: int, seed: int
) -> None:
    resamples = cluster_resamples(range(len(rows)), replicates=50, seed=seed)

    def made(values: NDArray[Any]) -> intervals.Estimate:
        def mean(weights: NDArray[Any]) -> NDArray[np.float64]:
            return np.asarray(weights @ values / weights.sum(axis=1))

        return bca.bca_from(mean, float(values.mean()), mean(resamples.weights), resamples)

    one, other = made(np.array(rows)), made(np.array(rows) + shift)
    assert one.method == other.method
    assert (other.low, other.high) == pytest.approx((one.low + shift, one.high + shift))
    assert min(rows) <= one.low <= one.high <= max(rows)


@given(cases=SCORED)
def test_delong_sees_ranks_alone(cases: list[tuple[int, bool]]) -> None:
    scores, positives = (np.array(column) for column in zip(*cases, strict=True))
    made = delong.auroc_interval(scores, positives)
    stretched = delong.auroc_interval(np.exp(scores / 2), positives)
    assert made == stretched or math.isnan(made.low)
    if not math.isnan(made.low):
        assert 0 < made.low <= made.value <= made.high < 1
        mirror = delong.auroc_interval(-scores, positives)
        assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((made.low, made.high))


@given(cases=SCORED, seed=st.integers(0, 99))
def test_delong_turned_round_changes_its_sign_alone(
    cases: list[tuple[int, bool]], seed: int
) -> None:
    scores, positives = (np.array(column) for column in zip(*cases, strict=True))
    others = np.random.default_rng(seed).permutation(scores)
    one = delong.auroc_difference(scores, others, positives)
    other = delong.auroc_difference(others, scores, positives)
    assert one.value == pytest.approx(-other.value, nan_ok=True)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), nan_ok=True)
    assert one.p_value == pytest.approx(other.p_value, nan_ok=True)
    covariance = delong.placements(np.stack([scores, others]), positives).covariance
    assert np.isnan(covariance).all() or np.linalg.eigvalsh(covariance).min() > -1e-12
