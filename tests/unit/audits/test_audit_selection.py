"""Deferral: worked on a few samples, and planted in many."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import at

from medaudit.audits import selective
from medaudit.audits.selective import SelectiveParams
from medaudit.metrics import selective_balanced
from medaudit.tables import tasks
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable, Schema
from tests.audit_runs import defer

BCC, MEL, NV = 0, 1, 2
CLASSES = ("bcc", "mel", "nv")
POINTS = OperatingPoints(CLASSES, (0.5, 0.5, 0.5), 0.95, (10, 10, 10))
# truth, called, its probability; the rest is shared by the other two classes
CALIBRATION = [(NV, NV, 0.9), (NV, NV, 0.8), (NV, NV, 0.7), (NV, NV, 0.6)]
TEST = [(NV, NV, 0.95), (NV, BCC, 0.85), (MEL, MEL, 0.75), (MEL, NV, 0.55)] * 2


def tiny(critical="mel"):
    """Four samples that freeze the threshold, eight that are judged; every one its own group."""
    every = [*CALIBRATION, *TEST]
    stated = np.array([np.where(np.arange(3) == c, p, (1 - p) / 2) for _, c, p in every])
    return PredictionTable(
        schema=Schema("multiclass", CLASSES, critical),
        rows=pd.DataFrame(
            {
                "sample_id": [f"s{i}" for i in range(12)],
                "group_id": [f"g{i}" for i in range(12)],
                "role": ["calibration"] * 4 + ["test"] * 8,
            }
        ),
        targets=np.array([truth for truth, _, _ in every], dtype=np.int64),
        logits=np.log(stated)[None].astype(np.float32),
    )


class TestWorked:
    PARAMS = SelectiveParams(coverage=0.5)

    def audit(self, table=None, **changes):
        params = self.PARAMS.model_copy(update=changes)
        return defer(table or tiny(), POINTS, params)

    def test_the_frozen_threshold_on_test(self):
        found = self.audit()
        # Half of the calibration samples have 0.8 or more; of the test samples 0.95 and 0.85,
        # of which the second is wrong. All mel are deferred, and none is missed.
        expected = {
            "threshold": 0.8,
            "coverage": 4 / 8,
            "selective_risk": 2 / 4,
            "critical_recall": 2 / 4,
            "critical_deferred_share": 4 / 4,
            "critical_missed_share": 0,
        }
        assert {name: found.scalars[name] for name in expected} == pytest.approx(expected)
        assert np.isnan(found.scalars["critical_recall_kept"])

    def test_the_table_is_long_with_a_row_for_each_score_and_measure(self):
        rows = self.audit().series["deferral"]
        assert len(rows) == 3 * 10
        assert set(rows["score"]) == set(self.PARAMS.scores)
        row = at(rows, score="max_probability", metric="coverage")
        assert row["threshold"] == pytest.approx(0.8)
        assert (row["value"], row["n"], row["n_groups"]) == (0.5, 8, 8)
        assert row["low"] < 0.5 < row["high"]

    def test_shares_of_none_and_all_are_wilsons_over_the_groups(self):
        rows = self.audit().series["deferral"]
        # Four groups hold mel: 4 of 4 begins at 4 / (4 + z²), and 0 of 4 ends at z² / (4 + z²).
        square = 1.959964**2
        deferred = at(rows, score="max_probability", metric="critical_deferred_share")
        assert (deferred["low"], deferred["high"]) == pytest.approx((4 / (4 + square), 1))
        missed = at(rows, score="max_probability", metric="critical_missed_share")
        assert (missed["low"], missed["high"]) == pytest.approx((0, square / (4 + square)))
        assert missed["method"] == "wilson"
        assert missed["caution"] == "few_positive_groups"

    def test_what_nobody_kept_has_is_undefined_and_says_so(self):
        row = at(
            self.audit().series["deferral"], score="max_probability", metric="critical_recall_kept"
        )
        assert np.isnan([row["value"], row["low"], row["high"]]).all()
        assert row["caution"] == "undefined"

    def test_by_class(self):
        rows = self.audit().series["per_class"].set_index("class")
        # All nv are kept, half are called bcc; all mel are deferred, half are called nv.
        assert rows["n"].to_dict() == {"bcc": 0, "mel": 4, "nv": 4}
        assert rows["deferred"].to_dict() == pytest.approx(
            {"bcc": np.nan, "mel": 1, "nv": 0}, nan_ok=True
        )
        assert rows["recall"].to_dict() == pytest.approx(
            {"bcc": np.nan, "mel": 0.5, "nv": 0.5}, nan_ok=True
        )
        assert np.isnan(rows.loc["mel", "recall_kept"])
        assert rows.loc["nv", "recall_kept"] == 0.5

    def test_errors_are_counted_where_they_go(self):
        found = self.audit().scalars
        # Wrong are the second (0.85, kept) and the fourth (0.55, deferred) of each four.
        counts = {name: found[f"n_{name}"] for name in ("errors", "errors_kept", "errors_deferred")}
        assert counts == {"errors": 4, "errors_kept": 2, "errors_deferred": 2}
        assert found["errors_kept_share"] == 2 / 4
        critical = [found[f"n_critical_missed{end}"] for end in ("", "_kept", "_deferred")]
        assert critical == [2, 0, 2]

    def test_the_score_is_asked_whether_it_tells_errors_from_right_ones(self):
        # Right 0.95 and 0.75, wrong 0.85 and 0.55: three of four pairs are in order.
        found = self.audit().scalars
        assert found["failure_auroc"] == 3 / 4
        assert found["failure_auroc_ci_low"] < 3 / 4 < found["failure_auroc_ci_high"]

    def test_specificity_stands_beside_recall(self):
        rows = self.audit().series["deferral"].query("score == 'max_probability'")
        value = rows.set_index("metric")["value"]
        # No nv is called mel, and all nv are kept.
        assert value["critical_call_specificity"] == value["critical_call_specificity_kept"] == 1

    def test_the_kept_are_compared_with_everybody_on_the_same_resamples(self):
        rows = self.audit().series["deferral"]
        row = at(rows, score="max_probability", metric="selective_risk")
        assert row["delta"] == 2 / 4 - 4 / 8
        assert row["delta_low"] < 0 < row["delta_high"]
        assert np.isnan(at(rows, score="max_probability", metric="coverage")["delta"])

    def test_by_coverage_is_picked_on_test(self):
        rows = self.audit().series["by_coverage"]
        assert (rows["method"] == "threshold_repicked_on_test").all()
        # By confidence, two of each: right, wrong, right, wrong.
        risks = {0.5: 2 / 4, 0.75: 2 / 6, 1.0: 4 / 8}
        for asked, risk in risks.items():
            assert at(rows, asked=asked)["selective_risk"] == pytest.approx(risk)

    def test_without_a_critical_class_nothing_is_said_of_one(self):
        found = self.audit(tiny(critical=None))
        assert not any("critical" in name for name in found.scalars)
        assert set(found.series["deferral"]["metric"]) == {
            "coverage",
            "risk",
            "selective_risk",
            "errors_kept_share",
        }

    def test_strata_are_the_true_classes(self):
        found = self.audit()
        risk = np.array([0.0, 1, 0, 1] * 2)
        confidence = np.array([0.95, 0.85, 0.75, 0.55] * 2)
        expected = selective_balanced.weighted_balanced_augrc(
            risk, confidence, np.array([NV, NV, MEL, MEL] * 2), np.ones((1, 8))
        )
        assert found.scalars["balanced_augrc"] == pytest.approx(expected[0])


def sure_and_wrong(n=400):
    """Every second mel is called nv, and with more confidence than any other case has."""
    truth = np.where(np.arange(n) % 4 < 2, MEL, NV)
    called = np.where(np.arange(n) % 4 == 0, NV, truth)
    stated = 0.6 + 0.2 * np.random.default_rng(0).random(n)
    stated = np.where(called != truth, 0.95, stated)
    numbers = np.stack(
        [np.where(np.arange(3) == c, p, (1 - p) / 2) for c, p in zip(called, stated, strict=True)]
    )
    names = [f"s{i:03}" for i in range(n)]
    roles = np.where(np.arange(n) < n // 2, "calibration", "test")
    return PredictionTable(
        schema=Schema("multiclass", CLASSES, "mel"),
        rows=pd.DataFrame({"sample_id": names, "group_id": names, "role": roles}),
        targets=truth.astype(np.int64),
        logits=np.log(numbers)[None].astype(np.float32),
    )


class TestConfidentErrors:
    """Deferral by confidence keeps the errors: recall of mel falls where all else looks better."""

    @pytest.fixture
    def found(self):
        return defer(sure_and_wrong(), POINTS, SelectiveParams(coverage=0.6))

    def test_no_error_is_deferred(self, found):
        assert found.scalars["errors_kept_share"] == 1
        assert found.scalars["n_errors_deferred"] == 0

    def test_the_score_is_said_to_be_turned_round(self, found):
        assert found.scalars["failure_auroc"] == 0
        assert found.scalars["failure_auroc_ci_high"] < 0.5

    def test_the_class_whose_recall_falls_is_named(self, found):
        assert found.scalars["n_recall_kept_lower"] == 1
        assert found.scalars["n_recall_kept_higher"] == 0
        assert found.scalars["recall_kept_worst_class"] == "mel"
        assert found.scalars["recall_kept_worst_recall"] == 0.5
        kept = found.scalars["recall_kept_worst_recall_kept"]
        change = found.scalars["recall_kept_worst_recall_delta"]
        assert kept < 0.5
        assert change == pytest.approx(kept - 0.5)
        assert found.scalars["recall_kept_worst_recall_delta_ci_high"] < 0
        # Every nv is right, kept or not.
        assert found.scalars["recall_kept_worst_specificity_kept"] == 1

    def test_the_pairs_show_what_marginal_intervals_hide(self):
        rows = defer(sure_and_wrong(), POINTS, SelectiveParams(coverage=0.9)).series["deferral"]
        row = at(rows, score="max_probability", metric="critical_recall_kept")
        all_of_it = at(rows, score="max_probability", metric="critical_recall")
        assert row["high"] > all_of_it["low"]
        assert row["delta_high"] < 0


class TestSeveralLabels:
    """Two studies of three labels, called above 1/2."""

    def table(self):
        stated = np.array([[0.9, 0.2, 0.6], [0.1, 0.2, 0.3]] * 2)
        task = tasks.get("multilabel")
        return PredictionTable(
            schema=Schema("multilabel", CLASSES),
            rows=pd.DataFrame(
                {
                    "sample_id": list("abcd"),
                    "group_id": list("abcd"),
                    "role": ["calibration"] * 2 + ["test"] * 2,
                }
            ),
            targets=np.array([[1, 1, 0], [0, 0, 0]] * 2),
            logits=task.logits(stated)[None].astype(np.float32),
        )

    @pytest.mark.parametrize(
        ("weight", "risk"),
        # The first study finds one label, misses one, and calls one falsely; the second is right.
        [(1.0, (2 / 3) / 2), (10.0, (11 / 21) / 2)],
    )
    def test_a_miss_weighs_more(self, weight, risk):
        params = SelectiveParams(false_negative_weight=weight)
        found = defer(self.table(), POINTS, params)
        assert found.scalars["risk"] == pytest.approx(risk)

    def test_the_weight_says_nothing_of_one_class_out_of_several(self):
        risks = [
            defer(tiny(), POINTS, SelectiveParams(false_negative_weight=w)).scalars["risk"]
            for w in (1.0, 10.0)
        ]
        assert risks == [0.5, 0.5]

    def test_confidence_is_of_the_whole_study(self):
        params = SelectiveParams(coverage=0.5)
        found = defer(self.table(), POINTS, params)
        # 0.9 · 0.8 · 0.6 = 0.432 and 0.9 · 0.8 · 0.7 = 0.504: the second is kept.
        assert found.scalars["threshold"] == pytest.approx(0.504)
        assert found.scalars["selective_risk"] == 0

    def test_strata_are_studies_with_and_without_findings(self):
        found = defer(self.table(), POINTS, SelectiveParams(false_negative_weight=1))
        expected = selective_balanced.weighted_balanced_augrc(
            np.array([2 / 3, 0]), np.array([0.432, 0.504]), np.array([1, 0]), np.ones((1, 2))
        )
        assert found.scalars["balanced_augrc"] == pytest.approx(expected[0], rel=1e-6)

    def test_labels_of_a_study_are_called_at_their_frozen_thresholds(self):
        strict = dataclasses.replace(POINTS, thresholds=(0.95, 0.95, 0.95))
        params = SelectiveParams(false_negative_weight=1)
        found = defer(self.table(), strict, params)
        # Nothing is called: two labels of three are missed in the first study.
        assert found.scalars["risk"] == pytest.approx((2 / 3) / 2)


class TestSelection:
    PARAMS = selective.SelectiveParams()

    def test_risk_at_full_coverage_is_the_error(self, table, points):
        found = defer(table, points, self.PARAMS)
        test = table.role("test")
        error = (test.logits[0].argmax(1) != test.targets).mean()
        assert found.scalars["risk"] == pytest.approx(error)
        curve = found.series["risk_coverage"].query("method == 'margin'")
        last = curve.sort_values("coverage").iloc[-1]
        assert (last["coverage"], last["risk"]) == (1, pytest.approx(error))

    def test_the_threshold_is_frozen_on_calibration(self, table, points):
        logits = table.logits.copy()
        logits[:, (table.rows["role"] == "test").to_numpy()] = 0
        unsure = dataclasses.replace(table, logits=logits)
        found = defer(unsure, points, self.PARAMS).scalars
        assert found["coverage"] == 0
        assert np.isnan(found["selective_risk"])

    def test_critical_cases_are_kept_found_missed_or_deferred(self, table, points):
        rows = defer(table, points, self.PARAMS).series["deferral"]
        for _, part in rows.groupby("score"):
            value = part.set_index("metric")["value"]
            kept = 1 - value["critical_deferred_share"]
            found = kept * value["critical_recall_kept"]
            assert found + value["critical_missed_share"] == pytest.approx(kept)

    def test_confidence_that_knows_beats_confidence_that_does_not(self, table, points):
        rng = np.random.default_rng(0)
        noise = dataclasses.replace(
            table, logits=rng.normal(size=table.logits.shape).astype(np.float32)
        )
        informed = defer(table, points, self.PARAMS).scalars
        blind = defer(noise, points, self.PARAMS).scalars
        assert informed["excess_aurc"] < blind["excess_aurc"]
