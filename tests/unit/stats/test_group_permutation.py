"""Gaps between parts and the rest by permutation of groups: enumeration, references, laws."""

import itertools

import numpy as np
import pytest
from scipy import stats

from medaudit.stats.group_permutation import GroupedCases, permuted_gaps
from medaudit.stats.max_t import compare_jointly, step_down


def p_value(gaps, i=0):
    return step_down(gaps.centre / gaps.errors, gaps.null).p_values[i]


def every_exchange(cases):
    """All ways in which groups of one composition can exchange their memberships."""
    strata = [np.flatnonzero(cases.strata == s) for s in range(cases.strata.max() + 1)]
    for orders in itertools.product(*(itertools.permutations(each) for each in strata)):
        donors = np.empty(len(cases.strata), np.intp)
        for own, order in zip(strata, orders, strict=True):
            donors[own] = order
        yield donors


def by_hand(wrong, inside, groups):
    """Gap and its error over groups, written out for one part."""
    names = np.unique(groups)
    mean = len(wrong) / len(names)
    sides, influence, variance = [], np.zeros(len(names)), 0.0
    for sign, side in ((1, inside), (-1, ~inside)):
        sides.append(wrong[side].mean())
        n = side.sum() + 2 * mean
        p = (wrong[side].sum() + mean) / n
        for g, name in enumerate(names):
            rows = side & (groups == name)
            influence[g] += sign * (wrong[rows].sum() - p * rows.sum()) / n
        variance += (mean / n) ** 2 * ((1 - p) ** 2 + p**2)
    return sides[0] - sides[1], np.sqrt((influence**2).sum() + variance)


class TestGap:
    def test_worked_example(self):
        """3 of 4 wrong inside, 1 of 6 outside, single rows: Agresti and Caffo's error."""
        wrong = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
        found = permuted_gaps(
            wrong, np.arange(10)[:, None] < 4, np.arange(10), replicates=9, seed=0
        )
        assert found.harm[0] == pytest.approx(3 / 4 - 1 / 6)
        p, q = 4 / 6, 2 / 8
        assert found.centre[0] == pytest.approx(p - q)
        assert found.errors[0] == pytest.approx(np.sqrt(p * (1 - p) / 6 + q * (1 - q) / 8))

    @pytest.mark.parametrize("share", [0.2, 0.8], ids=["few wrong", "few right"])
    def test_groups_that_lie_on_both_sides(self, share):
        generator = np.random.default_rng(3)
        groups = np.sort(generator.integers(0, 40, 120))
        wrong, members = generator.random(120) < share, generator.random((120, 4)) < 0.4
        found = permuted_gaps(wrong, members, groups, replicates=9, seed=0)
        for i in range(4):
            expected = by_hand(wrong, members[:, i], groups)
            assert (found.harm[i], found.errors[i]) == pytest.approx(expected)

    def test_the_order_of_rows_says_nothing(self):
        generator = np.random.default_rng(4)
        groups, wrong = generator.integers(0, 30, 90), generator.random(90) < 0.3
        members, order = generator.random((90, 2)) < 0.5, generator.permutation(90)
        one = permuted_gaps(wrong, members, groups, replicates=9, seed=0)
        two = permuted_gaps(wrong[order], members[order], groups[order], replicates=9, seed=0)
        assert one.harm == pytest.approx(two.harm)
        assert one.errors == pytest.approx(two.errors)

    @pytest.mark.parametrize("wrong", [np.zeros(12, bool), np.ones(12, bool)])
    def test_an_error_is_never_0(self, wrong):
        found = permuted_gaps(
            wrong, np.arange(12)[:, None] < 3, np.arange(12), replicates=9, seed=0
        )
        assert found.harm[0] == 0
        assert found.errors[0] > 0.1
        # The smaller part is drawn further from certainty.
        assert (found.centre[0] > 0) == (not wrong.any())
        assert np.isfinite(found.null).all()

    def test_a_part_without_cases_or_without_a_rest_is_undefined(self):
        members = np.column_stack([np.zeros(8, bool), np.ones(8, bool), np.arange(8) < 4])
        found = permuted_gaps(np.arange(8) % 2 == 0, members, np.arange(8), replicates=9, seed=0)
        assert np.isnan(found.harm).tolist() == [True, True, False]
        assert np.isnan(found.null).all(axis=0).tolist() == [True, True, False]

    def test_shapes_are_checked(self):
        with pytest.raises(ValueError, match="one row per case"):
            permuted_gaps([True], np.ones((2, 1)), [1], replicates=9, seed=0)


