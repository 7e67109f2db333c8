"""The audits on several labels a study, and on outputs that lack positives in the test role."""

import dataclasses
import logging

import numpy as np
import pytest
from audit_tables import at
from sklearn.metrics import brier_score_loss, f1_score, recall_score, roc_auc_score

from medaudit.audits import selective, slicing
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import defer, evaluate, slice_up, stress

SLICES = slicing.SliceParams(columns=("view",), min_size=20, min_positives=3)


@pytest.fixture
def lacking(multilabel_table):
    """No study of the test role has the last label."""
    targets = multilabel_table.targets.copy()
    targets[(multilabel_table.rows["role"] == "test").to_numpy(), 3] = 0
    return dataclasses.replace(multilabel_table, targets=targets)


@pytest.fixture
def flagged(multilabel_table, multilabel_points):
    """Truth, probabilities and calls of the test role, (150, 4)."""
    test = multilabel_table.role("test")
    stated = 1 / (1 + np.exp(-test.logits[0].astype(np.float64)))
    return test.targets, stated, stated > np.array(multilabel_points.thresholds)


def evaluated(table, points):
    return evaluate(table, points)


class TestEvaluation:
    def test_agrees_with_scikit_learn(self, multilabel_table, multilabel_points, flagged):
        found = evaluated(multilabel_table, multilabel_points).series["metrics"]
        value = found.set_index("metric")["value"]
        truth, stated, called = flagged
        assert value["macro_auroc"] == pytest.approx(roc_auc_score(truth, stated))
        assert value["macro_f1"] == pytest.approx(f1_score(truth, called, average="macro"))
        assert value["macro_sensitivity"] == pytest.approx(
            recall_score(truth, called, average="macro")
        )
        briers = [brier_score_loss(truth[:, k], stated[:, k]) for k in range(4)]
        assert value["brier_loss"] == pytest.approx(np.mean(briers))
        assert value["exact_match"] == (truth == called).all(axis=1).mean()

    def test_every_label_has_its_prevalence_and_threshold(
        self, multilabel_table, multilabel_points, flagged
    ):
        rows = evaluated(multilabel_table, multilabel_points).series["per_class"]
        for k, name in enumerate(multilabel_table.schema.classes):
            row = at(rows, **{"class": name, "metric": "auroc"})
            assert row["prevalence"] == flagged[0][:, k].mean()
            assert row["threshold"] == multilabel_points.thresholds[k]
            assert row["value"] == pytest.approx(roc_auc_score(flagged[0][:, k], flagged[1][:, k]))

    def test_without_a_critical_label_nothing_is_said_of_one(
        self, multilabel_table, multilabel_points
    ):
        found = evaluated(multilabel_table, multilabel_points)
        assert not any("critical" in name for name in found.scalars)
        assert set(found.series["threshold"]["class"]) == set(multilabel_table.schema.classes)

    def test_a_critical_label_is_counted(self, make_multilabel_table, multilabel_points):
        table = make_multilabel_table(critical="mass")
        found = evaluated(table, multilabel_points).scalars
        assert found["n_critical"] == table.role("test").targets[:, 2].sum()
        assert found["critical_threshold"] == multilabel_points.thresholds[2]
        assert not any("repicked" in name for name in found)


