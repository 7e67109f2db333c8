"""Verdicts on slices: families, pooling, intervals that agree, class mix, power."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import at
from scipy.stats import binom

from benchmarks.power import ALPHA, METRIC, by_product, counted
from benchmarks.power_worlds import PARAMS, World, draw
from medaudit.audits import slices, slicing
from medaudit.audits.slice_tests import errors_inside, shares_of, standardised
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import operating_points
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import FEW, over, slice_up

SEX = slicing.SliceParams(
    columns=("sex",),
    quantiles={"age": 3},
    min_size=20,
    min_positives=3,
    confirmatory=("sex",),
)


@pytest.fixture(scope="module")
def world():
    """A planted world: its slices by the whole audit, and the roles behind it."""
    table = draw(World(0.4, 40), 1)
    points = operating_points.choose(table.role("calibration"), specificity=0.95)
    found = slice_up(table, points, table.role("train").rows, PARAMS)
    return table, points, found


class TestFamilies:
    def test_each_family_says_how_it_was_judged(self, world):
        rows = world[2].series["slices"]
        for metric in (METRIC, "critical_specificity", "standardised_accuracy"):
            judged = rows[(rows["metric"] == metric) & (rows["family"] != "")]
            for family, kind in (("confirmatory", "simultaneous"), ("exploratory", "marginal")):
                members = judged[judged["family"] == family]
                assert set(members["interval"]) == {kind}
                assert set(members["n_family"]) == {len(members)}
                confirmed = members["column"].isin(PARAMS.confirmatory)
                assert confirmed.all() if family == "confirmatory" else not confirmed.any()
            assert set(judged["adjustment"]) == {"max-T", "BH"}

    def test_other_measures_have_intervals_and_no_verdict(self, world):
        rows = world[2].series["slices"]
        plain = rows[rows["metric"] == "accuracy"]
        assert (plain["family"] == "").all()
        assert (plain["verdict"] == "").all()
        assert plain["p_value"].isna().all()
        assert plain["gap_low"].notna().all()

    def test_the_first_three_columns_are_confirmatory_if_none_is_named(self, world):
        table, points, _ = world
        params = PARAMS.model_copy(update={"confirmatory": ()})
        found = slice_up(table, points, table.role("train").rows, params).series["slices"]
        confirmed = found[found["family"] == "confirmatory"]["column"]
        assert set(confirmed) == {"source", "site", "device"}

    def test_adjusted_p_values_are_no_smaller(self, world):
        rows = world[2].series["slices"].dropna(subset=["p_adjusted"])
        assert (rows["p_adjusted"] >= rows["p_value"] - 1e-12).all()
        assert (rows["p_value"] > 0).all()


class TestVerdicts:
    def test_the_planted_slice_is_worse_and_its_others_are_not(self, world):
        rows = world[2].series["slices"]
        bad = at(rows, slice="source=a", metric=METRIC)
        assert bad["verdict"] == "worse"
        assert bad["shrunk"] < -0.2
        assert bad["p_beyond_margin"] > 0.95
        assert world[2].scalars[f"worst_{METRIC}_slice"] == "source=a"
        assert world[2].scalars[f"n_{METRIC}_worse"] == 1

    def test_intervals_agree_with_verdicts_everywhere(self, world):
        rows = world[2].series["slices"]
        judged = rows[rows["family"] != ""]
        assert set(judged["verdict"]) <= {"worse", "better", "within_margin", "undecided"}
        assert (judged["gap_low"] <= judged["gap"] + 1e-12).all()
        assert (judged["gap"] <= judged["gap_high"] + 1e-12).all()
        assert (judged["gap_low"] < judged["gap_high"]).all()
        for _, row in judged.iterrows():
            if row["verdict"] == "worse":
                assert row["gap_high"] <= 0
            elif row["verdict"] == "better":
                assert row["gap_low"] >= 0
            elif row["family"] == "confirmatory":
                assert row["gap_low"] <= 0 <= row["gap_high"]
            if row["verdict"] in ("within_margin", "undecided"):
                within = row["gap_low"] > -row["margin"]
                assert (row["verdict"] == "within_margin") == within

    def test_counts_add_up(self, world):
        scalars, rows = world[2].scalars, world[2].series["slices"]
        for metric in (METRIC, "critical_specificity", "standardised_accuracy"):
            total = sum(scalars[f"n_{metric}_{each}"] for each in slices.VERDICTS)
            assert total == scalars[f"n_{metric}_confirmatory"]
            named = rows[(rows["metric"] == metric) & (rows["family"] == "confirmatory")]
            assert total == len(named)

    def test_gains_are_not_counted_as_harms(self, table, points):
        """All of one sex wrong: the other one is better, and only one slice is worse."""
        logits = table.logits.copy()
        hurt = (table.rows["sex"] == "male").to_numpy()
        logits[0, hurt] = np.roll(logits[0, hurt], 1, axis=1)
        found = slice_up(
            dataclasses.replace(table, logits=logits), points, table.role("train").rows, SEX
        )
        assert found.scalars["n_standardised_accuracy_worse"] == 1
        assert found.scalars["n_standardised_accuracy_better"] == 1

    def test_a_slice_without_errors_has_an_interval_of_some_width(self, table, points):
        """All females right: neither their value nor any gap is certain."""
        logits = table.logits.copy()
        spared = np.flatnonzero(table.rows["sex"] == "female")
        logits[0, spared] = -9
        logits[0, spared, table.targets[spared]] = 9
        perfect = dataclasses.replace(table, logits=logits)
        rows = slice_up(perfect, points, table.role("train").rows, SEX).series["slices"]
        for metric in ("accuracy", "standardised_accuracy", METRIC):
            row = at(rows, slice="sex=female", metric=metric)
            assert row["value"] == 1
            assert row["low"] < row["high"]
            assert row["gap_low"] < row["gap"] < row["gap_high"]


class TestPooling:
    def test_sensitivity_counts_the_positives_of_calibration(self, world):
        table, _, found = world
        rows = found.series["slices"]
        row = at(rows, slice="source=a", metric=METRIC)
        both = table.rows["role"].isin(["test", "calibration"]).to_numpy()
        inside = both & (table.rows["source"] == "a").to_numpy() & (table.targets == 0)
        assert row["pooled"]
        assert row["gap_n_positive"] == inside.sum()
        assert row["gap_n_positive_groups"] == table.rows["group_id"][inside].nunique()
        test = inside & (table.rows["role"] == "test").to_numpy()
        assert row["n_positive"] == test.sum() < inside.sum()

    def test_specificity_and_accuracy_do_not(self, world):
        rows = world[2].series["slices"]
        others = rows[rows["metric"].isin(["critical_specificity", "standardised_accuracy"])]
        assert not others["pooled"].astype(bool).any()
        assert (others["gap_n"] == others["n"]).all()

    def test_pooled_gap_by_hand(self, world):
        table, points, found = world
        pool = table.where(table.rows["role"].isin(["test", "calibration"]).to_numpy())
        scored = ScoredPredictions(pool, points)
        ill, bad = scored.positives[:, 0], (pool.rows["source"] == "a").to_numpy()
        hits = scored.above_threshold[:, 0]
        gap = hits[ill & bad].mean() - hits[ill & ~bad].mean()
        row = at(found.series["slices"], slice="source=a", metric=METRIC)
        assert row["gap"] == pytest.approx(gap)

    def test_a_promised_threshold_is_not_pooled(self, world):
        table, points, _ = world
        promised = dataclasses.replace(points, assurance=0.95)
        found = slice_up(table, promised, table.role("train").rows, PARAMS).series["slices"]
        row = at(found, slice="source=a", metric=METRIC)
        assert not row["pooled"]
        assert row["gap_n_positive"] == row["n_positive"]

    def test_a_calibration_role_without_the_columns_is_not_pooled(self, world):
        table, points, _ = world
        test, role = (ScoredPredictions(table.role(r), points) for r in ("test", "calibration"))
        bare = dataclasses.replace(role.table, rows=role.table.rows.drop(columns="device"))
        frozen = slices.freeze(
            table.role("train").rows, PARAMS, calibration=ScoredPredictions(bare, points)
        )
        found = slices.audit(test, frozen, PARAMS, over(test)).series["slices"]
        assert not at(found, slice="source=a", metric=METRIC)["pooled"]


class TestStandardisedAccuracy:
    def test_worked_example(self):
        right = np.array([1, 0, 1, 1, 1, 0], bool)
        kinds = np.array([0, 0, 1, 1, 1, 2])
        shares = np.array([0.5, 0.3, 0.2])
        ones = np.ones((1, 6))
        assert standardised(right, kinds, shares, ones)[0] == pytest.approx(0.5 * 0.5 + 0.3)
        # Without the row of the third class, its weight goes to the others.
        without = np.array([[1, 1, 1, 1, 1, 0]])
        found = standardised(right, kinds, shares, without)[0]
        assert found == pytest.approx((0.5 * 0.5 + 0.3) / 0.8)

    def test_of_the_whole_it_is_the_accuracy(self, table, points):
        test = ScoredPredictions(table.role("test"), points)
        share = next(
            each for each in shares_of(test, None) if each.metric == "standardised_accuracy"
        )
        found = standardised(test.correct, share.kinds, share.weights, np.ones((1, len(test))))
        assert found[0] == pytest.approx(test.correct.mean())

    def test_gap_is_inside_minus_the_value_of_the_rest(self, table, points):
        rows = slice_up(table, points, table.role("train").rows, SEX).series["slices"]
        one, two = (
            at(rows, slice=f"sex={name}", metric="standardised_accuracy")
            for name in ("female", "male")
        )
        assert one["gap"] == pytest.approx(one["value"] - two["value"])


def test_errors_inside_a_slice_are_those_of_its_rates(world):
    table, points, found = world
    test = ScoredPredictions(table.role("test"), points)
    cut = slicing.slices(test.table.rows, slicing.edges(table.role("train").rows, PARAMS), PARAMS)
    inside = errors_inside(test, cut)
    rows = found.series["slices"]
    judged = rows[rows["metric"].isin([METRIC, "critical_specificity"])]
    assert len(judged) > 10
    for row in judged.to_dict("records"):
        wrong = len(inside[row["slice"], row["metric"], row["output"]])
        assert wrong == pytest.approx((1 - row["value"]) * row["n_positive"], abs=1e-3)


class TestLabels:
    PARAMS = slicing.SliceParams(columns=("view",), min_size=20, min_positives=6)

    def test_every_label_is_judged_in_one_family(self, multilabel_table, multilabel_points):
        table = multilabel_table
        found = slice_up(table, multilabel_points, table.role("train").rows, self.PARAMS)
        rows = found.series["slices"]
        judged = rows[rows["metric"] == "specificity"]
        assert set(judged["output"]) == set(table.schema.classes)
        assert set(judged["n_family"]) == {len(judged)}
        assert found.scalars["worst_sensitivity_output"] in table.schema.classes

    def test_a_rare_label_leaves_one_row_out_and_never_the_slice(
        self, multilabel_table, multilabel_points
    ):
        table = multilabel_table
        params = self.PARAMS.model_copy(update={"min_positives": 12})
        found = slice_up(table, multilabel_points, table.role("train").rows, params)
        rows = found.series["slices"].query("metric == 'sensitivity' and slice == 'view=AP'")
        assert "hernia" not in set(rows["output"])
        assert {"edema", "effusion"} <= set(rows["output"])
        refused = found.series["refused"].query("slice == 'view=AP'")["reason"].item()
        assert "sensitivity of hernia" in refused
        assert "at least" not in refused


class TestPower:
    """The small form of benchmarks/power.py."""

    DRAWS = IntervalParams(replicates=299)

    def judged(self, world, *, worlds):
        rows = []
        for seed in range(worlds):
            found = by_product(draw(world, seed), self.DRAWS, pooled=True, metric=METRIC)
            rows += counted(found, world)
        return pd.DataFrame(rows).query("family == 'confirmatory'")

    def test_family_wise_error(self):
        """Of 200 null worlds at most as many are called as 5 % would give in 99 % of trials: 18."""
        called = int((self.judged(World(0.0, 19), worlds=200)["n_false"] > 0).sum())
        assert called <= binom.ppf(0.99, 200, ALPHA)

    def test_forty_points_at_nineteen_groups_are_found(self):
        found = self.judged(World(0.4, 19), worlds=60)
        assert found["found"].mean() >= 0.75
        # Beside the planted one no other may be called more often than its level.
        assert (found["n_false"] > 0).sum() <= binom.ppf(0.99, 60, ALPHA)

    def test_another_class_mix_is_no_failure(self):
        """Site c holds three times the share of difficult classes; only accuracy moves with it."""
        called = standardised_called = 0
        for seed in range(40):
            table = draw(World(0.0, 19), seed)
            found = by_product(table, self.DRAWS, pooled=False, metric="standardised_accuracy")
            mixed = found[found["slice"] == "site=c"]
            standardised_called += int(mixed["called"].sum())
            points = operating_points.choose(table.role("calibration"), specificity=0.95)
            right = ScoredPredictions(table.role("test"), points).correct
            inside = (table.role("test").rows["site"] == "c").to_numpy()
            spread = np.sqrt(right.var() * (1 / inside.sum() + 1 / (~inside).sum()))
            called += (right[~inside].mean() - right[inside].mean()) / spread > 2.8
        assert standardised_called <= binom.ppf(0.99, 40, ALPHA)
        # Plain accuracy, at a limit that allows for the family.
        assert called > binom.ppf(0.999, 40, ALPHA)


def test_the_same_seed_gives_the_same_findings(table, points):
    rows = table.role("train").rows
    one, two = (slice_up(table, points, rows, SEX, FEW) for _ in range(2))
    pd.testing.assert_frame_equal(one.series["slices"], two.series["slices"])