class TestStandardisation:
    def test_worked_example(self):
        """Within both classes a quarter is wrong everywhere; only the mix differs."""
        kinds = np.repeat([0, 1], [40, 40])
        wrong = np.tile([True, False, False, False], 20)
        wrong[40:] = np.tile([True, True, True, False], 10)
        inside = np.concatenate([np.arange(40) < 8, np.arange(40) < 32])[:, None]
        plain = permuted_gaps(wrong, inside, np.arange(80), replicates=9, seed=0)
        found = permuted_gaps(
            wrong, inside, np.arange(80), kinds=kinds, weights=[0.5, 0.5], replicates=9, seed=0
        )
        assert plain.harm[0] == pytest.approx(0.65 - 0.35)
        assert found.harm[0] == pytest.approx(0)

    def test_a_kind_that_one_side_lacks_is_left_out_of_both(self):
        kinds = np.array([0] * 8 + [1] * 4)
        wrong = np.array([1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1], bool)
        inside = (np.arange(12) < 4)[:, None]
        found = permuted_gaps(
            wrong, inside, np.arange(12), kinds=kinds, weights=[0.2, 0.8], replicates=9, seed=0
        )
        assert found.harm[0] == pytest.approx(1 / 4 - 3 / 4)

    def test_the_mix_of_every_part_stays_in_every_draw(self):
        generator = np.random.default_rng(0)
        groups = np.repeat(np.arange(60), generator.choice([1, 2], 60))
        kinds = generator.integers(0, 3, len(groups))
        members = generator.random((len(groups), 2)) < 0.4
        cases = GroupedCases.of(
            np.zeros(len(groups), bool), members, groups, kinds=kinds, weights=np.ones(3)
        )
        (donors,) = cases.donors(50, 0)
        for kind in cases.counts:
            drawn = kind.per_group[donors].sum(axis=1)
            assert (drawn == kind.inside).all()


