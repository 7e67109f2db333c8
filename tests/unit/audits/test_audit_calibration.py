"""Reliability before and after calibration: worked on a few samples, and planted in many."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import at

from medaudit.audits import calibrate as calibrate_audit
from medaudit.tables import calibrators, tasks
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import calibrate


class TestCalibration:
    PARAMS = calibrate_audit.CalibrateParams(floor_replicates=100)

    def test_an_over_confident_model_is_mended_by_temperature(self, make_table):
        table = make_table(n=2000)
        sharp = dataclasses.replace(table, logits=table.logits * 5)
        fitted = calibrate_audit.freeze(sharp.role("calibration"), self.PARAMS)
        found = calibrate(sharp, self.PARAMS, fitted=fitted)
        summary = found.series["summary"]
        assert found.scalars["temperature"] > 1.5
        loss = at(summary, calibrator="temperature", metric="log_loss")
        assert loss["delta_high"] < 0
        assert found.scalars["identity_ece"] > found.scalars["identity_ece_floor_p95"]

    def test_the_fit_does_not_see_test(self, table):
        logits = table.logits.copy()
        logits[:, (table.rows["role"] == "test").to_numpy()] *= 50
        one = calibrate_audit.freeze(table.role("calibration"), self.PARAMS)["temperature"].facts()
        two = calibrate_audit.freeze(
            dataclasses.replace(table, logits=logits).role("calibration"), self.PARAMS
        )
        assert two["temperature"].facts() == one

    def test_reliability_counts_every_sample_once(self, table):
        fitted = calibrate_audit.freeze(table.role("calibration"), self.PARAMS)
        found = calibrate(table, self.PARAMS, fitted=fitted)
        counts = found.series["reliability"].groupby(["stage", "event"])["count"].sum()
        # The top label, and the critical class by itself.
        assert counts.to_dict() == {
            (name, event): 150
            for name in ("identity", "temperature")
            for event in ("top_label", "mel")
        }

    def test_unknown_methods_are_named(self):
        with pytest.raises(ValueError, match="temperature"):
            calibrate_audit.CalibrateParams(methods=("identity", "plat"))


NAMES = ("edema", "mass")


def studies(probabilities, targets, *, critical=None):
    """Test studies of two labels with these probabilities."""
    stated = np.array(probabilities, dtype=np.float64)
    n = len(stated)
    return PredictionTable(
        schema=Schema("multilabel", NAMES, critical),
        rows=pd.DataFrame(
            {
                "sample_id": [f"s{i:03}" for i in range(n)],
                "group_id": [f"g{i:03}" for i in range(n)],
                "role": "test",
            }
        ),
        targets=np.array(targets, dtype=np.int64),
        logits=tasks.get("multilabel").logits(stated)[None].astype(np.float32),
    )


def scored(test):
    return calibrate_audit.with_calibrator(ScoredPredictions(test), calibrators.Identity())


class TestReliability:
    PARAMS = calibrate_audit.CalibrateParams(methods=("identity",), floor_replicates=60, seed=5)

    def audit(self, test, params=PARAMS):
        fitted = {"identity": calibrators.Identity()}
        return calibrate(test, params, fitted=fitted)

    def test_errors_of_two_labels_do_not_cancel(self):
        # Both labels are always stated with 1/2. One happens in 1 of 4 studies and the other in
        # 3 of 4: pooled, 1/2 comes true; label by label the error is 1/4 and 1/4.
        test = studies([[0.5, 0.5]] * 40, [[1, 0]] * 10 + [[0, 1]] * 30)
        found = self.audit(test)
        assert found.scalars["identity_ece"] == pytest.approx(0.25)
        assert found.scalars["identity_classwise_ece"] == pytest.approx(0.25)
        for name in NAMES:
            row = at(found.series["events"], event=name, metric="ece")
            assert row["value"] == pytest.approx(0.25)

    def test_prevalence_stands_beside_every_number_of_an_event(self):
        test = studies([[0.5, 0.5]] * 40, [[1, 0]] * 10 + [[0, 1]] * 30)
        events = self.audit(test).series["events"]
        found = events.groupby("event")["prevalence"].unique().map(list).to_dict()
        assert found == {"edema": [0.25], "mass": [0.75]}

    def test_the_mean_is_over_the_labels(self):
        # Edema: stated 0.5, happens in 1 of 4: 0.25. Mass: stated 0.75, happens in 3 of 4: 0.
        test = studies([[0.5, 0.75]] * 40, [[1, 0]] * 10 + [[0, 1]] * 30)
        assert self.audit(test).scalars["identity_ece"] == pytest.approx(0.125)

    def test_the_floor_of_the_mean_by_hand(self):
        # One study. Whatever is drawn for 0.5, it is 0.5 away; 1 always happens; mean 0.25.
        test = studies([[0.5, 1.0]], [[1, 1]])
        found = calibrate_audit.floor_table(scored(test), n_bins=15, replicates=60, seed=0)
        assert found["event"].tolist() == ["edema", "mass", "mean"]
        assert found["mean"].to_numpy() == pytest.approx([0.5, 0, 0.25], abs=1e-6)
        assert found["p95"].to_numpy() == pytest.approx([0.5, 0, 0.25], abs=1e-6)

    def test_the_floor_of_the_mean_is_of_replicates_not_of_quantiles(self):
        generator = np.random.default_rng(0)
        stated = generator.uniform(size=(200, 2))
        test = studies(stated, generator.random((200, 2)) < stated)
        found = calibrate_audit.floor_table(scored(test), n_bins=15, replicates=400, seed=0)
        by_event = found.set_index("event")
        labels, mean = by_event.loc[list(NAMES)], by_event.loc["mean"]
        assert mean["mean"] == pytest.approx(labels["mean"].mean())
        # Noise of several labels averages out: the mean is seldom as large as they are.
        assert mean["p95"] < labels["p95"].mean()

    def test_sweep_by_hand(self):
        # Two studies with the same number for both labels; from two bins on every study has its
        # own: (|0.2 - 0| + |0.7 - 1|) / 2 = 0.25.
        test = studies([[0.2, 0.2], [0.7, 0.7]], [[0, 0], [1, 1]])
        found = calibrate_audit.sweep_table({"identity": scored(test)}, seed=0)
        assert found["n_bins"].tolist() == list(calibrate_audit.SWEEP)
        assert found["ece"].to_numpy() == pytest.approx(0.25, abs=1e-6)

    def test_sweep_holds_the_headline(self, table):
        draws = calibrate_audit.SWEEP_REPLICATES
        found = self.audit(table, self.PARAMS.model_copy(update={"floor_replicates": draws}))
        row = at(found.series["bins"], n_bins=15)
        assert row["ece"] == pytest.approx(found.scalars["identity_ece"])
        # As many draws, and the same ones.
        assert row["floor_mean"] == pytest.approx(found.scalars["identity_ece_floor_mean"])

    def test_the_floor_rises_with_the_bins(self, table):
        floors = self.audit(table).series["bins"].sort_values("n_bins")["floor_mean"]
        assert (np.diff(floors) > 0).all()

    def test_the_critical_class_is_an_event_of_its_own(self, table):
        found = self.audit(table)
        events = found.series["events"]
        assert set(events["event"]) == {"top_label", "mel"}
        row = at(events, event="mel", metric="ece")
        slope = at(events, event="mel", metric="cox_slope")
        truth = table.role("test").targets == table.schema.critical_index
        assert slope["n_positive"] == truth.sum()
        # It stands beside the headline, and does not enter it.
        top = at(events, event="top_label", metric="ece")
        assert found.scalars["identity_ece"] == pytest.approx(top["value"])
        assert row["value"] != pytest.approx(top["value"])

    def test_without_a_critical_class_the_task_speaks_alone(self, table):
        schema = dataclasses.replace(table.schema, critical_class=None)
        found = self.audit(dataclasses.replace(table, schema=schema))
        assert set(found.series["events"]["event"]) == {"top_label"}

    def test_a_critical_label_does_not_stand_twice(self):
        test = studies([[0.5, 0.75]] * 40, [[1, 0]] * 10 + [[0, 1]] * 30, critical="mass")
        events = self.audit(test).series["events"]
        assert not events.duplicated(["event", "metric"]).any()
        assert set(events["event"]) == set(NAMES)

    def test_undefined_measures_of_an_event_are_rows_that_say_so(self):
        # Mass never happens: no slope, no intercept, no skill.
        test = studies([[0.5, 0.25]] * 40, [[1, 0]] * 10 + [[0, 0]] * 30)
        events = self.audit(test).series["events"]
        for metric in ("cox_slope", "cox_intercept", "brier_skill_score"):
            row = at(events, event="mass", metric=metric)
            assert np.isnan([row["value"], row["low"], row["high"]]).all()
            assert row["caution"] == "undefined"
