"""Step-down max-T against enumeration and simulation; its intervals agree with its tests."""

import itertools

import numpy as np
import pytest

from medaudit.stats.max_t import compare_jointly, step_down


def test_adjusted_p_values_worked_by_hand():
    """Four null draws; statistics 3, 1, 2 are compared with the maxima of what is left."""
    null = [[0, 0, 0], [2.5, 0, 0], [0, 1.5, 0], [0, 0, 4.0]]
    found = step_down([3.0, 1.0, 2.0], null)
    # 3: draws whose maximum over all three reaches 3: one. 2: over {1, 2}: one. 1: over {1}: one.
    assert found.adjusted == pytest.approx([2 / 5, 2 / 5, 2 / 5])
    assert found.p_values == pytest.approx([1 / 5, 2 / 5, 2 / 5])
    assert found.size == 3
    assert found.quantile == 4.0


def test_one_comparison_is_its_own_test():
    null = np.array([[0.0], [1.0], [2.0], [3.0]])
    found = step_down([2.0], null)
    assert found.adjusted == found.p_values == pytest.approx([3 / 5])


def test_undefined_statistics_are_no_members():
    found = step_down([np.nan, 1.0], [[5.0, 0.0]] * 9)
    assert np.isnan(found.adjusted[0])
    assert found.adjusted[1] == pytest.approx(1 / 10)
    assert found.size == 1


def test_an_empty_family():
    found = step_down([np.nan], [[0.0]])
    assert found.size == 0
    assert np.isnan(found.quantile)


def test_equal_comparisons_cost_nothing():
    """A comparison that repeats another leaves the p-value where it was; Holm would double it."""
    draws = np.random.default_rng(0).standard_normal((999, 1))
    alone = step_down([2.0], draws).adjusted[0]
    assert step_down([2.0, 2.0], np.hstack([draws, draws])).adjusted == pytest.approx([alone] * 2)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(2,\) and \(5, 3\)"):
        step_down([1, 2], np.zeros((5, 3)))


def worlds(*, shift, n=200, m=6, seed=1):
    """Correlated families with a harm in the first comparison: statistics and joint null draws."""
    generator = np.random.default_rng(seed)
    mixing = np.linalg.cholesky(0.5 * np.eye(m) + 0.5)
    null = generator.standard_normal((1000, m)) @ mixing.T
    for _ in range(n):
        harm = generator.standard_normal(m) @ mixing.T
        harm[0] += shift
        yield compare_jointly(harm, np.ones(m), null)


def test_family_wise_error_and_coverage_hold():
    found = list(worlds(shift=0.0, n=600))
    called = np.mean([np.any(each.p_harm <= 0.05) for each in found])
    assert 0.03 < called < 0.075
    covered = np.mean([np.all(each.low <= 0) for each in found])
    assert covered == pytest.approx(1 - called)


def test_interval_and_test_agree_everywhere():
    for each, margin in itertools.product(worlds(shift=3.0), (0.5, 4.0)):
        for i, verdict in enumerate(each.verdicts(margin)):
            assert (verdict == "worse") == (each.p_harm[i] <= 0.05)
            if verdict == "worse":
                assert each.low[i] >= 0
            elif verdict == "better":
                assert each.high[i] <= 0
            else:
                assert each.low[i] <= 0 <= each.high[i]
                assert (verdict == "within_margin") == (each.high[i] < margin)


def test_minimal_detectable_harm_is_called_that_often():
    shift = next(iter(worlds(shift=0.0))).minimal_detectable[0]
    called = np.mean([each.p_harm[0] <= 0.05 for each in worlds(shift=shift, n=600)])
    assert called == pytest.approx(0.8, abs=0.05)