class TestLackingLabels:
    def test_macro_means_are_over_the_others_and_say_so(self, lacking, multilabel_points, caplog):
        with caplog.at_level(logging.WARNING):
            found = evaluated(lacking, multilabel_points)
        test = lacking.role("test")
        expected = roc_auc_score(test.targets[:, :3], test.logits[0][:, :3])
        assert found.scalars["macro_auroc"] == pytest.approx(expected)
        assert found.scalars["n_outputs_in_means"] == 3
        assert "hernia lack positives or negatives" in caplog.text
        assert ScoredPredictions(test, multilabel_points).left_out == ("hernia",)

    def test_the_label_keeps_its_rows_which_are_undefined(self, lacking, multilabel_points):
        rows = evaluated(lacking, multilabel_points).series["per_class"]
        label = rows[rows["class"] == "hernia"].set_index("metric")
        for metric in ("auroc", "auprc", "f1", "recall", "sensitivity"):
            assert np.isnan(label.loc[metric, ["value", "low", "high"]].astype(float)).all()
            assert label.loc[metric, "caution"] == "undefined"
            assert label.loc[metric, "n_positive"] == 0
        assert label.loc["specificity", "value"] > 0.5
        assert (label["prevalence"] == 0).all()

    def test_with_every_label_present_nothing_is_left_out(
        self, multilabel_table, multilabel_points, caplog
    ):
        with caplog.at_level(logging.WARNING):
            found = evaluated(multilabel_table, multilabel_points).scalars
        assert found["n_outputs_in_means"] == 4
        assert not caplog.text

    def test_a_class_that_only_calibration_has_is_left_out_as_well(self, table, points):
        targets = table.targets.copy()
        targets[(table.rows["role"] == "test").to_numpy() & (targets == 0)] = 3
        test = dataclasses.replace(table, targets=targets)
        found = evaluated(test, points).scalars
        assert found["n_outputs_in_means"] == 3
        assert np.isfinite(found["macro_auroc"])
        assert np.isfinite(found["balanced_accuracy"])

    def test_no_label_at_all_leaves_means_undefined(
        self, multilabel_table, multilabel_points, flagged
    ):
        empty = dataclasses.replace(
            multilabel_table, targets=np.zeros_like(multilabel_table.targets)
        )
        found = evaluated(empty, multilabel_points).scalars
        assert found["n_outputs_in_means"] == 0
        assert np.isnan(found["macro_auroc"])
        assert found["exact_match"] == (~flagged[2]).all(axis=1).mean()

    def test_conditions_and_slices_average_the_same_labels(
        self, lacking, multilabel_points, make_multilabel_table
    ):
        noisy = make_multilabel_table(noise=1.0, condition=Condition("noise", 1))
        noisy = dataclasses.replace(noisy, targets=lacking.targets).role("test")
        found = stress(lacking, [noisy], multilabel_points)
        rows = found.series["conditions"].query("metric == 'macro_auroc'")
        assert rows["value"].notna().all()
        assert np.isfinite(found.scalars["mean_macro_auroc_delta"])
        reference = lacking.role("train").rows
        cut = slice_up(lacking, multilabel_points, reference, SLICES)
        assert cut.series["slices"].query("metric == 'macro_sensitivity'")["value"].notna().all()


class TestOtherAudits:
    def test_damage_is_seen(self, make_multilabel_table, multilabel_table, multilabel_points):
        noisy = [
            make_multilabel_table(noise=2.0 * s, condition=Condition("noise", s)).role("test")
            for s in (1, 2)
        ]
        found = stress(multilabel_table, noisy, multilabel_points).scalars
        assert found["worst_macro_auroc_condition"] == "noise-2"
        assert found["worst_macro_auroc_delta_ci_high"] < 0
        assert found["worst_sensitivity_output"] in multilabel_table.schema.classes
        assert found["worst_sensitivity_delta"] < 0
        assert "mean_macro_sensitivity_delta" in found

    def test_shares_called_do_not_add_up_to_one(self, multilabel_table, multilabel_points, flagged):
        same = dataclasses.replace(multilabel_table.role("test"), condition=Condition("jpeg", 1))
        rows = stress(multilabel_table, [same], multilabel_points).series["predicted"]
        shares = rows.query("condition == 'clean'").set_index("class")["share"]
        assert shares.to_numpy() == pytest.approx(flagged[2].mean(axis=0))

    def test_a_planted_weak_slice_is_found(self, multilabel_table, multilabel_points):
        logits = multilabel_table.logits.copy()
        hurt = (multilabel_table.rows["view"] == "AP").to_numpy()
        logits[0, hurt] = np.roll(logits[0, hurt], 1, axis=1)
        table = dataclasses.replace(multilabel_table, logits=logits)
        found = slice_up(table, multilabel_points, table.role("train").rows, SLICES)
        assert found.scalars["worst_sensitivity_slice"] == "view=AP"
        assert found.scalars["worst_specificity_slice"] == "view=AP"
        label = found.scalars["worst_sensitivity_output"]
        judged = at(found.series["slices"], slice="view=AP", metric="sensitivity", output=label)
        assert judged["verdict"] == "worse"
        assert judged["p_adjusted"] <= 0.05
        row = at(found.series["slices"], slice="view=AP", metric="macro_sensitivity")
        assert row["gap_high"] < 0
        row = at(found.series["slices"], slice="view=AP", metric="exact_match")
        assert row["gap_high"] < 0
        assert (found.series["slices"]["metric"] != "accuracy").all()

    def test_deferral_knows_every_score(self, multilabel_table, multilabel_points):
        params = selective.SelectiveParams()
        found = defer(multilabel_table, multilabel_points, params)
        assert found.scalars["selective_risk"] < found.scalars["risk"]
        assert set(found.series["summary"]["score"]) == set(params.scores)
        assert set(found.series["per_class"]["class"]) == set(multilabel_table.schema.classes)
