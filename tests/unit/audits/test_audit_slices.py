"""Slices of a synthetic test set whose answer is known beforehand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import at
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from medaudit.audits import slicing
from medaudit.core.errors import DataError
from medaudit.metrics.calibration import ece_noise_floor
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import slice_up


class TestSlices:
    PARAMS = slicing.SliceParams(
        columns=("sex",), quantiles={"age": 3}, min_size=20, min_positives=3
    )

    def audit(self, table, points, params=None):
        reference = table.role("train").rows
        return slice_up(table, points, reference, params or self.PARAMS)

    def test_planted_weakness_is_the_worst_slice(self, table, points):
        logits = table.logits.copy()
        hurt = (table.rows["sex"] == "male").to_numpy()
        logits[0, hurt] = np.roll(logits[0, hurt], 1, axis=1)
        found = self.audit(dataclasses.replace(table, logits=logits), points)
        assert found.scalars["worst_standardised_accuracy_slice"] == "sex=male"
        assert found.scalars["worst_standardised_accuracy_gap_ci_high"] < 0
        assert found.scalars["worst_standardised_accuracy_verdict"] == "worse"
        row = at(found.series["slices"], slice="sex=male", metric="standardised_accuracy")
        assert row["verdict"] == "worse"
        assert row["p_adjusted"] < 0.05
        other = at(found.series["slices"], slice="sex=female", metric="standardised_accuracy")
        assert other["verdict"] == "better"
        assert found.scalars["n_standardised_accuracy_worse"] == 1
        assert found.scalars["n_standardised_accuracy_better"] == 1

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

    def with_one_rare_class(self, table):
        """A site where one class has a single case; the other site has enough of all."""
        test = (table.rows["role"] == "test").to_numpy()
        here = test & (np.arange(len(test)) % 2 == 0) & (table.targets != 0)
        here[np.flatnonzero(test & (table.targets == 0))[0]] = True
        site = np.where(here, "here", "other")
        return dataclasses.replace(table, rows=table.rows.assign(site=site))

    def test_a_class_in_few_replicates_gives_no_interval(self, table, points):
        params = self.PARAMS.model_copy(update={"columns": ("site",), "min_positives": 1})
        found = self.audit(self.with_one_rare_class(table), points, params)
        row = at(found.series["slices"], slice="site=here", metric="macro_auroc")
        assert row["undefined_share"] > 0.2
        assert np.isnan([row["low"], row["high"], row["p_value"]]).all()
        assert np.isfinite(row["value"])
        assert row["n_outputs"] == 4

    def test_a_gap_that_was_not_tested_has_a_caution_of_its_own(self, table, points):
        params = self.PARAMS.model_copy(update={"columns": ("site",), "min_positives": 1})
        rows = self.audit(self.with_one_rare_class(table), points, params).series["slices"]
        untested = rows[rows["family"] == ""]
        blank = untested["gap_low"].isna() & untested["gap"].notna()
        assert blank.any()
        assert untested[blank]["change_caution"].ne("").all()
        assert untested[~blank]["change_caution"].ne("no_interval").all()
        assert rows[rows["family"] != ""]["change_caution"].eq("").all()

    def test_one_rare_class_does_not_blank_a_slice(self, table, points):
        params = self.PARAMS.model_copy(update={"columns": ("site",)})
        changed = self.with_one_rare_class(table)
        rows = self.audit(changed, points, params).series["slices"]
        mean = at(rows, slice="site=here", metric="macro_auroc")
        assert mean["n_outputs"] == 3
        assert np.isfinite([mean["value"], mean["low"], mean["gap_low"]]).all()
        test = ScoredPredictions(changed.role("test"), points)
        for side, sign in (("here", 1), ("other", -1)):
            mask = (test.table.rows["site"] == side).to_numpy()
            areas = [
                roc_auc_score(test.positives[mask, k], test.probabilities[mask, k])
                for k in (1, 2, 3)
            ]
            row = at(rows, slice=f"site={side}", metric="macro_auroc")
            assert row["value"] == pytest.approx(np.mean(areas))
            assert row["gap"] == pytest.approx(sign * mean["gap"])
            own = rows.query(f"slice == 'site={side}' and metric == 'auroc'")
            assert own["output"].tolist() == ["bcc", "mel", "nv"]
            assert own["value"].to_numpy() == pytest.approx(areas)

    def test_nothing_in_common_leaves_means_undefined(self, table, points):
        rows = table.rows.assign(site=np.where(table.targets == 0, "one", "others"))
        params = self.PARAMS.model_copy(update={"columns": ("site",), "max_share": 1.0})
        found = self.audit(dataclasses.replace(table, rows=rows), points, params)
        row = at(found.series["slices"], slice="site=others", metric="macro_auroc")
        assert row["n_outputs"] == 0
        assert np.isnan([row["value"], row["gap"]]).all()

    def test_the_same_value_as_of_the_masked_samples(self, table, points):
        rows = self.audit(table, points).series["slices"]
        test = ScoredPredictions(table.role("test"), points)
        male = (test.table.rows["sex"] == "male").to_numpy()
        truth, stated = test.positives[male], test.probabilities[male]
        called = test.decisions[male]
        expected = {
            "macro_auprc": average_precision_score(truth, stated),
            "macro_f1": f1_score(truth, called, average="macro"),
            "critical_auprc": average_precision_score(truth[:, 2], stated[:, 2]),
            "critical_f1": f1_score(truth[:, 2], called[:, 2]),
            "micro_f1": f1_score(truth, called, average="micro"),
            "brier_loss": ((stated - truth) ** 2).sum(axis=1).mean(),
        }
        for metric, value in expected.items():
            row = at(rows, slice="sex=male", metric=metric)
            assert row["value"] == pytest.approx(value), metric
            assert row["output"] == ("mel" if metric.startswith("critical") else "")

    def test_ece_stands_beside_its_noise_floor(self, table, points):
        rows = self.audit(table, points).series["slices"]
        ece = rows[rows["metric"] == "ece"]
        assert (ece["ece_floor_mean"] < ece["ece_floor_p95"]).all()
        assert rows[rows["metric"] != "ece"]["ece_floor_mean"].isna().all()
        test = ScoredPredictions(table.role("test"), points)
        male = test.part((test.table.rows["sex"] == "male").to_numpy())
        floor = ece_noise_floor(male.events[0].probability, replicates=4000, seed=0)
        found = at(ece, slice="sex=male")
        assert found["ece_floor_mean"] == pytest.approx(floor.mean, rel=0.1)
        assert found["ece_floor_p95"] == pytest.approx(floor.p95, rel=0.15)

    def test_crossed_slices_are_measured_and_named(self, table, points):
        params = self.PARAMS.model_copy(update={"crossed": (("sex", "age"),), "min_size": 15})
        found = self.audit(table, points, params)
        rows = found.series["slices"]
        chosen = rows[(rows["column"] == "sex and age") & (rows["metric"] == "accuracy")]
        assert len(chosen) >= 4
        assert chosen["slice"].str.contains(r"^sex=.* and age ").all()
        assert chosen["words"].str.contains(r"^(?:fe)?male patients and age ").all()
        named = {*rows["slice"], *found.series["refused"]["slice"]}
        assert {f"sex={sex} and age=missing" for sex in ("male", "female")} <= named

    def test_an_unknown_column_lists_the_known_ones(self, table, points):
        params = slicing.SliceParams(columns=("sexx",))
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
