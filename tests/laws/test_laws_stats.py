"""What must hold for every interval and every family."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaudit.stats import estimate as e
from medaudit.stats import proportions
from medaudit.stats.multiplicity import benjamini_hochberg, holm
from medaudit.stats.resample import cluster_resamples

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
    for interval in (proportions.wilson, proportions.clopper_pearson):
        made, mirror = interval(successes, n, level=level), interval(n - successes, n, level=level)
        assert 0 <= made.low <= made.value <= made.high <= 1
        assert (made.low, made.high) == pytest.approx((1 - mirror.high, 1 - mirror.low))


@given(replicates=NUMBERS, shift=st.floats(-5, 5))
def test_intervals_move_with_their_replicates(replicates: list[float], shift: float) -> None:
    made = e.estimate_from(0.0, replicates, n=1, n_groups=1)
    moved = e.estimate_from(shift, np.array(replicates) + shift, n=1, n_groups=1)
    assert min(replicates) <= made.low <= made.high <= max(replicates)
    assert (moved.low, moved.high) == pytest.approx((made.low + shift, made.high + shift))


@given(replicates=NUMBERS)
def test_a_difference_turned_round_changes_its_sign_alone(replicates: list[float]) -> None:
    first, second = np.array(replicates), np.array(replicates)[::-1] ** 2
    one = e.difference_from(1.0, 2.0, first, second, n=1, n_groups=1)
    other = e.difference_from(2.0, 1.0, second, first, n=1, n_groups=1)
    assert one.value == -other.value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_value == other.p_value
    assert 0 < one.p_value <= 1


@given(replicates=st.lists(st.floats(0.1, 9), min_size=1, max_size=300))
def test_an_interval_clear_of_zero_and_its_p_value_agree(replicates: list[float]) -> None:
    p_value = e.bootstrap_p_value(1.0, replicates)
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
    made = e.estimate_from(1.0, replicates, n=1, n_groups=1)
    assert made.undefined_share * len(replicates) == pytest.approx(np.isnan(replicates).sum())
