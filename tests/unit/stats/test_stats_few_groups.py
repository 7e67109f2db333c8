"""Degrees of freedom of means, differences that few groups make, and what no change can say."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_ind

from medaudit.stats import few_groups
from medaudit.stats.bootstrap import (
    Bootstrap,
    IntervalParams,
    Measure,
    caution,
    mean_distribution,
    share_measure,
)
from medaudit.stats.weighting import weighted_mean, weighted_ratio


def over(groups, replicates=2000):
    return Bootstrap.of_groups(groups, IntervalParams(replicates=replicates))


def mean_of(values, members):
    return partial(weighted_ratio, np.where(members, values, 0.0), members)


class TestSatterthwaite:
    def test_by_hand(self):
        # (1 + 3)² / (1/4 + 9/9) = 12.8.
        assert few_groups.satterthwaite([1, 3], [4, 9]) == pytest.approx(12.8)

    def test_two_samples_are_welchs(self):
        rng = np.random.default_rng(0)
        one, other = rng.normal(size=7), rng.normal(scale=3, size=40)
        variances = [each.var(ddof=1) / len(each) for each in (one, other)]
        expected = ttest_ind(one, other, equal_var=False).df
        assert few_groups.satterthwaite(variances, [6, 39]) == pytest.approx(expected)

    @given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(1, 500)), min_size=1, max_size=9))
    def test_between_the_fewest_and_all(self, parts):
        variances, degrees = zip(*parts, strict=True)
        found = few_groups.satterthwaite(variances, degrees)
        assert min(degrees) * (1 - 1e-9) <= found <= sum(degrees) * (1 + 1e-9)

    @pytest.mark.parametrize(("variances", "degrees"), [([0, 0], [3, 4]), ([1, 2], [0, 5])])
    def test_undefined(self, variances, degrees):
        assert math.isnan(few_groups.satterthwaite(variances, degrees))


class TestDegrees:
    def two_classes(self, seed=0, rare=8, common=300):
        rng = np.random.default_rng(seed)
        truth = np.arange(rare + common) < rare
        return rng.normal(size=len(truth)), truth

    def test_a_mean_of_two_classes_has_welchs(self):
        values, truth = self.two_classes()
        statistic = lambda w: (mean_of(values, truth)(w) + mean_of(values, ~truth)(w)) / 2  # noqa: E731
        measure = Measure("mean", statistic, 1, required_outcomes=np.stack([truth, ~truth], 1))
        bootstrap = over(np.arange(len(truth)), replicates=20_000)
        found = bootstrap.spread(bootstrap.replicate(measure)).degrees
        expected = ttest_ind(values[truth], values[~truth], equal_var=False).df
        assert found == pytest.approx(expected, rel=0.1)

    def test_a_rare_class_without_spread_decides_nothing(self):
        values, truth = self.two_classes()
        values[truth] *= 1e-3
        statistic = lambda w: (mean_of(values, truth)(w) + mean_of(values, ~truth)(w)) / 2  # noqa: E731
        measure = Measure("mean", statistic, 1, required_outcomes=np.stack([truth, ~truth], 1))
        bootstrap = over(np.arange(len(truth)))
        assert bootstrap.spread(bootstrap.replicate(measure)).degrees == pytest.approx(299, rel=0.1)

    def test_few_that_are_all_alike_are_doubted(self):
        """A moderated part has at least the spread of two groups of all beside its own."""
        values, truth = self.two_classes()
        values[truth] = 0.0
        statistic = lambda w: (mean_of(values, truth)(w) + mean_of(values, ~truth)(w)) / 2  # noqa: E731
        measure = Measure("mean", statistic, 1, required_outcomes=np.stack([truth, ~truth], 1))
        bootstrap = over(np.arange(len(truth)))
        found = bootstrap.spread(bootstrap.replicate(measure), moderated=True)
        pooled = 299 * values[~truth].var(ddof=1) / (7 + 299)
        variances = [2 * pooled / (7 + 2) / 8, values[~truth].var(ddof=1) / 300]
        expected = few_groups.satterthwaite(variances, [7, 299])
        assert found.degrees == pytest.approx(expected, rel=0.1)
        factor = sum(variances) / (values.var() / 300 * 308 / 300) / (1 + 1 / expected)
        assert found.stretch == pytest.approx(np.sqrt(factor), rel=0.06)
        assert found.stretch > 2

    def test_one_class_has_its_groups(self):
        _, truth = self.two_classes()
        bootstrap = over(np.arange(len(truth)))
        assert bootstrap.spread(bootstrap.replicate(share_measure("s", truth, truth))).degrees == 7

    def test_a_difference_of_disjoint_parts_has_welchs(self):
        values, truth = self.two_classes(seed=1)
        bootstrap = over(np.arange(len(truth)), replicates=20_000)
        one, other = (
            bootstrap.subset(rows).replicate(
                Measure("mean", partial(weighted_mean, values[rows]), 1)
            )
            for rows in (truth, ~truth)
        )
        expected = ttest_ind(values[truth], values[~truth], equal_var=False).df
        assert bootstrap.spread(one.minus(other)).degrees == pytest.approx(expected, rel=0.1)

    def test_a_mean_of_shares_of_two_classes(self):
        values, truth = self.two_classes()
        bootstrap = over(np.arange(len(truth)))
        shares = [share_measure("s", values > 0, among) for among in (truth, ~truth)]
        found = mean_distribution([bootstrap.replicate(each) for each in shares])
        assert 7 <= bootstrap.spread(found).degrees < 30

    def test_a_set_of_one_group_leaves_no_degree(self):
        values, truth = self.two_classes(rare=1)
        statistic = lambda w: mean_of(values, ~truth)(w)  # noqa: E731
        measure = Measure("mean", statistic, 1, required_outcomes=np.stack([truth, ~truth], 1))
        bootstrap = over(np.arange(len(truth)))
        assert bootstrap.spread(bootstrap.replicate(measure)).degrees == 0
        assert bootstrap.interval(measure).method == "none"


class TestInfluences:
    def test_they_are_those_of_a_mean(self):
        """Of a mean of groups of one row: (x − mean) / n, up to the noise of the replicates."""
        values = np.random.default_rng(3).normal(size=50)
        resamples = over(np.arange(50), replicates=50_000).resamples
        found = resamples.influences(weighted_mean(values, resamples.weights))
        assert found == pytest.approx((values - values.mean()) / 50, abs=0.003)

    def test_of_a_part_by_group_number(self):
        resamples = over(np.repeat(np.arange(10), 2)).resamples.subset(np.arange(20) >= 14)
        found = resamples.influences(weighted_mean(np.arange(6.0), resamples.weights))
        assert (found[:7] == 0).all()
        assert (found[7:] != 0).all()

    def test_undefined_replicates_are_left_out(self):
        resamples = over(np.arange(5)).resamples
        values = np.where(np.arange(2000) < 3, np.nan, 1.0)
        assert resamples.influences(values) == pytest.approx(np.zeros(5), abs=1e-12)


class TestSignFlips:
    @pytest.mark.parametrize(("rising", "falling"), [(5, 0), (4, 1), (3, 3), (9, 0), (0, 2)])
    def test_equal_groups_have_the_exact_test_of_signs(self, rising, falling):
        found = few_groups.sign_flip_p_value([1.0] * rising + [-1.0] * falling + [0.0] * 50)
        assert found == pytest.approx(binomtest(rising, rising + falling).pvalue)

    def test_no_change_is_no_evidence(self):
        assert few_groups.sign_flip_p_value(np.zeros(9)) == 1

    def test_too_many_are_refused(self):
        with pytest.raises(ValueError, match="at most 20 groups that change, got 21"):
            few_groups.sign_flip_p_value(np.ones(21))


class TestFewChanges:
    """168 cases of one group each."""

    def paired(self, rising, falling=0, n=168):
        first = np.arange(n) % 2 == 0
        second = first.copy()
        second[np.flatnonzero(first)[:rising]] = False
        second[np.flatnonzero(~first)[:falling]] = True
        among = np.ones(n, dtype=bool)
        measures = [share_measure("s", members, among) for members in (first, second)]
        return over(np.arange(n)).paired(*measures)

    def test_five_discordant_of_168(self):
        found = self.paired(5)
        assert found.value == pytest.approx(5 / 168)
        assert found.p_value == pytest.approx(0.0625)
        assert found.low < 0 < found.value < found.high

    def test_the_interval_holds_zero_where_the_signs_do_not_speak(self):
        for rising in range(1, 10):
            found = self.paired(rising)
            assert (found.low < 0) == (found.p_value > 0.05), rising

    def test_ten_are_left_to_the_bootstrap(self):
        found = self.paired(10)
        assert found.p_value < 0.01
        assert found.low > 0

    def test_none_changed_is_wilson_of_none(self):
        found = self.paired(0)
        assert (found.value, found.p_value) == (0, 1)
        assert found.high == -found.low == pytest.approx(1.959964**2 / (168 + 1.959964**2))

    def test_shares_of_other_cases_are_not_compared_by_signs(self):
        members = np.arange(168) < 5
        others = np.arange(168) % 2 == 0
        bootstrap = over(np.arange(168))
        found = bootstrap.paired(
            share_measure("s", members, ~others), share_measure("s", members, others)
        )
        assert found.method == "cluster_bootstrap_expanded"

    def test_images_of_a_group_are_one_change(self):
        groups = np.repeat(np.arange(40), 5)
        first = np.ones(200, dtype=bool)
        measures = [share_measure("s", each, first) for each in (first, groups >= 3)]
        found = over(groups).paired(*measures)
        assert found.value == pytest.approx(15 / 200)
        assert found.p_value == pytest.approx(0.25)


class TestNoCertainty:
    def interval(self, statistic, kind="general", **changes):
        return over(np.arange(30)).interval(
            Measure("m", statistic, 1, interval_kind=kind, **changes)
        )

    @pytest.mark.parametrize("kind", ["auc", "smooth", "proportion", "bounded"])
    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_at_the_bounds_a_measure_in_the_unit_interval_has_wilsons(self, kind, value):
        found = self.interval(lambda w: np.full(len(w), value), kind)
        reach = 1.959964**2 / (30 + 1.959964**2)
        assert (found.value, found.method) == (value, "wilson")
        assert found.high - found.low == pytest.approx(reach)

    def test_another_measure_has_none_where_all_resamples_agree(self):
        found = self.interval(lambda w: np.full(len(w), 0.0))
        assert (found.value, found.method, caution(found)) == (0, "none", "no_interval")

    def test_a_difference_that_all_resamples_agree_on_has_none(self):
        constant = [Measure("m", lambda w, v=v: np.full(len(w), v), 1) for v in (0.2, 0.5)]
        found = over(np.arange(30)).paired(*constant)
        assert found.value == pytest.approx(-0.3)
        assert np.isnan([found.low, found.high, found.p_value]).all()

    @pytest.mark.parametrize("kind", ["nonnegative_error", "biased"])
    def test_a_value_alone_has_no_interval_of_its_change_either(self, kind):
        values = np.random.default_rng(0).random((2, 30))
        first, second = (
            Measure("m", partial(weighted_mean, each), -1, interval_kind=kind) for each in values
        )
        bootstrap = over(np.arange(30))
        found = bootstrap.paired(first, second)
        assert found.value == pytest.approx(values[0].mean() - values[1].mean())
        assert np.isnan([found.low, found.high, found.p_value]).all()
        change = bootstrap.replicate(first).minus(bootstrap.replicate(second))
        assert bootstrap.interval(mean_distribution([change, change])).method == "none"

    def test_a_change_says_when_it_rests_on_few_groups(self):
        few = np.arange(60) < 20
        first, second = np.random.default_rng(1).random((2, 60)) < 0.5
        measures = [share_measure("s", each, few) for each in (first, second)]
        found = over(np.arange(60)).paired(*measures)
        assert (found.n_positive_groups, caution(found)) == (20, "few_positive_groups")


class TestDeciding:
    def test_few_that_differ_are_counted(self):
        """Of 200 groups five differ: an AUROC or a risk would see these alone."""
        values = np.where(np.arange(200) < 5, 1.0, 0.0)
        resamples = over(np.arange(200), replicates=20_000).resamples
        found = few_groups.deciding(weighted_mean(values, resamples.weights), resamples)
        # U is .975 for five and -.025 for 195: (5 · .951 + .122)² / (5 · .904).
        assert found == pytest.approx(5.26, rel=0.15)

    def test_normal_influences_are_a_third(self):
        values = np.random.default_rng(0).normal(size=600)
        resamples = over(np.arange(600), replicates=20_000).resamples
        found = few_groups.deciding(weighted_mean(values, resamples.weights), resamples)
        assert found == pytest.approx(200, rel=0.15)

    def test_a_change_of_few_has_a_caution(self):
        values = np.where(np.arange(200) < 5, 1.0, 0.0)
        measures = [
            Measure("m", partial(weighted_mean, each), 1) for each in (values, 0 * values + 0.5)
        ]
        found = over(np.arange(200)).paired(*measures)
        assert found.n_deciding < 10
        assert caution(found) == "few_deciding_groups"

    @pytest.mark.parametrize(("wrong", "said"), [(5, "few_deciding_groups"), (80, "")])
    def test_a_number_of_few_has_a_caution(self, wrong, said):
        """Five patients with all false alarms do not tell how often others have one."""
        flags, everyone = np.arange(200) < wrong, np.ones(200, dtype=bool)
        found = over(np.arange(200)).interval(share_measure("s", flags, everyone))
        assert caution(found) == said

    @pytest.mark.parametrize(("of_shares", "said"), [(True, ""), (False, "few_deciding_groups")])
    def test_a_change_that_is_none_of_shares_needs_more(self, of_shares, said):
        values = np.random.default_rng(2).normal(size=90)  # of which a third decide
        measures = [Measure("m", partial(weighted_mean, each), 1) for each in (values, 0 * values)]
        found = over(np.arange(90), replicates=4000).paired(*measures)
        assert 25 < found.n_deciding < 40
        assert caution(replace(found, of_shares=of_shares)) == said


class TestNoWidth:
    """One error in 200 groups: more than 97.5 % of the resamples of a tail's mean agree."""

    @staticmethod
    def rare(weights):
        kept = weights[:, :1] > 3
        return np.where(kept[:, 0], 0.5, 0.0)

    def test_an_interval_without_width_is_none(self):
        measure = Measure("m", self.rare, 1)
        found = over(np.arange(200)).interval(measure)
        assert (found.value, found.method) == (0.0, "none")
        assert caution(found) == "no_interval"

    def test_at_the_bound_of_a_measure_in_the_unit_it_is_that_of_a_share(self):
        measure = Measure("m", self.rare, 1, interval_kind="bounded")
        found = over(np.arange(200)).interval(measure)
        assert (found.low, found.high) == pytest.approx((0, 0.0188), abs=1e-3)

    def test_a_change_without_width_has_none(self):
        bootstrap = over(np.arange(200))
        constant = Measure("m", lambda weights: np.zeros(len(weights)), 1)
        found = bootstrap.paired(Measure("m", self.rare, 1), constant)
        assert np.isnan([found.low, found.high, found.p_value]).all()
