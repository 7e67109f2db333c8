"""Slices of a synthetic test set whose answer is known beforehand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import at

from medaudit.audits import slicing
from medaudit.core.errors import DataError
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
