"""Evaluation and robustness on synthetic tables whose answer is known beforehand."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audit_tables import at

from medaudit.audits import calibrate, selective, slicing
from medaudit.cases.case_selection import CasesParams
from medaudit.core.errors import DataError, ParamsError
from medaudit.core.params import parse
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import evaluate, stress


class TestEvaluation:
    def test_every_number_has_n_and_an_interval_around_it(self, table, points):
        found = evaluate(table, points).series["metrics"]
        assert (found["n"] == 150).all()
        assert (found["n_groups"] == 75).all()
        ece, others = at(found, metric="ece"), found[found["metric"] != "ece"]
        assert (others["low"] <= others["value"]).all()
        assert (others["value"] <= others["high"]).all()
        assert (others["low"] < others["high"]).all()
        assert np.isnan([ece["low"], ece["high"]]).all()
        assert (ece["method"], ece["caution"]) == ("none", "no_interval")

    def test_a_share_of_one_has_wilsons_interval(self, table, points):
        logits = table.logits.copy()
        logits[0, np.arange(len(table)), table.targets] += 50
        perfect = dataclasses.replace(table, logits=logits)
        found = evaluate(perfect, points).series["metrics"]
        row = at(found, metric="accuracy")
        assert (row["value"], row["method"]) == (1, "wilson")
        # Wilson for n of n is n / (n + z²); the cases are the 75 groups, not the 150 images.
        assert row["low"] == pytest.approx(75 / (75 + 1.959964**2))
        assert row["high"] == 1

    def test_wilsons_cases_are_the_groups_that_hold_positives(self, table, points):
        logits = table.logits.copy()
        logits[0, np.arange(len(table)), table.targets] += 50
        perfect = dataclasses.replace(table, logits=logits)
        found = evaluate(perfect, points).series["per_class"]
        test = table.role("test")
        n = len(set(test.group_ids[test.targets == 0]))
        row = at(found, **{"class": "akiec", "metric": "recall"})
        assert row["n_positive_groups"] == n < row["n_positive"]
        assert row["low"] == pytest.approx(n / (n + 1.959964**2))

    def test_thresholds_are_swept_for_every_class(self, table, points):
        swept = evaluate(table, points).series["threshold"]
        test = ScoredPredictions(table.role("test"), points)
        assert list(swept["class"].unique()) == list(test.classes)
        for k, name in enumerate(test.classes):
            own = swept[swept["class"] == name]
            assert set(own["frozen"]) == {float(points.thresholds[k])}
            row = own[own["rate"] == "sensitivity"].iloc[len(own) // 4]
            above = test.probabilities[test.positives[:, k], k] > row["threshold"]
            assert row["value"] == pytest.approx(above.mean())

    def test_threshold_stays_when_test_changes(self, make_table, points):
        weaker = make_table(noise=2.0)
        found = evaluate(weaker, points).scalars
        assert found["critical_threshold"] == points.thresholds[2]

    def test_realised_specificity_is_counted_at_the_frozen_threshold(self, table, points):
        found = evaluate(table, points).scalars
        test = table.role("test")
        p = np.exp(test.logits[0]) / np.exp(test.logits[0]).sum(1, keepdims=True)
        below = p[test.targets != 2, 2] <= points.thresholds[2]
        assert found["critical_specificity"] == pytest.approx(below.mean())

    def test_confusion_rows_sum_to_the_class_counts(self, table, points):
        found = evaluate(table, points).series["confusion"]
        counts = found.groupby("truth")["count"].sum()
        names = np.array(table.schema.classes)[table.role("test").targets]
        assert counts.to_dict() == pd.Series(names).value_counts().to_dict()

    def test_no_test_role_is_an_error(self, table, points):
        with pytest.raises(DataError, match="no row has role 'test'"):
            evaluate(table.role("calibration"), points)


class TestRobustness:
    def test_identical_predictions_have_delta_zero_and_no_evidence(self, table, points):
        same = dataclasses.replace(table.role("test"), condition=Condition("jpeg", 1))
        found = stress(table, [same], points)
        rows = found.series["conditions"].query("severity == 1")
        assert (rows["delta"] == 0).all()
        tested = rows[rows["verdict"] != ""]
        assert (tested["p_adjusted"] == 1).all()
        assert (tested["delta_low"] < 0).all()
        assert (tested["delta_high"] > 0).all()
        assert found.scalars["n_macro_auroc_worse"] == 0

    def test_damage_grows_with_planted_noise(self, make_table, table, points):
        noisy = [
            make_table(noise=1.5 * s, seed=5, condition=Condition("noise", s)).role("test")
            for s in (1, 2, 3)
        ]
        found = stress(table, noisy, points)
        deltas = found.series["delta"].sort_values("severity")["delta"].to_numpy()
        assert (np.diff(deltas) < 0).all()
        assert found.scalars["worst_macro_auroc_condition"] == "noise-3"
        assert found.scalars["worst_macro_auroc_delta_ci_high"] < 0

    def test_delta_is_condition_minus_clean(self, make_table, table, points):
        noisy = make_table(noise=3.0, condition=Condition("noise", 1)).role("test")
        rows = stress(table, [noisy], points).series["conditions"]
        clean = at(rows, condition="clean", metric="accuracy")
        after = at(rows, condition="noise-1", metric="accuracy")
        assert after["delta"] == pytest.approx(after["value"] - clean["value"])

    def test_collapse_to_the_majority_is_seen(self, table, points):
        logits = np.zeros_like(table.logits)
        logits[..., 3] = 9.0
        blind = dataclasses.replace(table, logits=logits, condition=Condition("blur", 3))
        rows = stress(table, [blind.role("test")], points).series["conditions"]
        assert at(rows, condition="blur-3", metric="majority_share")["value"] == 1
        assert at(rows, condition="blur-3", metric="critical_sensitivity")["value"] == 0
        assert at(rows, condition="blur-3", metric="mean_confidence")["delta"] > 0

    def test_shuffled_rows_change_nothing(self, make_table, table, points):
        noisy = make_table(noise=2.0, condition=Condition("noise", 1)).role("test")
        order = np.random.default_rng(0).permutation(len(noisy))
        one = stress(table, [noisy], points)
        two = stress(table, [noisy.where(order)], points)
        pd.testing.assert_frame_equal(one.series["conditions"], two.series["conditions"])

    def test_other_samples_are_refused_by_name(self, make_table, table, points):
        short = make_table(condition=Condition("noise", 1)).role("test").where(np.arange(149))
        with pytest.raises(DataError, match="s0599"):
            stress(table, [short], points)


class TestParams:
    @pytest.mark.parametrize(
        ("section", "values", "words"),
        [
            (slicing.SliceParams, {"primary": "accuracy"}, "`slice.primary` is gone"),
            (slicing.SliceParams, {"tested": []}, "`slice.tested` is gone.*remove it"),
            (
                slicing.SliceParams,
                {"columns": ["sex"], "confirmatory": ["age"]},
                "age stands neither under columns nor under quantiles",
            ),
            (
                slicing.SliceParams,
                {"columns": list("abcd"), "confirmatory": list("abcd")},
                "at most 3 items",
            ),
            (slicing.SliceParams, {"margin": 0}, "greater than 0"),
            (slicing.SliceParams, {"columns": ["sex", "sex"]}, "sex stands twice"),
            (slicing.SliceParams, {"quantiles": {"age": 1}}, "greater than or equal to 2"),
            (slicing.SliceParams, {"quantiles": {"age": 21}}, "less than or equal to 20"),
            (
                calibrate.CalibrateParams,
                {"methods": ["identity", "temperature", "temperature"]},
                "temperature stands twice",
            ),
            (selective.SelectiveParams, {"scores": ["margin"] * 2}, "margin stands twice"),
            (
                selective.SelectiveParams,
                {"scores": ["margin"], "primary": "entropy"},
                r"one of scores \(margin\), got 'entropy'",
            ),
            (IntervalParams, {"seed": -1}, "greater than or equal to 0"),
            (calibrate.CalibrateParams, {"seed": -1}, "greater than or equal to 0"),
            (CasesParams, {"seed": -1}, "greater than or equal to 0"),
        ],
    )
    def test_values_without_a_meaning_are_refused_before_the_work(self, section, values, words):
        with pytest.raises(ParamsError, match=words) as caught:
            parse(section, {section.section: values}, source=Path("params.yaml"))
        assert "\n" not in str(caught.value)
