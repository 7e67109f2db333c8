"""What a frozen threshold realises: the range to be expected, consequences, the worst output."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import FEW, at

from medaudit.audits import evaluate as evaluate_audit
from medaudit.audits.evaluate import EvaluateParams
from medaudit.core.errors import DataError
from medaudit.metrics import operating
from medaudit.tables import measures, operating_points
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import evaluate, over


def audited(table, intervals=FEW, **params):
    """Thresholds from the calibration role, and the findings on the test role."""
    asked = EvaluateParams(**params)
    points = evaluate_audit.freeze(table.role("calibration"), asked)
    test = ScoredPredictions(table.role("test"), points)
    return evaluate_audit.audit(test, points, asked, over(test, intervals))


def specificity_interval(table, **params):
    """That of the critical class alone, as the audit makes it."""
    asked = EvaluateParams(**params)
    points = evaluate_audit.freeze(table.role("calibration"), asked)
    test = ScoredPredictions(table.role("test"), points)
    bootstrap = over(test)
    redrawn = evaluate_audit.rates_at_redrawn_thresholds(test, asked, bootstrap)
    found = evaluate_audit.with_replicates(
        bootstrap.distribution(measures.critical_measures(test)),
        evaluate_audit.replicates_of_whole(test, redrawn),
    )
    return bootstrap.interval(found["critical_specificity"])


def exchangeable(seed, *, n_calibration=200, n_test=400, size=1):
    """One label that a tenth of the samples has; calibration and test differ by chance alone.

    Samples of a group of several are half alike.
    """
    generator = np.random.default_rng(seed)
    n = n_calibration + n_test
    group = np.arange(n) // size
    shared = generator.normal(size=n)[group] if size > 1 else 0.0
    weight = 0.5 if size > 1 else 0.0
    logits = np.sqrt(weight) * shared + np.sqrt(1 - weight) * generator.normal(size=n)
    truth = generator.random(n) < 0.1
    names = [f"s{i:04}" for i in range(n)]
    return PredictionTable(
        schema=Schema("multilabel", ("lesion",), "lesion"),
        rows=pd.DataFrame(
            {
                "sample_id": names,
                "group_id": [f"g{g:04}" for g in group],
                "role": np.where(np.arange(n) < n_calibration, "calibration", "test"),
            }
        ),
        targets=truth[:, None].astype(np.int64),
        logits=(logits + 2 * truth)[None, :, None].astype(np.float32),
    )


class TestExpectedSpecificity:
    @pytest.mark.parametrize("size", [1, 4])
    def test_exchangeable_splits_are_called_odd_as_rarely_as_promised(self, size):
        """The interval of the test role alone calls a quarter of them odd."""
        odd = alone = 0
        worlds = 300
        for seed in range(worlds):
            table = exchangeable(seed, size=size)
            points = operating_points.choose(table.role("calibration"), specificity=0.95)
            test = ScoredPredictions(table.role("test"), points)
            found = evaluate_audit.expectation(test, 0, over(test))
            spared = ~test.above_threshold[~test.positives[:, 0], 0]
            realised = spared.mean()
            odd += not found["expected_low"] <= realised <= found["expected_high"]
            groups = test.group_ids[~test.positives[:, 0]]
            n = operating.independent_cases(spared, groups)
            spread = np.sqrt(realised * (1 - realised) / n)
            alone += abs(realised - 0.95) > 1.96 * spread
        # Three standard errors of 5 % in 300 worlds are 3.8 points.
        assert odd / worlds <= 0.05 + 0.038
        assert alone / worlds > 0.15

    def test_a_model_that_calls_more_on_test_is_called_odd(self):
        table = exchangeable(0)
        shifted = table.logits.copy()
        shifted[:, (table.rows["role"] == "test").to_numpy()] += 1
        found = audited(dataclasses.replace(table, logits=shifted)).scalars
        assert found["critical_specificity"] < found["critical_specificity_expected_low"]
        assert found["critical_specificity_target"] == 0.95

    def test_the_headline_is_the_row_of_the_class(self, table):
        found = audited(table)
        row = at(found.series["per_class"], **{"class": "mel", "metric": "specificity"})
        assert found.scalars["critical_specificity_expected_low"] == row["expected_low"]
        assert found.scalars["critical_specificity_expected_high"] == row["expected_high"]
        assert row["expected_low"] < row["target"] < row["expected_high"]
        other = at(found.series["per_class"], **{"class": "mel", "metric": "sensitivity"})
        assert np.isnan(other["expected_low"])

    def test_a_promise_is_expected_to_be_kept(self):
        table = exchangeable(1, n_calibration=400)
        plain, promised = (audited(table, assurance=a).scalars for a in (None, 0.95))
        name = "critical_specificity_expected_low"
        assert promised[name] > plain[name]


class TestConsequences:
    def test_false_alarms_are_the_other_side_of_specificity(self, table):
        found = audited(table).scalars
        expected = 100 * (1 - found["critical_specificity"])
        assert found["critical_false_alarms_per_100"] == pytest.approx(expected)
        for end, other in (("low", "high"), ("high", "low")):
            assert found[f"critical_false_alarms_per_100_ci_{end}"] == pytest.approx(
                100 * (1 - found[f"critical_specificity_ci_{other}"])
            )

    def test_at_the_prevalence_of_the_test_role_they_are_the_plain_ones(self, table):
        found = audited(table)
        for name in ("ppv", "npv"):
            row = at(found.series["per_class"], **{"class": "mel", "metric": name})
            assert found.scalars[f"critical_{name}"] == pytest.approx(row["value"])
        share = (table.role("test").targets == 2).mean()
        assert found.scalars["critical_prevalence"] == pytest.approx(share)
        assert found.scalars["prevalence_stated"] is False

    def test_at_a_stated_prevalence_they_follow_bayes(self, table):
        found = audited(table, prevalence=0.01).scalars
        se, sp = found["critical_sensitivity"], found["critical_specificity"]
        assert found["critical_ppv"] == pytest.approx(0.01 * se / (0.01 * se + 0.99 * (1 - sp)))
        assert found["critical_npv"] == pytest.approx(0.99 * sp / (0.99 * sp + 0.01 * (1 - se)))
        assert (found["critical_prevalence"], found["prevalence_stated"]) == (0.01, True)
        assert found["critical_ppv_ci_low"] < found["critical_ppv"] < found["critical_ppv_ci_high"]

    def test_without_a_false_alarm_the_interval_has_a_width(self, table, points):
        logits = table.logits.copy()
        logits[0, np.arange(len(table)), table.targets] += 50
        half = dataclasses.replace(points, thresholds=(0.5,) * 4)
        found = evaluate(dataclasses.replace(table, logits=logits), half).series["metrics"]
        row = at(found, metric="critical_ppv")
        assert (row["value"], row["high"]) == (1, 1)
        assert 0.5 < row["low"] < 0.99
        assert row["method"] == "from_ends_of_sensitivity_and_specificity"

    def test_a_prevalence_of_none_or_all_is_refused(self):
        with pytest.raises(ValueError, match="prevalence"):
            EvaluateParams(prevalence=1.0)


class TestWorstOutput:
    def test_is_the_one_of_which_least_is_surely_found(self, multilabel_table, multilabel_points):
        found = evaluate(multilabel_table, multilabel_points)
        rows = found.series["per_class"].query("metric == 'sensitivity'")
        worst = rows.loc[rows["high"].astype(float).idxmin()]
        assert found.scalars["worst_output"] == worst["class"]
        assert found.scalars["worst_output_n"] == worst["n_positive"]
        assert found.scalars["worst_output_sensitivity_ci_high"] == worst["high"]
        row = at(found.series["per_class"], **{"class": worst["class"], "metric": "specificity"})
        assert found.scalars["worst_output_specificity"] == row["value"]
        assert found.scalars["worst_output_false_alarms_per_100"] == pytest.approx(
            100 * (1 - row["value"])
        )
        assert "macro_specificity" in found.scalars

    def test_one_that_is_planted_to_be_missed(self, multilabel_table, multilabel_points):
        logits = multilabel_table.logits.copy()
        logits[0, :, 1] = np.random.default_rng(0).normal(size=len(multilabel_table))
        blind = dataclasses.replace(multilabel_table, logits=logits)
        assert evaluate(blind, multilabel_points).scalars["worst_output"] == "effusion"

    def test_with_a_critical_class_that_one_leads(self, table, points):
        assert not any(name.startswith("worst") for name in evaluate(table, points).scalars)


class TestThresholdUncertainty:
    def test_intervals_are_wider_and_values_stay(self, table):
        plain, joint = (
            audited(table, threshold_uncertainty=on).series["metrics"].set_index("metric")
            for on in (False, True)
        )
        assert (plain["value"].dropna() == joint["value"].dropna()).all()
        width = {name: each["high"] - each["low"] for name, each in (("p", plain), ("j", joint))}
        for name in ("critical_sensitivity", "critical_specificity", "macro_specificity"):
            assert width["j"][name] > width["p"][name]
        for name in ("macro_auroc", "accuracy", "critical_recall"):
            assert width["j"][name] == width["p"][name]

    def test_of_labels_recall_is_sensitivity(self, make_multilabel_table):
        found = audited(make_multilabel_table(critical="mass"), threshold_uncertainty=True)
        rows = found.series["per_class"].query("`class` == 'mass'").set_index("metric")
        for same, other in (("recall", "sensitivity"), ("precision", "ppv")):
            ends = ["value", "low", "high"]
            assert rows.loc[same, ends].tolist() == rows.loc[other, ends].tolist()
        assert found.scalars["threshold_uncertainty"] is True

    def test_the_interval_covers_the_target_over_exchangeable_splits(self):
        covered = {False: 0, True: 0}
        worlds = 120
        for seed in range(worlds):
            table = exchangeable(seed, n_calibration=300, n_test=300)
            for joint in covered:
                found = specificity_interval(table, threshold_uncertainty=joint)
                covered[joint] += found.low <= 0.95 <= found.high
        # Three standard errors of 95 % in 120 worlds are six points.
        assert covered[True] / worlds >= 0.89
        assert covered[False] / worlds < covered[True] / worlds - 0.08

    def test_a_promised_threshold_is_redrawn_as_well(self):
        table = exchangeable(2, n_calibration=600)
        found = audited(table, assurance=0.9, threshold_uncertainty=True).scalars
        value = found["critical_specificity"]
        assert found["critical_specificity_ci_low"] < value < found["critical_specificity_ci_high"]

    def test_stored_thresholds_cannot_be_redrawn(self, table, tmp_path):
        asked = EvaluateParams(threshold_uncertainty=True)
        frozen = evaluate_audit.freeze(table.role("calibration"), asked)
        operating_points.write(frozen, tmp_path / "p.json")
        stored = operating_points.read(tmp_path / "p.json")
        test = ScoredPredictions(table.role("test"), stored)
        with pytest.raises(DataError, match="threshold_uncertainty") as caught:
            evaluate_audit.audit(test, stored, asked, over(test))
        assert "\n" not in str(caught.value)
