"""The audits on synthetic tables whose answer is known beforehand."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medaudit.audits import calibration, evaluation, robustness, selection, slices
from medaudit.audits.cases import CasesParams
from medaudit.audits.intervals import IntervalParams
from medaudit.errors import DataError, ParamsError
from medaudit.params import parse
from medaudit.tables.conditions import Condition

FEW = IntervalParams(replicates=200)


def at(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


class TestEvaluation:
    def test_every_number_has_n_and_an_interval_around_it(self, table, points):
        found = evaluation.audit(table, points, intervals_params=FEW).series["metrics"]
        assert (found["n"] == 150).all()
        assert (found["n_groups"] == 75).all()
        assert (found["low"] <= found["value"]).all()
        assert (found["value"] <= found["high"]).all()
        assert (found["low"] < found["high"]).all()
        assert found.set_index("metric")["method"]["ece"] == "cluster_bootstrap_recentred"

    def test_a_share_of_one_has_wilsons_interval(self, table, points):
        logits = table.logits.copy()
        logits[0, np.arange(len(table)), table.targets] += 50
        perfect = dataclasses.replace(table, logits=logits)
        found = evaluation.audit(perfect, points, intervals_params=FEW).series["metrics"]
        row = at(found, metric="accuracy")
        assert (row["value"], row["method"]) == (1, "wilson")
        # Wilson for n of n: n / (n + z²)
        assert row["low"] == pytest.approx(150 / (150 + 1.959964**2))

    def test_threshold_stays_when_test_changes(self, make_table, points):
        weaker = make_table(noise=2.0)
        found = evaluation.audit(weaker, points, intervals_params=FEW).scalars
        assert found["critical_threshold"] == points.thresholds[2]

    def test_realised_specificity_is_counted_at_the_frozen_threshold(self, table, points):
        found = evaluation.audit(table, points, intervals_params=FEW).scalars
        test = table.role("test")
        p = np.exp(test.logits[0]) / np.exp(test.logits[0]).sum(1, keepdims=True)
        below = p[test.targets != 2, 2] <= points.thresholds[2]
        assert found["critical_specificity"] == pytest.approx(below.mean())

    def test_confusion_rows_sum_to_the_class_counts(self, table, points):
        found = evaluation.audit(table, points, intervals_params=FEW).series["confusion"]
        counts = found.groupby("truth")["count"].sum()
        names = np.array(table.schema.classes)[table.role("test").targets]
        assert counts.to_dict() == pd.Series(names).value_counts().to_dict()

    def test_no_test_role_is_an_error(self, table, points):
        with pytest.raises(DataError, match="no row has role 'test'"):
            evaluation.audit(table.role("calibration"), points, intervals_params=FEW)


class TestRobustness:
    def test_identical_predictions_have_delta_zero_and_no_evidence(self, table, points):
        same = dataclasses.replace(table.role("test"), condition=Condition("jpeg", 1))
        found = robustness.audit(table, [same], points, intervals_params=FEW)
        rows = found.series["conditions"].query("severity == 1")
        assert (rows["delta"] == 0).all()
        assert (rows["p_holm"] == 1).all()
        assert found.scalars["n_macro_auroc_significant"] == 0

    def test_damage_grows_with_planted_noise(self, make_table, table, points):
        noisy = [
            make_table(noise=1.5 * s, seed=5, condition=Condition("noise", s)).role("test")
            for s in (1, 2, 3)
        ]
        found = robustness.audit(table, noisy, points, intervals_params=FEW)
        deltas = found.series["delta"].sort_values("severity")["delta"].to_numpy()
        assert (np.diff(deltas) < 0).all()
        assert found.scalars["worst_macro_auroc_condition"] == "noise-3"
        assert found.scalars["worst_macro_auroc_delta_ci_high"] < 0

    def test_delta_is_condition_minus_clean(self, make_table, table, points):
        noisy = make_table(noise=3.0, condition=Condition("noise", 1)).role("test")
        rows = robustness.audit(table, [noisy], points, intervals_params=FEW).series["conditions"]
        clean = at(rows, condition="clean", metric="accuracy")
        after = at(rows, condition="noise-1", metric="accuracy")
        assert after["delta"] == pytest.approx(after["value"] - clean["value"])

    def test_collapse_to_the_majority_is_seen(self, table, points):
        logits = np.zeros_like(table.logits)
        logits[..., 3] = 9.0
        blind = dataclasses.replace(table, logits=logits, condition=Condition("blur", 3))
        rows = robustness.audit(table, [blind.role("test")], points, intervals_params=FEW).series[
            "conditions"
        ]
        assert at(rows, condition="blur-3", metric="majority_share")["value"] == 1
        assert at(rows, condition="blur-3", metric="critical_sensitivity")["value"] == 0
        assert at(rows, condition="blur-3", metric="mean_confidence")["delta"] > 0

    def test_shuffled_rows_change_nothing(self, make_table, table, points):
        noisy = make_table(noise=2.0, condition=Condition("noise", 1)).role("test")
        order = np.random.default_rng(0).permutation(len(noisy))
        one = robustness.audit(table, [noisy], points, intervals_params=FEW)
        two = robustness.audit(table, [noisy.where(order)], points, intervals_params=FEW)
        pd.testing.assert_frame_equal(one.series["conditions"], two.series["conditions"])

    def test_other_samples_are_refused_by_name(self, make_table, table, points):
        short = make_table(condition=Condition("noise", 1)).role("test").where(np.arange(149))
        with pytest.raises(DataError, match="s0599"):
            robustness.audit(table, [short], points, intervals_params=FEW)


class TestSlices:
    PARAMS = slices.SliceParams(
        columns=("sex",), quantiles={"age": 3}, min_size=20, min_positives=3, primary="accuracy"
    )

    def audit(self, table, points, params=None):
        reference = table.role("train").rows
        return slices.audit(table, points, reference, params or self.PARAMS, intervals_params=FEW)

    def test_planted_weakness_is_the_worst_slice(self, table, points):
        logits = table.logits.copy()
        hurt = (table.rows["sex"] == "male").to_numpy()
        logits[0, hurt] = np.roll(logits[0, hurt], 1, axis=1)
        found = self.audit(dataclasses.replace(table, logits=logits), points)
        assert found.scalars["worst_accuracy_slice"] == "sex=male"
        assert found.scalars["worst_accuracy_gap_ci_high"] < 0
        assert at(found.series["slices"], slice="sex=male", metric="accuracy")["p_holm"] < 0.05

    def test_edges_come_from_train_not_from_test(self, table, points):
        rows = table.rows.copy()
        test = rows["role"] == "test"
        rows.loc[test, "age"] = rows.loc[test, "age"] + 1000
        params = self.PARAMS.model_copy(update={"max_share": 1.0})
        found = self.audit(dataclasses.replace(table, rows=rows), points, params)
        sizes = found.series["refused"].set_index("slice")["n"]
        edges = np.quantile(table.role("train").rows["age"].dropna(), [1 / 3, 2 / 3])
        assert sizes[f"age <={edges[0]:.3g}"] == 0

    def test_missing_values_are_a_slice_and_nobody_is_lost(self, table, points):
        params = self.PARAMS.model_copy(update={"min_size": 2, "min_positives": 1})
        found = self.audit(table, points, params)
        ages = found.series["slices"].query("column == 'age' and metric == 'accuracy'")
        assert "age=missing" in set(ages["slice"])
        assert ages["n"].sum() == 150

    def test_a_near_total_slice_is_refused_with_the_reason(self, table, points):
        rows = table.rows.assign(site="one")
        params = self.PARAMS.model_copy(update={"columns": ("site",)})
        refused = self.audit(dataclasses.replace(table, rows=rows), points, params).series[
            "refused"
        ]
        assert "near-total: 100%" in at(refused, slice="site=one")["reason"]

    def test_a_small_slice_is_refused_with_the_reason(self, table, points):
        params = self.PARAMS.model_copy(update={"min_size": 149})
        found = self.audit(table, points, params)
        assert found.scalars["n_slices"] == 0
        assert found.series["refused"]["reason"].str.startswith("too small").all()
        assert found.series["slices"].empty

    def test_too_few_positives_leave_critical_measures_undefined(self, table, points):
        params = self.PARAMS.model_copy(update={"min_positives": 1000})
        found = self.audit(table, points, params)
        rows = found.series["slices"]
        assert rows[rows["metric"] == "critical_sensitivity"]["value"].isna().all()
        assert rows[rows["metric"] == "accuracy"]["value"].notna().all()
        named = found.series["refused"].query("slice == 'sex=male'")["reason"].item()
        assert "positives of the critical class, at least 1000" in named

    def test_a_class_in_few_replicates_gives_no_interval(self, table, points):
        rows = table.rows.assign(site="other")
        rare = (table.rows["role"] == "test").to_numpy() & (table.targets == 0)
        keep = np.flatnonzero(rare)[:1]
        rows.loc[(table.rows["role"] == "test") & ~rare, "site"] = "here"
        rows.loc[keep, "site"] = "here"
        params = self.PARAMS.model_copy(update={"columns": ("site",), "max_share": 1.0})
        found = self.audit(dataclasses.replace(table, rows=rows), points, params)
        row = at(found.series["slices"], slice="site=here", metric="macro_auroc")
        assert row["undefined_share"] > 0.2
        assert np.isnan([row["low"], row["high"], row["p_value"]]).all()
        assert np.isfinite(row["value"])

    def test_an_unknown_column_lists_the_known_ones(self, table, points):
        params = slices.SliceParams(columns=("sexx",))
        with pytest.raises(DataError, match=r"sexx.*sex"):
            self.audit(table, points, params)

    @pytest.mark.parametrize(
        "named", [{"columns": ("sex", "dataset")}, {"quantiles": {"age": 3, "lesion_area": 4}}]
    )
    def test_a_column_that_a_data_set_may_lack_is_refused_in_a_row(
        self, table, points, named, caplog
    ):
        params = self.PARAMS.model_copy(update=named)
        found = self.audit(table, points, params)
        ((_, absent),) = (
            found.series["refused"].query("reason == 'not in this data set'").iterrows()
        )
        assert absent["column"] in {"dataset", "lesion_area"}
        assert f"{absent['column']} is not in this data set" in caplog.text
        known = self.audit(table, points).series["slices"]
        pd.testing.assert_frame_equal(found.series["slices"], known)

    def test_nothing_left_to_measure_keeps_every_column(self, table, points, caplog):
        full = self.audit(table, points)
        params = self.PARAMS.model_copy(update={"min_size": 149})
        empty = self.audit(table, points, params)
        for name in ("slices", "primary"):
            assert empty.series[name].empty
            assert list(empty.series[name]) == list(full.series[name])
        assert "no slice is left" in caplog.text

    def test_quantiles_of_words_are_refused(self, table, points):
        params = self.PARAMS.model_copy(update={"quantiles": {"sex": 3}})
        with pytest.raises(DataError, match=r"'sex', which is not a number column.*slice\.columns"):
            self.audit(table, points, params)

    def test_gap_is_slice_minus_rest(self, table, points):
        rows = self.audit(table, points).series["slices"]
        female = at(rows, slice="sex=female", metric="accuracy")
        male = at(rows, slice="sex=male", metric="accuracy")
        assert female["gap"] == pytest.approx(female["value"] - male["value"])
        assert female["gap"] == pytest.approx(-male["gap"])


class TestParams:
    @pytest.mark.parametrize(
        ("section", "values", "words"),
        [
            (slices.SliceParams, {"primary": "aurok"}, "expected one of accuracy, "),
            (slices.SliceParams, {"columns": ["sex", "sex"]}, "sex stands twice"),
            (slices.SliceParams, {"quantiles": {"age": 1}}, "greater than or equal to 2"),
            (slices.SliceParams, {"quantiles": {"age": 21}}, "less than or equal to 20"),
            (
                calibration.CalibrateParams,
                {"methods": ["identity", "temperature", "temperature"]},
                "temperature stands twice",
            ),
            (selection.SelectiveParams, {"scores": ["margin"] * 2}, "margin stands twice"),
            (
                selection.SelectiveParams,
                {"scores": ["margin"], "primary": "entropy"},
                r"one of scores \(margin\), got 'entropy'",
            ),
            (IntervalParams, {"seed": -1}, "greater than or equal to 0"),
            (calibration.CalibrateParams, {"seed": -1}, "greater than or equal to 0"),
            (CasesParams, {"seed": -1}, "greater than or equal to 0"),
        ],
    )
    def test_values_without_a_meaning_are_refused_before_the_work(self, section, values, words):
        with pytest.raises(ParamsError, match=words) as caught:
            parse(section, {section.section: values}, source=Path("params.yaml"))
        assert "\n" not in str(caught.value)


class TestCalibration:
    PARAMS = calibration.CalibrateParams(floor_replicates=100)

    def test_an_over_confident_model_is_mended_by_temperature(self, make_table):
        table = make_table(n=2000)
        sharp = dataclasses.replace(table, logits=table.logits * 5)
        fitted = calibration.fit(sharp, self.PARAMS)
        found = calibration.audit(sharp, fitted, self.PARAMS, intervals_params=FEW)
        summary = found.series["summary"]
        assert found.scalars["temperature"] > 1.5
        loss = at(summary, calibrator="temperature", metric="log_loss")
        assert loss["delta_high"] < 0
        assert found.scalars["identity_ece"] > found.scalars["identity_ece_floor_p95"]

    def test_the_fit_does_not_see_test(self, table):
        logits = table.logits.copy()
        logits[:, (table.rows["role"] == "test").to_numpy()] *= 50
        one = calibration.fit(table, self.PARAMS)["temperature"].facts()
        two = calibration.fit(dataclasses.replace(table, logits=logits), self.PARAMS)
        assert two["temperature"].facts() == one

    def test_reliability_counts_every_sample_once(self, table):
        fitted = calibration.fit(table, self.PARAMS)
        found = calibration.audit(table, fitted, self.PARAMS, intervals_params=FEW)
        counts = found.series["reliability"].groupby("stage")["count"].sum()
        assert counts.to_dict() == {"identity": 150, "temperature": 150}

    def test_unknown_methods_are_named(self):
        with pytest.raises(ValueError, match="temperature"):
            calibration.CalibrateParams(methods=("identity", "plat"))


class TestSelection:
    PARAMS = selection.SelectiveParams()

    def test_risk_at_full_coverage_is_the_error(self, table):
        found = selection.audit(table, self.PARAMS, intervals_params=FEW)
        test = table.role("test")
        error = (test.logits[0].argmax(1) != test.targets).mean()
        assert found.scalars["risk"] == pytest.approx(error)
        curve = found.series["risk_coverage"].query("method == 'margin'")
        last = curve.sort_values("coverage").iloc[-1]
        assert (last["coverage"], last["risk"]) == (1, pytest.approx(error))

    def test_the_threshold_is_frozen_on_calibration(self, table):
        logits = table.logits.copy()
        logits[:, (table.rows["role"] == "test").to_numpy()] = 0
        unsure = dataclasses.replace(table, logits=logits)
        found = selection.audit(unsure, self.PARAMS, intervals_params=FEW).scalars
        assert found["coverage"] == 0
        assert np.isnan(found["selective_risk"])

    def test_critical_cases_are_kept_found_missed_or_deferred(self, table):
        row = selection.audit(table, self.PARAMS, intervals_params=FEW).series["deferral"].iloc[0]
        kept = 1 - row["critical_deferred_share"]
        assert kept * row["critical_recall_kept"] + row["critical_missed_share"] == pytest.approx(
            kept
        )

    def test_confidence_that_knows_beats_confidence_that_does_not(self, table):
        rng = np.random.default_rng(0)
        noise = dataclasses.replace(
            table, logits=rng.normal(size=table.logits.shape).astype(np.float32)
        )
        informed = selection.audit(table, self.PARAMS, intervals_params=FEW).scalars
        blind = selection.audit(noise, self.PARAMS, intervals_params=FEW).scalars
        assert informed["excess_aurc"] < blind["excess_aurc"]