class TestPermutation:
    def test_against_all_exchanges(self):
        """Groups of 1, 2 and 3 rows: the p-value of many draws is that of all 4! 3! 2! of them."""
        groups = np.repeat(np.arange(9), [1, 1, 1, 1, 2, 2, 2, 3, 3])
        wrong = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0], bool)
        inside = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0], bool)
        members = np.column_stack([inside, ~inside, np.arange(16) % 3 == 0])
        cases = GroupedCases.of(wrong, members, groups)
        _, harm, errors = cases.gaps(np.array(list(every_exchange(cases))))
        observed = harm[0] / errors[0]
        assert len(harm) == 24 * 6 * 2
        exact = (harm / errors >= observed - 1e-9).mean(axis=0)
        found = permuted_gaps(wrong, members, groups, replicates=20_000, seed=1)
        drawn = step_down(found.centre / found.errors, found.null)
        assert drawn.p_values == pytest.approx(exact, abs=0.012)
        highest = (harm / errors).max(axis=1)
        assert drawn.adjusted.min() == pytest.approx(
            (highest >= observed.max() - 1e-9).mean(), abs=0.012
        )

    def test_single_rows_against_scipy(self):
        generator = np.random.default_rng(7)
        wrong, inside = generator.random(80) < 0.3, np.arange(80) < 25
        wrong[:10] = True

        def studentised(x, y, axis):
            p, q = ((v.sum(axis) + 1) / (v.shape[axis] + 2) for v in (x, y))
            spread = p * (1 - p) / (x.shape[axis] + 2) + q * (1 - q) / (y.shape[axis] + 2)
            return (p - q) / np.sqrt(spread)

        expected = stats.permutation_test(
            (wrong[inside].astype(float), wrong[~inside].astype(float)),
            studentised,
            vectorized=True,
            alternative="greater",
            n_resamples=20_000,
            rng=np.random.default_rng(0),
        )
        found = permuted_gaps(wrong, inside[:, None], np.arange(80), replicates=20_000, seed=0)
        assert found.centre[0] / found.errors[0] == pytest.approx(expected.statistic)
        assert p_value(found) == pytest.approx(expected.pvalue, abs=0.004)

    def test_every_group_is_dealt_in_equally_often(self):
        cases = GroupedCases.of(np.zeros(8, bool), np.arange(8)[:, None] < 2, np.arange(8))
        donors = np.concatenate(cases.donors(4000, 1))
        assert (donors < 2).mean(axis=0) == pytest.approx(np.full(8, 0.25), abs=0.03)

    def test_only_groups_of_one_size_exchange(self):
        cases = GroupedCases.of(np.zeros(9, bool), np.ones((9, 1), bool), [0, 1, 2, 2] + [3] * 5)
        donors = np.concatenate(cases.donors(100, 0))
        assert (donors[:, 2:] == [2, 3]).all()
        assert set(map(tuple, donors[:, :2])) == {(0, 1), (1, 0)}

    def test_the_same_seed_gives_the_same_draws(self):
        wrong, members = np.arange(30) % 4 == 0, np.arange(30)[:, None] < 9
        one, two = (
            permuted_gaps(wrong, members, np.arange(30), replicates=50, seed=3) for _ in range(2)
        )
        assert (one.null == two.null).all()

    def test_all_right_in_a_small_part_is_no_evidence(self):
        # 5 of 5 right inside, 26 of 34 outside: what a bootstrap of the part calls certain.
        wrong = np.array([0] * 5 + [0] * 26 + [1] * 8, bool)
        inside = np.arange(39)[:, None] < 5
        gaps = permuted_gaps(wrong, inside, np.arange(39), replicates=4000, seed=0)
        found = compare_jointly(gaps.centre, gaps.errors, gaps.null)
        # No wrong one among the 5 by chance: hypergeometric.
        exact = stats.hypergeom(39, 8, 5).pmf(0)
        assert found.p_gain[0] == pytest.approx(exact, abs=0.03)
        assert found.low[0] < gaps.harm[0] < 0 < found.high[0]
        # Five right ones of five leave room for a harm of 10 points: 0.9^5 = 59 %.
        assert found.verdicts(0.1) == ["undecided"]

    def test_a_large_gap_is_found(self):
        wrong = np.array([1] * 20 + [0] * 40, bool)
        gaps = permuted_gaps(
            wrong, np.arange(60)[:, None] < 20, np.arange(60), replicates=999, seed=0
        )
        assert p_value(gaps) == pytest.approx(1 / 1000)

    def test_a_part_named_twice_costs_nothing(self):
        generator = np.random.default_rng(5)
        wrong, members = generator.random(100) < 0.3, generator.random((100, 3)) < 0.3
        wrong[members[:, 0]] |= generator.random(members[:, 0].sum()) < 0.3
        judged = [
            compare_jointly(g.centre, g.errors, g.null)
            for g in (
                permuted_gaps(wrong, each, np.arange(100), replicates=500, seed=0)
                for each in (members, np.column_stack([members, members[:, 0]]))
            )
        ]
        assert judged[1].p_harm[:3] == pytest.approx(judged[0].p_harm)
        assert judged[1].low[:3] == pytest.approx(judged[0].low)

    @pytest.mark.slow
    @pytest.mark.parametrize("varying", [False, True], ids=["whole groups", "parts of groups"])
    def test_the_level_holds_where_group_sizes_differ_much(self, varying):
        """Groups of 1 to about 100 rows with errors of their own; membership says nothing."""
        small = 0
        for seed in range(300):
            rng = np.random.default_rng(seed)
            sizes = np.maximum(1, rng.lognormal(0.8, 1.2, 150).round()).astype(int)
            groups = np.repeat(np.arange(150), sizes)
            wrong = rng.random(len(groups)) < rng.beta(0.8, 1.2, 150)[groups]
            place = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            early = place < np.round(rng.random(150) * sizes)[groups]
            mask = early if varying else (rng.random(150) < 0.4)[groups]
            gaps = permuted_gaps(wrong, mask[:, None], groups, replicates=99, seed=seed)
            small += p_value(gaps) <= 0.05
        # Binomial(300, 0.05): 99.9 % of the time at most 28.
        assert small <= 28

    @pytest.mark.slow
    @pytest.mark.parametrize("per_group", [1, 3])
    def test_p_values_are_uniform_when_nothing_is_there(self, per_group):
        """200 parts of noise with clusters: 5 % of the p-values are below 0.05, give or take."""
        rng = np.random.default_rng(0)
        small = 0
        for seed in range(200):
            groups = np.repeat(np.arange(60), per_group)
            wrong = np.repeat(rng.random(60) < 0.2, per_group)
            gaps = permuted_gaps(wrong, groups[:, None] < 8, groups, replicates=199, seed=seed)
            small += p_value(gaps) <= 0.05
        # binomial(200, 0.05): 99.9 % between 2 and 21; an exact test on few values stays below
        assert small <= 21
