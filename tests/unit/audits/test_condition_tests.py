"""What is called under stress, in which families, and what stands beside it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from audit_tables import at
from case_tables import CLEAN, MEL, NV, POINTS, make, stressed

from medaudit.api.settings import stress_margin
from medaudit.audits import condition_tests
from medaudit.audits.stress import StressParams
from medaudit.core.params import ParamsError, parse
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables.predictions import Condition
from tests.audit_runs import conditions as aligned
from tests.audit_runs import stress

RATES = ("critical_sensitivity", "critical_specificity")


def noisy(maker, levels, name="noise"):
    return [
        maker(noise=noise, seed=s, condition=Condition(name, s)).role("test")
        for s, noise in enumerate(levels, start=1)
    ]


def alarming(table, *, shift):
    """Every image looks more like a melanoma: sensitivity rises, specificity falls."""
    logits = table.logits.copy()
    logits[..., 2] += shift
    role = dataclasses.replace(table, logits=logits).role("test")
    return dataclasses.replace(role, condition=Condition("brightness_up", 3))


@pytest.fixture
def found(make_table, table, points):
    return stress(table, [*noisy(make_table, (0.1, 1.5, 6.0)), alarming(table, shift=2)], points)


def decided(findings):
    rows = findings.series["conditions"]
    return rows[rows["verdict"] != ""]


class TestFamilies:
    def test_each_measure_is_one_family_over_all_conditions(self, found):
        sizes = decided(found).groupby("metric")["n_family"].unique()
        assert set(sizes.index) == {*RATES, "macro_auroc", "standardised_accuracy"}
        assert all(each.tolist() == [4] for each in sizes)

    def test_others_have_an_interval_of_their_own_and_no_test(self, found):
        rows = found.series["conditions"]
        rest = rows[rows["verdict"] == ""]
        assert rest[["p_value", "p_adjusted", "n_family", "margin"]].isna().all().all()
        assert (rest[["adjustment", "family"]] == "").all().all()
        assert set(rest["interval"]) == {"marginal", ""}
        assert set(rest.loc[rest["interval"] == "", "metric"]) == {"ece"}
        assert rest.loc[rest["metric"] == "ece", "delta_high"].isna().all()
        assert set(decided(found)["interval"]) == {"simultaneous"}
        assert set(decided(found)["adjustment"]) == {"max-T"}

    def test_without_a_critical_class_every_label_is_tested(
        self, make_multilabel_table, multilabel_table, multilabel_points
    ):
        after = noisy(make_multilabel_table, (1.0, 3.0))
        found = stress(multilabel_table, after, multilabel_points)
        rows = decided(found)
        for metric in ("sensitivity", "specificity"):
            part = rows[rows["metric"] == metric]
            assert set(part["output"]) == set(multilabel_table.schema.classes)
            assert (part["n_family"] == 8).all()
        assert "standardised_accuracy" not in set(rows["metric"])
        worst = rows[rows["metric"] == "sensitivity"].sort_values("delta").iloc[0]
        assert found.scalars["worst_sensitivity_output"] == worst["output"]
        there = at(rows, metric="specificity", condition=worst["condition"], output=worst["output"])
        assert found.scalars["worst_sensitivity_specificity"] == there["value"]
        # Of every condition the label that falls most.
        chart = found.series["delta_specificity"]
        assert len(chart) == 2
        lowest = rows[rows["metric"] == "specificity"].groupby("condition")["delta"].min()
        assert sorted(chart["delta"]) == pytest.approx(sorted(lowest))

    def test_a_label_without_positives_is_not_tested(
        self, make_multilabel_table, multilabel_table, multilabel_points
    ):
        targets = multilabel_table.targets.copy()
        targets[:, 3] = 0
        clean = dataclasses.replace(multilabel_table, targets=targets)
        (after,) = noisy(make_multilabel_table, (2.0,))
        after = dataclasses.replace(after, targets=clean.role("test").targets)
        rows = stress(clean, [after], multilabel_points).series["conditions"]
        empty = at(rows, metric="sensitivity", output="hernia", condition="noise-1")
        assert (empty["verdict"], empty["family"]) == ("", "")
        assert at(rows, metric="sensitivity", output="mass", condition="noise-1")["n_family"] == 3

    def test_nothing_is_tested_without_conditions(self, table, points):
        assert condition_tests.families(aligned(table, [], points)) == []
        assert decided(stress(table, [], points)).empty


class TestDecisions:
    def test_the_differences_tested_are_those_shown(self, make_table, table, points):
        test = aligned(table, noisy(make_table, (0.5, 2.0)), points)
        rows = stress(table, [each.table for each in test.corrupted], points).series["conditions"]
        for family in condition_tests.families(test):
            shown = [
                at(rows, metric=family.metric, condition=condition, output=output)["delta"]
                for condition, output in family.keys
            ]
            assert family.contributions.differences == pytest.approx(np.array(shown))

    def test_interval_and_verdict_agree_in_every_row(self, found):
        rows = decided(found)
        assert {"worse", "better", "undecided"} <= set(rows["verdict"])
        assert ((rows["delta_high"] <= 0) == (rows["verdict"] == "worse")).all()
        assert ((rows["delta_low"] >= 0) == (rows["verdict"] == "better")).all()
        assert ((rows["p_adjusted"] <= 0.05) == (rows["verdict"] == "worse")).all()
        within = rows["verdict"] == "within_margin"
        assert (rows.loc[within, "delta_low"] > -0.05).all()
        assert (rows.loc[rows["verdict"] == "undecided", "delta_low"] <= -0.05).all()
        assert (rows["p_value"] <= rows["p_adjusted"]).all()
        assert rows[["delta_low", "delta_high"]].abs().max().max() <= 1
        assert (rows["minimal_detectable"] > 0).all()

    def test_counts_are_those_of_the_table(self, found):
        for metric, part in decided(found).groupby("metric"):
            for verdict in ("worse", "better", "undecided", "within_margin"):
                counted = found.scalars[f"n_{metric}_{verdict}"]
                assert counted == (part["verdict"] == verdict).sum()

    def test_a_wider_margin_decides_more(self, make_table, table, points):
        test = aligned(table, noisy(make_table, (0.3,)), points)
        one = condition_tests.families(test)[0]
        params = IntervalParams(replicates=200)
        verdicts = [
            condition_tests.comparisons(one, params, margin=margin)["verdict"].item()
            for margin in (0.001, 0.5)
        ]
        assert verdicts == ["undecided", "within_margin"]

    def test_the_margin_is_a_positive_share(self):
        content = {"stress": {"corruptions": ["blur"], "margin": 0}}
        with pytest.raises(ParamsError, match=r"stress\.margin"):
            parse(StressParams, content, source="params.yaml")
        assert StressParams(corruptions=("blur",)).margin == 0.05

    def test_an_audit_of_given_predictions_reads_the_margin_alone(self):
        source = Path("params.yaml")
        assert stress_margin({}, source=source) == 0.05
        assert stress_margin({"margin": 0.2}, source=source) == 0.2
        with pytest.raises(ParamsError, match="did you mean `margin`"):
            stress_margin({"margn": 0.2}, source=source)


class TestTogether:
    def test_by_hand(self):
        # blur-1 turns d, which was found, away; blur-2 alarms at g, which was spared.
        changes = [("blur-1", {"d": (MEL, NV, 0.98)}), ("blur-2", {"g": (NV, MEL, 0.9)})]
        found = stress(make(CLEAN), [stressed(*each) for each in changes], POINTS).scalars
        # Clean: c, d, e of five found; f of three others alarms.
        assert found["worst_critical_sensitivity_condition"] == "blur-1"
        assert found["worst_critical_sensitivity_value"] == pytest.approx(2 / 5)
        assert found["worst_critical_sensitivity_specificity"] == pytest.approx(2 / 3)
        assert found["worst_critical_sensitivity_specificity_delta"] == 0
        assert found["worst_critical_sensitivity_false_alarms_per_100"] == pytest.approx(100 / 3)
        assert found["worst_critical_specificity_condition"] == "blur-2"
        assert found["worst_critical_specificity_value"] == pytest.approx(1 / 3)
        assert found["worst_critical_specificity_sensitivity"] == pytest.approx(3 / 5)
        assert found["worst_critical_specificity_false_alarms_per_100"] == pytest.approx(200 / 3)

    def test_false_alarms_cannot_hide_behind_sensitivity(self, found):
        assert found.scalars["worst_critical_specificity_condition"] == "brightness_up-3"
        assert found.scalars["worst_critical_specificity_verdict"] == "worse"
        assert found.scalars["worst_critical_specificity_sensitivity_delta"] > 0

    def test_the_n_of_a_delta_chart_is_its_denominator(self, found, table):
        positives = (table.role("test").targets == 2).sum()
        assert set(found.series["delta"]["n"]) == {150}
        assert set(found.series["delta_critical"]["n"]) == {positives}
        assert set(found.series["delta_specificity"]["n"]) == {150 - positives}
