import math

import numpy as np
import pytest
from scipy import stats

from medaudit.stats.hypothesis_tests import gap_p_value, permuted_masks
from medaudit.stats.weighting import weighted_mean


def mean_of(values):
    return lambda weights: weighted_mean(np.asarray(values, float), weights)


def test_masks_keep_their_size_and_whole_groups():
    groups = np.repeat(np.arange(10), 3)
    mask = np.isin(groups, [2, 7])
    masks = permuted_masks(mask, groups, replicates=200, seed=0)
    assert (masks.sum(axis=1) == 6).all()
    inside = masks.reshape(200, 10, 3)
    assert (inside.all(axis=2) | ~inside.any(axis=2)).all()


def test_every_group_is_dealt_in_equally_often():
    groups = np.arange(8)
    masks = permuted_masks(groups < 2, groups, replicates=4000, seed=1)
    assert masks.mean(axis=0) == pytest.approx(np.full(8, 0.25), abs=0.03)


def test_masks_are_the_same_for_the_same_seed():
    one, two = (permuted_masks([1, 0, 0], list("abc"), replicates=5, seed=3) for _ in range(2))
    assert (one == two).all()


def test_all_right_in_a_small_slice_is_no_evidence():
    # 5 of 5 inside, 26 of 34 outside: what a bootstrap of the slice calls certain
    right = np.array([1] * 5 + [1] * 26 + [0] * 8)
    mask = np.arange(39) < 5
    masks = permuted_masks(mask, np.arange(39), replicates=4000, seed=0)
    # |gap| >= 5/5 - 26/34 holds for 5 right inside and for 2 or fewer: 2/5 - 29/34 = -0.45
    right_inside = stats.hypergeom(39, 31, 5)
    exact = right_inside.pmf(5) + right_inside.cdf(2)
    found = gap_p_value(mean_of(right), mask, masks)
    assert found == pytest.approx(exact, abs=0.03)
    assert found > 0.2


def test_a_large_gap_is_found():
    right = np.array([0] * 20 + [1] * 40)
    mask = np.arange(60) < 20
    masks = permuted_masks(mask, np.arange(60), replicates=999, seed=0)
    assert gap_p_value(mean_of(right), mask, masks) == pytest.approx(1 / 1000)


def test_an_undefined_gap_has_no_p_value():
    masks = permuted_masks([1, 0], [0, 1], replicates=10, seed=0)
    assert math.isnan(gap_p_value(lambda w: np.full(len(w), np.nan), [1, 0], masks))


def test_only_groups_of_one_size_exchange_their_pattern():
    groups = np.repeat([0, 1, 2, 3], [1, 1, 2, 5])
    mask = np.array([True, False, True, False, True, True, False, False, False])
    masks = permuted_masks(mask, groups, replicates=200, seed=0)
    assert (masks[:, 2:] == mask[2:]).all()
    assert set(map(tuple, masks[:, :2])) == {(True, False), (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize("varying", [False, True], ids=["whole groups", "parts of groups"])
def test_the_level_holds_where_group_sizes_differ_much(varying):
    """Groups of 1 to about 100 rows with errors of their own; membership says nothing."""
    small = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sizes = np.maximum(1, rng.lognormal(0.8, 1.2, 150).round()).astype(int)
        groups = np.repeat(np.arange(150), sizes)
        right = rng.random(len(groups)) < rng.beta(1.2, 0.8, 150)[groups]
        place = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        early = place < np.round(rng.random(150) * sizes)[groups]
        mask = early if varying else (rng.random(150) < 0.4)[groups]
        masks = permuted_masks(mask, groups, replicates=99, seed=seed)
        small += gap_p_value(mean_of(right), mask, masks) <= 0.05
    # Binomial(300, 0.05): 99.9 % of the time at most 28.
    assert small <= 28


@pytest.mark.slow
@pytest.mark.parametrize("per_group", [1, 3])
def test_p_values_are_uniform_when_nothing_is_there(per_group):
    """200 slices of noise with clusters: 5 % of the p-values are below 0.05, give or take."""
    rng = np.random.default_rng(0)
    small = 0
    for seed in range(200):
        groups = np.repeat(np.arange(60), per_group)
        right = np.repeat(rng.random(60) < 0.8, per_group)
        mask = groups < 8
        masks = permuted_masks(mask, groups, replicates=199, seed=seed)
        small += gap_p_value(mean_of(right), mask, masks) <= 0.05
    # binomial(200, 0.05): 99.9 % between 2 and 21; an exact test on few values stays below
    assert small <= 21
